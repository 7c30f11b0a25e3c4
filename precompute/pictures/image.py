"""The image of a frame, reduced."""

from io import BytesIO
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from depthvar.datasets.errors import DepthVarError
from depthvar.datasets.source.files import read_url

IMAGE_SIDE = 640  # pixels, of the reduced image


class Colour(NamedTuple):
    """An image that belongs to a depth map.

    Attributes:
        pixels: (h, w, 3) uint8, reduced to at most ``IMAGE_SIDE``.
        size: (H, W) of the file.
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]


def read_colour(path: str | None) -> Colour | None:
    """Return an image, reduced; None where there is none, or it cannot be read."""
    if path is None:
        return None
    try:
        with Image.open(BytesIO(read_url(path)) if "://" in path else path) as image:
            width, height = image.size
            image.draft("RGB", (IMAGE_SIDE, IMAGE_SIDE))  # of a JPEG: decoded at a fraction of its size
            shrunk = min(1.0, IMAGE_SIDE / max(width, height))
            small = image.convert("RGB").resize(
                (round(width * shrunk) or 1, round(height * shrunk) or 1), Image.Resampling.BOX
            )
            return Colour(np.asarray(small), (height, width))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, DepthVarError):
        return None
