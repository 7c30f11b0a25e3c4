"""Staleness: is the source still what σ² was computed from? Listed by size and time, and by content where asked for."""

import random
from collections.abc import Iterator

import numpy as np

from depthvar.datasets.cache.bookkeeping import Bookkeeping, RowState
from depthvar.datasets.cache.stored_maps import StoredMaps
from depthvar.datasets.errors import CacheError, SourceError
from depthvar.datasets.params import params_from_json
from depthvar.datasets.source.source import Source, frame_facts, read_frame
from depthvar.precompute.pipeline.fingerprint import fingerprint, frame_digest
from depthvar.precompute.pipeline.job import Job

from . import recomputation
from .finding import CLEAR, RESTORE, RUN_AGAIN, Finding
from .subject import Subject


def check(subject: Subject) -> Iterator[Finding]:
    """Yield frames whose content or intrinsics changed; those that did not are computed again (``recomputation``)."""
    if subject.source is None:
        return
    given = subject.parameters
    params, maps = params_from_json(given), StoredMaps.of(given)
    job = Job(
        subject.url, subject.source, params, maps.strides, given["keepbits"], maps.with_depth, keep=maps.keep
    )  # fmt: skip
    if fingerprint(job.parameters()) != fingerprint(given):
        raise CacheError(
            f"{subject.url}: computed by another kernel version or decode rule than this depthvar's; "
            "install the one that it names under `precompute info`, or compute it again with --overwrite"
        )
    chosen = _chosen(subject, subject.source)
    for number, (book, row) in enumerate(chosen, start=1):
        yield from _check_frame(subject, book, row, job)
        subject.report.recomputed = number
        subject.progress("frames compared", number, len(chosen), 0)


def _chosen(subject: Subject, source: Source) -> list[tuple[Bookkeeping, int]]:
    """Return the rows to compare: those whose files look changed, and some drawn at random (or all)."""
    keys = set(source.keys())
    rows = ((book, row) for book in subject.groups for row in np.flatnonzero(book.states == RowState.DONE).tolist())
    done = [(book, row) for book, row in rows if book.keys[row] in keys]
    if subject.full:
        return done
    drawn = set(random.Random(subject.seed).sample(range(len(done)), min(subject.recompute, len(done))))
    return [each for number, each in enumerate(done) if number in drawn or not _looks_unchanged(source, *each)]


def _looks_unchanged(source: Source, book: Bookkeeping, row: int) -> bool:
    key = book.keys[row]
    try:
        stat, intrinsics = frame_facts(source, key, to_compare=True)
    except SourceError:
        return False
    same_stat = (stat.total_size, stat.hash63) == tuple(book.stat[row].tolist())
    return same_stat and (intrinsics is None or np.array_equal(intrinsics, book.intrinsics[row]))


def _check_frame(subject: Subject, book: Bookkeeping, row: int, job: Job) -> Iterator[Finding]:
    key = book.keys[row]
    try:
        frame = read_frame(job.source, key)
    except SourceError as error:
        yield Finding("staleness", key, "a readable source file", str(error), RESTORE)
        return
    digest, recorded = frame_digest(frame, subject.attributes["fingerprint"]), book.digest[row].tobytes()
    same_camera = np.array_equal(frame.intrinsics, book.intrinsics[row])
    if digest != recorded:
        # A run reads it again by itself, but not after an edit that kept size and time.
        repair = CLEAR if _looks_unchanged(job.source, book, row) else RUN_AGAIN
        expected = f"source digest {recorded.hex()[:16]}…"
        got = f"{digest.hex()[:16]}…: the {'depth' if same_camera else 'intrinsics'} of the source changed"
        yield Finding("staleness", key, expected, got, repair, book.name, row)
        return
    if not same_camera:  # the digest is of the source's: σ² is right
        given, got = (", ".join(f"{x:.9g}" for x in camera) for camera in (frame.intrinsics, book.intrinsics[row]))
        yield Finding("staleness", f"{key}, intrinsics", given, got, RUN_AGAIN, book.name, row)
    yield from recomputation.check_frame(subject, book, row, job, frame)
