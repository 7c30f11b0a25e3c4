"""The plan is pure: tables for its decisions, properties for its layout."""

import pickle
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthvar.datasets.cache.bookkeeping import Bookkeeping, RowState
from depthvar.datasets.cache.format import NOT_DONE, GroupLayout
from depthvar.datasets.cache.stored_maps import StoredMaps
from depthvar.datasets.errors import CacheError
from depthvar.precompute.pipeline.plan import choose
from depthvar.precompute.pipeline.shards import (
    Action,
    GroupPlan,
    RowAction,
    ShardPlan,
    Task,
    group_change,
    make_shard_plan,
    row_action,
)
from depthvar.precompute.pipeline.survey import SourceFrame

CAMERA = (40.0, 40.0, 16.0, 12.0)
DONE = b"\x01" * 32
LAYOUT = GroupLayout(24, 32, 4, 64)
MAPS = StoredMaps((1,))


def frame(key: str, shape: tuple[int, int] | None = (24, 32), stat: tuple[int, int] = (9, 1)) -> SourceFrame:
    return SourceFrame(key, key.rpartition("/")[0], shape, CAMERA, stat)


def stored(keys: list[str], digest: bytes = DONE, stat: tuple[int, int] = (9, 1), name: str = "a") -> Bookkeeping:
    digests = [digest if key else NOT_DONE for key in keys]
    return Bookkeeping(
        name,
        name.split("@")[0],
        LAYOUT,
        keys,
        np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32).copy(),
        np.array([CAMERA if key else (0.0,) * 4 for key in keys]).reshape(-1, 4),
        np.array([stat if key else (0, 0) for key in keys], np.int64).reshape(-1, 2),
    )


@pytest.mark.parametrize(
    ("state", "stat", "camera", "on_error", "expected"),
    [
        (RowState.DONE, (9, 1), CAMERA, "fail", "done"),
        (RowState.DONE, (9, 2), CAMERA, "fail", "check"),  # touched or edited
        (RowState.DONE, (8, 1), CAMERA, "fail", "check"),
        (RowState.DONE, (9, 1), (41.0, *CAMERA[1:]), "fail", "check"),  # intrinsics given by the description
        (RowState.NOT_DONE, (9, 1), CAMERA, "fail", "compute"),
        (RowState.REMOVED, (9, 1), CAMERA, "fail", "compute"),  # it has come back
        (RowState.FAILED, (9, 1), CAMERA, "skip", "failed"),  # still broken
        (RowState.FAILED, (9, 2), CAMERA, "skip", "compute"),  # repaired
        (RowState.FAILED, (9, 1), CAMERA, "fail", "compute"),
    ],
)
def test_what_a_row_needs_whose_frame_is_in_the_source(
    state: RowState, stat: tuple[int, int], camera: tuple[float, ...], on_error: str, expected: RowAction
) -> None:
    assert row_action(frame("a/0", stat=stat), state, (9, 1), camera, on_error) == expected


def test_a_stat_of_zero_never_counts_as_unchanged() -> None:
    """It was stored while the file was so young that it could change again unseen."""
    assert row_action(frame("a/0", stat=(0, 0)), RowState.DONE, (0, 0), CAMERA, "fail") == "check"


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (RowState.DONE, "keep"),
        (RowState.FAILED, "keep"),
        (RowState.NOT_DONE, "clear"),  # nothing of it is finished
        (RowState.REMOVED, "none"),
        (RowState.UNUSED, "none"),
    ],
)
def test_what_a_row_needs_whose_frame_is_not_in_the_source(state: RowState, expected: RowAction) -> None:
    assert row_action(None, state, (9, 1), CAMERA, "fail") == expected


@pytest.mark.parametrize(
    ("needs", "action"),
    [
        (("done", "done"), "skip"),
        (("done", "failed"), "skip"),
        (("done", "none"), "skip"),
        (("done", "keep"), "skip"),
        (("done", "check"), "check"),
        (("check", "compute"), "compute"),
        (("done", "clear"), "clear"),
        (("check", "clear"), "check"),
        (("clear", "compute"), "compute"),
    ],
)
def test_shard_action(needs: tuple[RowAction, ...], action: Action) -> None:
    keys = tuple(map(str, range(len(needs))))
    assert Task("a", LAYOUT, 0, keys, needs).action == action


def actions(plan: ShardPlan, group: str = "a") -> dict[str, RowAction]:
    return {
        key: action
        for task in plan.tasks
        if task.group == group
        for key, action in zip(task.keys, task.rows, strict=True)
    }


def test_frames_that_the_source_does_not_have_are_kept_unless_they_are_to_be_removed() -> None:
    held = [stored(["a/0", "a/1", "a/2"])]
    source = [frame("a/0"), frame("a/3")]
    assert actions(make_shard_plan(source, held, MAPS)) == {
        "a/0": "done",
        "a/1": "keep",
        "a/2": "keep",
        "a/3": "compute",
    }
    pruned = make_shard_plan(source, held, MAPS, prune=True)
    assert actions(pruned) == {"a/0": "done", "a/1": "clear", "a/2": "clear", "a/3": "compute"}
    assert pruned.identity("f") == make_shard_plan(source, held, MAPS).identity("f")  # parts may differ in it


@given(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)))
def test_no_row_that_is_done_is_cleared_unless_its_frame_is_elsewhere(old: set[int], new: set[int]) -> None:
    plan = make_shard_plan([frame(f"a/{n}") for n in new], [stored([f"a/{n}" for n in sorted(old)])], MAPS)
    assert "clear" not in actions(plan).values()


