"""Progress on stderr: what is in a line, where it is drawn, and what a log line does to it."""

import io
import logging
import re
import sys
from typing import Any

import pytest

from depthvar.precompute.cli import progress
from depthvar.precompute.cli.numbers import human_seconds
from depthvar.precompute.cli.progress import LogHandler, progress_line, steps


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ((0, 48, 0, 0.0), "frames done 0/48"),
        ((0, 48, 0, 9.0), "frames done 0/48"),
        ((12, 48, 0, 6.0), "frames done 12/48, 2.0/s, 18 s left"),
        ((12, 48, 3, 6.0), "frames done 12/48, 2.0/s, 18 s left, 3 failed"),
        ((48, 48, 0, 6.0), "frames done 48/48, 8.0/s"),
        ((10, 100_000, 0, 10.0), "frames done 10/100000, 1.0/s, 27 h 46 min left"),
        ((12, 48, 0, 6.0, 10.0), "frames done 12/48, 2.0/s, 8 s left"),  # 10 s after the twelfth
        ((12, 48, 0, 6.0, 60.0), "frames done 12/48, 2.0/s"),  # longer than expected
        ((48, 48, 0, 6.0, 60.0), "frames done 48/48, 8.0/s"),
    ],
)
def test_a_line_has_count_rate_time_left_and_failures(counts: tuple[Any, ...], line: str) -> None:
    assert progress_line("frames done", *counts) == line


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (99, "99 s"), (100, "2 min"), (3600, "60 min"), (6000, "1 h 40 min"), (90_000, "25 h 0 min")],
)
def test_times(seconds: float, text: str) -> None:
    assert human_seconds(seconds) == text


def test_bytes_come_before_failures() -> None:
    line = progress_line("frames done", 12, 48, 3, 6.0, written=1_500_000)
    assert line == "frames done 12/48, 2.0/s, 18 s left, 1.5 MB, 3 failed"


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (84, "frames done [##-------] 250000/1000000, 100.0/s, 2 h 5 min left, 1.5 GB, 123 failed"),
        (73, "frames done 250000/1000000, 100.0/s, 2 h 5 min left, 1.5 GB, 123 failed"),
        (71, "frames done [#---] 250000/1000000, 100.0/s, 2 h 5 min left, 123 failed"),
        (65, "frames done 250000/1000000, 100.0/s, 2 h 5 min left, 123 failed"),
        (60, "frames done [--] 250000/1000000, 2 h 5 min left, 123 failed"),
        (56, "frames done 250000/1000000, 2 h 5 min left, 123 failed"),
        (40, "frames done 250000/1000000, 123 failed"),
        (20, "frames done 250000/"),
    ],
)
def test_a_narrow_terminal_gets_what_matters_most(columns: int, line: str) -> None:
    assert progress_line("frames done", 250_000, 1_000_000, 123, 2500.0, 0.0, columns, 1_500_000_000) == line


@pytest.mark.parametrize("columns", [0, 1, 10, 30, 60, 80, 200])
@pytest.mark.parametrize("done", [0, 1, 24, 48])
def test_a_bar_fits_into_its_terminal(columns: int, done: int) -> None:
    line = progress_line("frames done", done, 48, 2, 7.0, 0.5, columns)
    assert len(line) <= max(columns - 1, 0)
    if columns >= 80:
        (bar,) = re.findall(r"\[(#*)(-*)\]", line)
        assert len(bar[0]) == 30 * done // 48
        assert len(bar[0] + bar[1]) == 30
        assert f"{done}/48" in line


class Terminal(io.StringIO):
    """A stream that is a terminal by its own account."""

    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        """Return the lines as a terminal shows them."""
        shown = []
        for line in self.getvalue().split("\n"):
            *_, last = line.split("\r\x1b[K")
            shown.append(last)
        return shown


@pytest.mark.parametrize("stream", [io.StringIO, Terminal], ids=["plain", "terminal"])
def test_log_lines_stand_on_lines_of_their_own(stream: type[io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    where = stream()
    monkeypatch.setattr(sys, "stderr", where)
    log = logging.Logger("test")
    log.addHandler(LogHandler())
    with steps() as report:
        report("frames done", 1, 4, 0)
        log.warning("s3://user:secret@bucket was begun with another engine")
        report("frames done", 4, 4, 1)
    lines = where.screen() if isinstance(where, Terminal) else where.getvalue().split("\n")
    warning = "s3://***@bucket was begun with another engine"
    assert [line for line in lines if not line.startswith("frames done ")] == [warning, ""]
    assert lines[-2].endswith("1 failed")
    assert "4/4" in lines[-2]
    log.warning("afterwards")
    assert where.getvalue().endswith("1 failed\nafterwards\n")


def test_steps_end_where_the_next_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", where := io.StringIO())
    with steps() as report:
        for done in range(3):
            report("groups read", done, 2, 0)
        for done in (10, 30):
            report("maps decoded", done, 30, 0)
    lines = [re.sub(r", [\d.]+/s", "", line) for line in where.getvalue().splitlines()]
    assert lines == ["groups read 0/2", "groups read 2/2", "maps decoded 0/30", "maps decoded 30/30"]


def test_without_work_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", where := io.StringIO())
    with steps() as report:
        report("frames done", 0, 0, 0)
    assert where.getvalue() == ""


def test_a_line_comes_now_and_then_though_nothing_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hung worker must not look like a finished run: the line is drawn by the clock, not by what is finished."""
    monkeypatch.setattr(sys, "stderr", where := io.StringIO())
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.001)
    with steps() as report:
        report("frames done", 0, 4, 0)
        while where.getvalue().count("frames done 0/4\n") < 3:
            pass
