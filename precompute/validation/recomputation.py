"""Recomputation: does the kernel give what is stored, to one step of rounding?"""

import math
from collections.abc import Iterator
from functools import partial

import numpy as np

from depthvar.datasets.cache.bookkeeping import Bookkeeping
from depthvar.datasets.cache.format import level_name, map_names, map_path
from depthvar.datasets.cache.maps import read_rows
from depthvar.datasets.errors import DamagedError
from depthvar.datasets.frame import Frame
from depthvar.precompute.pipeline.job import Job
from depthvar.precompute.pipeline.levels import compute_levels, empty_levels
from depthvar.precompute.pipeline.summary import DepthSummary, Stopwatch

from . import limits, statistics
from .finding import CLEAR, Finding
from .subject import Subject


def check_frame(subject: Subject, book: Bookkeeping, row: int, job: Job, frame: Frame) -> Iterator[Finding]:
    """Compute a frame again, and compare every level; its σ² and depth go into the statistics."""
    layout, key = book.layout, book.keys[row]
    wrong = partial(Finding, repair=CLEAR, group=book.name, row=row)
    levels = empty_levels(1, (layout.height, layout.width), job)
    compute_levels([frame], job, levels, Stopwatch())
    maps = {name: (stride, levels[stride][0]) for name, stride in map_names(job.strides, False).items()}
    for name, (stride, wanted) in (maps | ({"depth": (1, frame.depth)} if job.with_depth else {})).items():
        get = partial(subject.store.get, map_path(book.name, name, row, layout))
        try:
            stored = read_rows(get, layout.maps(stride), row % layout.shard_frames, slice(None), key)
        except DamagedError:
            continue  # a finding of integrity already
        if np.isnan(stored).any():
            continue
        step = 0.0 if name == "depth" else math.ldexp(1.0, -job.keepbits)
        with np.errstate(invalid="ignore"):
            agrees = (stored == wanted) | np.isfinite(wanted) & (np.abs(stored - wanted) <= step * wanted)
        if not agrees.all():
            y, x = np.argwhere(~agrees)[0]
            where, unit = f"{key}, {name} at row {y}, column {x}", "m" if name == "depth" else "m²"
            got = f"{stored[y, x]:.6g} ({int((~agrees).sum())} pixels differ)"
            yield wrong("recomputation", where=where, expected=f"{wanted[y, x]:.6g} {unit}", got=got)
        elif name != "depth" and (
            unlike := limits.unlike_depth(stored, frame.depth, subject.parameters, frame.intrinsics, stride)
        ):
            got = f"{unlike}, which this kernel gives too: please report it"
            yield wrong("limits", where=f"{key}, {name}", expected=limits.EXPECTED, got=got)
        if name == level_name(1):
            statistics.add_frame(subject.log_sigma, stored, frame.depth)
            subject.report.depth += DepthSummary.of(frame)
