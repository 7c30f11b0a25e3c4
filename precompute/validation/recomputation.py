"""Recomputation: does the kernel give what is stored, to one step of rounding?"""

import math
from collections.abc import Iterator
from functools import partial

import numpy as np

from depthvar.datasets.cache.bookkeeping import Bookkeeping
from depthvar.datasets.cache.format import EDGE, level_name, map_path
from depthvar.datasets.cache.maps import read_rows
from depthvar.datasets.errors import DamagedError
from depthvar.datasets.frame import Frame
from depthvar.precompute.pipeline.job import Job
from depthvar.precompute.pipeline.levels import compute_levels, empty_levels, kept_bits
from depthvar.precompute.pipeline.summary import DepthSummary, Stopwatch

from . import limits, statistics
from .finding import CLEAR, Finding
from .subject import Subject

# Two engines round distances of float32 differently, which shows in half of a range that is small next to them.
EDGE_NOISE = 2.0**-19


def check_frame(subject: Subject, book: Bookkeeping, row: int, job: Job, frame: Frame) -> Iterator[Finding]:
    """Compute a frame again, and compare every map; its σ² and depth go into the statistics."""
    layout, key = book.layout, book.keys[row]
    wrong = partial(Finding, repair=CLEAR, group=book.name, row=row)
    levels = empty_levels(1, (layout.height, layout.width), job)
    compute_levels([frame], job, levels, Stopwatch())
    for name, stride in job.maps.arrays.items():
        wanted = frame.depth if name == "depth" else levels[name][0]
        get = partial(subject.store.get, map_path(book.name, name, row, layout))
        try:
            stored = read_rows(get, layout.maps(stride), row % layout.shard_frames, slice(None), key)
        except DamagedError:
            continue  # a finding of integrity already
        if np.isnan(stored).any():
            continue
        is_edge, is_depth = name.startswith(EDGE), name == "depth"
        step, noise = 0.0 if is_depth else math.ldexp(1.0, -kept_bits(name, job.keepbits)), EDGE_NOISE * is_edge
        with np.errstate(invalid="ignore"):
            agrees = (stored == wanted) | np.isfinite(wanted) & (np.abs(stored - wanted) <= step * wanted + noise)
        if not agrees.all():
            y, x = np.argwhere(~agrees)[0]
            where, unit = f"{key}, {name} at row {y}, column {x}", "" if is_edge else " m" if is_depth else " m²"
            got = f"{stored[y, x]:.6g} ({int((~agrees).sum())} pixels differ)"
            yield wrong("recomputation", where=where, expected=f"{wanted[y, x]:.6g}{unit}", got=got)
        elif not (is_depth or is_edge) and (
            unlike := limits.unlike_depth(stored, frame.depth, subject.parameters, frame.intrinsics, stride)
        ):
            got = f"{unlike}, which this kernel gives too: please report it"
            yield wrong("limits", where=f"{key}, {name}", expected=limits.EXPECTED, got=got)
        if name == level_name(1):
            statistics.add_frame(subject, stored, frame.depth)
            subject.report.depth += DepthSummary.of(frame)
