"""Integrity: is every stored byte what was written? And is every value one that a run can write (``limits``)?"""

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.cache.bookkeeping import Bookkeeping, RowState
from depthvar.datasets.cache.format import map_names, map_path
from depthvar.datasets.cache.maps import Get, read_rows
from depthvar.datasets.errors import DamagedError
from depthvar.precompute.pipeline.summary import SigmaSummary

from . import limits
from .finding import CLEAR, Finding
from .subject import Subject


def check(subject: Subject) -> Iterator[Finding]:
    """Yield damage of bookkeeping and maps, and values that no run writes; count the maps that were decoded."""
    names = map_names(subject.parameters["strides"], subject.parameters["with_depth"])
    maps = sum(book.count(RowState.DONE) for book in subject.groups) * len(names)
    for book in subject.groups:
        yield from _check_bookkeeping(book)
        for rows in book.shards():
            yield from _check_shard(subject, book, rows, names)
            if subject.chunks:
                subject.progress("maps decoded", subject.chunks, maps, 0)


def _check_bookkeeping(book: Bookkeeping) -> Iterator[Finding]:
    """Every chunk of a shard that is done is there, and could be decoded."""
    for column, start in sorted({*book.damaged, *_lost_columns(book)}):
        keys = book.keys[start : start + book.layout.shard_frames]
        rows = f"{column} of rows {start} to {start + len(keys) - 1} ({keys[0] or '?'} to {keys[-1] or '?'})"
        where = f"{book.name}, {rows}"
        yield Finding("integrity", where, "intact bookkeeping", "damaged or lost", CLEAR, book.name, start)


def _lost_columns(book: Bookkeeping) -> Iterator[tuple[str, int]]:
    """Find bookkeeping that is lost although its rows are done: a lost chunk reads as zeros."""
    for row in np.flatnonzero(book.states >= RowState.FAILED).tolist():
        if not book.keys[row]:
            yield "key", book.first_row(row)
        if book.is_done(row) and not (book.intrinsics[row, :2] > 0).all():
            yield "intrinsics", book.first_row(row)


def _check_shard(subject: Subject, book: Bookkeeping, rows: range, maps: Mapping[str, int]) -> Iterator[Finding]:
    """Decode every map of a shard (index, CRC32C, Blosc). A shard without a done row is computed again anyway."""
    used = bool((book.states[rows.start : rows.stop] == RowState.DONE).any())
    arrays: dict[str, tuple[int, Get]] = {}
    for name, stride in maps.items():
        data = subject.store.get(map_path(book.name, name, rows.start, book.layout))
        arrays[name] = stride, partial(_part, data)
    names = sorted(arrays, key=lambda name: name != "depth")  # first: what σ² is held against
    for row in rows:
        depth: NDArray[np.float32] | None = None
        for name in names:
            stride, get = arrays[name]
            where = f"{book.keys[row] or f'{book.name}, row {row}'}, {name}"
            wrong = partial(Finding, where=where, repair=CLEAR, group=book.name, row=row)
            subject.chunks += book.is_done(row)
            try:
                values = read_rows(get, book.layout.maps(stride), row - rows.start, slice(None), where)
            except DamagedError as error:
                if used:
                    yield wrong("integrity", expected="a map that can be decoded", got=str(error.reason))
                continue
            if not book.is_done(row):
                continue
            if np.isnan(values).any():
                yield wrong("integrity", expected="stored values", got="missing values (NaN)")
                continue
            if name == "depth":
                depth = values
                continue
            if stride == 1:
                subject.sigma += SigmaSummary.of(values)
            if got := limits.impossible(values, subject.parameters) or _unlike(
                subject, book, row, values, depth, stride
            ):
                yield wrong("limits", expected=limits.EXPECTED, got=got)


def _part(data: bytes | None, start: int, stop: int | None) -> bytes | None:
    return None if data is None else data[start:stop]


def _unlike(
    subject: Subject,
    book: Bookkeeping,
    row: int,
    values: NDArray[np.float32],
    depth: NDArray[np.float32] | None,
    stride: int,
) -> str | None:
    intrinsics = book.intrinsics[row]
    if depth is None or not (intrinsics[:2] > 0).all():  # not stored, or a finding already
        return None
    return limits.unlike_depth(values, depth, subject.parameters, intrinsics, stride)
