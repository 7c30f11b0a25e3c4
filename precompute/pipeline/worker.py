"""The work of one shard: read its frames, run the kernel at every stride, write, record what is done.

``run_task`` is the same function serially, in threads, and as a Dask task.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.cache.bookkeeping import read_column
from depthvar.datasets.cache.codec import Chunk, check_crc, encode_map
from depthvar.datasets.cache.format import FAILED, level_name, level_shape, map_names, map_path
from depthvar.datasets.cache.maps import read_chunks
from depthvar.datasets.cache.store import Store, open_store
from depthvar.datasets.errors import DepthVarError, SourceError
from depthvar.datasets.frame import Frame
from depthvar.datasets.source.source import Source, SourceStat, frame_facts, read_frame
from depthvar.precompute.kernel.api import sigma_z2
from depthvar.precompute.kernel.numba_engine import sigma_z2_frame

from .fingerprint import fingerprint, frame_digest
from .job import Job, TaskResult
from .shards import READ, Task
from .summary import DepthSummary, SigmaSummary
from .write import put_column, write_shard

YOUNG_NS = 2_000_000_000  # a file younger than this may change again without a new mtime


def frame_levels(frame: Frame, job: Job, out: dict[int, NDArray[np.float32]]) -> None:
    """Compute σ² of one frame at every stride, rounded to ``keepbits`` mantissa bits, into ``out[stride]``."""
    for stride, level in out.items():
        depth = np.ascontiguousarray(frame.depth[::stride, ::stride])
        intrinsics = frame.intrinsics / stride  # exact: pixel centres are integers
        if job.engine == "numba":
            sigma_z2_frame(depth, intrinsics, job.params, frame.max_depth, out=level)
        else:
            level[...] = _on_device(depth, intrinsics, job, frame.max_depth)
        if job.params.compat is not None:  # the original's value there is no information
            level[~frame.valid[::stride, ::stride]] = np.inf
        round_mantissas(level, job.keepbits)


def round_mantissas(values: NDArray[np.float32], keepbits: int) -> None:
    """Round in place to ``keepbits`` bits of mantissa, ties to even: to the bit what numcodecs' BitRound returns."""
    bits, dropped = values.view(np.uint32), 23 - keepbits
    if dropped:
        bits += (bits >> dropped & 1) + ((1 << dropped - 1) - 1)
        bits &= 2**32 - 2**dropped


def _on_device(
    depth: NDArray[np.float32], intrinsics: NDArray[np.float64], job: Job, max_depth: float | None
) -> NDArray[np.float32]:
    import torch

    tensor = torch.from_numpy(depth).to(job.device)
    intrinsics_there = torch.from_numpy(intrinsics).to(job.device)
    result = sigma_z2(tensor, intrinsics_there, job.params, max_depth=max_depth, engine="torch")
    values: NDArray[np.float32] = result.cpu().numpy()
    return values


def run_task(job: Job, task: Task) -> TaskResult:
    """Bring one shard up to date.

    Raises:
        SourceError: a frame cannot be read and ``on_error`` is "fail". The shard does not count as done.
        CacheError: the cache cannot be written, or what is to be kept of it is damaged.
    """
    began = time.perf_counter()
    store = open_store(job.cache)
    mark = fingerprint(job.parameters())
    unchanged = None if task.action == "compute" else _unchanged(job, task, store, mark)
    if unchanged is None:
        failed, depth, sigma = _compute(job, task, store, mark)
        computed = task.frames - len(failed)
        return TaskResult(task.group, task.start, computed, 0, failed, time.perf_counter() - began, depth, sigma)
    intrinsics, stat = unchanged
    if "clear" in task.rows:
        kept = [action not in ("clear", "none") for action in task.rows]
        shard = _stored(job, task, store, kept)
        shard.intrinsics[kept], shard.stat[kept] = intrinsics[kept], stat[kept]
        _write(store, task, kept, shard)
    else:
        put_column(store, task, "intrinsics", intrinsics)
        put_column(store, task, "source_stat", stat)
    failed = task.failed_before()
    checked = task.frames - len(failed) if task.action == "check" else 0
    return TaskResult(task.group, task.start, 0, checked, failed, time.perf_counter() - began)


def _unchanged(job: Job, task: Task, store: Store, mark: str) -> tuple[NDArray[np.float64], NDArray[np.int64]] | None:
    """Return the intrinsics and ``source_stat`` to store if every doubtful frame is what it was, else None."""
    rows = range(task.start, task.start + len(task.keys))
    digests, intrinsics, stat = (
        read_column(store, task.group, name, rows, task.layout)[0] for name in ("digest", "intrinsics", "source_stat")
    )
    for row, (key, action) in enumerate(zip(task.keys, task.rows, strict=True)):
        if action != "check":
            continue
        try:
            frame, stat[row] = _read_steady(job.source, key)
        except SourceError:
            return None  # the computation meets it again, and reports it
        if frame_digest(frame, mark) != digests[row].tobytes():
            return None
        intrinsics[row] = frame.intrinsics  # part of the digest: equal, unless the stored ones were lost
    return intrinsics, stat


