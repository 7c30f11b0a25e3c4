"""Bilinear interpolation of log σ² that leaves holes out, and the nearest valid pixel; compiled loops.

The signatures are written out, so that importing this module compiles them, or loads what Numba has cached: processes
that are forked afterwards inherit the code. All in one file: Numba's cache on disk sees changes of the file of the
outer function only.
"""

import math

import numpy as np
from numba import types
from numpy.typing import NDArray

from depthvar.datasets.compiled import njit

_REAL, _WHOLE, _YES = types.float64, types.intp, types.bool_
_LEVEL = types.float32[:, ::1]
_NATIVE = types.Array(types.float32, 2, "A", readonly=True)  # of any strides, read-only or not
_POSITIONS = types.float64[::1]


@njit(cache=True, error_model="numpy")
def _taps(
    position: NDArray[np.float64], shift: float, stride: int, start: int, last: int
) -> tuple[NDArray[np.uintp], NDArray[np.float32]]:
    """Return (2, n): for positions moved back and forth, the sample at or before each, and the rest beyond it.

    Samples are counted from ``start``; positions beyond them are clamped to the first and the last.
    """
    lower, rest = np.empty((2, position.size), dtype=np.uintp), np.empty((2, position.size), dtype=np.float32)
    for side in range(2):
        for k in range(position.size):
            moved = (position[k] + (2 * side - 1) * shift) / stride - start
            clamped = min(max(moved, 0.0), float(last))
            lower[side, k] = int(clamped)
            rest[side, k] = clamped - int(clamped)
    return lower, rest


@njit(cache=True, error_model="numpy")
def _between(first: np.float32, second: np.float32, share: np.float32) -> np.float32:
    """Return the value at a part ``share`` of the way from first to second; the valid one, where one is +inf."""
    inf = np.float32(np.inf)
    value = first + (second - first) * share  # not finite where either is not
    only = first if first < inf else (second if share > 0 else inf)
    return value if value < inf else only


@njit(cache=True, error_model="numpy")
def _choose(one: np.float32, other: np.float32, larger: bool) -> np.float32:
    """Return the larger or the smaller of two values; the valid one, where one is +inf."""
    inf = np.float32(np.inf)
    if larger:
        return max(one if one < inf else other, other if other < inf else one)
    return min(one, other)


@njit(
    _YES(_LEVEL, _YES, _LEVEL, _REAL, _YES, _REAL, _POSITIONS, _POSITIONS, _REAL, _WHOLE, _WHOLE, _WHOLE),
    cache=True,
    error_model="numpy",
)
def blend_level(
    blend: NDArray[np.float32],
    first: bool,
    level: NDArray[np.float32],
    share: float,
    widen: bool,
    growth: float,
    v: NDArray[np.float64],
    u: NDArray[np.float64],
    shift: float,
    stride: int,
    top: int,
    left: int,
) -> bool:
    """Blend a level into log σ² (h, w) in place, interpolated along rows, then along columns.

    Args:
        blend: log σ² of the levels so far, +inf where none has information; there the level counts alone.
        first: there are no levels so far, and ``blend`` holds nothing yet.
        level: log σ² of the level from row ``top`` and column ``left`` on, +inf where invalid.
        share: of the level, above 0; the rest is that of the blend.
        widen: take the larger of the values at the two positions of a row (then column); False: the smaller.
        growth: added to log σ².
        v, u: native rows (h,) and columns (w,), looked up ``shift`` native pixels back and forth.
        stride: of the level.

    Returns:
        Whether there is information everywhere.
    """
    last_row, width = level.shape[0] - 1, level.shape[1]
    rows, down = _taps(v, shift, stride, top, last_row)
    columns, right = _taps(u, shift, stride, left, width - 1)
    weight, more, inf = np.float32(share), np.float32(growth), np.float32(np.inf)
    line = np.full(width + 1, np.inf, dtype=np.float32)  # one more, so that the last column has a right neighbour
    near, far = np.empty((2, u.size), dtype=np.float32), np.empty((2, u.size), dtype=np.float32)
    lost = 0
    for i in range(v.size):
        above, below = level[rows[0, i]], level[min(rows[0, i] + 1, last_row)]
        above2, below2 = level[rows[1, i]], level[min(rows[1, i] + 1, last_row)]
        part, part2 = down[0, i], down[1, i]
        for k in range(width):
            line[k] = _choose(_between(above[k], below[k], part), _between(above2[k], below2[k], part2), widen)
        for j in range(u.size):  # gathered first, so that the loop below runs on vectors
            k, k2 = columns[0, j], columns[1, j]
            near[0, j], far[0, j] = line[k], line[k + 1]
            near[1, j], far[1, j] = line[k2], line[k2 + 1]
        for j in range(u.size):
            one = _between(near[0, j], far[0, j], right[0, j])
            log_sigma_z2 = _choose(one, _between(near[1, j], far[1, j], right[1, j]), widen) + more
            blended = log_sigma_z2 if first else _between(blend[i, j], log_sigma_z2, weight)
            blend[i, j] = blended
            lost += blended == inf
    return lost == 0


@njit(types.float32[::1](_NATIVE, _POSITIONS, _POSITIONS, _REAL), cache=True)
def nearest_valid(
    native: NDArray[np.float32], v: NDArray[np.float64], u: NDArray[np.float64], reach: float
) -> NDArray[np.float32]:
    """Return σ² (n,) of the valid native pixel nearest to each of n points; +inf: none within ``reach``.

    Args:
        native: rows of the native map.
        v: (n,) counted from the first of them.
        u: (n,).
        reach: in native pixels.
    """
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
