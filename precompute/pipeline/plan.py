"""What a run would do, and what is done already, counted in frames."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from depthvar.datasets.cache.format import frame_bytes

from .job import Failures, Job
from .shards import READ, ShardPlan, Task


@dataclass(frozen=True, repr=False)
class Plan:
    """What a run would do and what is already done, in frames (of a part: in the frames of that part).

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
    failed: Failures
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


def failures(failed: Failures) -> list[dict[str, str]]:
    """Return the frames that failed as ``--json`` prints them."""
    return [{"key": key, "error": message} for key, message in failed]


def make_plan(job: Job, whole: ShardPlan, part: ShardPlan, tasks: Sequence[Task]) -> Plan:
    """Count what ``tasks`` will do, which are some of ``part``, which is one of ``whole`` or all of it."""
    frames: Counter[str] = Counter()
    raw_bytes = 0
    for task in tasks:
        frames[task.action] += task.frames
        if task.action == "compute":
            raw_bytes += task.frames * frame_bytes(task.layout.height, task.layout.width, job.maps.arrays.values())
    idle = [task for task in part.tasks if task.action in ("skip", "clear")]
    failed = [failure for task in idle for failure in task.failed_before()]
    return Plan(
        dataset=job.source.name,
        cache=job.cache,
        total=whole.frames,
        frames=part.frames,
        done=sum(task.frames for task in idle) - len(failed),
        compute=frames["compute"],
        check=frames["check"],
        failed=(*failed, *((frame.key, frame.error or "") for frame in part.unplaced)),
        kept=sum(task.rows.count("keep") for task in part.tasks),
        pruned=_pruned(whole, tasks),
        shards=len(tasks),
        raw_bytes=raw_bytes,
    )


def _pruned(whole: ShardPlan, tasks: Sequence[Task]) -> int:
    """Count the cleared rows of frames that the source lacks; a frame that changed its group is no such frame."""
    cleared = [key for task in tasks for key in task.keys_to("clear")]
    there = {key for task in whole.tasks for key in task.keys_to(*READ)} if cleared else set()
    return sum(key not in there for key in cleared)


def choose(plan: ShardPlan, limit: int | None = None) -> list[Task]:
    """Return the tasks that need work, of at most ``limit`` frames rounded up to whole shards."""
    chosen, frames = [], 0
    for task in plan.tasks:
        if limit is not None and frames >= limit:
            break
        if task.action != "skip":
            chosen.append(task)
            frames += task.frames
    return chosen
