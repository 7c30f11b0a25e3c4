"""The plan is pure: tables for its decisions, properties for its layout."""

import pickle
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthvar.datasets.cache.format import FAILED, NOT_DONE, GroupLayout
from depthvar.datasets.errors import CacheError
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.plan import Plan, SourceFrame, StoredGroup, make_plan, row_state, shard_action

CAMERA = (40.0, 40.0, 16.0, 12.0)
DONE = b"\x01" * 32
LAYOUT = GroupLayout(24, 32, 4, 64)


def frame(key: str, shape: tuple[int, int] | None = (24, 32), stat: tuple[int, int] = (9, 1)) -> SourceFrame:
    return SourceFrame(key, key.rpartition("/")[0], shape, CAMERA, stat)


def stored(keys: list[str], digest: bytes = DONE, stat: tuple[int, int] = (9, 1), name: str = "a") -> StoredGroup:
    digests = [digest if key else NOT_DONE for key in keys]
    return StoredGroup(
        name,
        name.split("@")[0],
        LAYOUT,
        keys,
        np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32).copy(),
        np.array([CAMERA if key else (0.0,) * 4 for key in keys]),
        np.array([stat if key else (0, 0) for key in keys], np.int64),
    )


@pytest.mark.parametrize(
    ("digest", "source_stat", "camera", "on_error", "expected"),
    [
        (DONE, (9, 1), CAMERA, "fail", "done"),
        (DONE, (9, 2), CAMERA, "fail", "check"),  # touched or edited
        (DONE, (8, 1), CAMERA, "fail", "check"),
        (DONE, (9, 1), (41.0, *CAMERA[1:]), "fail", "check"),  # intrinsics given by the description
        (NOT_DONE, (9, 1), CAMERA, "fail", "compute"),
        (FAILED, (9, 1), CAMERA, "skip", "failed"),  # still broken
        (FAILED, (9, 2), CAMERA, "skip", "compute"),  # mended
        (FAILED, (9, 1), CAMERA, "fail", "compute"),
    ],
)
def test_row_state(
    digest: bytes, source_stat: tuple[int, int], camera: tuple[float, ...], on_error: str, expected: str
) -> None:
    source = SourceFrame("a/0", "a", (24, 32), camera, source_stat)  # type: ignore[arg-type]
    assert row_state(source, stored(["a/0"], digest), 0, on_error) == expected


def test_a_stat_of_zero_never_counts_as_unchanged() -> None:
    """It was stored while the file was so young that it could change again unseen."""
    assert row_state(frame("a/0", stat=(0, 0)), stored(["a/0"], stat=(0, 0)), 0, "fail") == "check"


def test_a_frame_that_is_gone_is_cleared_once() -> None:
    group = stored(["a/0"])
    assert row_state(None, group, 0, "fail") == "clear"
    group.digest[:], group.intrinsics[:] = 0, 0
    assert row_state(None, group, 0, "fail") == "cleared"


@pytest.mark.parametrize(
    ("states", "action"),
    [
        (("done", "done"), "skip"),
        (("done", "failed"), "skip"),
        (("done", "cleared"), "skip"),
        (("done", "check"), "check"),
        (("check", "compute"), "compute"),
        (("done", "clear"), "compute"),
    ],
)
def test_shard_action(states: tuple[str, ...], action: str) -> None:
    assert shard_action(states) == action  # type: ignore[arg-type]


def rows(plan: Plan, group: str) -> list[str]:
    return list(chain.from_iterable(task.keys for task in plan.tasks if task.group == group))


KEYS = st.sets(st.integers(0, 30), max_size=20).map(lambda numbers: sorted(f"a/{n:02}" for n in numbers))


