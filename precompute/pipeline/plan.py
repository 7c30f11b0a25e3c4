"""What a run would do, and what is done already, counted in frames."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from depthvar.datasets.cache.format import frame_bytes

from .job import Job
from .shards import READ, ShardPlan, Task


@dataclass(frozen=True, repr=False)
class Plan:
    """What a run would do, and what is done already, in frames. Of a part: in the frames of that part.

    Attributes:
        dataset: name of the source.
        cache: path or URL.
        total: frames of the source.
        frames: frames that this run is about: all, or those of its part.
        done: frames of shards that need nothing.
        compute: frames of shards that will be computed.
        check: frames of shards whose files look changed and will be hashed.
        failed: (key, message) of frames that will not be tried: they failed in an earlier run and have not changed
            (``--on-error skip``), or no frame of their sequence can be read.
        kept: frames of the cache that are not in the source, and stay as they are.
        pruned: frames of the cache that are not in the source, and will be removed.
        shards: shards that will be worked on.
        raw_bytes: float32 bytes of the maps of the frames to compute.
    """

    dataset: str
    cache: str
    total: int
    frames: int
    done: int
    compute: int
    check: int
    failed: tuple[tuple[str, str], ...]
    kept: int
    pruned: int
    shards: int
    raw_bytes: int

    def __repr__(self) -> str:
        counts = {"failed": len(self.failed), "kept": self.kept, "pruned": self.pruned}
        rest = "".join(f", {count} {name}" for name, count in counts.items() if count)
        return (
            f"Plan({self.dataset}, {self.frames} frames → {self.cache}: compute {self.compute}, check {self.check}, "
            f"{self.done} done{rest}; {self.shards} shards, {self.raw_bytes / 1e6:.1f} MB before compression)"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the same as plain values."""
        return asdict(self) | {"failed": failures(self.failed)}


def failures(failed: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """Return the frames that failed as ``--json`` prints them."""
    return [{"key": key, "error": message} for key, message in failed]


def make_plan(job: Job, shards: ShardPlan, tasks: Sequence[Task], part: tuple[int, int] | None = None) -> Plan:
    """Count what ``tasks`` will do, which are of one part of a plan, or of the whole."""
    own, unplaced = shards.tasks, shards.unplaced
    if part is not None:
        own, unplaced = shards.part(*part), unplaced[part[0] - 1 :: part[1]]
    frames: Counter[str] = Counter()
    for task in tasks:
        frames[task.action] += task.frames
    idle = [task for task in own if task.action in ("skip", "clear")]
    failed = [failure for task in idle for failure in task.failed_before()]
    rows = Counter(action for task in own for action in task.rows)
    return Plan(
        dataset=job.source.name,
        cache=job.cache,
        total=sum(task.frames for task in shards.tasks) + len(shards.unplaced),
        frames=sum(task.frames for task in own) + len(unplaced),
        done=sum(task.frames for task in idle) - len(failed),
        compute=frames["compute"],
        check=frames["check"],
        failed=(*failed, *((frame.key, frame.error or "") for frame in unplaced)),
        kept=rows["keep"],
        pruned=_pruned(shards, tasks),
        shards=len(tasks),
        raw_bytes=sum(
            task.frames * frame_bytes(task.layout.height, task.layout.width, job.strides)
            for task in tasks
            if task.action == "compute"
        ),
    )


def _pruned(shards: ShardPlan, tasks: Sequence[Task]) -> int:
    """Count the cleared rows of frames that the source lacks; a frame that changed its group is no such frame."""
    cleared = [key for task in tasks for key, action in zip(task.keys, task.rows, strict=True) if action == "clear"]
    if not cleared:
        return 0
    rows = ((key, action) for task in shards.tasks for key, action in zip(task.keys, task.rows, strict=True))
    there = {key for key, action in rows if action in READ}
    return sum(key not in there for key in cleared)


def choose(shards: ShardPlan, part: tuple[int, int] | None = None, limit: int | None = None) -> list[Task]:
    """Return the tasks that need work: of one part, and at most ``limit`` frames rounded up to whole shards."""
    chosen, frames = [], 0
    for task in shards.tasks if part is None else shards.part(*part):
        if task.action == "skip":
            continue
        if limit is not None and frames >= limit:
            break
        chosen.append(task)
        frames += task.frames
    return chosen
