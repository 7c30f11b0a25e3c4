"""The lower median of the known depths under each pixel of an output; compiled loops.

As in :mod:`.interpolate`, the signature compiles this file when it is imported, all functions are in one file, and
loops are short and without branches, so that they run on vectors. For that, pixels are taken by the size of their
footprint, and the values of a block of pixels lie in as many rows as a footprint has. An unknown depth becomes -inf or
+inf in turns, so that the median has the same rank in every pixel; that many passes of selection sort find it. No loop
changes two arrays in place: LLVM would store behind a mask, which some CPUs do slowly.
"""

from typing import NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from depthvar.datasets.compiled import njit
from depthvar.datasets.frame import SMALLEST_DEPTH

from .sample import SNAP

# A block has few values, so that it stays in the CPU's cache, but some pixels, so that loops are worth starting.
BLOCK, PIXELS = 4096, 512

_INF, _ZERO, _SMALLEST = np.float32(np.inf), np.float32(0), np.float32(SMALLEST_DEPTH)
_ONE = np.int32(1)
_DEPTH = types.Array(types.float32, 2, "C", readonly=True)  # read-only or not
_PLACES = types.intp[::1]


class Footprints(NamedTuple):
    """Footprints along one axis that meet the frame, from its beginning to its end.

    Attributes:
        first: (n,) the first native column (or row) of each; below 0 before the frame.
        length: (n,) how many it has.
        at: (n,) the output's columns (or rows) that they belong to.
    """

    first: NDArray[np.intp]
    length: NDArray[np.intp]
    at: NDArray[np.intp]


_FOOTPRINTS = types.NamedUniTuple(_PLACES, 3, Footprints)
_AXIS = (types.intp, types.float64, types.float64, types.float64, types.intp)


@njit(_FOOTPRINTS(*_AXIS), cache=True, error_model="numpy")
def footprints(length: int, scale: float, out_c: float, c: float, native: int) -> Footprints:
    """Return the footprints along one axis.

    Args:
        length: number of output columns (or rows).
        scale: native pixels per output pixel along this axis.
        out_c: principal point of the output.
        c: principal point of the native frame.
        native: number of native columns.
    """
    first, lengths, at = np.empty(length, np.intp), np.empty(length, np.intp), np.empty(length, np.intp)
    half = max(scale, 1.0) / 2  # so that a footprint has a pixel
    n = 0
    for i in range(length):
        centre = (i - out_c) * scale + c
        begin, end = np.intp(np.ceil(centre - half - SNAP)), np.intp(np.ceil(centre + half - SNAP))
        end = max(end, begin + 1)
        if end > 0 and begin < native:
            first[n], lengths[n], at[n] = begin, end - begin, i
            n += 1
    return Footprints(first[:n], lengths[:n], at[:n])


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


@njit(cache=True, error_model="numpy")
def _of_length(length, along, before):  # type: ignore[no-untyped-def]
    """Return where footprints of one length begin in the enlarged frame, and the output's columns (or rows)."""
    has = along.length == length
    # A signed index would have to be checked for a count from the end.
    return (along.first[has] + before).astype(np.uintp), along.at[has].astype(np.uintp)


@njit(cache=True, error_model="numpy")
def _of_one_size(depth, height, tops, rows_at, width, lefts, columns_at, result):  # type: ignore[no-untyped-def]
    """Write the medians in footprints of one size."""
    slots, columns = height * width, lefts.size
    rows = max(max(BLOCK // slots, PIXELS) // columns, 1)
    size = rows * columns
    values, others = np.empty((slots, size), np.float32), np.empty((slots, size), np.float32)
    low, next_low = np.empty(size, np.float32), np.empty(size, np.float32)
    known = np.empty(size, np.int32)
    for row in range(0, tops.size, rows):
        known[:] = 0
        for slot in range(slots):
            down, right = np.uintp(slot // width), np.uintp(slot % width)
            _gather(depth, tops[row : row + rows], lefts, down, right, others, slot)
            _replace_unknown(others, slot, known, values)
        for rank in range((slots - 1) // 2 + 1):
            low[:] = values[rank]
            for slot in range(rank + 1, slots):
                _exchange(low, values, slot, next_low, others)
                low, next_low = next_low, low
            values, others = others, values
        _store(low, known, np.int32((slots + 1) // 2), result, rows_at[row : row + rows], columns_at)


@njit(
    types.void(_DEPTH, _FOOTPRINTS, _FOOTPRINTS, types.intp, types.intp, types.float32[:, ::1]),
    cache=True, error_model="numpy", nogil=True,
)  # fmt: skip
def medians(
    depth: NDArray[np.float32], v: Footprints, u: Footprints, above: int, left: int, result: NDArray[np.float32]
) -> None:
    """Write the lower median of the known depths in each footprint, 0 where less than half of them are known.

    Args:
        depth: (H, W) in metres; unknown where below ``SMALLEST_DEPTH`` or NaN, +inf where far. Enlarged so that all
            footprints lie inside.
        v, u: the footprints along the rows and the columns, at least one each.
        above, left: rows and columns that were added before the frame.
        result: (h, w), changed at the rows ``v.at`` and the columns ``u.at``.
    """
    for height in range(v.length.min(), v.length.max() + 1):
        tops, rows = _of_length(height, v, above)
        for width in range(u.length.min(), u.length.max() + 1):
            lefts, columns = _of_length(width, u, left)
            if tops.size and lefts.size:
                _of_one_size(depth, height, tops, rows, width, lefts, columns, result)
