"""Completeness: is every frame there, and done? Frames that the source does not have are kept, and counted."""

from collections.abc import Iterator

import numpy as np

from depthvar.datasets.cache.bookkeeping import RowState
from depthvar.datasets.source.source import Source

from .finding import PRUNE, RUN_AGAIN, SEE_WHY, Finding
from .subject import Subject


def check(subject: Subject) -> Iterator[Finding]:
    """Yield frames that failed, are not done, or are missing; as a warning those that only the cache has."""
    for book in subject.groups:
        for row in np.flatnonzero((book.states == RowState.FAILED) | (book.states == RowState.NOT_DONE)).tolist():
            failed = book.states[row] == RowState.FAILED
            got, repair = ("one whose file could not be read", SEE_WHY) if failed else ("one not done", RUN_AGAIN)
            yield Finding("completeness", book.keys[row], "a computed frame", got, repair)
        for rows in book.unreached() if subject.source is None else ():  # a run writes the keys of every shard
            where = f"{book.name}, rows {rows.start} to {rows.stop - 1}"
            yield Finding("completeness", where, "computed frames", "rows that no run has reached", RUN_AGAIN)
    if subject.source is not None:
        yield from _check_listing(subject, subject.source)


def _check_listing(subject: Subject, source: Source) -> Iterator[Finding]:
    """Every frame of the source is there."""
    stored, keys = stored_keys(subject), set(source.keys())
    for key in sorted(keys - stored):
        yield Finding("completeness", key, "a computed frame", "a frame that the cache does not hold", RUN_AGAIN)
    if only_stored := sorted(stored - keys):
        some = ", ".join(only_stored[:3]) + (", …" if len(only_stored) > 3 else "")
        got = f"{len(only_stored)} frames that are not in the source, kept: {some}"
        yield Finding("completeness", subject.url, "frames of the source", got, PRUNE, is_warning=True)


def stored_keys(subject: Subject) -> set[str]:
    """Return the keys of all frames in the cache, done or not."""
    return {
        book.keys[row]
        for book in subject.groups
        for row in np.flatnonzero(book.states >= RowState.NOT_DONE).tolist()
        if book.keys[row]
    }
