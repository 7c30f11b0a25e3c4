"""Tasks on a Dask cluster that may fail: every thread has one at a time, and what it cannot end is given up.

A task is bound to the worker that gets it. So no scheduler gives it to a second worker while the first may still write,
and a task whose worker is lost fails alone. The run goes on without it; the next run computes it again.
"""

import logging
import os
import signal
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from .deadline import run_task_in_time
from .job import Job, TaskResult
from .shards import READ, Task
from .worker import run_task

log = logging.getLogger("depthvar")

POLL_SECONDS = 0.05  # between two looks whether tasks have ended, once a run stops
LOOK_SECONDS = 1.0  # between two looks at which workers there are
ANSWER_SECONDS = 10.0  # a scheduler that takes longer is asked again
GRACE_SECONDS = 5.0  # after the timeout, in which a worker of another's cluster ends itself
LOST = "its worker process was lost: killed, or out of memory"


class _Given(NamedTuple):
    task: Task
    worker: str
    since: float


class Dispatcher:
    """Gives tasks to the workers of a cluster, and yields a result for each: computed, or given up.

    A worker has ``timeout`` seconds for a task. One that this run started is then killed; another one ends itself where
    it has a nanny. After ``patience`` seconds without an answer of the scheduler, or without a worker, all tasks are
    given up.
    """

    def __init__(self, client: Any, job: Job, timeout: float, patience: float) -> None:
        self._client, self._job, self._timeout, self._patience = client, job, timeout, patience
        self._own = client.cluster is not None  # this run started the workers
        self._given: dict[Any, _Given] = {}  # by future
        self._ended: SimpleQueue[Any] = SimpleQueue()  # futures, as they end
        self._threads: dict[str, int] = {}  # by worker
        self._given_up: set[str] = set()  # workers that get no further task
        self._looked = self._answered = self._manned = time.monotonic()

    def run(self, tasks: Iterable[Task]) -> Iterator[TaskResult]:
        """Run the tasks; an exception of one of them ends the run."""
        queue = deque(tasks)
        self._look()
        if not self._threads:
            log.warning("no Dask worker is there yet: waiting up to %g s for one", self._patience)
        try:
            while queue or self._given:
                for worker in self._free()[: len(queue)]:
                    self._give(queue.popleft(), worker)
                yield from self._results()
                if time.monotonic() - self._looked >= LOOK_SECONDS:
                    self._look()
                    yield from self._overdue()
                if reason := self._broken():
                    rest = [*(given.task for given in self._given.values()), *queue]
                    self._given.clear()
                    for task in rest:
                        yield _failure(task, f"{reason}; when its workers have ended, run the same command again")
                    return
        finally:
            self._let_end()

    def _let_end(self) -> None:
        """After an error or Ctrl-C, let running tasks end: no worker may still write when the lock is released.

        A second Ctrl-C ends the wait.
        """
        try:
            while self._given and not self._broken():
                self._look()
                for future in [future for future in self._given if future.status != "pending"]:
                    del self._given[future]  # by its status: Ctrl-C may have interrupted the queue
                list(self._overdue())
                time.sleep(POLL_SECONDS)
        finally:
            for given in self._given.values():
                self._kill(given.worker)
            self._client.cancel(list(self._given), force=True)

    def _look(self) -> None:
        """See which workers there are; until a scheduler answers, what it said before stands."""
        self._looked = time.monotonic()
        with suppress(OSError):
            scheduler = self._client.scheduler
            self._threads = self._client.sync(scheduler.ncores, workers=None, callback_timeout=ANSWER_SECONDS)
            self._answered = time.monotonic()

    def _free(self) -> list[str]:
        """Return the workers with a free thread, once for each such thread."""
        free = Counter(self._threads)
        free.subtract(given.worker for given in self._given.values())
        return [worker for worker in free.elements() if worker not in self._given_up]

    def _give(self, task: Task, worker: str) -> None:
        job = self._job.holding(task.keys_to(*READ))
        call = (run_task, job, task) if self._own else (run_task_in_time, job, task, self._timeout)
        future = self._client.submit(*call, workers=[worker], allow_other_workers=False, pure=False, retries=0)
        self._given[future] = _Given(task, worker, time.monotonic())
        future.add_done_callback(self._ended.put)

    def _results(self) -> Iterator[TaskResult]:
        """Wait a moment for a task to end, and yield what became of it."""
        from distributed import KilledWorker

        try:
            future = self._ended.get(timeout=LOOK_SECONDS)
        except Empty:
            return
        if future.status == "cancelled" or future not in self._given:  # the scheduler was lost; or it was given up
            return
        given = self._given.pop(future)
        try:
            yield future.result()
        except KilledWorker:
            yield self._give_up(given, lost=True)

    def _overdue(self) -> Iterator[TaskResult]:
        """Give up the tasks whose worker was lost, or has had them for too long."""
        limit = self._timeout + (0 if self._own else GRACE_SECONDS)
        for future, given in list(self._given.items()):
            lost = given.worker not in self._threads
            if lost or time.monotonic() - given.since > limit:
                self._client.cancel(self._given.pop(future), force=True)
                yield self._give_up(given, lost)

    def _give_up(self, given: _Given, lost: bool) -> TaskResult:
        """Return the failure of a task, once its worker has ended where that can be seen to."""
        self._given_up.add(given.worker)
        self._kill(given.worker)
        late = time.monotonic() - given.since > self._timeout
        ended = self._own or (late and lost)  # lost after the timeout: it ended itself
        reason = f"not ended after {self._timeout:g} s (--timeout)" if late else LOST
        when = "" if ended else f"when {given.worker} has ended, "
        return _failure(given.task, f"{reason}; {when}run the same command again")

    def _kill(self, worker: str) -> None:
        """Kill a worker that this run started, whose nanny starts a new one; leave those that somebody else started."""
        for nanny in self._client.cluster.workers.values() if self._own else ():
            if nanny.worker_address == worker and nanny.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(nanny.pid, signal.SIGKILL)

    def _broken(self) -> str | None:
        """Return why nothing can go on, or None."""
        now = time.monotonic()
        if self._given or self._free():
            self._manned = now
        if self._client.status != "running":
            return "the Dask scheduler was lost"
        if now - self._answered > self._patience:
            return f"the Dask scheduler has not answered for {self._patience:g} s"
        if now - self._manned > self._patience:
            return f"no Dask worker was there for {self._patience:g} s"
        return None


def _failure(task: Task, message: str) -> TaskResult:
    return TaskResult(task.group, task.start, failed=tuple((key, message) for key in task.keys_to(*READ)))
