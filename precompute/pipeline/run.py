"""A run from end to end: survey the source, plan, prepare the cache, execute. The command line only prints."""

import logging
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import zarr

from depthvar.datasets.cache.format import FORMAT, FORMAT_VERSION, check_root, frame_bytes, seal, unseal
from depthvar.datasets.errors import CacheError, ParameterError, SourceError
from depthvar.datasets.source.depth_source import DepthSource
from depthvar.precompute.kernel.numba_range import warm_up

from . import remove as removal
from . import store
from .execute import Execute
from .fingerprint import differences, fingerprint, provenance
from .lock import creating, writer_lock
from .plan import Plan, SourceFrame, StoredGroup, Task, make_plan
from .stored import stored_groups
from .worker import Job, TaskResult

log = logging.getLogger("depthvar")

MANY_FRAMES = 50_000  # from here on people would wonder what takes so long


@dataclass(frozen=True)
class Outlook:
    """What a run would do, and what is done already, in frames. Of a part: in the frames of that part.

    Attributes:
        total: frames of the source.
        frames: frames that this run is about: all, or those of its part.
        done: frames of shards that need nothing.
        compute: frames of shards that will be computed.
        check: frames of shards whose files look changed and will be hashed.
        failed: (key, message) of frames that will not be tried: they failed in an earlier run and have not changed
            (``--on-error skip``), or no frame of their sequence can be read.
        shards: shards that will be worked on.
        raw_bytes: float32 bytes of the maps of the frames to compute.
    """

    total: int
    frames: int
    done: int
    compute: int
    check: int
    failed: tuple[tuple[str, str], ...]
    shards: int
    raw_bytes: int


def survey(source: DepthSource, stored: Iterable[StoredGroup], on_error: str = "fail") -> Iterator[SourceFrame]:
    """Yield what planning needs of every frame; headers are read only of files that are new or have changed.

    Raises:
        SourceError: a file cannot be read and ``on_error`` is "fail".
    """
    known = {
        key: ((group.layout.height, group.layout.width), tuple(group.stat[row].tolist()))
        for group in stored
        for row, key in enumerate(group.keys)
        if key
    }
    keys = source.keys()
    if len(keys) >= MANY_FRAMES:
        log.info("looking at the files of %d frames (some 10,000 to 25,000 a second)", len(keys))
    for key in keys:
        sequence = source.sequence(key)
        try:
            stat = source.stat(key)
            intrinsics = tuple(source.intrinsics(key).tolist())
            shape, old_stat = known.get(key, (None, None))
            if shape is None or old_stat != (stat.total_size, stat.hash63):
                shape = source.shape(key)
        except SourceError as error:
            if on_error == "fail":
                raise
            yield SourceFrame(key, sequence, None, (0.0, 0.0, 0.0, 0.0), (0, 0), str(error))
            continue
        yield SourceFrame(key, sequence, shape, intrinsics, (stat.total_size, stat.hash63))


def make_outlook(plan: Plan, tasks: Iterable[Task], job: Job, part: tuple[int, int] | None = None) -> Outlook:
    """Count what ``tasks`` will do, which are of one part of a plan, or of the whole."""
    tasks = list(tasks)
    own, unplaced = plan.tasks, plan.unplaced
    if part is not None:
        own, unplaced = plan.part(*part), unplaced[part[0] - 1 :: part[1]]
    compute = [task for task in tasks if task.action == "compute"]
    check = [task for task in tasks if task.action == "check"]
    skipped = [task for task in own if task.action == "skip"]
    failed = [failure for task in skipped for failure in task.failed_before()]
    return Outlook(
        total=sum(task.frames for task in plan.tasks) + len(plan.unplaced),
        frames=sum(task.frames for task in own) + len(unplaced),
        done=sum(task.frames for task in skipped) - len(failed),
        compute=sum(task.frames for task in compute),
        check=sum(task.frames for task in check),
        failed=(*failed, *((frame.key, frame.error or "") for frame in unplaced)),
        shards=len(compute) + len(check),
        raw_bytes=sum(
            task.frames * frame_bytes(task.layout.height, task.layout.width, job.strides) for task in compute
        ),
    )


def choose(plan: Plan, part: tuple[int, int] | None = None, limit: int | None = None) -> list[Task]:
    """Return the tasks that need work: of one part, and at most ``limit`` frames rounded up to whole shards."""
    chosen, frames = [], 0
    for task in plan.tasks if part is None else plan.part(*part):
        if task.action == "skip":
            continue
        if limit is not None and frames >= limit:
            break
        chosen.append(task)
        frames += task.frames
    return chosen


