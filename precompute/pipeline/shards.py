"""What a run has to do: which frame lies in which row of which group, and which shards need work. Pure.

A shard is the unit of work: it is computed whole, or not at all (concurrent partial writes of a shard lose data).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from depthvar.datasets.cache.bookkeeping import Bookkeeping, RowState
from depthvar.datasets.cache.format import (
    MAX_SHARD_FRAMES,
    GroupLayout,
    group_name,
    key_bytes,
    sequence_group,
    shard_frames,
)
from depthvar.datasets.errors import CacheError

RowAction = Literal[
    "done",  # nothing: its files are those that σ² was computed from
    "failed",  # nothing: it could not be read, and has not changed since
    "check",  # hash the frame: its files or intrinsics look changed
    "compute",
    "keep",  # not in the source: what is stored stays
    "clear",  # not in the source, or in another group by now: what is stored goes
    "none",  # there is no frame
]
Action = Literal["skip", "clear", "check", "compute"]
Change = Literal["none", "grow", "shrink", "new"]  # of the metadata of a group; new: it is not there in full

READ: tuple[RowAction, ...] = ("done", "failed", "check", "compute")  # the actions of frames that are in the source


@dataclass(frozen=True)
class SourceFrame:
    """A frame as the survey of the source found it, without its depth."""

    key: str
    sequence: str
    shape: tuple[int, int] | None  # None: the file's header could not be read
    intrinsics: tuple[float, float, float, float]
    stat: tuple[int, int]  # total size and 63-bit hash of (path, size, mtime) over every file of the frame
    error: str | None = None


@dataclass(frozen=True)
class Task:
    """One shard of one group: small, picklable facts, never an array."""

    group: str
    layout: GroupLayout
    start: int  # first row
    keys: tuple[str, ...]  # one per row
    rows: tuple[RowAction, ...]  # one per row
    action: Action

    @property
    def frames(self) -> int:
        """Frames of the source in this shard."""
        return sum(action in READ for action in self.rows)

    def failed_before(self) -> tuple[tuple[str, str], ...]:
        """Return (key, message) of the frames that failed in an earlier run and are left alone."""
        message = "could not be read in an earlier run, and has not changed since; --on-error fail says why"
        return tuple((key, message) for key, action in zip(self.keys, self.rows, strict=True) if action == "failed")


@dataclass(frozen=True)
class GroupPlan:
    """A group that must exist before the tasks run, and its number of rows."""

    name: str
    sequence: str
    layout: GroupLayout
    rows: int
    change: Change


@dataclass(frozen=True)
class ShardPlan:
    """Everything that a run does. ``tasks`` holds every shard, those to skip too."""

    groups: tuple[GroupPlan, ...]
    tasks: tuple[Task, ...]
    unplaced: tuple[SourceFrame, ...] = field(default=())  # no frame of their sequence can be read

    def identity(self, fingerprint: str) -> str:
        """Return what two parts of one run (``--part I/N``) must have in common: the row of every frame."""
        digest = hashlib.sha256(fingerprint.encode())
        for task in self.tasks:
            digest.update(repr((task.group, task.layout, task.start, task.keys)).encode())
        return digest.hexdigest()

    def part(self, index: int, count: int) -> tuple[Task, ...]:
        """Return the tasks of part ``index`` (from 1) of ``count``: every count-th shard, done or not."""
        return self.tasks[index - 1 :: count]


def row_action(
    frame: SourceFrame | None, state: RowState, stat: tuple[int, int], intrinsics: tuple[float, ...], on_error: str
) -> RowAction:
    """Decide what a row needs whose frame is in the source; None: in this group it is not.

    Args:
        frame: as the survey found it.
        state: of the stored row; ``stat`` and ``intrinsics`` are stored, too.
        on_error: "skip": leave a frame alone that failed and has not changed.
    """
    if frame is None:
        if state in (RowState.DONE, RowState.FAILED):
            return "keep"
        return "clear" if state == RowState.NOT_DONE else "none"
    same_stat = frame.stat == stat and stat != (0, 0)
    if state == RowState.FAILED:
        return "failed" if same_stat and on_error == "skip" else "compute"
    if state != RowState.DONE:
        return "compute"
    return "done" if same_stat and frame.intrinsics == intrinsics else "check"


def shard_action(rows: Sequence[RowAction]) -> Action:
    """Decide what a shard needs from what its rows need."""
    actions: tuple[Action, ...] = ("compute", "check", "clear")
    return next((action for action in actions if action in rows), "skip")


def make_shard_plan(
    frames: Iterable[SourceFrame],
    stored: Iterable[Bookkeeping],
    strides: Sequence[int],
    on_error: str = "fail",
    most_shard_frames: int = MAX_SHARD_FRAMES,
    prune: bool = False,
) -> ShardPlan:
    """Lay the source's frames out over groups, rows and shards, and decide which shards need work.

    A row keeps its key for ever: frames are found again by key, and new ones go to rows never used. So two runs of one
    source plan the same rows, whatever has been done in between. A frame that is not in the source is kept; with
    ``prune`` its row is cleared.

    Raises:
        CacheError: a new key is longer than an existing group can hold.
    """
    existing = {group.name: group for group in stored}
    first_shapes = {
        group.sequence: (group.layout.height, group.layout.width)
        for group in existing.values()
        if group.name == sequence_group(group.sequence)
    }
    members: dict[str, list[SourceFrame]] = {name: [] for name in existing}
    sequences = {group.name: group.sequence for group in existing.values()}
    shapes: dict[str, tuple[int, int]] = {}
    unreadable: list[SourceFrame] = []
    for frame in sorted(frames, key=lambda frame: frame.key):
        if frame.shape is None:
            unreadable.append(frame)
            continue
        first = first_shapes.setdefault(frame.sequence, frame.shape)
        name = group_name(frame.sequence, frame.shape, first)
        members.setdefault(name, []).append(frame)
        sequences[name] = frame.sequence
        shapes[name] = frame.shape
    unplaced = []
    stored_in = {key: group.name for group in existing.values() for key in group.keys} if unreadable else {}
    for frame in unreadable:  # where they are stored, else next to the others of their sequence; they count as failed
        if frame.key in stored_in or frame.sequence in first_shapes:
            members[stored_in.get(frame.key) or sequence_group(frame.sequence)].append(frame)
        else:
            unplaced.append(frame)

    known = {frame.key for placed in members.values() for frame in placed}
    groups: list[GroupPlan] = []
    tasks: list[Task] = []
    for name in sorted(members):
        old = existing.get(name)
        new_keys = [frame.key for frame in members[name]]
        layout = old.layout if old else _new_layout(shapes[name], new_keys, strides, most_shard_frames)
        keys = _assign_rows(old.keys if old else [], new_keys, layout, name)
        groups.append(GroupPlan(name, sequences[name], layout, len(keys), group_change(old, len(keys))))
        rows = _row_actions(keys, {frame.key: frame for frame in members[name]}, old, on_error)
        rows = [
            "clear" if action == "keep" and (prune or key in known) else action
            for key, action in zip(keys, rows, strict=True)
        ]
        tasks += _shards(name, layout, keys, rows)
    return ShardPlan(tuple(groups), tuple(tasks), tuple(unplaced))


def _new_layout(shape: tuple[int, int], keys: Sequence[str], strides: Sequence[int], most: int) -> GroupLayout:
    return GroupLayout(*shape, shard_frames(*shape, strides, most), key_bytes(keys))


def _assign_rows(stored: Sequence[str], keys: Sequence[str], layout: GroupLayout, group: str) -> list[str]:
    """Return the key of every row: stored ones where they are, new ones in rows never used, then appended.

    Shards at the end that were never used, and are not needed now, are dropped: no run would ever reach them.
    """
    rows = list(stored)
    known = set(rows)
    free = iter([row for row, key in enumerate(rows) if not key])
    for key in keys:
        if key in known:
            continue
        if len(key.encode()) > layout.key_bytes:
            raise CacheError(
                f"group {group}: the key {key!r} has {len(key.encode())} bytes and the group holds keys of at most "
                f"{layout.key_bytes}; compute the cache again with --overwrite"
            )
        row = next(free, None)
        if row is None:
            rows.append(key)
        else:
            rows[row] = key
    used = max((row + 1 for row, key in enumerate(rows) if key), default=0)
    return rows[: -(-used // layout.shard_frames) * layout.shard_frames]


def group_change(old: Bookkeeping | None, rows: int) -> Change:
    """Decide what of a group's metadata must be written."""
    if old is None:
        return "new"
    if old.rows == rows and not old.uneven:
        return "none"
    return "shrink" if rows < old.rows else "grow"


def _row_actions(
    keys: Sequence[str], frames: Mapping[str, SourceFrame], old: Bookkeeping | None, on_error: str
) -> list[RowAction]:
    if old is None:
        return ["compute" if key else "none" for key in keys]
    states, stats, cameras = old.states.tolist(), old.stat.tolist(), old.intrinsics.tolist()
    actions: list[RowAction] = []
    for row, key in enumerate(keys):
        if row >= old.rows or not old.keys[row]:
            actions.append("compute" if key else "none")
        else:
            state = RowState(states[row])
            actions.append(row_action(frames.get(key), state, tuple(stats[row]), tuple(cameras[row]), on_error))
    return actions


def _shards(name: str, layout: GroupLayout, keys: Sequence[str], rows: Sequence[RowAction]) -> Iterable[Task]:
    for start in range(0, len(keys), layout.shard_frames):
        part = slice(start, start + layout.shard_frames)
        yield Task(name, layout, start, tuple(keys[part]), tuple(rows[part]), shard_action(rows[part]))
