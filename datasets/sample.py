"""The lookup of σ² at the crop and resolution of a training sample: arrays in, array out.

Column ``u'`` of the output looks along ``(u' - cx') / fx'``, so it lies at native column
``fx (u' - cx') / fx' + cx``: intrinsics and size of the output say which crop and which resize were made.
"""

import functools
import math
import operator
from bisect import bisect
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from .errors import ParameterError
from .frame import as_intrinsics

Resize = Literal["nearest", "linear"]
ReadLevel = Callable[[int], NDArray[np.float32]]

# What is this close to a stride or to a native pixel is meant to be there: loaders return float32 intrinsics.
SNAP = 1e-3
# Native pixels per output pixel that a crop and a resize can plausibly cause; the most that x and y differ.
MIN_ZOOM, MAX_ZOOM, MAX_STRETCH = 1 / 16, 64.0, 2.0


def sample(
    read_level: ReadLevel,
    strides: Sequence[int],
    native_intrinsics: ArrayLike,
    native_size: tuple[int, int],
    intrinsics: ArrayLike,
    size: tuple[int, int],
    resize: Resize = "nearest",
    flip: bool = False,
) -> NDArray[np.float32]:
    """Return σ² for a crop and resize of a native frame, close to what the kernel would give on its depth.

    With ``r`` native pixels per output pixel (the geometric mean of x and y), the two strides around ``r``
    are each looked up bilinearly in log σ and blended by log₂ distance; invalid neighbours, and levels
    without a valid one, are left out. Where nothing is left, the nearest valid native pixel at most ``r``
    away gives its σ² times r² (the leftmost, then topmost, of equally near ones). With ``r`` within 1e-3 of a
    stride, below the first or above the last, one level is read alone, and a position on one of its samples
    takes what is stored there bit for bit, +inf included: a crop is a slice.

    Args:
        read_level: gives the σ² map of a stride, (ceil(H / stride), ceil(W / stride)) float32 in m², +inf
            where invalid, with sample ``i`` at native pixel ``i * stride``. Called once per stride it needs.
        strides: the strides there are, ascending from 1.
        native_intrinsics: (4,) or (3, 3) of the native frame; integer coordinates are pixel centres.
        native_size: (H, W) of the native frame in pixels.
        intrinsics: (3, 3) or (4,) of the output. A negative fx says that it is flipped left to right.
        size: (h, w) of the output in pixels.
        resize: how the supervised depth was resized. ``"nearest"``: as ``cv2.INTER_NEAREST`` does, which
            takes native pixel ``floor(u' r)``; ``"linear"``: at the centres that the intrinsics give.
        flip: the output is flipped left to right though its fx is above 0 (``cx' = w - 1 - cx``).

    Returns:
        (h, w) float32 in m², +inf outside the native frame and where there is no information.

    Raises:
        ParameterError: the output is turned, skewed or flipped top to bottom; its intrinsics are not finite,
            or no plausible zoom (1/16 to 64 native pixels per output pixel, x and y within a factor of 2);
            ``size`` or ``resize`` is not one of those allowed.
    """
    height, width = _check_size(size)
    if resize not in get_args(Resize):
        raise ParameterError(f"resize: expected 'nearest' or 'linear', got {resize!r}")
    fx, fy, cx, cy = as_intrinsics(native_intrinsics).tolist()
    (out_fx, out_fy, out_cx, out_cy), mirrored = _output_intrinsics(intrinsics)
    scale_x, scale_y = fx / out_fx, fy / out_fy
    _check_zoom(scale_x, scale_y)
    mirrored = mirrored or flip
    if mirrored:
        out_cx = width - 1 - out_cx  # of the output before its flip, where a nearest resize took the floor

    v = _positions(height, scale_y, out_cy, cy, resize)
    u = _positions(width, scale_x, out_cx, cx, resize)
    rows, columns = _inside(v, native_size[0]), _inside(u, native_size[1])
    sigma_z2 = np.full((height, width), np.inf, dtype=np.float32)
    if v[rows].size and u[columns].size:
        scale = _snap_scale(math.sqrt(scale_x * scale_y), strides)
        sigma_z2[rows, columns] = _look_up(read_level, strides, scale, v[rows], u[columns])
    return np.ascontiguousarray(sigma_z2[:, ::-1]) if mirrored else sigma_z2


