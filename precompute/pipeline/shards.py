"""What a run has to do: which frame lies in which row of which group, and which shards need work. Pure.

A shard is computed whole, or not at all: concurrent partial writes of a shard lose data.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
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
from depthvar.datasets.cache.stored_maps import StoredMaps
from depthvar.datasets.errors import CacheError

from .job import Failures
from .survey import SourceFrame

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
class Task:
    """One shard of one group: small, picklable facts, never an array."""

    group: str
    layout: GroupLayout
    start: int  # first row
    keys: tuple[str, ...]  # one per row
    rows: tuple[RowAction, ...]  # one per row

    @cached_property
    def action(self) -> Action:
        """What the shard needs: the most that one of its rows needs."""
        actions: tuple[Action, ...] = ("compute", "check", "clear")
        return next((action for action in actions if action in self.rows), "skip")

    @cached_property
    def frames(self) -> int:
        """Frames of the source in this shard."""
        return sum(action in READ for action in self.rows)

    def keys_to(self, *actions: RowAction) -> list[str]:
        """Return the keys of the rows that have one of these actions."""
        return [key for key, action in zip(self.keys, self.rows, strict=True) if action in actions]

    def failed_before(self) -> Failures:
        """Return the frames that failed in an earlier run and are left alone."""
        message = "could not be read in an earlier run, and has not changed since; --on-error fail says why"
        return tuple((key, message) for key in self.keys_to("failed"))


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
    unplaced: tuple[SourceFrame, ...] = ()  # no frame of their sequence can be read

    @property
    def frames(self) -> int:
        """Frames of the source."""
        return sum(task.frames for task in self.tasks) + len(self.unplaced)

    def identity(self, fingerprint: str) -> str:
        """Return what two parts of one run (``--part I/N``) must have in common: the row of every frame."""
        digest = hashlib.sha256(fingerprint.encode())
        for task in self.tasks:
            digest.update(repr((task.group, task.layout, task.start, task.keys)).encode())
        return digest.hexdigest()

    def part(self, part: tuple[int, int] | None) -> "ShardPlan":
        """Return what part (index from 1, count) has to do: every count-th shard, done or not. None: all."""
        if part is None:
            return self
        own = slice(part[0] - 1, None, part[1])
        return replace(self, tasks=self.tasks[own], unplaced=self.unplaced[own])


def row_action(
    frame: SourceFrame | None, state: RowState, stat: tuple[int, int], intrinsics: tuple[float, ...], on_error: str
) -> RowAction:
    """Decide what a row needs from what is stored of it, and its frame; None: in this group the source has none.

    With ``on_error`` "skip" a frame that failed and has not changed is left alone.
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
    return "done" if same_stat and frame.intrinsics in (None, intrinsics) else "check"


def make_shard_plan(
    frames: Iterable[SourceFrame],
    stored: Iterable[Bookkeeping],
    maps: StoredMaps,
    on_error: str = "fail",
    most_shard_frames: int = MAX_SHARD_FRAMES,
    prune: bool = False,
) -> ShardPlan:
    """Lay the source's frames out over groups, rows and shards, and decide which shards need work.

    A row keeps its key for ever: frames are found again by key, and new ones go to rows never used. So two runs of one
    source plan the same rows, whatever has been done in between. A frame that is not in the source is kept; with
    ``prune`` its row is cleared. CacheError where a new key is longer than an existing group can hold.
    """
    existing = {group.name: group for group in stored}
    members, shapes, unplaced = _place(frames, existing, maps.keep)
    known = {frame.key for placed in members.values() for frame in placed}
    groups: list[GroupPlan] = []
    tasks: list[Task] = []
    for name in sorted(members):
        old, here = existing.get(name), {frame.key: frame for frame in members[name]}
        if old is None:
            sequence, shape = members[name][0].sequence, shapes[name]
            layout = GroupLayout(*shape, shard_frames(*shape, maps.arrays.values(), most_shard_frames), key_bytes(here))
        else:
            sequence, layout = old.sequence, old.layout
        keys = _assign_rows(old.keys if old else [], here, layout, name)
        groups.append(GroupPlan(name, sequence, layout, len(keys), group_change(old, len(keys))))
        rows = _row_actions(keys, here, old, on_error)
        for row, action in enumerate(rows):
            if action == "keep" and (prune or keys[row] in known):
                rows[row] = "clear"
        for start in range(0, len(keys), layout.shard_frames):
            part = slice(start, start + layout.shard_frames)
            tasks.append(Task(name, layout, start, tuple(keys[part]), tuple(rows[part])))
    return ShardPlan(tuple(groups), tuple(tasks), tuple(unplaced))


def _place(
    frames: Iterable[SourceFrame], existing: Mapping[str, Bookkeeping], keep: Sequence[str]
) -> tuple[dict[str, list[SourceFrame]], dict[str, tuple[int, int]], list[SourceFrame]]:
    """Return the frames of every group, the shapes of groups with a readable frame, and frames without a group."""
    first_shapes = {
        group.sequence: (group.layout.height, group.layout.width)
        for group in existing.values()
        if group.name == sequence_group(group.sequence, keep)
    }
    members: dict[str, list[SourceFrame]] = {name: [] for name in existing}
    shapes: dict[str, tuple[int, int]] = {}
    unreadable: list[SourceFrame] = []
    for frame in sorted(frames, key=lambda frame: frame.key):
        if frame.shape is None:
            unreadable.append(frame)
            continue
        first = first_shapes.setdefault(frame.sequence, frame.shape)
        name = group_name(frame.sequence, frame.shape, first, keep)
        members.setdefault(name, []).append(frame)
        shapes[name] = frame.shape
    unplaced = []
    stored_in = {key: group.name for group in existing.values() for key in group.keys} if unreadable else {}
    for frame in unreadable:  # where they are stored, else next to the others of their sequence; they count as failed
        if frame.key in stored_in or frame.sequence in first_shapes:
            members[stored_in.get(frame.key) or sequence_group(frame.sequence, keep)].append(frame)
        else:
            unplaced.append(frame)
    return members, shapes, unplaced


def _assign_rows(stored: Sequence[str], keys: Iterable[str], layout: GroupLayout, group: str) -> list[str]:
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
    actions: list[RowAction] = ["compute" if key else "none" for key in keys]
    if old is None:
        return actions
    states, stats, cameras = old.states.tolist(), old.stat.tolist(), old.intrinsics.tolist()
    for row, key in enumerate(old.keys[: len(keys)]):
        if key:
            state = RowState(states[row])
            actions[row] = row_action(frames.get(key), state, tuple(stats[row]), tuple(cameras[row]), on_error)
    return actions
