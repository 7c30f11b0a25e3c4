"""How far long work has come, on stderr: a bar on a terminal, a plain line every 10 s elsewhere.

A thread draws, so that the time left counts down while nothing is finished, and reporting costs next to nothing.
"""

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from depthvar.datasets.errors import hide_credentials

from . import screen
from .numbers import human_bytes, human_seconds
from .screen import fold

if TYPE_CHECKING:
    from depthvar.precompute.api import Progress

BAR_SECONDS, LINE_SECONDS = 0.2, 10.0  # between two drawings
BAR_CELLS = 30
CLEAR = "\r\x1b[K"  # to the start of the line, and empty it


def progress_line(
    what: str,
    done: int,
    total: int,
    failed: int,
    seconds: float,
    since: float = 0.0,
    columns: int | None = None,
    written: int = 0,
) -> str:
    """Return how far work has come: count, rate, time left, bytes written, failures.

    Something was last finished ``seconds`` after the beginning, ``since`` seconds ago: so long the time left counts
    down, and when it is over, it is unknown. ``columns`` of a terminal are for a bar; None: a plain line.
    """
    parts = {"count": f"{done}/{total}"}
    if done:
        rate = done / max(seconds, 1e-9)
        parts["rate"] = f"{rate:.1f}/s"
        if (left := (total - done) / rate - since) > 0:
            parts["left"] = f"{human_seconds(left)} left"
    if written:
        parts["bytes"] = human_bytes(written)
    if failed:
        parts["failed"] = f"{failed} failed"
    text = ", ".join(parts.values())
    if columns is None:
        return f"{what} {text}"
    for least in ("bytes", "rate", "left"):
        if len(what) + len(text) + 1 >= columns:  # in a narrow terminal
            parts.pop(least, None)
            text = ", ".join(parts.values())
    cells = min(BAR_CELLS, columns - len(what) - len(text) - 5)
    bar = f"[{('#' * (cells * done // total)).ljust(cells, '-')}] " if cells > 0 else ""
    return f"{what} {bar}{text}"[: max(columns - 1, 0)]


class _Step:
    """A step of the work, and its line on stderr, drawn until the step is ended."""

    current: "_Step | None" = None
    lock = threading.RLock()  # of stderr: the thread that draws, the work, and the log

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.done, self.failed, self.written = what, total, 0, 0, 0
        self.began = self.finished = time.monotonic()
        self.on_terminal = sys.stderr.isatty()
        self._ended, self._thread = threading.Event(), threading.Thread(target=self._draw_again, daemon=True)
        _Step.current = self
        self.draw()
        self._thread.start()

    def count(self, done: int, failed: int, written: int) -> None:
        self.done, self.failed, self.written, self.finished = done, failed, written, time.monotonic()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()
        with self.lock:
            self.draw(end="\n")
            _Step.current = None

    def draw(self, end: str = "") -> None:
        with self.lock:
            width = screen.columns(sys.stderr) if self.on_terminal else None
            seconds, since = self.finished - self.began, time.monotonic() - self.finished
            line = progress_line(self.what, self.done, self.total, self.failed, seconds, since, width, self.written)
            sys.stderr.write(f"{CLEAR}{line}{end}" if self.on_terminal else f"{line}\n")
            sys.stderr.flush()

    def _draw_again(self) -> None:
        while not self._ended.wait(BAR_SECONDS if self.on_terminal else LINE_SECONDS):
            self.draw()


@contextmanager
def steps() -> "Iterator[Progress]":
    """Yield a function for work in several steps; each has its own bar, which ends where the next one begins.

    A step of nothing shows nothing.
    """
    step: _Step | None = None

    def report(what: str, done: int, total: int, failed: int, written: int = 0, /) -> None:
        nonlocal step
        if step is None or what != step.what:
            if step:
                step.end()
            step = _Step(what, total) if total else None
        if step:
            step.count(done, failed, written)

    try:
        yield report
    finally:
        if step:
            step.end()


class LogHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes log lines to stderr, above the bar, and hides the credentials of URLs in them."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record; on a terminal it ends between words."""
        return fold(hide_credentials(super().format(record)), screen.columns(self.stream))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record where the bar was, and draw the bar below it."""
        with _Step.lock:
            bar = _Step.current if _Step.current and _Step.current.on_terminal else None
            if bar:
                self.stream.write(CLEAR)
            super().emit(record)
            if bar:
                bar.draw()
