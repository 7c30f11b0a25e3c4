"""Every page is readable at 80 columns without colour: lines end between words, and many sequences are folded."""

import json
import re
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pages import ROOT, blocks
from tiny_data import TinyData, make_depth

from depthvar.datasets.source.builtin import builtin_tables
from depthvar.precompute.cli import screen
from depthvar.precompute.cli.info_text import info_text
from depthvar.precompute.cli.main import main
from depthvar.precompute.cli.numbers import counted, human_bytes, percent
from depthvar.precompute.cli.screen import cells, fold
from depthvar.precompute.cli.text import run_text

WORDS = st.text("abc/σ×走:é*", min_size=1, max_size=50)
LINES = st.lists(
    st.tuples(st.integers(0, 6), st.lists(WORDS, min_size=1, max_size=12), st.sampled_from([" ", "  "])), max_size=4
)


def too_wide(text: str, columns: int = 80) -> list[str]:
    """Return the lines that break the law: wider than the terminal, though they have more than one word."""
    return [line for line in text.splitlines() if cells(line) > columns and len(line.split()) > 1]


# Lines


@given(LINES, st.integers(4, 120))
def test_folded_lines_fit_and_have_the_same_words(lines: list[tuple[int, list[str], str]], width: int) -> None:
    text = "\n".join(" " * indent + gap.join(words) for indent, words, gap in lines)
    folded = fold(text, width)
    assert folded.split() == text.split()
    assert not too_wide(folded, width)
    if not too_wide(text, width):
        assert folded == text
    assert fold(text, None) == text


@pytest.mark.parametrize(
    ("width", "line", "folded"),
    [
        (26, "frames       one two three four", "frames       one two three\n             four"),
        (26, "cannot tell  one two three four", "cannot tell  one two three\n             four"),
        (21, "  a/P0/000: one two three four five", "  a/P0/000: one two\n    three four five"),
        (21, "error: one two three four five six", "error: one two three\n       four five six"),
        (24, "name      * one two three", "name      * one two\n            three"),
        (21, "one two three four five six", "one two three four\n  five six"),
        (21, "next   " + "x" * 30, "next\n       " + "x" * 30),
        (21, "深 深深深深 深深深 深", "深 深深深深 深深深 深"),
        (20, "深度 深深深深 深深深 深", "深度 深深深深 深深深\n  深"),
    ],
)
def test_a_line_goes_on_below_what_follows_its_label(width: int, line: str, folded: str) -> None:
    assert fold(line, width) == folded


