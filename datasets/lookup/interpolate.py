"""Bilinear interpolation of log₂ σ² that leaves holes out, and the nearest valid sample; compiled loops.

The functions have explicit signatures, so importing this module compiles them or loads them from Numba's cache.
Processes that are forked afterwards inherit the code. All functions are in one file, since Numba's cache on disk
detects changes in the file of the outer function only. Loops are short and without branches, so that they run on
vectors. So are the logarithm and the exponential: polynomials, three times as fast as NumPy's on a CPU without AVX-512
(relative error of σ² below 4e-6, as log₂ σ² is a float32).
"""

import math

import numpy as np
from numba import types
from numpy.typing import NDArray

from depthvar.datasets.compiled import njit

_POSITIONS, _MAP = types.float64[::1], types.float32[:, ::1]
_LEVEL = types.Array(types.float32, 2, "C", readonly=True)  # read-only or not
_MASK = types.Array(types.bool_, 2, "A", readonly=True)  # of any strides, read-only or not

_INF = np.float32(np.inf)
# A float32 is 2^e · m: the bits of e are above the 23 of m. Taking off those of √½ makes m one of [√½, √2).
_SQRT_HALF, _FRACTION_BITS = np.int32(0x3F3504F3), np.int32(23)
_INF_EXPONENT = np.int32(255 << 23)


@njit(cache=True, error_model="numpy")
def _log2(values: NDArray[np.float32], logarithm: NDArray[np.float32]) -> None:
    """Write log₂ of (n,) σ²; +inf stays.

    log₂ m = 2 atanh((m - 1) / (m + 1)) / ln 2, by the first terms of its series.
    """
    bits, fraction_bits = values.view(np.int32), logarithm.view(np.int32)
    for k in range(values.size):  # a loop of its own: the next one reads as floats what this one writes as integers
        exponent = np.int32(np.int32(bits[k] - _SQRT_HALF) >> _FRACTION_BITS)
        fraction_bits[k] = np.int32(bits[k] - np.int32(exponent << _FRACTION_BITS))
    for k in range(values.size):
        exponent = np.int32(np.int32(bits[k] - _SQRT_HALF) >> _FRACTION_BITS)
        s = (logarithm[k] - np.float32(1)) / (logarithm[k] + np.float32(1))
        z = s * s
        series = np.float32(0.57707802) + z * np.float32(0.41219858)
        series = np.float32(2.88539008) + z * (np.float32(0.96179669) + z * series)
        logarithm[k] = np.float32(exponent) + s * series if values[k] < _INF else _INF


@njit(types.intp(_MAP, types.float64), cache=True, error_model="numpy")
def exp2(values: NDArray[np.float32], factor: float) -> int:
    """Replace (h, w) values y by 2^y · factor, +inf stays; return how many are +inf.

    2^y = 2^k · 2^f with f in [-½, ½), by the first terms of the series of e^(f ln 2).
    """
    lost, scale = 0, np.float32(factor)
    exponent = np.empty(values.shape[1], np.int32)
    for i in range(values.shape[0]):
        row = values[i]
        bits = row.view(np.int32)
        for k in range(row.size):
            is_lost = row[k] == _INF
            lost += is_lost
            y = np.float32(0) if is_lost else row[k]
            whole = np.floor(y + np.float32(0.5))
            exponent[k] = _INF_EXPONENT if is_lost else np.int32(np.int32(whole) << _FRACTION_BITS)
            row[k] = y - whole
        for k in range(row.size):
            f = row[k]
            series = np.float32(0.00961813) + f * (np.float32(0.00133336) + f * np.float32(0.00015404))
            series = np.float32(0.24022651) + f * (np.float32(0.05550411) + f * series)
            row[k] = np.float32(1) + f * (np.float32(0.69314718) + f * series)
        for k in range(row.size):
            bits[k] = np.int32(bits[k] + exponent[k]) if exponent[k] != _INF_EXPONENT else _INF_EXPONENT
        for k in range(row.size):
            row[k] *= scale
    return lost


