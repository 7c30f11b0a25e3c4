"""Depth at the crop and resolution of a training sample: arrays in, array out; see :mod:`.sample` for σ²."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from depthvar.datasets.errors import ParameterError
from depthvar.datasets.frame import as_depth, as_intrinsics

from .median import Footprints, footprints, medians
from .sample import check_size, check_zoom, on_frame, positions

How = Literal["nearest", "median"]


def resize_depth(
    depth: ArrayLike, intrinsics: ArrayLike, intrinsics_out: ArrayLike, size: Sequence[int], how: How = "nearest"
) -> NDArray[np.float32]:
    """Return cropped and resized depth. The intrinsics before and after define the crop and the resize.

    An output pixel lies on a rectangle of native pixels, its footprint: those whose centre is inside, or on the left or
    upper side; at least the one whose centre is nearest. Nothing is averaged, so no depth appears that is not there.

    Args:
        depth: (H, W) floats in metres; 0, negative or NaN where unknown, +inf where far.
        intrinsics: its (3, 3) matrix, or (4,) fx, fy, cx, cy, in pixels with integer coordinates at pixel centres.
        intrinsics_out: those of the output. A crop and a resize by 1/r give fx / r and (cx - left + 0.5) / r - 0.5.
            Mirror the output afterwards if you mirror it.
        size: (h, w) of the output in pixels.
        how: ``"nearest"``: the depth of one native pixel, the one that ``cv2.INTER_NEAREST`` copies. ``"median"``: the
            lower median of the n known depths of the footprint, of rank (n - 1) // 2 from 0, where far depth is +inf.
            So a pixel is far where more than half of the known ones are, and unknown where more than half of the
            footprint is. At edges it is the depth of the larger part. Look up σ² with ``resize="linear"`` then. Slow
            above some 20 native pixels per output pixel: 640×480 depth then costs over 10 ms, at 60 a second.

    Returns:
        (h, w) float32; 0 outside of the native image. ``"nearest"`` copies unknown depth as it is, ``"median"`` sets 0.

    Raises:
        ParameterError: no (H, W) array of floats, intrinsics that are turned, skewed, mirrored or not finite, no
            plausible zoom (1/16 to 64 native pixels per output pixel, x and y within a factor of 2), an unknown
            ``how``, or a ``size`` that is not two integers of at least 1.

    Example:
        >>> import numpy as np
        >>> from depthvar.datasets import resize_depth
        >>> depth = np.array([[1, 1, 2, 0], [1, 9, 3, 4]], np.float32)  # a flying pixel of 9 m and a hole
        >>> resize_depth(depth, (8, 8, 1.5, 0.5), (4, 4, 0.5, 0), (1, 2), how="median")
        array([[1., 3.]], dtype=float32)
    """
    if how not in get_args(How):
        raise ParameterError(f"how: expected 'nearest' or 'median', got {how!r}")
    native = as_depth(depth)
    height, width = check_size(size)
    fx, fy, cx, cy = _camera("intrinsics", intrinsics, (native.shape[0], native.shape[1]))
    out_fx, out_fy, out_cx, out_cy = _camera("intrinsics_out", intrinsics_out, (height, width))
    vertical, horizontal = (height, fy / out_fy, out_cy, cy), (width, fx / out_fx, out_cx, cx)
    check_zoom(horizontal[1], vertical[1])
    result = np.zeros((height, width), np.float32)
    if how == "nearest":
        v, u = positions(*vertical, "nearest"), positions(*horizontal, "nearest")
        rows, columns = on_frame(v, native.shape[0]), on_frame(u, native.shape[1])
        result[rows, columns] = native.take(v[rows].astype(np.intp), 0).take(u[columns].astype(np.intp), 1)
        return result
    v, u = footprints(*vertical, native.shape[0]), footprints(*horizontal, native.shape[1])
    if v.first.size and u.first.size:
        outside = [_outside(each, length) for each, length in zip((v, u), native.shape, strict=True)]
        if any(map(any, outside)):
            native = np.pad(native, outside)  # 0 is unknown
        medians(np.ascontiguousarray(native), v, u, outside[0][0], outside[1][0], result)
    return result


def _camera(name: str, intrinsics: ArrayLike, size: tuple[int, int]) -> list[float]:
    """Return fx, fy, cx, cy of one camera; ParameterError under the name of the argument."""
    try:
        camera = as_intrinsics(intrinsics, size)
    except ParameterError as error:
        raise ParameterError(name + str(error).removeprefix("intrinsics")) from None
    if camera.shape != (4,):
        raise ParameterError(f"{name}: expected one camera, got those of shape {camera.shape[:-1]}")
    found: list[float] = camera.tolist()
    return found


def _outside(along: Footprints, length: int) -> tuple[int, int]:
    """Return how many rows (or columns) of footprints lie before and after the ``length`` ones of the frame."""
    return max(0, -int(along.first[0])), max(0, int(along.first[-1] + along.length[-1]) - length)
