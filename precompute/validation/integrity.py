"""Integrity: is every stored byte what was written? And is every value one that a run can write (``limits``)?"""

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.cache.bookkeeping import Bookkeeping, RowState
from depthvar.datasets.cache.format import EDGE, map_path
from depthvar.datasets.cache.maps import read_rows
from depthvar.datasets.cache.stored_maps import StoredMaps
from depthvar.datasets.errors import DamagedError
from depthvar.precompute.pipeline.summary import SigmaSummary
from depthvar.precompute.pipeline.worker import shard_bytes

from . import limits
from .finding import CLEAR, Finding
from .subject import Subject


def check(subject: Subject) -> Iterator[Finding]:
    """Yield damage of bookkeeping and maps, and values that no run writes; count the maps that were decoded."""
    names, report = StoredMaps.of(subject.parameters).arrays, subject.report
    maps = sum(book.count(RowState.DONE) for book in subject.groups) * len(names)
    for book in subject.groups:
        yield from _check_bookkeeping(book)
        for rows in book.shards():
            yield from _check_shard(subject, book, rows, names)
            if report.chunks:
                subject.progress("maps decoded", report.chunks, maps, 0)


def _check_bookkeeping(book: Bookkeeping) -> Iterator[Finding]:
    """Every chunk of a shard that is done is there, and could be decoded: a lost one reads as zeros."""
    damaged = set(book.damaged)
    for row in np.flatnonzero(book.states >= RowState.FAILED).tolist():
        if not book.keys[row]:
            damaged.add(("key", book.first_row(row)))
        if book.is_done(row) and not (book.intrinsics[row, :2] > 0).all():
            damaged.add(("intrinsics", book.first_row(row)))
    for column, start in sorted(damaged):
        keys = book.keys[start : start + book.layout.shard_frames]
        rows = f"{column} of rows {start} to {start + len(keys) - 1} ({keys[0] or '?'} to {keys[-1] or '?'})"
        where = f"{book.name}, {rows}"
        yield Finding("integrity", where, "intact bookkeeping", "damaged or lost", CLEAR, book.name, start)


def _check_shard(subject: Subject, book: Bookkeeping, rows: range, maps: Mapping[str, int]) -> Iterator[Finding]:
    """Decode every map of a shard (index, CRC32C, Blosc). A shard without a done row is computed again anyway."""
    used = bool((book.states[rows.start : rows.stop] == RowState.DONE).any())
    names = sorted(maps, key=lambda name: name != "depth")  # first: what σ² is held against
    parts = {name: shard_bytes(subject.store, map_path(book.name, name, rows.start, book.layout)) for name in names}
    for row in rows:
        depth: NDArray[np.float32] | None = None
        has_sigma: dict[int, NDArray[np.bool_]] = {}  # by stride
        for name in names:
            layout = book.layout.maps(maps[name])
            where = f"{book.keys[row] or f'{book.name}, row {row}'}, {name}"
            wrong = partial(Finding, where=where, repair=CLEAR, group=book.name, row=row)
            subject.report.chunks += book.is_done(row)
            try:
                values = read_rows(parts[name], layout, row - rows.start, slice(None), where)
            except DamagedError as error:
                if used:
                    yield wrong("integrity", expected="a map that can be decoded", got=str(error.reason))
                continue
            if not book.is_done(row):
                continue
            if np.isnan(values).any():
                yield wrong("integrity", expected="stored values", got="missing values (NaN)")
            elif name == "depth":
                depth = values
            elif name.startswith(EDGE):
                found = layout.stride in has_sigma and limits.impossible_edge(values, has_sigma[layout.stride])
                if found:
                    yield wrong("limits", expected=limits.EXPECTED_EDGE, got=found)
            else:
                has_sigma[layout.stride] = np.isfinite(values)
                if layout.stride == 1:
                    subject.report.sigma += SigmaSummary.of(values)
                got = limits.impossible(values, subject.parameters)
                if not got and depth is not None and (book.intrinsics[row, :2] > 0).all():  # else a finding already
                    got = limits.unlike_depth(values, depth, subject.parameters, book.intrinsics[row], layout.stride)
                if got:
                    yield wrong("limits", expected=limits.EXPECTED, got=got)