def blend_weights(strides: Sequence[int], scale: float) -> list[tuple[int, float]]:
    """Return the one or two strides that describe a scale, each with its weight; the weights add up to 1.

    Args:
        strides: ascending.
        scale: native pixels per output pixel. On a stride, below the first or above the last: that one alone.
    """
    above = bisect(strides, scale)
    if above in (0, len(strides)) or scale == strides[above - 1]:
        return [(strides[max(above - 1, 0)], 1.0)]
    fine, coarse = strides[above - 1], strides[above]
    weight = math.log2(scale / fine) / math.log2(coarse / fine)
    return [(fine, 1 - weight), (coarse, weight)]


def _look_up(
    read_level: ReadLevel,
    strides: Sequence[int],
    scale: float,
    v: NDArray[np.float64],
    u: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Return σ² (h, w) at native rows ``v`` (h,) and columns ``u`` (w,), all inside the frame."""
    read = functools.cache(read_level)
    levels = blend_weights(strides, scale)
    if len(levels) == 1:  # positions on its samples take what is stored there, holes too
        stride = levels[0][0]
        on_rows, on_columns = v % stride == 0, u % stride == 0
        rows, columns = (v[on_rows] // stride).astype(np.intp), (u[on_columns] // stride).astype(np.intp)
        stored: NDArray[np.float32] = read(stride).take(rows, axis=0).take(columns, axis=1)
        if on_rows.all() and on_columns.all():
            return stored

    log_sum = np.zeros((v.size, u.size), dtype=np.float32)
    weight_sum = np.zeros_like(log_sum)
    for stride, weight in levels:
        level = read(stride)
        top, down = _split(v / stride, level.shape[0])
        left, right = _split(u / stride, level.shape[1])
        used = np.log(level[top[0] : top[-1] + 2, left[0] : left[-1] + 2])
        _add_level(log_sum, weight_sum, used, np.float32(weight), top - top[0], down, left - left[0], right)
    lost = weight_sum == 0
    log_sum /= weight_sum + lost
    sigma_z2: NDArray[np.float32] = np.exp(log_sum, out=log_sum)  # the lost get theirs below
    if len(levels) == 1:
        sigma_z2[np.ix_(on_rows, on_columns)] = stored
        lost[np.ix_(on_rows, on_columns)] = False
    if lost.any():
        rows, columns = np.nonzero(lost)
        sigma_z2[lost] = _nearest_valid(read(1), v[rows], u[columns], scale) * np.float32(scale**2)
    return sigma_z2


def _split(position: NDArray[np.float64], length: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return the sample at or before each position, clamped to those there are, and the rest beyond it."""
    clamped = position.clip(0, length - 1)
    lower = clamped.astype(np.intp)
    return lower, (clamped - lower).astype(np.float32)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _add_level(
    log_sum: NDArray[np.float32],
    weight_sum: NDArray[np.float32],
    level: NDArray[np.float32],
    weight: np.float32,
    top: NDArray[np.intp],
    down: NDArray[np.float32],
    left: NDArray[np.intp],
    right: NDArray[np.float32],
) -> None:
    """Add a level to the blend (h, w) in place: log σ², bilinear over its valid neighbours, and its weight.

    Args:
        log_sum: the sum of weight * log σ² so far.
        weight_sum: the sum of weights so far; a level without any valid neighbour adds none.
        level: log σ² of the level, +inf where invalid.
        weight: of the level.
        top, down: (h,) for every output row the sample at or before it, and the rest beyond that.
        left, right: (w,) likewise for columns.
    """
    last_row, width = level.shape[0] - 1, level.shape[1]
    zero = np.float32(0)
    # A mean over valid neighbours is a ratio of two bilinear sums, and each separates: down first, then right.
    value = np.zeros(width + 1, dtype=np.float32)  # one more, so that the last column has a right neighbour
    known = np.zeros(width + 1, dtype=np.float32)
    for i in range(top.size):
        above, below = level[top[i]], level[min(top[i] + 1, last_row)]
        share_below = down[i]
        share_above = np.float32(1) - share_below
        for k in range(width):
            w_above = share_above if above[k] < np.inf else zero
            w_below = share_below if below[k] < np.inf else zero
            value[k] = w_above * (above[k] if w_above > 0 else zero) + w_below * (below[k] if w_below > 0 else zero)
            known[k] = w_above + w_below
        for j in range(left.size):
            k = left[j]
            # Not first + (second - first) * share: beside a hole it cancels, and the small rest is divided by.
            share = known[k] * (np.float32(1) - right[j]) + known[k + 1] * right[j]
            if share > 0:
                mean = (value[k] * (np.float32(1) - right[j]) + value[k + 1] * right[j]) / share
                log_sum[i, j] += weight * mean
                weight_sum[i, j] += weight


@njit(cache=True)  # type: ignore[untyped-decorator]
def _nearest_valid(
    native: NDArray[np.float32], v: NDArray[np.float64], u: NDArray[np.float64], reach: float
) -> NDArray[np.float32]:
    """Return σ² (n,) of the valid native pixel nearest to each of n points; +inf: none within ``reach``."""
    height, width = native.shape
    nearest = np.full(v.size, np.inf, dtype=np.float32)
    for k in range(v.size):
        least = np.inf
        for j in range(max(0, math.ceil(u[k] - reach)), min(width - 1, math.floor(u[k] + reach)) + 1):
            for i in range(max(0, math.ceil(v[k] - reach)), min(height - 1, math.floor(v[k] + reach)) + 1):
                distance = (j - u[k]) ** 2 + (i - v[k]) ** 2
                if native[i, j] != np.inf and distance <= reach**2 and distance < least:
                    least = distance
                    nearest[k] = native[i, j]
    return nearest


def _positions(length: int, scale: float, out_c: float, c: float, resize: Resize) -> NDArray[np.float64]:
    """Return the native coordinate of every output column (or row), ascending.

    Args:
        length: number of output columns.
        scale: native pixels per output pixel along this axis.
        out_c: principal point of the output.
        c: principal point of the native frame.
        resize: see :func:`sample`.
    """
    position = (np.arange(length) - out_c) * scale + c
    if resize == "nearest":
        position += 0.5 - 0.5 * scale
    whole = np.rint(position)
    snapped: NDArray[np.float64] = np.where(np.abs(position - whole) <= SNAP, whole, position)
    return np.floor(snapped) if resize == "nearest" else snapped


def _inside(position: NDArray[np.float64], length: int) -> slice:
    """Return which of the ascending positions are on the frame: at least -0.5 and below ``length - 0.5``."""
    return slice(*np.searchsorted(position, (-0.5, length - 0.5)).tolist())


def _snap_scale(scale: float, strides: Sequence[int]) -> float:
    """Return the stride that a scale is meant to be, or the scale."""
    return next((float(stride) for stride in strides if abs(scale - stride) <= SNAP), scale)


def _output_intrinsics(intrinsics: ArrayLike) -> tuple[list[float], bool]:
    """Return fx, fy, cx, cy of the output with fx made positive, and whether it was negative (a flip)."""
    given = np.array(intrinsics, dtype=np.float64)
    if given.shape not in ((3, 3), (4,)):
        raise ParameterError(
            f"intrinsics: expected one (3, 3) matrix, or (4,) as fx, fy, cx, cy; got shape {given.shape}"
        )
    square = given.shape == (3, 3)
    fy = given[1, 1] if square else given[1]
    if fy < 0 or (square and (given[0, 0] == 0 or fy == 0 or given[0, 1] != 0 or given[1, 0] != 0)):
        raise ParameterError(
            f"intrinsics: expected no turn, no skew and no flip top to bottom, got {given.tolist()}; "
            "call sample before that step and turn or flip the map along, or compute sigma_z2 in the loader"
        )
    mirrored = bool(given.flat[0] < 0)
    given.flat[0] = abs(given.flat[0])
    return as_intrinsics(given).tolist(), mirrored


def _check_zoom(scale_x: float, scale_y: float) -> None:
    """Raise ParameterError for native pixels per output pixel that no crop and resize of this frame gives."""
    low, high = sorted((scale_x, scale_y))
    if low < MIN_ZOOM or high > MAX_ZOOM or high > MAX_STRETCH * low:
        raise ParameterError(
            "intrinsics: expected 1/16 to 64 native pixels per output pixel, x and y within a factor of 2, "
            f"got {scale_x:.4g} in x and {scale_y:.4g} in y; pass those of this frame's output, in pixels"
        )


def _check_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return (h, w), or raise ParameterError."""
    try:
        height, width = map(operator.index, size)
    except (TypeError, ValueError):
        height = width = 0
    if height < 1 or width < 1:
        raise ParameterError(f"size: expected (h, w), two integers >= 1, got {size!r}; pass depth.shape")
    return height, width