@given(KEYS, KEYS, st.data())
def test_a_row_keeps_its_key_and_new_frames_take_rows_never_used(
    old: list[str], new: list[str], data: st.DataObject
) -> None:
    held = data.draw(st.permutations(old + [""] * 3))  # as an interrupted run leaves it
    plan = make_plan([frame(key) for key in new], [stored(held)], (1,))
    planned = rows(plan, "a")
    for row, key in enumerate(held):
        assert not key or planned[row] == key
    assert {key for key in planned if key} == {*old, *new}
    assert len(set(planned) - {""}) == len([key for key in planned if key])
    again = make_plan([frame(key) for key in new], [stored(planned)], (1,))
    assert rows(again, "a") == planned


@given(KEYS, st.integers(1, 5))
def test_parts_share_out_every_shard_once(keys: list[str], count: int) -> None:
    plan = make_plan([frame(key) for key in keys], [stored([""])], (1,))
    parts = [plan.part(index, count) for index in range(1, count + 1)]
    assert sorted(task.start for part in parts for task in part) == [task.start for task in plan.tasks]


def test_two_runs_of_one_plan_have_one_identity_whatever_is_done() -> None:
    keys = [f"a/{n}" for n in range(9)]
    frames = [frame(key) for key in keys]
    fresh = make_plan(frames, [stored([])], (1,))
    half = make_plan(frames, [stored([*keys[:4], "", "", "", ""])], (1,))
    assert fresh.identity("f") == half.identity("f")
    assert fresh.identity("f") != fresh.identity("g")
    assert fresh.identity("f") != make_plan(frames[1:], [stored([])], (1,)).identity("f")


def test_frames_of_another_size_form_a_group_of_their_own() -> None:
    frames = [frame("a/0"), frame("a/1", (12, 16)), frame("a/2")]
    plan = make_plan(frames, [], (1, 2))
    assert [(group.name, group.rows, group.sequence) for group in plan.groups] == [("a", 2, "a"), ("a@12x16", 1, "a")]


def test_a_frame_that_changed_its_size_moves_to_the_other_group() -> None:
    plan = make_plan([frame("a/0"), frame("a/1", (12, 16))], [stored(["a/0", "a/1"])], (1,))
    assert rows(plan, "a") == ["a/0", "a/1"]
    assert plan.tasks[0].states == ("done", "clear")
    assert rows(plan, "a@12x16") == ["a/1"]


def test_an_unreadable_frame_stays_beside_the_others_of_its_sequence() -> None:
    plan = make_plan([frame("a/0", None), frame("a/1"), frame("b/0", None)], [], (1,), "skip")
    assert rows(plan, "a") == ["a/1", "a/0"]
    assert [frame.key for frame in plan.unplaced] == ["b/0"]


def test_a_key_that_does_not_fit_an_existing_group_is_refused() -> None:
    with pytest.raises(CacheError, match=r"has 67 bytes and the group holds keys of at most 64.*--overwrite"):
        make_plan([frame("a/" + "x" * 65)], [stored([])], (1,))


def test_limit_rounds_up_to_whole_shards_and_counts_only_work() -> None:
    keys = [f"a/{n:02}" for n in range(12)]
    frames = [frame(key) for key in keys]
    plan = make_plan(frames, [stored([*keys[:4], *[""] * 8])], (1,))
    assert [task.start for task in pipeline.choose(plan, limit=1)] == [4]
    assert [task.start for task in pipeline.choose(plan, limit=5)] == [4, 8]
    assert [task.start for task in pipeline.choose(plan)] == [4, 8]


def test_a_task_is_small() -> None:
    keys = [f"Easy/P{n:03}/depth_left/{n:06}_left_depth.npy" for n in range(64)]
    layout = GroupLayout(480, 640, 64, 64)
    plan = make_plan([frame(key) for key in keys[:1]], [], (1,))
    task = plan.tasks[0].__class__("Easy/P000", layout, 0, tuple(keys), ("compute",) * 64, "compute")
    assert pickle.loads(pickle.dumps(task)) == task
    assert len(pickle.dumps(task)) < 8192
