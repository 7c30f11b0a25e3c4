"""What a run has to do: which frame lies in which row of which group, and which shards need work. Pure.

A shard is the unit of work: it is computed whole, or not at all (concurrent partial writes of a shard lose data).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.cache.format import (
    FAILED,
    MAX_SHARD_FRAMES,
    NOT_DONE,
    GroupLayout,
    group_name,
    key_bytes,
    shard_frames,
)
from depthvar.datasets.errors import CacheError

# done, failed before, to be hashed, to be computed; gone from the source: to be cleared, cleared (or never used)
RowState = Literal["done", "failed", "check", "compute", "clear", "cleared"]
Action = Literal["skip", "check", "compute"]


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
class StoredGroup:
    """The bookkeeping of a group that exists in the cache; rows that no run has reached hold zeros."""

    name: str
    sequence: str
    layout: GroupLayout
    keys: list[str]
    digest: NDArray[np.uint8]  # (N, 32)
    intrinsics: NDArray[np.float64]  # (N, 4)
    stat: NDArray[np.int64]  # (N, 2)
    damaged: tuple[tuple[str, int], ...] = ()  # (array, first row) of bookkeeping chunks that cannot be decoded


@dataclass(frozen=True)
class Task:
    """One shard of one group: small, picklable facts, never an array."""

    group: str
    layout: GroupLayout
    start: int  # first row
    keys: tuple[str, ...]  # one per row
    states: tuple[RowState, ...]  # one per row
    action: Action

    @property
    def frames(self) -> int:
        """Frames that this task reads: rows of removed frames are only cleared."""
        return sum(state not in ("clear", "cleared") for state in self.states)

    def failed_before(self) -> tuple[tuple[str, str], ...]:
        """Return (key, message) of the frames that failed in an earlier run and are left alone."""
        message = "could not be read in an earlier run, and has not changed since; --on-error fail says why"
        return tuple((key, message) for key, state in zip(self.keys, self.states, strict=True) if state == "failed")


@dataclass(frozen=True)
class GroupPlan:
    """A group that must exist before the tasks run, and its number of rows."""

    name: str
    sequence: str
    layout: GroupLayout
    rows: int


@dataclass(frozen=True)
class Plan:
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


def row_state(frame: SourceFrame | None, stored: StoredGroup, row: int, on_error: str) -> RowState:
    """Decide what a stored row needs; ``frame`` is the source's frame of that key, None if it is gone."""
    digest = stored.digest[row].tobytes()
    if frame is None:  # cleared rows keep their key, and hold no digest and no intrinsics
        return "cleared" if digest == NOT_DONE and not stored.intrinsics[row].any() else "clear"
    if digest == NOT_DONE:
        return "compute"
    same_stat = frame.stat == tuple(stored.stat[row]) and frame.stat != (0, 0)
    if digest == FAILED:
        return "failed" if same_stat and on_error == "skip" else "compute"
    return "done" if same_stat and frame.intrinsics == tuple(stored.intrinsics[row]) else "check"


def shard_action(states: Sequence[RowState]) -> Action:
    """Decide what a shard needs from the states of its rows."""
    if "compute" in states or "clear" in states:
        return "compute"
    return "check" if "check" in states else "skip"


def make_plan(
    frames: Iterable[SourceFrame],
    stored: Iterable[StoredGroup],
    strides: Sequence[int],
    on_error: str = "fail",
    most_shard_frames: int = MAX_SHARD_FRAMES,
) -> Plan:
    """Lay the source's frames out over groups, rows and shards, and say which shards need work.

    A row keeps its key for ever: frames are found again by key, new ones go to rows never used, and a row whose
    frame is gone is cleared. So two runs of one source plan the same rows, whatever has been done in between.

    Raises:
        CacheError: a new key is longer than an existing group can hold.
    """
    existing = {group.name: group for group in stored}
    first_shapes = {g.sequence: (g.layout.height, g.layout.width) for g in existing.values() if "@" not in g.name}
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
    for frame in unreadable:  # kept beside the others of their sequence, where they count as failed
        if first_shape := first_shapes.get(frame.sequence):
            members[group_name(frame.sequence, first_shape, first_shape)].append(frame)
        else:
            unplaced.append(frame)

    groups: list[GroupPlan] = []
    tasks: list[Task] = []
    for name in sorted(members):
        old = existing.get(name)
        new_keys = [frame.key for frame in members[name]]
        layout = old.layout if old else _new_layout(shapes[name], new_keys, strides, most_shard_frames)
        keys = _assign_rows(old.keys if old else [], new_keys, layout, name)
        groups.append(GroupPlan(name, sequences[name], layout, len(keys)))
        tasks += _shards(name, layout, keys, {frame.key: frame for frame in members[name]}, old, on_error)
    return Plan(tuple(groups), tuple(tasks), tuple(unplaced))


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
                f"{layout.key_bytes}; compute the cache anew with --overwrite"
            )
        row = next(free, None)
        if row is None:
            rows.append(key)
        else:
            rows[row] = key
    used = max((row + 1 for row, key in enumerate(rows) if key), default=0)
    return rows[: -(-used // layout.shard_frames) * layout.shard_frames]


def _shards(
    name: str,
    layout: GroupLayout,
    keys: Sequence[str],
    frames: Mapping[str, SourceFrame],
    old: StoredGroup | None,
    on_error: str,
) -> Iterable[Task]:
    states: list[RowState] = []
    for row, key in enumerate(keys):
        if old is None or row >= len(old.keys) or not old.keys[row]:
            states.append("compute" if key else "cleared")
        else:
            states.append(row_state(frames.get(key), old, row, on_error))
    for start in range(0, len(keys), layout.shard_frames):
        rows = slice(start, start + layout.shard_frames)
        yield Task(name, layout, start, tuple(keys[rows]), tuple(states[rows]), shard_action(states[rows]))
