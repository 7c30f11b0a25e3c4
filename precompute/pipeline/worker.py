"""The work of one shard, in any thread or process: read its frames, run the kernel, write, record what is done."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.cache.bookkeeping import read_column
from depthvar.datasets.cache.codec import Chunk, check_crc, encode_map
from depthvar.datasets.cache.format import COLUMNS, FAILED, MapLayout, column_width, level_name, map_path
from depthvar.datasets.cache.maps import Get, read_chunks
from depthvar.datasets.cache.store import Store, open_store
from depthvar.datasets.errors import DepthVarError, SourceError
from depthvar.datasets.frame import Frame
from depthvar.datasets.source.source import Source, SourceStat, frame_facts, read_frame

from .fingerprint import fingerprint, frame_digest
from .job import Job, TaskResult
from .levels import batch_size, compute_levels, empty_levels
from .shards import READ, Task
from .summary import DepthSummary, SigmaSummary, Stopwatch
from .write import Shard, put_column, write_shard

YOUNG_NS = 2_000_000_000  # a file younger than this may change again without a new mtime
COPIED = ("digest", "intrinsics", "source_stat")  # the columns of a shard without its keys


def run_task(job: Job, task: Task) -> TaskResult:
    """Bring one shard up to date.

    SourceError where a frame cannot be read and ``on_error`` is "fail": the shard does not count as done. CacheError
    where the cache cannot be written, or what is to be kept of it is damaged.
    """
    watch, store = Stopwatch(), open_store(job.cache)
    mark = fingerprint(job.parameters())
    columns = None if task.action == "compute" else _unchanged(job, task, store, mark)
    watch.lap("check")
    if columns is None:
        shard = _stored(job, task, store, [action == "keep" for action in task.rows])
        watch.lap("read cache")
        result = _compute(job, shard, mark, watch)
        write_shard(store, shard)
        watch.lap("write")
        return replace(result, seconds=watch.seconds)
    if "clear" in task.rows:
        shard = _stored(job, task, store, [action not in ("clear", "none") for action in task.rows])
        for name, values in columns.items():
            shard.columns[name][shard.kept] = values[shard.kept]
        write_shard(store, shard)
    else:
        put_column(store, task, "intrinsics", columns["intrinsics"])
        put_column(store, task, "source_stat", columns["source_stat"])
    failed = task.failed_before()
    checked = task.frames - len(failed) if task.action == "check" else 0
    watch.lap("write")
    return TaskResult(task.group, task.start, checked=checked, failed=failed, seconds=watch.seconds)


def _read_columns(task: Task, store: Store) -> dict[str, NDArray[Any]]:
    rows = range(task.start, task.start + len(task.keys))
    found = store.each(lambda name: read_column(store, task.group, name, rows, task.layout)[0], COPIED)
    return dict(zip(COPIED, found, strict=True))


def _unchanged(job: Job, task: Task, store: Store, mark: str) -> dict[str, NDArray[Any]] | None:
    """Return the columns to store if every doubtful frame is what it was, else None."""
    columns = _read_columns(task, store)
    for row, (key, action) in enumerate(zip(task.keys, task.rows, strict=True)):
        if action != "check":
            continue
        try:
            frame, columns["source_stat"][row] = _read_steady(job.source, key)
        except SourceError:
            return None  # the computation meets it again, and reports it
        if frame_digest(frame, mark) != columns["digest"][row].tobytes():
            return None
        columns["intrinsics"][row] = frame.intrinsics  # part of the digest: equal, unless the stored ones were lost
    return columns


def _stored(job: Job, task: Task, store: Store, kept: Sequence[bool]) -> Shard:
    """Return a shard with the rows to keep as they are stored: compressed bytes, only their checksums looked at."""
    count, layout = len(task.keys), task.layout
    maps: dict[str, tuple[MapLayout, list[Sequence[Chunk]]]] = {}
    for name, stride in job.maps.arrays.items():
        maps[name] = layout.maps(stride), [[None] * layout.maps(stride).bands] * count
    columns = {name: np.zeros((count, column_width(name, layout)), COLUMNS[name]) for name in COPIED}
    if any(kept):
        for name, values in _read_columns(task, store).items():
            columns[name][kept] = values[kept]
        for name, (cut, frames) in maps.items():
            get = shard_bytes(store, map_path(task.group, name, task.start, layout))
            for row in np.flatnonzero(kept).tolist():
                where = f"{store.url}: {task.keys[row]}, {name}"
                chunks = read_chunks(get, cut, row, slice(None), where)
                frames[row] = [chunk and check_crc(chunk, where) for chunk in chunks]
    return Shard(task, kept, maps, columns)


def shard_bytes(store: Store, path: str) -> Get:
    """Read a shard of maps whole, and return what gives parts of it."""
    data = store.get(path)
    return lambda start, stop: None if data is None else data[start:stop]


def _compute(job: Job, shard: Shard, mark: str, watch: Stopwatch) -> TaskResult:
    """Read the frames of a shard, and fill it with what is to be stored of them."""
    task, layout = shard.task, shard.task.layout
    digests, cameras, _ = (shard.columns[name] for name in COPIED)
    rows = [row for row, action in enumerate(task.rows) if action in READ]
    at_once = batch_size(job, len(rows))
    levels = empty_levels(at_once, (layout.height, layout.width), job)
    failed: list[tuple[str, str]] = []
    depth, sigma = DepthSummary(), SigmaSummary()
    for first in range(0, len(rows), at_once):
        frames: dict[int, Frame] = {}
        for row in rows[first : first + at_once]:
            try:
                frames[row] = _read_row(job, shard, row)
            except SourceError as error:
                if job.on_error == "fail":
                    raise
                failed.append((task.keys[row], str(error)))
                if _stat_before(job.source, task.keys[row]) != tuple(shard.columns["source_stat"][row].tolist()):
                    shard.columns["source_stat"][row] = 0  # it changed or went away meanwhile: to be tried again
                digests[row] = FAILED[0]
        watch.lap("read")
        compute_levels(list(frames.values()), job, levels, watch)
        for i, (row, frame) in enumerate(frames.items()):
            cameras[row] = frame.intrinsics  # they may have changed in between
            digests[row] = np.frombuffer(frame_digest(frame, mark), np.uint8)
            watch.lap("digest")
            for name, (cut, chunks) in shard.maps.items():
                chunks[row] = encode_map(frame.depth if name == "depth" else levels[name][i], cut)
            watch.lap("encode")
            depth, sigma = depth + DepthSummary.of(frame), sigma + SigmaSummary.of(levels[level_name(1)][i])
            watch.lap("statistics")
    return TaskResult(task.group, task.start, task.frames - len(failed), 0, tuple(failed), depth, sigma)


def _read_row(job: Job, shard: Shard, row: int) -> Frame:
    """Return the frame of a row, and note its intrinsics and stat; SourceError where it fails: they are noted, too."""
    key, layout = shard.task.keys[row], shard.task.layout
    _, cameras, stats = (shard.columns[name] for name in COPIED)
    if job.on_error == "skip":
        stats[row] = _stat_before(job.source, key)
    _, cameras[row] = frame_facts(job.source, key)
    frame, stat = _read_steady(job.source, key)
    if frame.depth.shape != (layout.height, layout.width):
        raise SourceError(
            f"{job.source}/{key}: expected {layout.height}×{layout.width} pixels, got {frame.depth.shape[0]}×"
            f"{frame.depth.shape[1]}; the file changed since the run began: run again (or shape() of a Source "
            "class is wrong)"
        )
    stats[row] = stat
    return frame


def _read_steady(source: Source, key: str) -> tuple[Frame, tuple[int, int]]:
    """Read a frame together with the ``source_stat`` to store; SourceError where its files change meanwhile."""
    before, now = source.stat(key), time.time_ns()
    frame = read_frame(source, key)
    after = source.stat(key)
    if (after.total_size, after.hash63) != (before.total_size, before.hash63):
        raise SourceError(f"{source}/{key}: the file changed while it was read; run again when it is complete")
    return frame, _trusted(before, now)


def _stat_before(source: Source, key: str) -> tuple[int, int]:
    """Return the stat by which a later run sees that a broken frame was repaired: (0, 0) if it is missing or young.

    Taken before reading: a file that is completed while it is read must not count as the broken one.
    """
    try:
        return _trusted(source.stat(key), time.time_ns())
    except DepthVarError:
        return 0, 0


def _trusted(stat: SourceStat, now: int) -> tuple[int, int]:
    """Return the ``source_stat`` to store; (0, 0) while a file is so young that it may change without a new time."""
    return (0, 0) if now - stat.newest_mtime_ns < YOUNG_NS else (stat.total_size, stat.hash63)
