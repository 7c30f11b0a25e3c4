"""Interpolation of σ² maps: bilinear in log σ², at positions in native pixels; arrays in, array out.

Between two strides, neither level's window is the output's: the finer one's is too narrow, the coarser one's too wide.
So the finer level is looked up a little to either side and the larger value taken, the coarser level likewise and the
smaller: an edge then reaches about as far as in the output. The shift is ``REACH`` of the distance between the edges
of the two windows. Close to a stride, in log scale, that level alone is looked up, and its σ grown by the footprint
law; stride 1 then without the shift, so that a nearest resize takes what is stored (docs/decisions/0007).
"""

import math
from bisect import bisect
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from .interpolate import blend_level, nearest_valid

ReadLevel = Callable[[int, slice], NDArray[np.float32]]

REACH = 0.75
# A level of less share in the blend than this is not read.
LEAST_SHARE = 1 / 3


def blend_weights(strides: Sequence[int], scale: float) -> list[tuple[int, float]]:
    """Return the one or two strides that describe a scale, each with its weight; the weights add up to 1.

    Args:
        strides: ascending.
        scale: native pixels per output pixel. On a stride or close to it, below the first or above the last: that one
            alone.
    """
    above = bisect(strides, scale)
    if above in (0, len(strides)) or scale == strides[above - 1]:
        return [(strides[max(above - 1, 0)], 1.0)]
    fine, coarse = strides[above - 1], strides[above]
    weight = math.log2(scale / fine) / math.log2(coarse / fine)
    if not LEAST_SHARE <= weight <= 1 - LEAST_SHARE:
        return [(fine if weight < LEAST_SHARE else coarse, 1.0)]
    return [(fine, 1 - weight), (coarse, weight)]


def look_up(
    read_level: ReadLevel,
    strides: Sequence[int],
    scale: float,
    v: NDArray[np.float64],
    u: NDArray[np.float64],
    window: int,
    wanted: NDArray[np.bool_] | None,
) -> NDArray[np.float32]:
    """Return σ² (h, w) in m² at native rows ``v`` and columns ``u``.

    Args:
        read_level: see :func:`depthvar.datasets.lookup.sample.sample`.
        strides: ascending from 1.
        scale: native pixels per output pixel.
        v: (h,) ascending, all inside the frame.
        u: (w,) likewise.
        window: of the kernel, in pixels of a level.
        wanted: (h, w) where a pixel without any valid neighbour takes the nearest valid native pixel; None: everywhere.
    """
    levels = blend_weights(strides, scale)
    if len(levels) == 1:
        stride = levels[0][0]
        exact = scale in strides or not strides[0] < scale < strides[-1]
        shift = 0.0 if exact or stride == 1 else _shift(window, scale, stride)
        return _look_up_one(read_level, stride, scale, 1.0 if exact else (scale / stride) ** 2, v, u, shift, wanted)
    blend: NDArray[np.float32] = np.empty((v.size, u.size), dtype=np.float32)
    for stride, share in levels:
        shift = _shift(window, scale, stride)
        top, bottom = _reach(v, shift, stride)
        level = read_level(stride, slice(top, bottom))
        first = stride == levels[0][0]
        complete = _interpolate(blend, first, level, share, stride <= scale, 1.0, v, u, shift, stride, top)
    sigma_z2 = np.exp(blend, out=blend)
    return sigma_z2 if complete else _fill(sigma_z2, np.isinf(sigma_z2), wanted, read_level, scale, v, u)


def _look_up_one(
    read_level: ReadLevel,
    stride: int,
    scale: float,
    growth: float,
    v: NDArray[np.float64],
    u: NDArray[np.float64],
    shift: float,
    wanted: NDArray[np.bool_] | None,
) -> NDArray[np.float32]:
    """Look up one level, its σ² times ``growth``.

    A growth of 1, which goes without a shift, says that positions on samples take what is stored there, holes too.
    """
    top, bottom = _reach(v, scale if stride == 1 else shift, stride)  # at stride 1 the rows too that holes may need
    level = read_level(stride, slice(top, bottom))
    on_all = False
    if shift == 0:
        on_rows, on_columns = v % stride == 0, u % stride == 0
        on_all = bool(on_rows.all() and on_columns.all())
    if on_all or growth == 1:
        rows, columns = (v[on_rows] // stride).astype(np.intp) - top, (u[on_columns] // stride).astype(np.intp)
        stored: NDArray[np.float32] = level.take(rows, axis=0).take(columns, axis=1)
    if on_all:
        if growth == 1:
            return stored
        sigma_z2 = np.multiply(stored, np.float32(growth), out=stored)
    else:
        blend: NDArray[np.float32] = np.empty((v.size, u.size), dtype=np.float32)
        complete = _interpolate(blend, True, level, 1.0, stride <= scale, growth, v, u, shift, stride, top)
        sigma_z2 = np.exp(blend, out=blend)
        if growth == 1:
            sigma_z2[np.ix_(on_rows, on_columns)] = stored
        if complete:
            return sigma_z2
    lost = np.isinf(sigma_z2)
    if growth == 1:
        lost[np.ix_(on_rows, on_columns)] = False
    if stride == 1:
        return _fill(sigma_z2, lost, wanted, lambda _, rows: level[rows.start - top : rows.stop - top], scale, v, u)
    return _fill(sigma_z2, lost, wanted, read_level, scale, v, u)


def _fill(
    sigma_z2: NDArray[np.float32],
    lost: NDArray[np.bool_],
    wanted: NDArray[np.bool_] | None,
    read_level: ReadLevel,
    scale: float,
    v: NDArray[np.float64],
    u: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Give lost pixels that are wanted σ² of the nearest valid native pixel, at most ``scale`` away, times scale²."""
    if wanted is not None:
        lost &= wanted
    places = np.flatnonzero(lost)
    if places.size:
        rows, columns = np.divmod(places, u.size)  # nonzero of two dimensions takes 20 times as long
        top, bottom = max(math.floor(v[rows[0]] - scale), 0), max(math.ceil(v[rows[-1]] + scale), 0)
        native = read_level(1, slice(top, bottom + 1))  # a row at least
        sigma_z2.flat[places] = nearest_valid(native, v[rows] - top, u[columns], scale) * np.float32(scale**2)
    return sigma_z2


def _interpolate(
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
) -> bool:
    """Blend a level of σ² times ``growth`` into log σ²; see :func:`.interpolate.blend_level`."""
    left, right = _reach(u, shift, stride)
    log_level, more = np.log(level[:, left:right]), math.log(growth)
    complete: bool = blend_level(blend, first, log_level, share, widen, more, v, u, shift, stride, top, left)
    return complete


def _shift(window: int, scale: float, stride: int) -> float:
    """Return how far to either side a level is looked up, in native pixels."""
    return REACH * (window // 2) * abs(scale - stride)


def _reach(position: NDArray[np.float64], shift: float, stride: int) -> tuple[int, int]:
    """Return the first sample of a level that ascending positions, moved to and fro, need, and one past the last."""
    return max(math.floor((position[0] - shift) / stride), 0), max(int((position[-1] + shift) / stride), 0) + 2