def test_a_pipe_gets_whole_lines(tiny: TinyData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    result = CliRunner().invoke(main, ["run", "--dataset", str(tiny.toml), "--root", str(tiny.root / "gone")])
    assert result.stderr.count("\n") == 1
    assert len(result.stderr) > 80


# Pages


@pytest.fixture
def eighty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns, for our lines and for click's."""
    monkeypatch.setattr(screen, "columns", lambda stream: 80)
    monkeypatch.setenv("COLUMNS", "80")


def printed(*words: object) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    assert "\x1b" not in result.output  # nothing is said by colour
    return result.output


def commands(command: click.Command) -> list[list[str]]:
    group = command if isinstance(command, click.Group) else None
    return [[]] + [[name, *rest] for name, sub in (group.commands if group else {}).items() for rest in commands(sub)]


@pytest.mark.parametrize("words", commands(main), ids=" ".join)
def test_every_help_fits(eighty: None, words: list[str]) -> None:
    assert not too_wide(text := printed(*words, "--help"))
    assert "Usage: " in text


@pytest.mark.parametrize("words", [[], ["folder"], ["co3d"], ["nyuu"]], ids=" ".join)
def test_every_page_about_data_sets_fits(eighty: None, words: list[str]) -> None:
    assert not too_wide(printed("datasets", *words))


@pytest.mark.slow
def test_the_page_of_each_data_set_fits(eighty: None) -> None:
    for name in builtin_tables():
        assert not too_wide(printed("datasets", name)), name


def test_every_page_about_data_fits(eighty: None, tiny: TinyData, tmp_path: Path) -> None:
    """With long names and wide letters, and with frames that fail."""
    for index in range(14):
        tiny.write(f"{'走廊深度' * 6}/{'a-long-name-' * 4}{index}", "000", make_depth(24, 32, index))
    broken = tiny.write("b", "009", make_depth(24, 32, 9))
    (tiny.root / broken).write_bytes((tiny.root / broken).read_bytes()[:-8])
    cache, data = tiny.root / "sigma_Z2.zarr", ("--dataset", tiny.toml)
    strides = ("--strides", "1,2", "--on-error", "skip")
    pages = {
        "dry run": printed("run", *data, *strides, "--dry-run"),
        "run of a limit": printed("run", *data, *strides, "--limit", "1"),
        "run": printed("run", *data, *strides, "--part", "1/1"),
        "run again": printed("run", *data, *strides),
        "info": printed("info", cache),
        "info --sequences": printed("info", cache, "--sequences"),
        "validate": printed("validate", cache),
        "inspect": printed("inspect", *data),
        "other parameters": printed("run", *data, "--strides", "1,3"),
        "no data": printed("run", "--dataset", "hospital", "--root", tmp_path / "nowhere"),
        "no cache": printed("info", tmp_path / "nowhere.zarr"),
        "no option": printed("run", *data, "--colour", "red"),
    }
    for name, page in pages.items():
        assert page, name
        assert not too_wide(page), name


# The end of a run


def run_facts(**changes: Any) -> dict[str, Any]:
    none = dict.fromkeys(("min_m", "max_m", "median_m", "p95_m"))
    facts = {
        "dataset": "rooms", "cache": "s.zarr", "part": None, "total": 1_200_000, "frames": 1_200_000,
        "computed": 1_200_000, "unchanged": 0, "failed": [], "left": 0, "kept": 0, "pruned": 0,
        "bytes_written": 700e9, "seconds": 10_000.0, "preparation_seconds": 1000.0, "frames_per_second": 133.33,
        "stages": {"encode": 4000.0, "kernel": 3000.0, "digest": 1000.0, "read": 800.0, "write": 700.0, "check": 0.0,
                   "idle": 500.0},
        "depth": {"frames": 0}, "sigma": {"frames": 0} | none,
    }  # fmt: skip
    return facts | changes


def test_a_run_ends_with_what_was_done_where_the_time_went_and_what_to_type_next() -> None:
    assert run_text(run_facts()).splitlines() == [
        "done   rooms: 1,200,000 frames computed; 2 h 47 min, 133.3/s, 700.0 GB",
        "time   encode 36 %, kernel 27 %, prepare 10 %, digest 9 %, other 14 %, idle 4 %",
        "next   precompute preview s.zarr",
    ]
    assert main.commands.keys() >= {run_text(run_facts()).split()[-2]}


AGAIN = "the same command again, "


@pytest.mark.parametrize(
    ("changes", "done", "following"),
    [
        ({"cache": "my data/s.zarr"}, "frames computed; ", "precompute preview 'my data/s.zarr'"),
        ({"computed": 5, "unchanged": 7}, "5 frames computed, 7 unchanged; ", "precompute preview s.zarr"),
        ({"computed": 5, "left": 1}, "5 frames computed, 1 left (--limit); ", f"{AGAIN}for the 1 frame left"),
        ({"failed": [{"key": "a", "error": "e"}]}, "d, 1 failed; ", f"{AGAIN}when the causes above are fixed"),
        (
            {"part": "1/2", "frames": 9},
            "computed, of its 9 (1,200,000 in all); ",
            "precompute validate s.zarr  (after the last part)",
        ),
    ],
)
def test_what_to_type_next_depends_on_what_is_left(changes: dict[str, Any], done: str, following: str) -> None:
    first, _, last = run_text(run_facts(**changes)).splitlines()[-3:]
    assert done in first
    assert last == f"next   {following}"


def test_many_failures_are_counted_above_the_end() -> None:
    lines = run_text(run_facts(failed=[{"key": f"k{index}", "error": "e"} for index in range(1234)])).splitlines()
    assert lines[0] == "failed frames (fix the cause given, then run again):"
    assert lines[1:11] == [f"  k{index}: e" for index in range(10)]
    assert lines[11] == "  … and 1,224 more (--json: all)"
    assert [line.split()[0] for line in lines[12:]] == ["done", "time", "next"]


def test_a_run_that_has_nothing_to_do_has_spent_its_time_in_preparing() -> None:
    facts = run_facts(computed=0, stages={"idle": 0.0}, seconds=0.2, preparation_seconds=0.2)
    assert "time   prepare 100 %" in run_text(facts)
    facts = run_facts(computed=0, stages={}, seconds=2.0, preparation_seconds=1.0)
    assert "time   prepare 50 %, other 50 %" in run_text(facts)


# Sequences


def cache_facts(groups: dict[str, tuple[int, int, int]], size: tuple[int, int] = (480, 640)) -> dict[str, Any]:
    """Facts as of ``cache_info``; of each group the frames done, failed, and all."""
    return {
        "cache": "s.zarr", "dataset": "rooms", "camera_model": "pinhole", "format_version": 1, "bytes": 2_000_000,
        "groups": [
            {"group": name, "done": done, "failed": failed, "frames": frames, "height": size[0], "width": size[1]}
            for name, (done, failed, frames) in groups.items()
        ],
        "parameters": {"strides": [1, 2], "estimator": "range", "window": 5, "compat": None},
        "bytes_per_pixel": 1.359, "bytes_per_pixel_stride_1": 0.776, "fingerprint": "0123456789abcdef0123",
        "engine": "numba", "software": {"python": "3.12.1"}, "unreadable": 0,
        "sigma": {"frames": 8, "finite_share": 0.96, "min_m": 0.001, "median_m": 0.01, "p95_m": 0.2, "max_m": 12.0},
    }  # fmt: skip


def sequence_lines(groups: dict[str, tuple[int, int, int]], every: bool = False) -> list[str]:
    text = info_text(cache_facts(groups), every)
    return text[text.index("sequences (width × height)") :].splitlines()[1:]


def test_totals_come_first() -> None:
    lines = info_text(cache_facts({"a": (10_000, 2, 10_234), "b": (5, 0, 5)})).splitlines()
    assert lines[:2] == ["s.zarr", "σ_Z² in m² of rooms, pinhole camera, format version 1"]
    assert lines[3:10] == [
        "frames       10,005 of 10,239 frames done, 2 failed, 232 not done, in 2 sequences",
        "size         2.0 MB; 1.36 bytes a pixel for all strides, 0.78 for stride 1",
        "σ            0.001 to 12 m, median 0.01 m, 95 % below 0.2 m",
        "pixels       96.0 % have a σ (as seen in 8 of 10,005 frames, evenly spread)",
        "strides      1, 2",
        "parameters   estimator range, window 5",
        "engine       numba; python 3.12.1",
    ]
    assert lines[-2:] == [
        "  a  10,000 of 10,234 frames done, 2 failed, 232 not done  640×480",
        "  b  5 frames done  640×480",
    ]


def test_a_few_sequences_are_listed_each() -> None:
    assert len(sequence_lines({f"s{index}": (1, 0, 1) for index in range(10)})) == 10


def test_many_sequences_are_folded_into_their_folders() -> None:
    groups = {f"{level}/P{index:03}": (100, 0, 100) for level in ("Easy", "Hard") for index in range(12)}
    assert sequence_lines(groups) == [
        "  Easy/  12 sequences, 1,200 frames done  640×480",
        "  Hard/  12 sequences, 1,200 frames done  640×480",
        "each sequence: --sequences",
    ]
    assert len(sequence_lines(groups, every=True)) == 24


def test_the_deepest_folders_that_fit_are_shown() -> None:
    groups = {f"data/{scene}/cam{index}": (1, 0, 1) for scene in "abc" for index in range(5)}
    assert [line.split()[0] for line in sequence_lines(groups)[:-1]] == ["data/a/", "data/b/", "data/c/"]


def test_of_many_folders_the_first_are_shown_and_the_rest_is_added_up() -> None:
    lines = sequence_lines({f"scene{index:04}": (2, 0, 2) for index in range(707)})
    assert lines[8] == "  scene0008  2 frames done  640×480"
    assert lines[9:] == ["  … and 698 more sequences  1,396 frames done  640×480", "each sequence: --sequences"]


def test_what_is_not_complete_is_listed_though_its_folder_is_folded() -> None:
    groups = {f"Easy/P{index:03}": (100, 0, 100) for index in range(40)}
    lines = sequence_lines(groups | {"Easy/P007": (90, 1, 100), "Easy/P021": (0, 0, 100)})
    (shown,) = blocks((ROOT / "docs/terminal.md").read_text(), "text")
    assert lines == shown.splitlines()[1:]
    assert lines[1:3] == ["not complete", "  Easy/P007  90 of 100 frames done, 1 failed, 9 not done  640×480"]
    lines = sequence_lines(dict.fromkeys(groups, (0, 0, 100)))
    assert lines[1] == "not complete"
    assert lines[-2] == "  … and 31 more sequences  0 of 3,100 frames done, 3,100 not done  640×480"


def test_sizes_of_a_sequence_are_those_of_its_groups() -> None:
    facts = cache_facts({"a": (1, 0, 1)})
    for height in (240, 300):
        facts["groups"].append(facts["groups"][0] | {"group": f"a@{height}x320", "height": height, "width": 320})
        text = info_text(facts)
        assert f", in {counted(1, 'sequence')}\n" in text
        assert text.endswith("3 sizes" if height == 300 else "  a  2 frames done  320×240, 640×480")


@given(
    st.dictionaries(
        st.lists(st.sampled_from("abcdefghijkl"), min_size=1, max_size=4).map("/".join),
        st.tuples(st.integers(0, 5), st.integers(0, 2)),
        min_size=1,
        max_size=60,
    )
)
def test_every_frame_is_in_one_line_of_the_folded_page(groups: dict[str, tuple[int, int]]) -> None:
    facts = {name: (done, failed, done + failed) for name, (done, failed) in groups.items()}
    lines = sequence_lines(facts)
    table = lines[: lines.index("not complete")] if "not complete" in lines else lines
    table = [line for line in table if line.startswith("  ")]
    assert len(table) <= 10
    counts = [re.findall(r"([\d,]+)(?: of ([\d,]+))? frames? done", line)[0] for line in table]
    assert sum(int(total or done) for done, total in counts) == sum(total for *_, total in facts.values())
    assert len(sequence_lines(facts, every=True)) == len(groups)


def test_info_lists_every_sequence_when_asked(tiny: TinyData) -> None:
    for index in range(12):
        tiny.write(f"c/P{index:03}", "000", make_depth(24, 32, index))
    printed("run", "--dataset", tiny.toml, "--strides", "1")
    cache = tiny.root / "sigma_Z2.zarr"
    assert "\n  c/  12 sequences, 12 frames done  32×24\n" in printed("info", cache)
    assert printed("info", cache, "--sequences").count("  c/P0") == 12
    assert json.loads(printed("info", cache, "--sequences", "--json")) == json.loads(printed("info", cache, "--json"))


# Numbers


def test_numbers_as_people_read_them() -> None:
    assert [human_bytes(count) for count in (0, 999, 1500, 2e6, 3e9, 4e12, 5e15)] == [
        "0 B", "999 B", "1.5 kB", "2.0 MB", "3.0 GB", "4.0 TB", "5000.0 TB",
    ]  # fmt: skip
    assert [percent(share) for share in (0, 1e-5, 0.5, 0.99999, 1)] == [
        "0 %",
        "under 0.1 %",
        "50.0 %",
        "over 99.9 %",
        "100 %",
    ]
    assert [counted(count, "frame") for count in (0, 1, 10_234)] == ["0 frames", "1 frame", "10,234 frames"]