def _read_steady(source: Source, key: str) -> tuple[Frame, tuple[int, int]]:
    """Read a frame together with the ``source_stat`` to store: (0, 0) while its files are young.

    The stat is taken before reading. One that differs afterwards is an error.
    """
    before = source.stat(key)
    now = time.time_ns()
    frame = read_frame(source, key)
    after = source.stat(key)
    if (after.total_size, after.hash63) != (before.total_size, before.hash63):
        raise SourceError(f"{source}/{key}: the file changed while it was read; run again when it is complete")
    return frame, _trusted(before, now)


@dataclass(frozen=True, eq=False)
class _Shard:
    """What is to be written of a shard; every row begins as one without a frame."""

    maps: dict[str, tuple[int, list[Sequence[Chunk]]]]  # array -> stride, and the chunks of every row
    digests: NDArray[np.uint8]
    intrinsics: NDArray[np.float64]
    stat: NDArray[np.int64]


def _stored(job: Job, task: Task, store: Store, kept: Sequence[bool]) -> _Shard:
    """Return a shard with the rows to keep as they are stored: compressed bytes, only their checksums looked at."""
    count, layout = len(task.keys), task.layout
    rows = range(task.start, task.start + count)
    shard = _Shard(
        {
            name: (stride, [[None] * layout.maps(stride).bands for _ in rows])
            for name, stride in map_names(job.strides, job.with_depth).items()
        },
        np.zeros((count, 32), np.uint8),
        np.zeros((count, 4)),
        np.zeros((count, 2), np.int64),
    )
    if not any(kept):
        return shard
    for name, column in (("digest", shard.digests), ("intrinsics", shard.intrinsics), ("source_stat", shard.stat)):
        column[kept] = read_column(store, task.group, name, rows, layout)[0][kept]
    for name, (stride, frames) in shard.maps.items():
        data = store.get(map_path(task.group, name, task.start, layout))

        def get(start: int, stop: int | None, data: bytes | None = data) -> bytes | None:
            return None if data is None else data[start:stop]

        for row in np.flatnonzero(kept).tolist():
            where = f"{store.url}: {task.keys[row]}, {name}"
            chunks = read_chunks(get, layout.maps(stride), row, slice(None), where)
            frames[row] = [chunk and check_crc(chunk, where) for chunk in chunks]
    return shard


def _write(store: Store, task: Task, kept: Sequence[bool], shard: _Shard) -> None:
    write_shard(store, task, kept, shard.maps, shard.digests, shard.intrinsics, shard.stat)


def _compute(
    job: Job, task: Task, store: Store, mark: str
) -> tuple[tuple[tuple[str, str], ...], DepthSummary, SigmaSummary]:
    layout = task.layout
    kept = [action == "keep" for action in task.rows]
    shard = _stored(job, task, store, kept)
    levels = {s: np.empty(level_shape(layout.height, layout.width, s), np.float32) for s in job.strides}
    failed: list[tuple[str, str]] = []
    depth, sigma = DepthSummary(), SigmaSummary()
    for row, (key, action) in enumerate(zip(task.keys, task.rows, strict=True)):
        if action not in READ:
            continue
        before = _stat_before(job.source, key) if job.on_error == "skip" else (0, 0)
        try:
            _, shard.intrinsics[row] = frame_facts(job.source, key)  # of a frame that fails, too
            frame, shard.stat[row] = _read_steady(job.source, key)
            if frame.depth.shape != (layout.height, layout.width):
                raise SourceError(
                    f"{job.source}/{key}: expected {layout.height}×{layout.width} pixels, got "
                    f"{frame.depth.shape[0]}×{frame.depth.shape[1]}; the file changed since the run began: run again "
                    "(or shape() of a Source class is wrong)"
                )
            frame_levels(frame, job, levels)
        except SourceError as error:
            if job.on_error == "fail":
                raise
            failed.append((key, str(error)))
            shard.digests[row] = FAILED[0]
            shard.stat[row] = before
            continue
        shard.intrinsics[row] = frame.intrinsics  # they may have changed in between
        shard.digests[row] = np.frombuffer(frame_digest(frame, mark), np.uint8)
        for stride, level in levels.items():
            shard.maps[level_name(stride)][1][row] = encode_map(level, layout.maps(stride))
        depth, sigma = depth + DepthSummary.of(frame), sigma + SigmaSummary.of(levels[1])
        if job.with_depth:
            shard.maps["depth"][1][row] = encode_map(frame.depth, layout.maps(1))
    _write(store, task, kept, shard)
    return tuple(failed), depth, sigma


def _stat_before(source: Source, key: str) -> tuple[int, int]:
    """Return the stat by which a later run sees that a broken frame was repaired: (0, 0) if it is missing or young.

    Taken before reading: a file that is completed while it is read must not count as the broken one.
    """
    try:
        stat = source.stat(key)
    except DepthVarError:
        return 0, 0
    return _trusted(stat, time.time_ns())


def _trusted(stat: SourceStat, now: int) -> tuple[int, int]:
    """Return the ``source_stat`` to store; (0, 0) while a file is so young that it may change without a new time."""
    return (0, 0) if now - stat.newest_mtime_ns < YOUNG_NS else (stat.total_size, stat.hash63)
