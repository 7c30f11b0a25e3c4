"""What a loss sees, as a picture: the first image of a batch, its depth, the prediction, σ and the weight."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from depthvar.loss.watch import Observation
from depthvar.precompute.pictures.colour import TABLES, Scale, coloured, limits

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
    maps = {"depth": seen.depth, "sigma": seen.sigma, "weight": seen.weight}
    valid, depth, pred = _first(seen.valid), _first(seen.depth), _first(seen.pred)
    values = {name: np.where(valid, _first(each), np.nan) for name, each in maps.items() if each is not None}
    scales = {name: Scale(*limits(each), table=TABLES[name]) for name, each in values.items()}
    far = np.isposinf(depth)
    panels = [coloured(each, far, scales[name]) for name, each in values.items()]
    panels.insert(1, coloured(np.where(pred > 0, pred, np.nan), np.zeros_like(far), scales["depth"]))
    if image is not None:
        panels.insert(0, _image(image, depth.shape))
    gap = np.full((len(depth), GAP, 3), 255, np.uint8)
    return np.hstack([each for panel in panels for each in (panel, gap)][:-1])


def _first(maps: Tensor) -> NDArray[Any]:
    """Return the first image of maps (..., H, W)."""
    return maps.reshape(-1, *maps.shape[-2:])[0].cpu().numpy()


def _image(image: Tensor, size: tuple[int, ...]) -> NDArray[np.uint8]:
    if image.dim() < 3 or image.shape[-3] != 3 or tuple(image.shape[-2:]) != size:
        raise ValueError(f"image: expected shape (..., 3, {size[0]}, {size[1]}), as the maps, got {tuple(image.shape)}")
    values = image.detach().reshape(-1, 3, *size)[0].float().cpu().numpy().transpose(1, 2, 0)
    low, high = float(values.min()), float(values.max())
    return np.clip((values - low) * (255 / max(high - low, 1e-12)), 0, 255).astype(np.uint8)
