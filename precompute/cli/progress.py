"""Progress of long work on stderr: a bar with rate and ETA on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import click

LINE_SECONDS = 10.0  # between two plain lines


class Advance(Protocol):
    """Called with the number of frames that are finished since the last call."""

    def __call__(self, frames: int) -> None: ...


@contextmanager
def progress(total: int, label: str, every: float = LINE_SECONDS) -> Iterator[Advance]:
    """Show how far work on ``total`` frames has come; yields the function to call as frames are finished.

    ``every``: seconds between two plain lines.
    """
    began = time.monotonic()
    if sys.stderr.isatty() and total:
        done = 0
        bar: Any = click.progressbar(
            length=total,
            label=label,
            file=sys.stderr,
            show_pos=True,
            item_show_func=lambda _: f"{done / max(time.monotonic() - began, 1e-9):.1f} frames/s",
        )
        with bar:

            def advance(frames: int) -> None:
                nonlocal done
                done += frames
                bar.update(frames)

            yield advance
        return
    shown, done = began, 0

    def report(frames: int) -> None:
        nonlocal shown, done
        done += frames
        now = time.monotonic()
        if now - shown >= every or done == total:
            shown = now
            rate = done / max(now - began, 1e-9)
            eta = "" if done == total else f", {(total - done) / max(rate, 1e-9):.0f} s left"
            click.echo(f"{label} {done}/{total} frames, {rate:.1f} frames/s{eta}", err=True)

    yield report
