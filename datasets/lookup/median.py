"""The lower median of the known depths under each pixel of an output; compiled loops.

As in :mod:`.interpolate`, the signature compiles this file when it is imported, all functions are in one file, and
loops are short and without branches, so that they run on vectors. For that, all pixels of a call have footprints of one
size, and the values of a block of pixels lie in as many rows as a footprint has. An unknown depth becomes -inf or +inf
in turns, so that the median has the same rank in every pixel; that many passes of selection sort find it. No loop
changes two arrays in place: LLVM would store behind a mask, which some CPUs do slowly.
"""

from typing import NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from depthvar.datasets.compiled import njit
from depthvar.datasets.frame import SMALLEST_DEPTH

# A block has few values, so that it stays in the CPU's cache, but some pixels, so that loops are worth starting.
BLOCK, PIXELS = 4096, 512

_INF, _ZERO, _SMALLEST = np.float32(np.inf), np.float32(0), np.float32(SMALLEST_DEPTH)
_ONE = np.int32(1)
_DEPTH = types.Array(types.float32, 2, "C", readonly=True)  # read-only or not
_PLACES = types.uintp[::1]  # a signed index would have to be checked for a count from the end


class Footprints(NamedTuple):
    """Footprints of one size along one axis.

    Attributes:
        length: native pixels of each.
        first: (n,) the first one; all lie inside.
        at: (n,) the output's columns (or rows) that they belong to.
    """

    length: int
    first: NDArray[np.uintp]
    at: NDArray[np.uintp]


_FOOTPRINTS = types.NamedTuple([types.intp, _PLACES, _PLACES], Footprints)


@njit(cache=True, error_model="numpy")
def _gather(depth, tops, lefts, down, right, values, slot):  # type: ignore[no-untyped-def]
    """Copy one depth of each footprint, ``down`` and ``right`` of its first."""
    start = 0
    for top in tops:
        for j in range(lefts.size):
            values[slot, start + j] = depth[top + down, lefts[j] + right]
        start += lefts.size


@njit(cache=True, error_model="numpy")
def _replace_unknown(values, slot, known, out):  # type: ignore[no-untyped-def]
    """Replace the unknown depths of a footprint by infinities, and count the known ones.

    The signs alternate. With the right one first, rank (n - 1) // 2 of n known depths is (slots - 1) // 2 of all.
    """
    before = np.int32(slot + values.shape[0])
    for k in range(known.size):
        z, n = values[slot, k], known[k]
        is_known = z >= _SMALLEST  # not NaN
        infinity = _INF if (before - n) & _ONE == 0 else -_INF
        out[slot, k] = z if is_known else infinity
        known[k] = n + np.int32(is_known)


@njit(cache=True, error_model="numpy")
def _exchange(low, values, slot, next_low, out):  # type: ignore[no-untyped-def]
    """Keep the lower one of two rows apart."""
    for k in range(low.size):
        a, b = low[k], values[slot, k]
        next_low[k] = min(a, b)
        out[slot, k] = max(a, b)


@njit(cache=True, error_model="numpy")
def _store(median, known, least, result, rows, columns):  # type: ignore[no-untyped-def]
    """Copy medians into the result, 0 where fewer than ``least`` depths are known."""
    start = 0
    for i in rows:
        for j in range(columns.size):
            result[i, columns[j]] = median[start + j] if known[start + j] >= least else _ZERO
        start += columns.size


@njit(types.void(_DEPTH, _FOOTPRINTS, _FOOTPRINTS, types.float32[:, ::1]), cache=True, error_model="numpy", nogil=True)
def medians(depth: NDArray[np.float32], v: Footprints, u: Footprints, result: NDArray[np.float32]) -> None:
    """Write the lower median of the known depths in each footprint, 0 where less than half of them are known.

    Args:
        depth: (H, W) in metres; unknown where below ``SMALLEST_DEPTH`` or NaN, +inf where far.
        v, u: the footprints along the rows and the columns, at least one each.
        result: (h, w), changed at the rows ``v.at`` and the columns ``u.at``.
    """
    slots, columns = v.length * u.length, u.first.size
    rows = max(max(BLOCK // slots, PIXELS) // columns, 1)
    size = rows * columns
    values, others = np.empty((slots, size), np.float32), np.empty((slots, size), np.float32)
    low, next_low = np.empty(size, np.float32), np.empty(size, np.float32)
    known = np.empty(size, np.int32)
    for row in range(0, v.first.size, rows):
        known[:] = 0
        for slot in range(slots):
            down, right = np.uintp(slot // u.length), np.uintp(slot % u.length)
            _gather(depth, v.first[row : row + rows], u.first, down, right, others, slot)
            _replace_unknown(others, slot, known, values)
        for rank in range((slots - 1) // 2 + 1):
            low[:] = values[rank]
            for slot in range(rank + 1, slots):
                _exchange(low, values, slot, next_low, others)
                low, next_low = next_low, low
            values, others = others, values
        _store(low, known, np.int32((slots + 1) // 2), result, v.at[row : row + rows], u.at)
