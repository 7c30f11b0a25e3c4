"""How far long work has come, on stderr: a bar on a terminal, a plain line every 10 s elsewhere.

A thread draws, so that the time left counts down while nothing is finished, and reporting costs next to nothing.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

from depthvar.datasets.errors import hide_credentials

BAR_SECONDS, LINE_SECONDS = 0.2, 10.0  # between two drawings
BAR_CELLS = 30
CLEAR = "\r\x1b[K"  # to the start of the line, and empty it

Report = Callable[[str, int, int, int], None]
"""Called with what is counted ("frames done"), how many are done, how many there are, and how many failed."""


class Advance(Protocol):
    """Called with how many were finished since the last call, and how many of them failed."""

    def __call__(self, done: int, failed: int = 0) -> None: ...


def progress_line(
    what: str, done: int, total: int, failed: int, seconds: float, since: float = 0.0, columns: int | None = None
) -> str:
    """Return how far work has come: count, rate, time left, failures.

    Args:
        what: is counted, such as "frames computed".
        done: how many, failed ones too.
        total: how many there are.
        failed: how many have failed.
        seconds: from the beginning of the work until something was last finished.
        since: seconds that have passed since then. The time left counts down in them; when it is over, it is unknown.
        columns: of the terminal, for a line with a bar; None: a plain line.
    """
    rate = done / max(seconds, 1e-9)
    parts = [f"{done}/{total}"]
    if done:
        parts.append(f"{rate:.1f}/s")
        left = (total - done) / rate - since
        if left > 0:
            parts.append(f"{human_seconds(left)} left")
    if failed:
        parts.append(f"{failed} failed")
    text = ", ".join(parts)
    if columns is None:
        return f"{what} {text}"
    cells = min(BAR_CELLS, columns - len(what) - len(text) - 5)
    filled = cells * done // max(total, 1)
    bar = f"[{'#' * filled}{'-' * (cells - filled)}] " if cells > 0 else ""
    return f"{what} {bar}{text}"[: max(columns - 1, 0)]


def human_seconds(seconds: float) -> str:
    """Return a time as people write it: 40 s, 3 min, 2 h 5 min."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


class _Shown:
    """Work that is under way, and its line on stderr."""

    current: "_Shown | None" = None
    lock = threading.RLock()  # of stderr: the thread that draws, the work, and the log

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.done, self.failed = what, total, 0, 0
        self.began = self.finished = time.monotonic()
        self.on_terminal = sys.stderr.isatty()

    def advance(self, done: int, failed: int = 0) -> None:
        self.done, self.failed, self.finished = self.done + done, self.failed + failed, time.monotonic()

    def draw(self, end: str = "") -> None:
        with self.lock:
            columns = _columns() if self.on_terminal else None
            seconds, since = self.finished - self.began, time.monotonic() - self.finished
            line = progress_line(self.what, self.done, self.total, self.failed, seconds, since, columns)
            sys.stderr.write(f"{CLEAR}{line}{end}" if self.on_terminal else f"{line}\n")
            sys.stderr.flush()


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80  # 0: a terminal that does not know
    except (OSError, ValueError):
        return 80


@contextmanager
def progress(total: int, what: str, every: float | None = None) -> Iterator[Advance]:
    """Show how far work has come, nothing without any work; yields the function to call as it is finished.

    Args:
        total: how many there are to do.
        what: is counted, such as "frames done".
        every: seconds between two drawings; None: 0.2 on a terminal, 10 elsewhere.
    """
    if not total:
        yield lambda done, failed=0: None
        return
    shown, ended = _Shown(what, total), threading.Event()

    every = every or (BAR_SECONDS if shown.on_terminal else LINE_SECONDS)

    def draw_again() -> None:
        while not ended.wait(every):
            shown.draw()

    thread = threading.Thread(target=draw_again, name="progress", daemon=True)
    _Shown.current = shown
    shown.draw()
    thread.start()
    try:
        yield shown.advance
    finally:
        ended.set()
        thread.join()
        shown.draw(end="\n")
        _Shown.current = None


@contextmanager
def steps() -> Iterator[Report]:
    """Yield a function for work in several steps; each has its own bar, which ends where the next one begins."""
    with ExitStack() as stack:
        step, before, advance = "", (0, 0), None

        def report(what: str, done: int, total: int, failed: int) -> None:
            nonlocal step, before, advance
            if advance is None or what != step:
                stack.close()
                step, before, advance = what, (0, 0), stack.enter_context(progress(total, what))
            advance(done - before[0], failed - before[1])
            before = done, failed

        yield report


class LogHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes log lines to stderr, above the bar, and hides the credentials of URLs in them."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        return hide_credentials(super().format(record))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record where the bar was, and draw the bar below it."""
        with _Shown.lock:
            shown = _Shown.current
            on_bar = shown is not None and shown.on_terminal
            if on_bar:
                self.stream.write(CLEAR)
            super().emit(record)
            if shown is not None and on_bar:
                shown.draw()
