"""The work of one shard, in any thread or process: read its frames, run the kernel, write, record what is done."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.cache.bookkeeping import read_column
from depthvar.datasets.cache.codec import Chunk, check_crc, encode_map
from depthvar.datasets.cache.format import COLUMNS, FAILED, MapLayout, column_width, level_shape, map_names, map_path
from depthvar.datasets.cache.maps import Get, read_chunks
from depthvar.datasets.cache.store import Store, open_store
from depthvar.datasets.errors import DepthVarError, SourceError
from depthvar.datasets.frame import Frame
from depthvar.datasets.source.source import Source, SourceStat, frame_facts, read_frame
from depthvar.precompute.kernel.api import sigma_z2
from depthvar.precompute.kernel.numba_engine import sigma_z2_frame

from .fingerprint import fingerprint, frame_digest
from .job import Job, TaskResult
from .shards import READ, Task
from .summary import DepthSummary, SigmaSummary, Stopwatch
from .write import Shard, put_column, write_shard

YOUNG_NS = 2_000_000_000  # a file younger than this may change again without a new mtime
COPIED = ("digest", "intrinsics", "source_stat")  # the columns of a shard without its keys


def frame_levels(frame: Frame, job: Job, out: dict[int, NDArray[np.float32]]) -> None:
    """Compute σ² of one frame at every stride, rounded to ``keepbits`` mantissa bits, into ``out[stride]``."""
    for stride, level in out.items():
        depth = np.ascontiguousarray(frame.depth[::stride, ::stride])
        intrinsics = frame.intrinsics / stride  # exact: pixel centres are integers
        if job.engine == "numba":
            sigma_z2_frame(depth, intrinsics, job.params, frame.max_depth, out=level)
        else:
            import torch

            tensor, camera = (torch.from_numpy(values).to(job.device) for values in (depth, intrinsics))
            level[...] = sigma_z2(tensor, camera, job.params, max_depth=frame.max_depth).cpu().numpy()
        if job.params.compat is not None:  # the original's value there is no information
            level[~frame.valid[::stride, ::stride]] = np.inf
        round_mantissas(level, job.keepbits)


def round_mantissas(values: NDArray[np.float32], keepbits: int) -> None:
    """Round in place to ``keepbits`` bits of mantissa, ties to even: to the bit what numcodecs' BitRound returns."""
    bits, dropped = values.view(np.uint32), 23 - keepbits
    if dropped:
        bits += (bits >> dropped & 1) + ((1 << dropped - 1) - 1)
        bits &= 2**32 - 2**dropped


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
    return {name: read_column(store, task.group, name, rows, task.layout)[0] for name in COPIED}


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
    for name, stride in map_names(job.strides, job.with_depth).items():
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
    task, size = shard.task, (shard.task.layout.height, shard.task.layout.width)
    digests, cameras, stats = (shard.columns[name] for name in COPIED)
    levels = {stride: np.empty(level_shape(*size, stride), np.float32) for stride in job.strides}
    failed: list[tuple[str, str]] = []
    depth, sigma = DepthSummary(), SigmaSummary()
    for row, (key, action) in enumerate(zip(task.keys, task.rows, strict=True)):
        if action not in READ:
            continue
        before = _stat_before(job.source, key) if job.on_error == "skip" else (0, 0)
        try:
            _, cameras[row] = frame_facts(job.source, key)  # of a frame that fails, too
            frame, stats[row] = _read_steady(job.source, key)
            if frame.depth.shape != size:
                raise SourceError(
                    f"{job.source}/{key}: expected {size[0]}×{size[1]} pixels, got {frame.depth.shape[0]}×"
                    f"{frame.depth.shape[1]}; the file changed since the run began: run again (or shape() of a Source "
                    "class is wrong)"
                )
            watch.lap("read")
            frame_levels(frame, job, levels)
            watch.lap("kernel")
        except SourceError as error:
            if job.on_error == "fail":
                raise
            failed.append((key, str(error)))
            digests[row], stats[row] = FAILED[0], before
            continue
        cameras[row] = frame.intrinsics  # they may have changed in between
        digests[row] = np.frombuffer(frame_digest(frame, mark), np.uint8)
        watch.lap("digest")
        for name, (cut, frames) in shard.maps.items():
            frames[row] = encode_map(frame.depth if name == "depth" else levels[cut.stride], cut)
        watch.lap("encode")
        depth, sigma = depth + DepthSummary.of(frame), sigma + SigmaSummary.of(levels[1])
        watch.lap("statistics")
    return TaskResult(task.group, task.start, task.frames - len(failed), 0, tuple(failed), depth, sigma)


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
