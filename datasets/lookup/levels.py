"""Interpolation of σ² maps: bilinear in log σ², at positions in native pixels; arrays in, array out.

Between two strides, the window of the finer level is narrower than that of the output, and the window of the coarser
level is wider. So both levels are looked up a little to either side: the larger value of the finer level and the
smaller value of the coarser level are used. An edge is then about as wide as in the output. The shift is ``REACH``
times the distance between the edges of the two windows. A level with most of the blend is looked up alone, and its σ is
multiplied by scale / stride, as the footprint grows. Stride 1 alone has no shift, so that a nearest resize gets stored
values (docs/decisions/0007).
"""

import math
from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .interpolate import Axis, Level, blend, interpolate, nearest_valid

Map = NDArray[np.float32]
ReadLevel = Callable[[int, slice], Map]  # the rows of a stride's σ² map

REACH = 0.75
# A level with a smaller share of the blend is not read.
LEAST_SHARE = 1 / 3


@dataclass(frozen=True, eq=False)
class Places:
    """Where σ² is looked up.

    Attributes:
        scale: native pixels per output pixel.
        v: (h,) native rows, ascending, all inside the frame.
        u: (w,) native columns.
        window: of the kernel, in pixels of a level.
        wanted: (h, w) where a pixel without any valid neighbour uses the nearest valid native pixel; None: everywhere.
    """

    scale: float
    v: NDArray[np.float64]
    u: NDArray[np.float64]
    window: int
    wanted: NDArray[np.bool_] | None


def blend_weights(strides: Sequence[int], scale: float) -> list[tuple[int, float]]:
    """Return the one or two strides that describe a scale, each with its weight; the weights add up to 1.

    Args:
        strides: ascending.
        scale: native pixels per output pixel. On a stride or close to it, below the first or above the last: one
            stride only.
    """
    above = bisect(strides, scale)
    if above in (0, len(strides)) or scale == strides[above - 1]:
        return [(strides[max(above - 1, 0)], 1.0)]
    fine, coarse = strides[above - 1], strides[above]
    weight = math.log2(scale / fine) / math.log2(coarse / fine)
    if not LEAST_SHARE <= weight <= 1 - LEAST_SHARE:
        return [(fine if weight < LEAST_SHARE else coarse, 1.0)]
    return [(fine, 1 - weight), (coarse, weight)]


def look_up(read_level: ReadLevel, strides: Sequence[int], places: Places) -> Map:
    """Return σ² (h, w) in m² at some places.

    Args:
        read_level: see :func:`depthvar.datasets.lookup.sample.sample`.
        strides: ascending from 1.
        places: where.
    """
    levels = blend_weights(strides, places.scale)
    if len(levels) == 1:
        return _look_up_one(read_level, strides, levels[0][0], places)
    (fine, _), (coarse, share) = levels
    log_sigma_z2 = _interpolate(read_level, fine, places, _shift(places, fine))
    blend(log_sigma_z2, _interpolate(read_level, coarse, places, _shift(places, coarse)), share)
    sigma_z2 = np.exp(log_sigma_z2, out=log_sigma_z2)
    return _fill(sigma_z2, np.isinf(sigma_z2), read_level, places)


def _look_up_one(read_level: ReadLevel, strides: Sequence[int], stride: int, places: Places) -> Map:
    """Look up one level. If the scale lies between two strides, σ² is multiplied by (scale / stride)².

    Otherwise, positions on samples get the stored values, including holes.
    """
    scale, v, u = places.scale, places.v, places.u
    as_stored = scale in strides or not strides[0] < scale < strides[-1]
    shift = 0.0 if as_stored or stride == 1 else _shift(places, stride)
    top, bottom = _reach(v, scale if stride == 1 else shift, stride)  # at stride 1 also the rows that holes may need
    level = read_level(stride, slice(top, bottom))

    def read_again(other: int, rows: slice) -> Map:
        return level[rows.start - top : rows.stop - top] if other == stride else read_level(other, rows)

    on_rows, on_columns = v % stride == 0, u % stride == 0
    on_all = shift == 0 and bool(on_rows.all() and on_columns.all())
    stored: Map | None = None
    if on_all or as_stored:
        rows, columns = (v[on_rows] // stride).astype(np.intp) - top, (u[on_columns] // stride).astype(np.intp)
        stored = level.take(rows, axis=0).take(columns, axis=1)
    if on_all and stored is not None:
        if as_stored:
            return stored
        sigma_z2 = stored
    else:
        log_sigma_z2 = _interpolate(read_again, stride, places, shift)
        sigma_z2 = np.exp(log_sigma_z2, out=log_sigma_z2)
    lost = np.isinf(sigma_z2)
    if not as_stored:
        sigma_z2 *= np.float32((scale / stride) ** 2)
    elif stored is not None:
        sigma_z2[np.ix_(on_rows, on_columns)] = stored
        lost[np.ix_(on_rows, on_columns)] = False
    return _fill(sigma_z2, lost, read_again if stride == 1 else read_level, places)


def _fill(sigma_z2: Map, lost: NDArray[np.bool_], read_level: ReadLevel, places: Places) -> Map:
    """Fill wanted lost pixels with σ² of the nearest valid native pixel, at most ``scale`` away, times scale²."""
    if places.wanted is not None:
        lost &= places.wanted
    found = np.flatnonzero(lost)
    if found.size:
        rows, columns = np.divmod(found, places.u.size)  # np.nonzero of two dimensions is 20 times slower
        v, u, scale = places.v[rows], places.u[columns], places.scale
        top, bottom = max(math.floor(v[0] - scale), 0), max(math.ceil(v[-1] + scale), 0)
        native = read_level(1, slice(top, bottom + 1))  # a row at least
        sigma_z2.flat[found] = nearest_valid(native, v - top, u, scale) * np.float32(scale**2)
    return sigma_z2


def _interpolate(read_level: ReadLevel, stride: int, places: Places, shift: float) -> Map:
    """Return log σ² (h, w) of one level, +inf where it has no information."""
    top, bottom = _reach(places.v, shift, stride)
    left, right = _reach(places.u, shift, stride)
    values = np.log(read_level(stride, slice(top, bottom))[:, left:right])
    level = Level(values, stride, top, left)
    result: Map = interpolate(level, Axis(places.v, shift), Axis(places.u, shift), stride <= places.scale)
    return result


def _shift(places: Places, stride: int) -> float:
    """Return how far to either side a level is looked up, in native pixels."""
    return REACH * (places.window // 2) * abs(places.scale - stride)


def _reach(position: NDArray[np.float64], shift: float, stride: int) -> tuple[int, int]:
    """Return the first sample of a level that ascending positions, shifted both ways, need, and one past the last."""
    return max(math.floor((position[0] - shift) / stride), 0), max(int((position[-1] + shift) / stride), 0) + 2
