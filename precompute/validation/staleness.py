"""Staleness: is the source still what σ² was computed from? Listed by size and time, and by content where asked for."""

import random
from collections.abc import Iterator
from functools import partial

import numpy as np

from depthvar.datasets.cache.bookkeeping import Bookkeeping
from depthvar.datasets.errors import CacheError, DepthVarError
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
    job = _job(subject, subject.source)
    chosen = _chosen(subject, subject.source)
    for number, (book, row) in enumerate(chosen, start=1):
        yield from _check_frame(subject, book, row, job)
        subject.recomputed = number
        subject.progress("frames compared", number, len(chosen), 0)


def _job(subject: Subject, source: Source) -> Job:
    """Return the job that computes what the cache's parameters describe; CacheError: this depthvar cannot."""
    given = subject.parameters
    params, strides = params_from_json(given), tuple(given["strides"])
    job = Job(subject.url, source, params, strides, given["keepbits"], given["with_depth"])
    if fingerprint(job.parameters()) != fingerprint(given):
        raise CacheError(
            f"{subject.url}: computed by another kernel version or decode rule than this depthvar's; "
            "install the one that it names under `precompute info`, or compute it again with --overwrite"
        )
    return job


def _chosen(subject: Subject, source: Source) -> list[tuple[Bookkeeping, int]]:
    """Return the rows to compare: those whose files look changed, and some drawn at random (or all)."""
    keys = set(source.keys())
    done = [
        (book, row) for book in subject.groups for row, key in enumerate(book.keys) if key in keys and book.is_done(row)
    ]
    if subject.full:
        return done
    drawn = random.Random(subject.seed).sample(range(len(done)), min(subject.recompute, len(done)))
    chosen = set(drawn)
    return [
        (book, row)
        for index, (book, row) in enumerate(done)
        if index in chosen or not _looks_unchanged(source, book, row)
    ]


def _looks_unchanged(source: Source, book: Bookkeeping, row: int) -> bool:
    key = book.keys[row]
    try:
        stat, intrinsics = frame_facts(source, key)
    except DepthVarError:
        return False
    same_stat = (stat.total_size, stat.hash63) == tuple(book.stat[row].tolist())
    return same_stat and np.array_equal(intrinsics, book.intrinsics[row])


def _check_frame(subject: Subject, book: Bookkeeping, row: int, job: Job) -> Iterator[Finding]:
    key = book.keys[row]
    stale = partial(Finding, "staleness", group=book.name, row=row)
    try:
        frame = read_frame(job.source, key)
    except DepthVarError as error:
        yield Finding("staleness", key, "a readable source file", str(error), RESTORE)
        return
    digest, recorded = frame_digest(frame, subject.attributes["fingerprint"]), book.digest[row].tobytes()
    if digest != recorded:
        # A run reads it again by itself, but not after an edit that kept size and time.
        repair = CLEAR if _looks_unchanged(job.source, book, row) else RUN_AGAIN
        same_camera = np.array_equal(frame.intrinsics, book.intrinsics[row])
        got = f"{digest.hex()[:16]}…: the {'depth' if same_camera else 'intrinsics'} of the source changed"
        yield stale(where=key, expected=f"source digest {recorded.hex()[:16]}…", got=got, repair=repair)
        return
    if not np.array_equal(frame.intrinsics, book.intrinsics[row]):  # the digest is of the source's: σ² is right
        given, got = (", ".join(f"{x:.9g}" for x in camera) for camera in (frame.intrinsics, book.intrinsics[row]))
        yield stale(where=f"{key}, intrinsics", expected=given, got=got, repair=RUN_AGAIN)
    yield from recomputation.check_frame(subject, book, row, job, frame)
