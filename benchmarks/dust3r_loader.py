"""What a DUSt3R-like loader makes of a frame: crop around the principal point, zoom, resize, crop to the output.

Written from this description: the largest crop that is symmetric about the rounded principal point; a resize of all of
it, by which the output covers ``zoom`` of the largest crop of its aspect ratio; the middle of that. The depth is
resized with ``cv2.INTER_NEAREST``, which reads source pixel ``floor(u' r)`` (one less at some whole ``u' r``: OpenCV
rounds), the image with an antialiased Lanczos filter, and the intrinsics with the half pixel. Needs
opencv-python-headless, of the extra ``bench``.
"""

from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

Resize = Literal["nearest", "linear"]
Size = tuple[int, int]


class Geometry(NamedTuple):
    """Crop, resize, crop; in pixels, (rows, columns).

    Attributes:
        start: first row and column of the crop out of the native frame.
        crop: its size.
        full: to what it is resized.
        offset: first row and column of the output in that.
    """

    start: Size
    crop: Size
    full: Size
    offset: Size


def geometry(native: Size, intrinsics: ArrayLike, size: Size, zoom: float) -> Geometry:
    """Return what is done to a frame.

    Args:
        native: (H, W) of the frame.
        intrinsics: (4,) fx, fy, cx, cy of the frame, in pixels with integer coordinates at pixel centres.
        size: (h, w) of the output.
        zoom: side of the crop as a part of the largest one's, in (0, 1]; such loaders draw it from [0.9, 1].

    Raises:
        ValueError: a principal point outside the frame, or a zoom outside (0, 1].
    """
    _, _, cx, cy = np.asarray(intrinsics, dtype=np.float64).tolist()
    if not 0 < zoom <= 1:
        raise ValueError(f"zoom: expected the part of the largest crop, in (0, 1], got {zoom}; draw it from [0.9, 1]")
    middle = round(cy), round(cx)
    half = [min(at, length - at) for at, length in zip(middle, native, strict=True)]
    if min(half) < 1:
        raise ValueError(f"intrinsics: expected a principal point inside {native} (rows, columns), got {(cy, cx)}")
    crop = 2 * half[0], 2 * half[1]
    scale = max(size[0] / crop[0], size[1] / crop[1]) / zoom
    full = max(size[0], round(crop[0] * scale)), max(size[1], round(crop[1] * scale))
    start = middle[0] - half[0], middle[1] - half[1]
    return Geometry(start, crop, full, ((full[0] - size[0]) // 2, (full[1] - size[1]) // 2))


def view(
    depth: NDArray[np.float32],
    intrinsics: ArrayLike,
    size: Size,
    *,
    zoom: float,
    resize: Resize = "nearest",
    image: Image.Image | None = None,
) -> dict[str, Any]:
    """Return a view: ``depthmap``, ``camera_intrinsics``, and ``img`` where an image is given.

    Args:
        depth: (H, W) float32 in metres, finite, 0 where unknown.
        intrinsics, size, zoom: see :func:`geometry`.
        resize: "nearest", or "linear": bilinear at pixel centres, and 0 where a hole would have a share.
        image: RGB, of the depth's size.

    Returns:
        ``depthmap`` (h, w) float32 in metres; ``camera_intrinsics`` (3, 3) float32 of the view; ``img``, a PIL image.
    """
    done = geometry((depth.shape[0], depth.shape[1]), intrinsics, size, zoom)
    if resize == "nearest":
        depthmap = _resized(depth, done, size, cv2.INTER_NEAREST)
    else:
        depthmap = _resized(depth, done, size, cv2.INTER_LINEAR)
        depthmap[_resized((depth == 0).astype(np.float32), done, size, cv2.INTER_LINEAR) > 0] = 0
    result: dict[str, Any] = {"depthmap": depthmap, "camera_intrinsics": _intrinsics(intrinsics, done)}
    if image is not None:
        (top, left), (height, width), full, (row, column) = done
        box = (left, top, left + width, top + height)
        whole = image.resize(full[::-1], Image.Resampling.LANCZOS, box=box)
        result["img"] = whole.crop((column, row, column + size[1], row + size[0]))
    return result


def take(values: NDArray[np.float32], intrinsics: ArrayLike, size: Size, *, zoom: float) -> NDArray[np.float32]:
    """Return (h, w) of any native (H, W) map, pushed through the crop of :func:`view` with ``resize="nearest"``."""
    done = geometry((values.shape[0], values.shape[1]), intrinsics, size, zoom)
    return _resized(values, done, size, cv2.INTER_NEAREST)


def _resized(values: NDArray[np.float32], done: Geometry, size: Size, how: int) -> NDArray[np.float32]:
    (top, left), (height, width), full, (row, column) = done
    whole = cv2.resize(values[top : top + height, left : left + width], full[::-1], interpolation=how)
    result: NDArray[np.float32] = np.ascontiguousarray(whole[row : row + size[0], column : column + size[1]])
    return result


def _intrinsics(intrinsics: ArrayLike, done: Geometry) -> NDArray[np.float32]:
    """Return (3, 3) of the output: a resize maps pixel edges, half a pixel from the centres."""
    fx, fy, cx, cy = np.asarray(intrinsics, dtype=np.float64).tolist()
    scale_y, scale_x = (crop / full for crop, full in zip(done.crop, done.full, strict=True))
    out_cx = (cx - done.start[1] + 0.5) / scale_x - 0.5 - done.offset[1]
    out_cy = (cy - done.start[0] + 0.5) / scale_y - 0.5 - done.offset[0]
    return np.array([[fx / scale_x, 0, out_cx], [0, fy / scale_y, out_cy], [0, 0, 1]], dtype=np.float32)
