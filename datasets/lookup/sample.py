"""The lookup of σ² at the crop and resolution of a training sample: arrays in, array out.

Column ``u'`` of the output looks along ``(u' - cx') / fx'``, so it lies at native column
``fx (u' - cx') / fx' + cx``: intrinsics and size of the output determine the crop and the resize.
"""

import math
import operator
import warnings
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from depthvar.datasets.errors import ParameterError
from depthvar.datasets.frame import as_array, as_numbers, camera_of, check_camera, is_pinhole

from .levels import Each, Places, ReadLevel, look_up

Resize = Literal["nearest", "linear"]
RESIZES = get_args(Resize)

# A scale or position this close to a stride or a native pixel counts as equal: loaders return float32 intrinsics.
SNAP = 1e-3
# Plausible native pixels per output pixel, and the largest ratio of x to y.
MIN_ZOOM, MAX_ZOOM, MAX_STRETCH = 1 / 16, 64.0, 2.0


def sample(
    read_level: ReadLevel,
    strides: Sequence[int],
    native_intrinsics: Sequence[float],
    native_size: tuple[int, int],
    intrinsics: ArrayLike,
    size: Sequence[int],
    resize: Resize = "nearest",
    flip: bool = False,
    window: int = 5,
    valid: NDArray[np.bool_] | None = None,
    each: Each = map,
) -> NDArray[np.float32]:
    """Return σ² for a crop and resize of a native frame, close to what the kernel would give on its depth.

    ``r`` is the number of native pixels per output pixel (the geometric mean of x and y). The two strides around ``r``
    are looked up bilinearly in log σ and blended by log₂ distance. The finer one is widened and the coarser one
    narrowed first, so that edges are as wide as with the output's window (:mod:`.levels`). A stride ``s`` with more
    than 2/3 of the blend is read alone, and its σ is multiplied by r / s (stride 1 is then not widened). Invalid
    neighbours, and levels without a valid one, are left out. If nothing is left, the pixel gets the σ of the nearest
    valid sample of the (finer) level, at most 4 samples away, times r / s; if there is none, or the level is stride 1,
    σ · r of the nearest valid native pixel at most ``r`` away. Of equally near ones the leftmost, then the topmost
    counts. If ``r`` is within 1e-3 of a stride, below the first or above the last, one level is read alone and not
    multiplied. A position on one of its samples then gets the stored value bit for bit, including +inf, so a crop is a
    slice.

    Args:
        read_level: gives some rows of the σ² map of a stride, which is (ceil(H / stride), ceil(W / stride)) float32
            in m², +inf where invalid, with sample ``i`` at native pixel ``i * stride``; called with stride and rows.
        strides: the stored strides, ascending from 1.
        native_intrinsics: fx, fy, cx, cy of the native frame; integer coordinates are pixel centres.
        native_size: (H, W) of the native frame in pixels.
        intrinsics: (3, 3) or (4,) of the output. A negative fx means that it is flipped left to right.
        size: (h, w) of the output in pixels.
        resize: how the supervised depth was resized. ``"nearest"``: as ``cv2.INTER_NEAREST``, which copies
            native pixel ``floor(u' r)`` (up to its rounding where ``u' r`` is an exact integer);
            ``"linear"``: at the pixel centres of the intrinsics.
        flip: the output is flipped left to right though its fx is above 0 (``cx' = w - 1 - cx``).
        window: of the kernel that wrote the levels.
        valid: (h, w) bool, where the output has depth; None: everywhere. At other pixels without any valid neighbour
            the result is +inf at once, which saves reading stride 1.
        each: like ``map``, calls ``read_level`` for the two levels of an output between strides; in parallel, where
            reading waits.

    Returns:
        (h, w) float32 in m², +inf outside the native frame and where there is no information.

    Raises:
        ParameterError: the output is rotated, skewed or flipped vertically; its intrinsics are not finite,
            or no plausible zoom (1/16 to 64 native pixels per output pixel, x and y within a factor of 2);
            ``size``, ``resize`` or dtype or shape of ``valid`` is not one of those allowed.
    """
    height, width = check_size(size)
    if resize not in RESIZES:
        raise ParameterError(f"resize: expected 'nearest' or 'linear', got {resize!r}")
    if not isinstance(flip, (bool, int, np.bool_, np.integer)) or flip not in (0, 1):
        raise ParameterError(f"flip: expected True or False, got {flip!r}")
    if valid is not None:
        valid = as_array("valid", valid)
        if valid.dtype != np.bool_ or valid.shape != (height, width):
            raise ParameterError(
                f"valid: expected bool of shape {(height, width)} as size says, got {valid.dtype} of {valid.shape}; "
                "pass depth > 0"
            )
    fx, fy, cx, cy = native_intrinsics
    (out_fx, out_fy, out_cx, out_cy), mirrored = _output_intrinsics(intrinsics, (height, width))
    scale_x, scale_y = fx / out_fx, fy / out_fy
    check_zoom(scale_x, scale_y)
    mirrored = mirrored or flip
    if mirrored:
        out_cx = width - 1 - out_cx  # of the output before its flip, where a nearest resize took the floor

    v = positions(height, scale_y, out_cy, cy, resize)
    u = positions(width, scale_x, out_cx, cx, resize)
    rows, columns = on_frame(v, native_size[0]), on_frame(u, native_size[1])
    v, u = v[rows], u[columns]
    if not v.size or not u.size:
        return np.full((height, width), np.inf, dtype=np.float32)
    has_depth = valid
    if valid is not None:
        valid = (valid[:, ::-1] if mirrored else valid)[rows, columns]
    scale = _snap_scale(math.sqrt(scale_x * scale_y), strides)
    sigma_z2 = look_up(read_level, strides, Places(scale, v, u, window, valid), each)
    if sigma_z2.shape != (height, width):  # part of the output lies outside the frame
        if has_depth is not None and valid is not None:
            _warn_outside(int(has_depth.sum()), int(valid.sum()), height + width)
        inside, sigma_z2 = sigma_z2, np.full((height, width), np.inf, dtype=np.float32)
        sigma_z2[rows, columns] = inside
    return np.ascontiguousarray(sigma_z2[:, ::-1]) if mirrored else sigma_z2


