"""Interpolation of σ² maps: bilinear in log σ, at positions in native pixels; arrays in, array out.

Between two strides, the window of the finer level is narrower than that of the output, and the window of the coarser
level is wider. So both levels are looked up a little to either side: the larger value of the finer level and the
smaller value of the coarser level are used. An edge is then about as wide as in the output. The shift is ``REACH``
times the distance between the edges of the two windows. A level with most of the blend is looked up alone, and its σ is
multiplied by scale / stride, as the footprint grows. Stride 1 alone has no shift, so that a nearest resize gets stored
values (docs/decisions/0007).
"""

import math
from bisect import bisect
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .interpolate import blend, exp2, fill_nearest, interpolate

Map = NDArray[np.float32]
ReadLevel = Callable[[int, slice], Map]  # the rows of a stride's σ² map
Each = Callable[..., Iterable[Any]]  # ``map``, or one that works in parallel

REACH = 0.75
# A level with a smaller share of the blend is not read.
LEAST_SHARE = 1 / 3
# Samples of a level that the nearest valid one may be away, where all neighbours of a pixel are holes.
NEAR = 4


class Level(NamedTuple):
    """Some rows of one stride's map.

    Attributes:
        sigma_z2: σ², +inf where invalid.
        stride: of the level.
        top: the first row that it holds.
    """

    sigma_z2: Map
    stride: int
    top: int


class Places(NamedTuple):
    """Where σ² is looked up.

    Attributes:
        scale: native pixels per output pixel.
        v: (h,) native rows, ascending, all inside the frame.
        u: (w,) native columns.
        window: of the kernel, in pixels of a level.
        wanted: (h, w) where a pixel without any valid neighbour gets the nearest valid sample; None: everywhere.
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


def look_up(read_level: ReadLevel, strides: Sequence[int], places: Places, each: Each = map) -> Map:
    """Return σ² (h, w) in m² at some places.

    Args:
        read_level, each: see :func:`depthvar.datasets.lookup.sample.sample`.
        strides: ascending from 1.
        places: where.
    """
    scale, v, u = places.scale, places.v, places.u
    (stride, _), *coarser = blend_weights(strides, scale)
    as_stored = scale in strides or not strides[0] < scale < strides[-1]
    shift = 0.0 if as_stored or (stride == 1 and not coarser) else _shift(places, stride)
    factor = 1.0 if as_stored else (scale / stride) ** 2
    near = scale if stride == 1 else NEAR * stride  # where the nearest valid sample is looked for
    shifts = [_shift(places, coarse) for coarse, _ in coarser]
    if coarser:
        read = partial(_read, read_level, v)
        level, *others = each(read, (stride, *(coarse for coarse, _ in coarser)), (max(near, shift), *shifts))
    else:
        level, others = _read(read_level, v, stride, max(near, shift)), []
    wanted = np.broadcast_to(True, (v.size, u.size)) if places.wanted is None else places.wanted
    if shift == 0:
        on_rows, on_columns = v % stride == 0, u % stride == 0
    if shift == 0 and on_rows.all() and on_columns.all():
        sigma_z2 = _stored(level, v, u)
        if as_stored:
            return sigma_z2  # holes, too
        sigma_z2 *= np.float32(factor)
        lost = True
    else:
        sigma_z2 = interpolate(*level, v, u, shift, stride <= scale)
        for (coarse, share), shift, other in zip(coarser, shifts, others, strict=True):
            blend(sigma_z2, interpolate(*other, v, u, shift, coarse <= scale), share)
        lost = exp2(sigma_z2, 1.0 if coarser else factor) > 0
        if as_stored:
            stored = np.ix_(on_rows, on_columns)
            sigma_z2[stored] = _stored(level, v[on_rows], u[on_columns])
            wanted = wanted.copy()
            wanted[stored] = False
    if lost:
        first, last = fill_nearest(sigma_z2, wanted, *level, v, u, near, scale**2 if stride == 1 else factor)
        if stride > 1 and last >= first:
            native = _read(read_level, v[first : last + 1], 1, scale)
            fill_nearest(sigma_z2, wanted, *native, v, u, scale, scale**2)
    return sigma_z2


def _read(read_level: ReadLevel, v: NDArray[np.float64], stride: int, reach: float) -> Level:
    """Read the samples of a level that ascending native rows, moved by ``reach`` either way, lie between."""
    top, bottom = max(math.floor((v[0] - reach) / stride), 0), max(int((v[-1] + reach) / stride), 0) + 2
    return Level(np.ascontiguousarray(read_level(stride, slice(top, bottom)), np.float32), stride, top)


def _stored(level: Level, v: NDArray[np.float64], u: NDArray[np.float64]) -> Map:
    """Return the stored values (h, w) at native positions that are on samples."""
    rows, columns = (v // level.stride).astype(np.intp) - level.top, (u // level.stride).astype(np.intp)
    return level.sigma_z2.take(rows, axis=0).take(columns, axis=1)


def _shift(places: Places, stride: int) -> float:
    """Return how far to either side a level is looked up, in native pixels."""
    return REACH * (places.window // 2) * abs(places.scale - stride)
