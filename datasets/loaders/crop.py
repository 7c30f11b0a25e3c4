"""The geometry of an augmentation: which part of a frame a sample shows, of which pixels, seen by which camera."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Crop(NamedTuple):
    """What an augmentation does to a frame: crop, then resize to the output's size, then flip left to right.

    Attributes:
        top: first row of the crop, in native pixels.
        left: first column.
        height: rows of the crop.
        width: columns.
        flip: whether the output is mirrored.
    """

    top: int
    left: int
    height: int
    width: int
    flip: bool


def choose_crop(
    native: tuple[int, int], size: tuple[int, int], zoom: float, random: np.random.Generator | None
) -> Crop:
    """Return a crop of the output's aspect ratio: the largest one, centred, or a random one.

    Args:
        native: (H, W) of the frame.
        size: (h, w) of the output.
        zoom: the smallest side of a random crop as a part of the largest crop's, in (0, 1].
        random: decides part, place and flip; None: the largest crop, centred, not flipped.
    """
    scale = min(native[0] / size[0], native[1] / size[1])
    if random is not None:
        scale *= random.uniform(zoom, 1)
    height, width = (max(1, min(round(scale * out), full)) for out, full in zip(size, native, strict=True))
    free = native[0] - height, native[1] - width
    if random is None:
        return Crop(free[0] // 2, free[1] // 2, height, width, False)
    top, left = (int(random.integers(rest + 1)) for rest in free)
    return Crop(top, left, height, width, bool(random.integers(2)))


def crop_nearest(values: NDArray[Any], crop: Crop, size: tuple[int, int]) -> NDArray[Any]:
    """Return (h, w) values, each of the native pixel that ``cv2.INTER_NEAREST`` takes: ``floor(u' r)`` of the crop."""
    rows = crop.top + np.arange(size[0]) * crop.height // size[0]
    columns = crop.left + np.arange(size[1]) * crop.width // size[1]
    taken: NDArray[Any] = values[np.ix_(rows, columns[::-1] if crop.flip else columns)]
    return taken


def crop_intrinsics(intrinsics: NDArray[np.float64], crop: Crop, size: tuple[int, int]) -> NDArray[np.float64]:
    """Return the (3, 3) intrinsics of the output; the resize maps the pixels' centres, half a pixel from their corners.

    Args:
        intrinsics: (4,) fx, fy, cx, cy of the native frame.
        crop: what is done to it.
        size: (h, w) of the output.
    """
    fx, fy, cx, cy = intrinsics
    scale_x, scale_y = crop.width / size[1], crop.height / size[0]
    out_cx = (cx - crop.left + 0.5) / scale_x - 0.5
    out_cy = (cy - crop.top + 0.5) / scale_y - 0.5
    if crop.flip:
        out_cx = size[1] - 1 - out_cx
    return np.array([[fx / scale_x, 0, out_cx], [0, fy / scale_y, out_cy], [0, 0, 1]])


def is_same_view(native: tuple[int, int], image: tuple[int, int]) -> bool:
    """Return whether an image of (H, W) can have the borders of a depth map of (H, W), by their aspect ratios.

    At one scale and centred, they may differ by a pixel at each border, of the one with fewer pixels: ScanNet's colour
    of 1296×968 has the height of 478 of its 480 rows of depth.
    """
    part = native[0] * image[1] / (native[1] * image[0])
    return min(*native, *image) * (1 - min(part, 1 / part)) <= 2


def image_box(crop: Crop, native: tuple[int, int], image: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return left, top, right, bottom of a crop in an image of another size, in its pixels from its corner.

    Args:
        crop: in pixels of the depth.
        native: (H, W) of the depth.
        image: (H, W) of the image, whose borders are those of the depth.
    """
    columns, rows = (crop.left, crop.left + crop.width), (crop.top, crop.top + crop.height)
    left, right = (column * image[1] / native[1] for column in columns)
    top, bottom = (row * image[0] / native[0] for row in rows)
    return left, top, right, bottom