def _warn_outside(pixels: int, inside: int, border: int) -> None:
    """Warn where an output has depth at pixels that its intrinsics place outside of the native frame.

    A row and a column are no sign of a mistake: intrinsics that were scaled without the half pixel put them there.
    """
    if pixels - inside > 0.01 * pixels + border:
        warnings.warn(
            f"{(pixels - inside) / pixels:.0%} of the pixels with depth lie outside of the native frame, by the view's "
            "intrinsics: check that they are of this crop, resize and rotation",
            stacklevel=4,
        )


def positions(length: int, scale: float, out_c: float, c: float, resize: Resize) -> NDArray[np.float64]:
    """Return the native coordinate of every output column (or row), ascending.

    Args:
        length: number of output columns.
        scale: native pixels per output pixel along this axis.
        out_c: principal point of the output.
        c: principal point of the native frame.
        resize: see :func:`sample`.
    """
    position: NDArray[np.float64] = (np.arange(length, dtype=np.float64) - out_c) * scale + c
    if resize == "nearest":
        return np.floor(position + (0.5 - 0.5 * scale + SNAP))
    whole = np.rint(position)
    return np.where(np.abs(position - whole) <= SNAP, whole, position)


def on_frame(position: NDArray[np.float64], length: int) -> slice:
    """Return which of the ascending positions are on the frame: at least -0.5 and below ``length - 0.5``."""
    if position[0] >= -0.5 and position[-1] < length - 0.5:
        return slice(0, position.size)
    return slice(*np.searchsorted(position, (-0.5, length - 0.5)).tolist())


def _snap_scale(scale: float, strides: Sequence[int]) -> float:
    """Return the stride that a scale is meant to be, or the scale."""
    return next((float(stride) for stride in strides if abs(scale - stride) <= SNAP), scale)


def _output_intrinsics(intrinsics: ArrayLike, size: tuple[int, int]) -> tuple[list[float], bool]:
    """Return fx, fy, cx, cy of the output with fx made positive, and whether it was negative (a flip)."""
    given = as_numbers("intrinsics", intrinsics)
    if given.shape not in ((3, 3), (4,)):
        raise ParameterError(
            f"intrinsics: expected one (3, 3) matrix, or (4,) as fx, fy, cx, cy; got shape {given.shape}"
        )
    numbers: list[float] = given.astype(np.float64).ravel().tolist()  # Python's: for so few NumPy is slower
    if not all(map(math.isfinite, numbers)):
        raise ParameterError(f"intrinsics: expected finite fx, fy, cx, cy in pixels, got {given.tolist()}")
    square = len(numbers) == 9
    fx, fy = numbers[0], numbers[4 if square else 1]
    if fy < 0 or (square and (fx == 0 or fy == 0 or not is_pinhole([*numbers[:6], 0.0, 0.0, 1.0]))):
        raise ParameterError(
            f"intrinsics: expected no rotation, no skew and no vertical flip, got {given.tolist()}; "
            "call sample before that step and apply it to σ² too, or compute sigma_z2 in the loader"
        )
    numbers[0] = abs(fx)
    camera = camera_of(numbers) if square else numbers
    check_camera(camera, size)
    return camera, fx < 0


def check_zoom(scale_x: float, scale_y: float) -> None:
    """Raise ParameterError for native pixels per output pixel that no crop and resize of this frame gives."""
    low, high = sorted((scale_x, scale_y))
    if low < MIN_ZOOM or high > MAX_ZOOM or high > MAX_STRETCH * low:
        raise ParameterError(
            "intrinsics: expected 1/16 to 64 native pixels per output pixel, x and y within a factor of 2, "
            f"got {scale_x:.4g} in x and {scale_y:.4g} in y; pass those of this frame's output, in pixels"
        )


def check_size(size: Sequence[int]) -> tuple[int, int]:
    """Return (h, w), or raise ParameterError."""
    try:
        height, width = map(operator.index, size)
    except (TypeError, ValueError):
        height = width = 0
    if height < 1 or width < 1:
        raise ParameterError(f"size: expected (h, w), two integers >= 1, got {size!r}; pass depth.shape")
    return height, width