def test_an_unreadable_frame_stays_in_the_group_that_has_it() -> None:
    """Its file may be readable again tomorrow: what another group holds of it is not cleared."""
    held = [stored(["a/0"]), stored(["a/wide"], name="a@12x16")]
    plan = make_shard_plan([frame("a/0"), frame("a/wide", None, (0, 0))], held, MAPS, "skip")
    assert actions(plan, "a@12x16") == {"a/wide": "check"}
    assert actions(plan) == {"a/0": "done"}


def test_what_the_metadata_of_a_group_need() -> None:
    book = stored(["a/0", "a/1"])
    uneven = replace(book, uneven=True)
    assert [group_change(None, 2), group_change(book, 2), group_change(book, 3), group_change(book, 1)] == [
        "new", "none", "grow", "shrink",
    ]  # fmt: skip
    assert [group_change(uneven, 2), group_change(uneven, 1)] == ["grow", "shrink"]
    groups = make_shard_plan([frame("a/0"), frame("b/0")], [stored(["a/0"])], MAPS).groups
    assert groups == (GroupPlan("a", "a", LAYOUT, 1, "none"), GroupPlan("b", "b", groups[1].layout, 1, "new"))


def rows(plan: ShardPlan, group: str) -> list[str]:
    return list(chain.from_iterable(task.keys for task in plan.tasks if task.group == group))


KEYS = st.sets(st.integers(0, 30), max_size=20).map(lambda numbers: sorted(f"a/{n:02}" for n in numbers))


@given(KEYS, KEYS, st.data())
def test_a_row_keeps_its_key_and_new_frames_take_rows_never_used(
    old: list[str], new: list[str], data: st.DataObject
) -> None:
    held = data.draw(st.permutations(old + [""] * 3))  # as an interrupted run leaves it
    plan = make_shard_plan([frame(key) for key in new], [stored(held)], MAPS)
    planned = rows(plan, "a")
    for row, key in enumerate(held):
        assert not key or planned[row] == key
    assert {key for key in planned if key} == {*old, *new}
    assert len(set(planned) - {""}) == len([key for key in planned if key])
    again = make_shard_plan([frame(key) for key in new], [stored(planned)], MAPS)
    assert rows(again, "a") == planned


@given(KEYS, st.integers(1, 5))
def test_parts_share_out_every_shard_once(keys: list[str], count: int) -> None:
    plan = make_shard_plan([frame(key) for key in keys], [stored([""])], MAPS)
    parts = [plan.part((index, count)) for index in range(1, count + 1)]
    assert sorted(task.start for part in parts for task in part.tasks) == [task.start for task in plan.tasks]


def test_two_runs_of_one_plan_have_one_identity_whatever_is_done() -> None:
    keys = [f"a/{n}" for n in range(9)]
    frames = [frame(key) for key in keys]
    fresh = make_shard_plan(frames, [stored([])], MAPS)
    half = make_shard_plan(frames, [stored([*keys[:4], "", "", "", ""])], MAPS)
    assert fresh.identity("f") == half.identity("f")
    assert fresh.identity("f") != fresh.identity("g")
    assert fresh.identity("f") != make_shard_plan(frames[1:], [stored([])], MAPS).identity("f")


def test_frames_of_another_size_form_a_group_of_their_own() -> None:
    frames = [frame("a/0"), frame("a/1", (12, 16)), frame("a/2")]
    plan = make_shard_plan(frames, [], StoredMaps((1, 2)))
    assert [(group.name, group.rows, group.sequence) for group in plan.groups] == [("a", 2, "a"), ("a@12x16", 1, "a")]


def test_a_frame_that_changed_its_size_moves_to_the_other_group() -> None:
    plan = make_shard_plan([frame("a/0"), frame("a/1", (12, 16))], [stored(["a/0", "a/1"])], MAPS)
    assert rows(plan, "a") == ["a/0", "a/1"]
    assert plan.tasks[0].rows == ("done", "clear")
    assert rows(plan, "a@12x16") == ["a/1"]


def test_an_unreadable_frame_stays_next_to_the_others_of_its_sequence() -> None:
    plan = make_shard_plan([frame("a/0", None), frame("a/1"), frame("b/0", None)], [], MAPS, "skip")
    assert rows(plan, "a") == ["a/1", "a/0"]
    assert [frame.key for frame in plan.unplaced] == ["b/0"]


def test_a_key_that_does_not_fit_an_existing_group_is_refused() -> None:
    with pytest.raises(CacheError, match=r"has 67 bytes and the group holds keys of at most 64.*--overwrite"):
        make_shard_plan([frame("a/" + "x" * 65)], [stored([])], MAPS)


def test_limit_rounds_up_to_whole_shards_and_counts_only_work() -> None:
    keys = [f"a/{n:02}" for n in range(12)]
    frames = [frame(key) for key in keys]
    plan = make_shard_plan(frames, [stored([*keys[:4], *[""] * 8])], MAPS)
    assert [task.start for task in choose(plan, limit=1)] == [4]
    assert [task.start for task in choose(plan, limit=5)] == [4, 8]
    assert [task.start for task in choose(plan)] == [4, 8]


def test_a_task_is_small() -> None:
    keys = [f"Easy/P{n:03}/depth_left/{n:06}_left_depth.npy" for n in range(64)]
    layout = GroupLayout(480, 640, 64, 64)
    plan = make_shard_plan([frame(key) for key in keys[:1]], [], MAPS)
    assert isinstance(plan.tasks[0], Task)
    task = Task("Easy/P000", layout, 0, tuple(keys), ("compute",) * 64)
    assert pickle.loads(pickle.dumps(task)) == task
    assert len(pickle.dumps(task)) < 8192