@njit(cache=True, error_model="numpy")
def _taps(
    position: NDArray[np.float64], shift: float, stride: int, start: int, last: int
) -> tuple[NDArray[np.uintp], NDArray[np.float32]]:
    """Return two (2, n) arrays for the positions minus and plus the shift: the sample at or before, and the fraction.

    Samples are counted from ``start``; positions outside are clamped to the first and the last sample.
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


@njit(
    _MAP(_LEVEL, types.intp, types.intp, _POSITIONS, _POSITIONS, types.float64, types.bool_),
    cache=True,
    error_model="numpy",
)
def interpolate(
    sigma_z2: NDArray[np.float32],
    stride: int,
    top: int,
    v: NDArray[np.float64],
    u: NDArray[np.float64],
    shift: float,
    widen: bool,
) -> NDArray[np.float32]:
    """Return log₂ σ² (h, w), interpolated along rows, then along columns; +inf where there is no information.

    Args:
        sigma_z2, stride, top: of a :class:`~depthvar.datasets.lookup.levels.Level`.
        v, u: (h,) and (w,) ascending native positions.
        shift: each is looked up so many native pixels before and after it.
        widen: use the larger of the values at the two positions of a row (then column); False: the smaller.
    """
    height, width = v.size, u.size
    left = max(math.floor((u[0] - shift) / stride), 0)
    right = min(max(math.floor((u[-1] + shift) / stride), 0) + 2, sigma_z2.shape[1])
    last_row, columns_there = sigma_z2.shape[0] - 1, right - left
    values = np.empty((sigma_z2.shape[0], columns_there), np.float32)
    rows, down = _taps(v, shift, stride, top, last_row)
    columns, across = _taps(u, shift, stride, left, columns_there - 1)
    ready = np.intp(rows[0, 0])  # rows of ``values`` are made as they are needed: in the nearest cache
    result = np.empty((height, width), dtype=np.float32)
    # One more, so that the last column has a right neighbour.
    line = np.full(columns_there + 1, np.inf, dtype=np.float32)
    near, far = np.empty((2, width), dtype=np.float32), np.empty((2, width), dtype=np.float32)
    for i in range(height):
        while ready <= min(np.intp(rows[1, i]) + 1, last_row):
            _log2(sigma_z2[ready, left:right], values[ready])
            ready += 1
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
            one = _between(near[0, j], far[0, j], across[0, j])
            result[i, j] = _choose(one, _between(near[1, j], far[1, j], across[1, j]), widen)
    return result


@njit(types.void(_MAP, _MAP, types.float64), cache=True, error_model="numpy")
def blend(one: NDArray[np.float32], other: NDArray[np.float32], share: float) -> None:
    """Blend ``share`` of another map of log₂ σ² (h, w) into the first; where one is +inf, use the other alone."""
    weight = np.float32(share)
    for i in range(one.shape[0]):
        for j in range(one.shape[1]):
            one[i, j] = _between(one[i, j], other[i, j], weight)


@njit(
    types.UniTuple(types.intp, 2)(
        _MAP, _MASK, _LEVEL, types.intp, types.intp, _POSITIONS, _POSITIONS, types.float64, types.float64
    ),
    cache=True,
)
def fill_nearest(
    sigma_z2: NDArray[np.float32],
    wanted: NDArray[np.bool_],
    samples: NDArray[np.float32],
    stride: int,
    top: int,
    v: NDArray[np.float64],
    u: NDArray[np.float64],
    reach: float,
    factor: float,
) -> tuple[int, int]:
    """Give each wanted pixel that is +inf the nearest valid sample of a level: of equally near ones the leftmost.

    Args:
        sigma_z2: (h, w), changed in place.
        wanted: (h, w).
        samples, stride, top: of a :class:`~depthvar.datasets.lookup.levels.Level`.
        v, u: (h,) and (w,) native positions.
        reach: how far a sample may be, in native pixels.
        factor: σ² of the sample is multiplied by it.

    Returns:
        The first and the last row where a wanted pixel still is +inf; (h, -1): none.
    """
    height, width = samples.shape
    scale = np.float32(factor)
    first, last = v.size, -1
    for i in range(v.size):
        lost = False
        for j in range(u.size):  # without a branch: most rows have none
            lost |= (sigma_z2[i, j] == _INF) & wanted[i, j]
        if not lost:
            continue
        above = max(0, math.ceil((v[i] - reach) / stride) - top)
        below = min(height - 1, math.floor((v[i] + reach) / stride) - top)
        for j in range(u.size):
            if sigma_z2[i, j] < _INF or not wanted[i, j]:
                continue
            left = max(0, math.ceil((u[j] - reach) / stride))
            right = min(width - 1, math.floor((u[j] + reach) / stride))
            least, column = np.inf, -1
            for y in range(above, below + 1):
                for x in range(left, right + 1):
                    if samples[y, x] < _INF:
                        distance = (x * stride - u[j]) ** 2 + ((y + top) * stride - v[i]) ** 2
                        is_nearer = distance < least or (distance == least and x < column)
                        if is_nearer and distance <= reach**2:
                            least, column = distance, x
                            sigma_z2[i, j] = samples[y, x] * scale
            if column < 0:
                first, last = min(first, i), i
    return first, last
