"""What a loss sees, as a picture: the first image of a batch, its depth, the prediction, σ and the weight."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from depthvar.loss.watch import Observation
from depthvar.precompute.pictures.colour import FAR, TABLES, UNKNOWN, Scale, limits

GAP = 4  # pixels between two panels


def picture(seen: Observation, image: Tensor | None = None) -> NDArray[np.uint8]:
    """Return the panels from left to right: image, depth, prediction, σ, weight; without image and σ where None.

    Scales are logarithmic, from the 1st to the 99th percentile of this picture, in the colours of :mod:`.colour`; depth
    and prediction have one scale. Grey has no value, blue is far depth.

    Args:
        seen: of a loss; its first image is shown.
        image: (..., 3, H, W), of any numbers; shown from the smallest to the largest.

    Returns:
        (H, w, 3) uint8.

    Raises:
        ValueError: an image of another size than the maps.
    """
    valid, depth, pred, weight = (_first(each) for each in (seen.valid, seen.depth, seen.pred, seen.weight))
    of_depth = Scale(*limits(depth[valid]), table=TABLES["depth"])
    panels = [
        np.where(np.isposinf(depth)[..., None], np.uint8(FAR), _coloured(depth, valid, of_depth)),
        _coloured(pred, np.isfinite(pred) & (pred > 0), of_depth),
    ]
    if image is not None:
        panels.insert(0, _image(image, weight.shape))
    if seen.sigma is not None:
        sigma = _first(seen.sigma)
        panels.append(_coloured(sigma, valid, Scale(*limits(sigma[valid]), table=TABLES["sigma"])))
    panels.append(_coloured(weight, valid, Scale(*limits(weight[valid]), table=TABLES["weight"])))
    gap = np.full((len(weight), GAP, 3), 255, np.uint8)
    return np.hstack([each for panel in panels for each in (panel, gap)][:-1])


def _first(maps: Tensor) -> NDArray[np.float32]:
    """Return the first image of maps (..., H, W); of masks as bool."""
    values: NDArray[np.float32] = maps.detach().reshape(-1, *maps.shape[-2:])[0].cpu().numpy()
    return values


def _coloured(values: NDArray[np.float32], known: NDArray[np.float32], scale: Scale) -> NDArray[np.uint8]:
    return np.where(known[..., None], scale.colours(values), np.uint8(UNKNOWN))


def _image(image: Tensor, size: tuple[int, ...]) -> NDArray[np.uint8]:
    if image.dim() < 3 or image.shape[-3] != 3 or tuple(image.shape[-2:]) != size:
        raise ValueError(f"image: expected shape (..., 3, {size[0]}, {size[1]}), as the maps, got {tuple(image.shape)}")
    values = image.detach().reshape(-1, 3, *size)[0].float().cpu().numpy().transpose(1, 2, 0)
    low, high = float(values.min()), float(values.max())
    return np.clip((values - low) * (255 / max(high - low, 1e-12)), 0, 255).astype(np.uint8)
