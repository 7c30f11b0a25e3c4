"""Recomputation: does the kernel give what is stored, to one step of rounding?"""

import math
from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.cache.bookkeeping import Bookkeeping
from depthvar.datasets.cache.format import level_name, level_shape, map_path
from depthvar.datasets.cache.maps import read_rows
from depthvar.datasets.errors import DamagedError
from depthvar.datasets.frame import Frame
from depthvar.precompute.pipeline.job import Job
from depthvar.precompute.pipeline.worker import frame_levels

from . import limits
from .finding import CLEAR, Finding
from .subject import Subject


def check_frame(subject: Subject, book: Bookkeeping, row: int, job: Job, frame: Frame) -> Iterator[Finding]:
    """Compute a frame again, and compare every level; its σ² and depth go into the contrast."""
    layout, key = book.layout, book.keys[row]
    wrong = partial(Finding, repair=CLEAR, group=book.name, row=row)
    levels = {s: np.empty(level_shape(layout.height, layout.width, s), np.float32) for s in job.strides}
    frame_levels(frame, job, levels)
    step = math.ldexp(1.0, -job.keepbits)
    for stride, wanted in levels.items():
        name = level_name(stride)
        stored = _read(subject, book, row, name, stride)
        if stored is None:
            continue
        with np.errstate(invalid="ignore"):
            close = np.isfinite(wanted) & (np.abs(stored - wanted) <= step * wanted)
        if not (agrees := close | (stored == wanted)).all():
            where, expected, got = _first(key, name, wanted, stored, agrees, "m²")
            yield wrong("recomputation", where=where, expected=expected, got=got)
        elif unlike := limits.unlike_depth(stored, frame.depth, job.parameters(), frame.intrinsics, stride):
            got = f"{unlike}, which this kernel gives too: please report it"
            yield wrong("limits", where=f"{key}, {name}", expected=limits.EXPECTED, got=got)
        if stride == 1:
            subject.contrast.add(stored, frame.depth)
    stored = _read(subject, book, row, "depth", 1) if job.with_depth else None
    if stored is not None and not (agrees := stored == frame.depth).all():
        where, expected, got = _first(key, "depth", frame.depth, stored, agrees, "m")
        yield wrong("recomputation", where=where, expected=expected, got=got)


def _read(subject: Subject, book: Bookkeeping, row: int, name: str, stride: int) -> NDArray[np.float32] | None:
    """Return a stored map; None where it is damaged or has no values, which is a finding of integrity already."""
    get = partial(subject.store.get, map_path(book.name, name, row, book.layout))
    place = row % book.layout.shard_frames
    try:
        stored = read_rows(get, book.layout.maps(stride), place, slice(None), book.keys[row])
    except DamagedError:
        return None
    return None if np.isnan(stored).any() else stored


def _first(
    key: str,
    name: str,
    wanted: NDArray[np.float32],
    stored: NDArray[np.float32],
    agrees: NDArray[np.bool_],
    unit: str,
) -> tuple[str, str, str]:
    """Return where the first pixel is that differs, and what was expected and found there."""
    y, x = np.argwhere(~agrees)[0]
    got = f"{stored[y, x]:.6g} ({int((~agrees).sum())} pixels differ)"
    return f"{key}, {name} at row {y}, column {x}", f"{wanted[y, x]:.6g} {unit}", got
