"""Ctrl-C: one line, and exit code 130. This module imports next to nothing, so that it is in place first.

An exception would not do while modules are imported: it may be swallowed there, or printed as a traceback. So Ctrl-C
ends the process at once, except between ``clean_up`` and ``cleaned_up``, where it raises KeyboardInterrupt.
"""

import os
import signal

INTERRUPTED = 130


def end_at_once() -> None:
    """From here on Ctrl-C ends the process."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored: a job behind `&`
        signal.signal(signal.SIGINT, _end)


def clean_up() -> None:
    """From here on Ctrl-C raises KeyboardInterrupt, so that locks and temporary files are removed."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, _raise)


def cleaned_up() -> None:
    """From here on Ctrl-C ends the process again."""
    if signal.getsignal(signal.SIGINT) is _raise:
        signal.signal(signal.SIGINT, _end)


def _end(*_: object) -> None:
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)


def _raise(*_: object) -> None:
    raise KeyboardInterrupt
