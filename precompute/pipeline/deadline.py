"""A Dask worker that hangs in a task ends its own process, also on a cluster that somebody else started."""

import faulthandler
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .job import Job, TaskResult
from .shards import Task
from .worker import run_task

STDERR = 2  # the file descriptor: sys.stderr may be anything

_ends: dict[int, float] = {}  # when, by thread: there is one timer for all
_setting = threading.Lock()


def run_task_in_time(job: Job, task: Task, seconds: float) -> TaskResult:
    """Run a task; if it takes more than ``seconds``, a worker whose nanny starts a new one ends its process."""
    if not _has_nanny():
        return run_task(job, task)
    with ending_the_process_after(seconds):
        return run_task(job, task)


def _has_nanny() -> bool:
    """Return whether this process is a Dask worker that is started again when it ends, and nothing else."""
    from distributed import get_worker

    try:
        return get_worker().nanny is not None
    except ValueError:  # not in a worker
        return False


@contextmanager
def ending_the_process_after(seconds: float) -> Iterator[None]:
    """End this process, after a traceback of all threads on stderr, if the block takes more than ``seconds``.

    faulthandler's timer is no Python thread: it also ends what hangs in C code and holds the GIL.
    """
    thread = threading.get_ident()
    with _setting:
        _ends[thread] = time.monotonic() + seconds
        _set_timer()
    try:
        yield
    finally:
        with _setting:
            del _ends[thread]
            _set_timer()


def _set_timer() -> None:
    if not _ends:
        faulthandler.cancel_dump_traceback_later()
        return
    left = min(_ends.values()) - time.monotonic()
    faulthandler.dump_traceback_later(max(left, 0.001), exit=True, file=STDERR)
