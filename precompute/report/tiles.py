"""The frames that a report shows: small pictures, and numbers that the viewer's JavaScript decodes."""

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from depthvar.datasets.params import Estimator
from depthvar.precompute.pictures.colour import FAR, TABLES, UNKNOWN, Scale, limits, table
from depthvar.precompute.pictures.frames import Shown
from depthvar.precompute.pictures.weights import weight_map

SIDE = 320  # pixels: frames are shown at the least stride at which none of their sides is longer
MANTISSA_BITS = 14  # that are kept of a float32: 3e-5 of the value at most is lost
COLOUR_MAPS = (*TABLES.values(), "viridis", "turbo", "gray")
QUALITY = 80  # of the JPEG


def stride_of(shape: tuple[int, int]) -> int:
    """Return the stride at which a frame (H, W) is shown."""
    return -(-max(shape) // SIDE)


@dataclass(frozen=True)
class Scales:
    """The colours of all frames that a report shows, so that they can be compared."""

    depth: Scale
    sigma: Scale
    weight: Scale

    @classmethod
    def of(cls, frames: Sequence[Shown]) -> "Scales":
        """Return scales that hold 98 % of the values of some frames."""
        values = {
            "depth": [frame.depth[frame.valid] for frame in frames],
            "sigma": [frame.sigma[np.isfinite(frame.sigma)] for frame in frames],
            "weight": [weight_map(frame.depth, frame.sigma).ravel() for frame in frames],
        }
        each = {name: np.concatenate(found or [np.empty(0, np.float32)]) for name, found in values.items()}
        return cls(**{name: Scale(*limits(found), table=TABLES[name]) for name, found in each.items()})


def pictures(frame: Shown, scales: Scales) -> dict[str, str]:
    """Return the pictures of a frame as data URIs: image, where there is one, depth, σ and weight."""
    maps = {
        "depth": (np.where(frame.valid, frame.depth, np.nan), scales.depth),
        "σ": (frame.sigma, scales.sigma),
        "weight": (weight_map(frame.depth, frame.sigma), scales.weight),
    }
    found = {} if frame.image is None else {"image": _jpeg(frame.image.pixels, frame.depth)}
    return found | {name: _png(values, scale, frame.far) for name, (values, scale) in maps.items()}


def sigma_pictures(variances: Sequence[NDArray[np.float32]]) -> list[dict[str, str]]:
    """Return the picture of σ of frames without depth: every n-th row and column of σ² (H, W) at stride 1."""
    steps = (stride_of((values.shape[0], values.shape[1])) for values in variances)
    sigmas = [np.sqrt(values[::step, ::step]) for values, step in zip(variances, steps, strict=True)]
    known = np.concatenate([sigma[np.isfinite(sigma)] for sigma in sigmas] or [np.empty(0)])
    scale = Scale(*limits(known), table=TABLES["sigma"])
    return [{"σ": _png(sigma, scale, np.zeros(sigma.shape, bool))} for sigma in sigmas]


def numbers(frame: Shown, params: Estimator) -> dict[str, Any]:
    """Return what the viewer needs of a frame. σ² is left out where its JavaScript computes it: by the range."""
    computes = params.estimator == "range" and params.compat is None
    return {
        "height": frame.depth.shape[0],
        "width": frame.depth.shape[1],
        "camera": frame.camera.tolist(),
        "depth": encode(frame.depth),
        "variance": None if computes else encode(frame.sigma_z2),
    }


def encode(values: NDArray[np.float32]) -> str:
    """Return a map (h, w) as text: rounded, the difference of each to the one before it, deflated, in base64.

    The upper ``9 + MANTISSA_BITS`` bits of a float32 are a whole number. The differences, modulo 2^24, are stored as
    three planes of bytes, the lowest first.
    """
    change = np.diff(_codes(values).ravel(), prepend=np.uint32(0)) & 0xFFFFFF
    planes = np.stack([(change >> shift) & 0xFF for shift in (0, 8, 16)]).astype(np.uint8)
    return base64.b64encode(zlib.compress(planes.tobytes(), 9)).decode()


def rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a map as the viewer has it."""
    return (_codes(values) << (23 - MANTISSA_BITS)).view(np.float32)


def _codes(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    bits = np.ascontiguousarray(values).view(np.uint32)
    half = np.uint32(1 << (22 - MANTISSA_BITS))
    return np.where(np.isfinite(values), bits + half, bits) >> np.uint32(23 - MANTISSA_BITS)


def colour_tables() -> dict[str, str]:
    """Return 256 colours of each colour map that the viewer offers, as red, green, blue in base64."""
    return {name: base64.b64encode(table(name).tobytes()).decode() for name in dict.fromkeys(COLOUR_MAPS)}


def _png(values: NDArray[np.floating], scale: Scale, far: NDArray[np.bool_]) -> str:
    """Return a map as a PNG of 256 colours, two of which stand for unknown and far pixels."""
    colours = table(scale.table)
    places = np.clip(scale.places(values), 1, 254)  # the first and the last one are those two
    places[~np.isfinite(values)] = 0
    places[far] = 255
    image = Image.fromarray(places)
    image.putpalette(np.concatenate([[UNKNOWN], colours[1:255], [FAR]]).astype(np.uint8).tobytes())
    return _uri(image, "png", optimize=True)


def _jpeg(pixels: NDArray[np.uint8], depth: NDArray[np.float32]) -> str:
    """Return an image in the size of the depth."""
    height, width = depth.shape
    return _uri(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX), "jpeg", quality=QUALITY)


def _uri(image: Image.Image, kind: str, **options: Any) -> str:
    drawn = BytesIO()
    image.save(drawn, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(drawn.getvalue()).decode()}"
