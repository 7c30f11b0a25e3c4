"""What a check says of the frames that were looked at: one line."""

from typing import Literal, NamedTuple

State = Literal["ok", "warning", "untold"]


class Verdict(NamedTuple):
    """The result of one check.

    Attributes:
        check: what was checked.
        state: "ok"; "warning": it looks wrong; "untold": these frames cannot tell, and ``text`` says why.
        text: one line; a warning says what, where, a number, and what to do.
    """

    check: str
    state: State
    text: str


def ok(check: str, text: str) -> Verdict:
    """Return that nothing looks wrong."""
    return Verdict(check, "ok", text)


def warning(check: str, text: str) -> Verdict:
    """Return that something looks wrong."""
    return Verdict(check, "warning", text)


def untold(check: str, text: str) -> Verdict:
    """Return that these frames cannot tell."""
    return Verdict(check, "untold", text)


def frames(count: int, total: int) -> str:
    """Return how many of the frames looked at, for people."""
    if total == 1:
        return "the frame"
    return f"all {total} frames" if count == total else f"{count} of {total} frames"