def plan_run(job: Job, *, overwrite: bool = False) -> Plan:
    """Plan a run without writing anything.

    Raises:
        CacheError: the cache is of other parameters, or not a cache.
        SourceError: the source has no frames, or one that cannot be read.
    """
    root = store.open_existing(job.cache)
    return _plan(job, None if overwrite else root)


def run(
    job: Job,
    execute: Execute,
    *,
    overwrite: bool = False,
    part: tuple[int, int] | None = None,
    limit: int | None = None,
) -> Generator[Outlook | TaskResult]:
    """Bring a cache up to date: yields an Outlook, then a TaskResult per shard as they finish.

    Args:
        job: what to compute, from which source, into which cache.
        execute: ``serial``, ``in_threads(n)`` or ``on_dask(…)``.
        overwrite: remove an existing cache first, whatever its parameters.
        part: (index from 1, count): work on every count-th shard only; other processes do the others.
        limit: stop after this many frames, rounded up to whole shards.

    Raises:
        CacheError: another run holds the cache, its parameters differ, it is damaged or cannot be written.
        SourceError: the source is empty, or a frame cannot be read and ``job.on_error`` is "fail".
        ParameterError: ``overwrite`` together with ``part``.
    """
    if overwrite and part is not None:
        raise ParameterError(
            "--overwrite with --part: every part would remove the work of the others; remove the cache first, "
            "or run once with --overwrite --limit 1"
        )
    with writer_lock(job.cache, part) as claim:
        with creating(job.cache, part):
            root = store.open_existing(job.cache)
        if overwrite and root is not None:
            removal.remove(root)
            root = None
        plan = _plan(job, root)
        claim(plan.identity(fingerprint(job.parameters())))
        with creating(job.cache, part):
            root = _describe(job, plan, store.open_existing(job.cache))  # another part may have created it by now
            store.prepare(root, plan.groups, job.strides, job.with_depth)
        if part is None:
            removal.remove_partial(job.cache)
        tasks = choose(plan, part, limit)
        if tasks and job.device == "cpu":
            warm_up(job.params.estimator)  # once here, not in every thread, and before anyone draws a progress bar
        yield make_outlook(plan, tasks, job, part)
        yield from execute(job, tasks)


def _plan(job: Job, root: zarr.Group | None) -> Plan:
    stored: list[StoredGroup] = []
    if root is not None:
        attributes = check_root(root.attrs.asdict(), job.cache)
        _check_parameters(job, attributes)
        stored = stored_groups(root, attributes)
    frames = survey(job.source, stored, job.on_error)
    return make_plan(frames, stored, job.strides, job.on_error, job.shard_frames)


def _check_parameters(job: Job, attributes: dict[str, Any]) -> None:
    wanted = job.parameters()
    if attributes["fingerprint"] != fingerprint(wanted):
        raise CacheError(
            f"{job.cache}: computed with other parameters: {'; '.join(differences(attributes['parameters'], wanted))}; "
            "pass --overwrite to compute it anew, or --out for a second cache"
        )
    if attributes["engine"] != engine(job):
        log.warning(
            "%s was begun with the %s engine; this run goes on with %s, which differs in the last digits",
            job.cache, attributes["engine"], engine(job),
        )  # fmt: skip


def engine(job: Job) -> str:
    """Return the name of the kernel's engine that a job uses, as the cache records it."""
    return "numba" if job.device == "cpu" else f"torch-{job.device}"


def _describe(job: Job, plan: Plan, root: zarr.Group | None) -> zarr.Group:
    """Create the root, or add to it what is new: groups, and a source whose intrinsics or file names changed.

    The first creator's software, engine and data set name stand.
    """
    groups = sorted(group.name for group in plan.groups)
    source = job.source.description.to_dict()
    if root is not None:
        old = unseal(root.attrs.asdict(), job.cache)
        new = old | {"groups": groups, "source": source}
        if new != old:
            with store.writing(job.cache):
                root.attrs.put(seal(new))
        return root
    wanted = job.parameters()
    return store.create(
        job.cache,
        {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "dataset": job.source.name,
            "camera_model": "pinhole",
            "units": {"sigma_Z2": "m2", "depth": "m", "intrinsics": "px"},
            "parameters": wanted,
            "fingerprint": fingerprint(wanted),
            "engine": engine(job),
            "source": source,
            "software": provenance(),
            "groups": groups,
        },
    )
