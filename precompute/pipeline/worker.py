"""The work of one shard: read its frames, run the kernel at every stride, write, record what is done.

``run_task`` is the same function serially, in threads, and as a Dask task.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import zarr
from numcodecs import BitRound
from numpy.typing import NDArray

from depthvar.datasets.cache.format import FAILED, MAX_SHARD_FRAMES, NOT_DONE, level_name, level_shape
from depthvar.datasets.errors import DepthVarError, SourceError
from depthvar.datasets.frame import Frame
from depthvar.datasets.source.depth_source import DepthSource, SourceStat
from depthvar.precompute.kernel.api import KernelParams, sigma_z2
from depthvar.precompute.kernel.numba_range import sigma_z2_frame

from .fingerprint import fingerprint, frame_digest, parameters
from .plan import Task
from .store import write_shard, write_unchanged, zero_digests
from .summary import DepthSummary, SigmaSummary

YOUNG_NS = 2_000_000_000  # a file younger than this may change again without a new mtime


@dataclass(frozen=True)
class Job:
    """What all shards of a run share; a few kilobytes when pickled."""

    cache: str = field(repr=False)  # a URL may hold credentials, and Dask logs what it is given
    source: DepthSource
    params: KernelParams = field(default_factory=KernelParams)
    strides: tuple[int, ...] = (1, 2, 3, 4, 6, 8)
    keepbits: int = 8
    with_depth: bool = False
    device: str = "cpu"
    on_error: str = "fail"
    shard_frames: int = MAX_SHARD_FRAMES  # of new groups, at most

    def parameters(self) -> dict[str, Any]:
        """Return all that decides the stored values (see ``fingerprint``)."""
        return parameters(self.source, self.params, self.strides, self.keepbits, self.with_depth)


@dataclass(frozen=True)
class TaskResult:
    """What became of one shard.

    Attributes:
        group: the group of the shard.
        start: its first row.
        computed: frames whose σ was computed and written.
        checked: frames found unchanged by their content; nothing but ``source_stat`` was written.
        failed: (key, message) of the frames that could not be read.
        seconds: wall-clock time of the task.
        depth: of the frames computed.
        sigma: of the frames computed, as stored.
    """

    group: str
    start: int
    computed: int
    checked: int
    failed: tuple[tuple[str, str], ...]
    seconds: float
    depth: DepthSummary = field(default_factory=DepthSummary)
    sigma: SigmaSummary = field(default_factory=SigmaSummary)


def frame_levels(frame: Frame, job: Job, out: dict[int, NDArray[np.float32]]) -> None:
    """Compute σ² of one frame at every stride, rounded to ``keepbits`` mantissa bits, into ``out[stride]``."""
    rounding = BitRound(keepbits=job.keepbits)
    for stride, level in out.items():
        depth = np.ascontiguousarray(frame.depth[::stride, ::stride])
        intrinsics = frame.intrinsics / stride  # exact: pixel centres are integers
        if job.device == "cpu":
            sigma_z2_frame(depth, intrinsics, job.params, frame.max_depth, out=level)
        else:
            level[...] = _on_device(depth, intrinsics, job, frame.max_depth)
        if job.params.compat is not None:  # the original's value there is no information
            level[~frame.valid[::stride, ::stride]] = np.inf
        level[...] = rounding.decode(rounding.encode(level))


def _on_device(
    depth: NDArray[np.float32], intrinsics: NDArray[np.float64], job: Job, max_depth: float | None
) -> NDArray[np.float32]:
    import torch

    tensor = torch.from_numpy(depth).to(job.device)
    result = sigma_z2(tensor, torch.from_numpy(intrinsics).to(job.device), job.params, max_depth=max_depth)
    values: NDArray[np.float32] = result.cpu().numpy()
    return values


def run_task(job: Job, task: Task) -> TaskResult:
    """Bring one shard up to date.

    Raises:
        SourceError: a frame cannot be read and ``on_error`` is "fail". The shard does not count as done.
        CacheError: the cache cannot be written.
    """
    began = time.perf_counter()
    group = zarr.open_group(job.cache, mode="r+", path=task.group, use_consolidated=False)
    mark = fingerprint(job.parameters())
    if task.action == "check" and (unchanged := _unchanged(job, task, group, mark)) is not None:
        write_unchanged(group, task.start, *unchanged)
        failed = task.failed_before()
        return TaskResult(task.group, task.start, 0, task.frames - len(failed), failed, time.perf_counter() - began)
    failed, depth, sigma = _compute(job, task, group, mark)
    computed = task.frames - len(failed)
    return TaskResult(task.group, task.start, computed, 0, failed, time.perf_counter() - began, depth, sigma)


def _unchanged(
    job: Job, task: Task, group: zarr.Group, mark: str
) -> tuple[NDArray[np.float64], NDArray[np.int64]] | None:
    """Return the intrinsics and ``source_stat`` to store if every doubtful frame is what it was, else None."""
    rows = slice(task.start, task.start + len(task.keys))
    digests, intrinsics, stat = (
        np.asarray(group[name][rows])  # type: ignore[index]
        for name in ("digest", "intrinsics", "source_stat")
    )
    for row, (key, state) in enumerate(zip(task.keys, task.states, strict=True)):
        if state != "check":
            continue
        try:
            frame, stat[row] = _read_steady(job.source, key)
        except SourceError:
            return None  # the computation meets it again, and reports it
        if frame_digest(frame, mark) != digests[row].tobytes():
            return None
        intrinsics[row] = frame.intrinsics  # part of the digest: equal, unless the stored ones were lost
    return intrinsics, stat


def _read_steady(source: DepthSource, key: str) -> tuple[Frame, tuple[int, int]]:
    """Read a frame together with the ``source_stat`` to store: (0, 0) while its files are young.

    The stat is taken before reading. One that differs afterwards is an error.
    """
    before = source.stat(key)
    now = time.time_ns()
    frame = source.read(key)
    after = source.stat(key)
    if (after.total_size, after.hash63) != (before.total_size, before.hash63):
        raise SourceError(f"{source.root / key}: the file changed while it was read; run again when it is complete")
    return frame, _trusted(before, now)


def _compute(
    job: Job, task: Task, group: zarr.Group, mark: str
) -> tuple[tuple[tuple[str, str], ...], DepthSummary, SigmaSummary]:
    count, layout = len(task.keys), task.layout
    levels = {
        stride: np.full((count, *level_shape(layout.height, layout.width, stride)), np.nan, np.float32)
        for stride in job.strides
    }
    maps = {level_name(stride): level for stride, level in levels.items()}
    if job.with_depth:
        maps["depth"] = np.full((count, layout.height, layout.width), np.nan, np.float32)
    intrinsics = np.zeros((count, 4))
    stat = np.zeros((count, 2), np.int64)
    digests = [NOT_DONE] * count
    failed: list[tuple[str, str]] = []
    depth, sigma = DepthSummary(), SigmaSummary()
    for row, (key, state) in enumerate(zip(task.keys, task.states, strict=True)):
        if state in ("clear", "cleared"):
            continue
        before = _stat_before(job.source, key) if job.on_error == "skip" else (0, 0)
        try:
            intrinsics[row] = job.source.intrinsics(key)  # of a frame that fails, too
            frame, stat[row] = _read_steady(job.source, key)
            if frame.depth.shape != (layout.height, layout.width):
                raise SourceError(
                    f"{job.source.root / key}: expected {layout.height}×{layout.width} pixels, got "
                    f"{frame.depth.shape[0]}×{frame.depth.shape[1]}; the file changed since the run began: run again"
                )
            frame_levels(frame, job, {stride: level[row] for stride, level in levels.items()})
        except SourceError as error:
            if job.on_error == "fail":
                raise
            failed.append((key, str(error)))
            digests[row] = FAILED
            stat[row] = before
            continue
        intrinsics[row] = frame.intrinsics  # they may have changed in between
        digests[row] = frame_digest(frame, mark)
        depth, sigma = depth + DepthSummary.of(frame), sigma + SigmaSummary.of(levels[1][row])
        if job.with_depth:
            maps["depth"][row] = frame.depth
    zero_digests(group, task.start, count)
    write_shard(group, task.start, maps, task.keys, intrinsics, stat, digests)
    return tuple(failed), depth, sigma


def _stat_before(source: DepthSource, key: str) -> tuple[int, int]:
    """Return the stat by which a later run sees that a broken frame has been mended: (0, 0) if it is missing or young.

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
