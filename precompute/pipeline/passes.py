"""What a run does with a map apart from the kernel: rounding, and counting; each in one compiled pass.

NumPy needs many calls for that, and each gives the GIL back and asks for it again; with many threads they wait for it
longer than they compute. The signatures compile this file when it is imported. As in ``numba_engine``, one core per
call.

Least and largest numbers are found by their bits as int32: the bits of numbers from 0 on have the same order, and loops
over integers run on vectors (over floats they do not: fastmath is off, since there is NaN).
"""

from typing import Any

import numpy as np
from numba import types

from depthvar.datasets.compiled import njit

_JIT: dict[str, Any] = {"nogil": True, "error_model": "numpy", "cache": True}
_MAP = types.Array(types.float32, 2, "C", readonly=True)  # writable ones too
_COUNT, _COUNTS, _BITS, _NUMBER = types.intp, types.intp[::1], types.int32, types.float32
_INF, _ZERO = np.float32(np.inf), np.float32(0)
_INF_BITS, _NO_BITS, _NAN_BITS = np.int32(0x7F800000), np.int32(0), np.int32(0x7FC00000)
_SIGN, _BUT_THE_SIGN = np.int32(31), np.int32(0x7FFFFFFF)


@njit(types.void(types.int32[:, ::1], types.int32), **_JIT)
def round_bits(bits, dropped):  # type: ignore[no-untyped-def]
    """Round float32 numbers (H, W), viewed as int32, in place: the last ``dropped`` (1 to 22) bits to 0, ties to even.

    The numbers of ``levels.round_mantissas``.
    """
    last_kept, below_half = np.int32(1 << dropped), np.int32((1 << dropped - 1) - 1)
    for v in range(bits.shape[0]):
        for u in range(bits.shape[1]):
            is_odd = bits[v, u] & last_kept != 0
            bits[v, u] = bits[v, u] + below_half + is_odd & -last_kept


@njit(types.Tuple((_COUNT, _COUNT, _BITS, _BITS))(_MAP, _NUMBER, _NUMBER), **_JIT)
def count_depth(depth, least, most):  # type: ignore[no-untyped-def]
    """Count the depths (H, W) above 0, and those in [least, most], which are above 0.

    Returns:
        Both counts; the bits of the least and the largest depth in [least, most]: those of +inf and 0 without any.
    """
    bits = depth.view(np.int32)
    known = valid = 0
    nearest, farthest = _INF_BITS, _NO_BITS
    for v in range(depth.shape[0]):
        for u in range(depth.shape[1]):
            is_valid = (depth[v, u] >= least) & (depth[v, u] <= most)
            known += depth[v, u] > _ZERO
            valid += is_valid
            nearest = min(nearest, bits[v, u] if is_valid else _INF_BITS)
            farthest = max(farthest, bits[v, u] if is_valid else _NO_BITS)
    return known, valid, nearest, farthest


@njit(inline="always")
def _ordered(bits):  # type: ignore[no-untyped-def]
    """Return bits in the order of the numbers, also of those below 0; of these, the bits again."""
    return bits ^ (bits >> _SIGN & _BUT_THE_SIGN)


@njit(types.Tuple((_COUNT, _BITS, _BITS, _COUNTS, _COUNTS))(_MAP, _COUNT, types.uint32, _COUNT), **_JIT)
def count_sigma(sigma_z2, step, dropped, bins):  # type: ignore[no-untyped-def]
    """Count the numbers (H, W) below +inf; in every ``step``-th row and column also those of each bin.

    A number's bin is its bits without the last ``dropped`` ones. Numbers outside the first ``bins`` are left out.

    Returns:
        The count; the bits of the least number of all (NaN where one is), and of the largest below +inf, at least 0;
        the bins that have a number, ascending, and how many each has.
    """
    bits = sigma_z2.view(np.int32)
    finite = missing = 0
    least, largest = _INF_BITS, _NO_BITS
    for v in range(sigma_z2.shape[0]):
        for u in range(sigma_z2.shape[1]):
            is_finite = sigma_z2[v, u] < _INF
            finite += is_finite
            missing += sigma_z2[v, u] != sigma_z2[v, u]
            least = min(least, _ordered(bits[v, u]))
            largest = max(largest, bits[v, u] if is_finite else _NO_BITS)
    places, counts = np.empty(bins, np.intp), np.zeros(bins, np.intp)
    for v in range(0, sigma_z2.shape[0], step):
        for u in range(0, sigma_z2.shape[1], step):
            place = np.uint32(bits[v, u]) >> dropped
            if place < bins:
                counts[place] += 1
    used = 0
    for place in range(bins):
        if counts[place] > 0:
            places[used], counts[used] = place, counts[place]
            used += 1
    return finite, _NAN_BITS if missing else _ordered(least), largest, places[:used], counts[:used]
