"""Bilinear interpolation of log σ² that leaves holes out, and the nearest valid pixel; compiled loops.

The functions have explicit signatures, so importing this module compiles them or loads them from Numba's cache.
Processes that are forked afterwards inherit the code. All functions are in one file, since Numba's cache on disk
detects changes in the file of the outer function only.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from depthvar.datasets.compiled import njit


class Axis(NamedTuple):
    """Ascending native positions along one axis; each is looked up ``shift`` native pixels before and after it."""

    positions: NDArray[np.float64]
    shift: float


class Level(NamedTuple):
    """Some rows and columns of one stride's map.

    Attributes:
        values: log σ², +inf where invalid.
        stride: of the level.
        top, left: the first row and column that it holds.
    """

    values: NDArray[np.float32]
    stride: int
    top: int
    left: int


_POSITIONS, _MAP = types.float64[::1], types.float32[:, ::1]
_AXIS = types.NamedTuple([_POSITIONS, types.float64], Axis)
_LEVEL = types.NamedTuple([_MAP, types.intp, types.intp, types.intp], Level)
_NATIVE = types.Array(types.float32, 2, "A", readonly=True)  # of any strides, read-only or not


@njit(cache=True, error_model="numpy")
def _taps(axis: Axis, stride: int, start: int, last: int) -> tuple[NDArray[np.uintp], NDArray[np.float32]]:
    """Return two (2, n) arrays for the positions minus and plus the shift: the sample at or before, and the fraction.

    Samples are counted from ``start``; positions outside are clamped to the first and the last sample.
    """
    position, shift = axis.positions, axis.shift
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
    """Return the linear interpolation from first (share 0) to second (share 1); if one is +inf, the other."""
    inf = np.float32(np.inf)
    value = first + (second - first) * share  # not finite if either is not
    only = first if first < inf else (second if share > 0 else inf)
    return value if value < inf else only


@njit(cache=True, error_model="numpy")
def _choose(one: np.float32, other: np.float32, larger: bool) -> np.float32:
    """Return the larger or the smaller of two values; if one is +inf, the other."""
    inf = np.float32(np.inf)
    if larger:
        return max(one if one < inf else other, other if other < inf else one)
    return min(one, other)


@njit(_MAP(_LEVEL, _AXIS, _AXIS, types.bool_), cache=True, error_model="numpy")
def interpolate(level: Level, v: Axis, u: Axis, widen: bool) -> NDArray[np.float32]:
    """Return log σ² (h, w), interpolated along rows, then along columns; +inf where there is no information.

    Args:
        level: what is looked up.
        v, u: the h rows and w columns.
        widen: use the larger of the values at the two positions of a row (then column); False: the smaller.
    """
    values, height, width = level.values, v.positions.size, u.positions.size
    last_row, columns_there = values.shape[0] - 1, values.shape[1]
    rows, down = _taps(v, level.stride, level.top, last_row)
    columns, right = _taps(u, level.stride, level.left, columns_there - 1)
    result = np.empty((height, width), dtype=np.float32)
    # One more, so that the last column has a right neighbour.
    line = np.full(columns_there + 1, np.inf, dtype=np.float32)
    near, far = np.empty((2, width), dtype=np.float32), np.empty((2, width), dtype=np.float32)
    for i in range(height):
        above, below = values[rows[0, i]], values[min(rows[0, i] + 1, last_row)]
        above2, below2 = values[rows[1, i]], values[min(rows[1, i] + 1, last_row)]
        part, part2 = down[0, i], down[1, i]
        for k in range(columns_there):
            line[k] = _choose(_between(above[k], below[k], part), _between(above2[k], below2[k], part2), widen)
        for j in range(width):  # gathered first, so that the loop below runs on vectors
            k, k2 = columns[0, j], columns[1, j]
            near[0, j], far[0, j] = line[k], line[k + 1]
            near[1, j], far[1, j] = line[k2], line[k2 + 1]
        for j in range(width):
            one = _between(near[0, j], far[0, j], right[0, j])
            result[i, j] = _choose(one, _between(near[1, j], far[1, j], right[1, j]), widen)
    return result


@njit(types.void(_MAP, _MAP, types.float64), cache=True, error_model="numpy")
def blend(one: NDArray[np.float32], other: NDArray[np.float32], share: float) -> None:
    """Blend ``share`` of another map of log σ² (h, w) into the first; where one is +inf, use the other alone."""
    weight = np.float32(share)
    for i in range(one.shape[0]):
        for j in range(one.shape[1]):
            one[i, j] = _between(one[i, j], other[i, j], weight)


@njit(types.float32[::1](_NATIVE, _POSITIONS, _POSITIONS, types.float64), cache=True)
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
