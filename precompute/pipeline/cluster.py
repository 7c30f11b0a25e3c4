"""Tasks on a Dask cluster that may fail: every thread has one at a time, and what it cannot end is given up.

A task is bound to the worker that gets it. So no scheduler gives it to a second worker while the first may still write,
and a task whose worker is lost fails alone. The run goes on without it; the next run computes it again.
"""

import logging
import os
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from depthvar.datasets.errors import DepthVarError

from .job import Job, TaskResult
from .shards import READ, Task
from .worker import run_task

log = logging.getLogger("depthvar")

POLL_SECONDS = 0.05  # between two looks whether tasks have ended, once a run stops
LOOK_SECONDS = 1.0  # between two looks at which workers there are
ANSWER_SECONDS = 10.0  # a scheduler that takes longer is asked again
LOST = "its worker process was lost: killed, or out of memory"


@contextmanager
def connected(workers: int | None, scheduler: str | None, device: str = "cpu") -> Iterator[Any]:
    """Yield a client of ``workers`` new processes of one thread each, or of the scheduler at that address.

    With a CUDA device each new process has a GPU of its own.
    """
    import dask
    from distributed import Client

    for name in list(logging.root.manager.loggerDict):  # what matters to a user comes back as a result or an error
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)
    if scheduler is not None:
        try:
            client = Client(scheduler, timeout="10s")
        except (OSError, TimeoutError, ValueError) as error:
            raise DepthVarError(
                f"--scheduler {scheduler}: cannot connect: {error}; expected the address of a running scheduler, "
                "such as tcp://host:8786"
            ) from None
        with client:
            yield client
        return
    _check_handles(30 + 12 * (workers or 1))
    settings = {"distributed.scheduler.allowed-failures": 0, "distributed.worker.daemon": True}
    with dask.config.set(settings), _ignoring_interrupts():
        cluster = _cluster_class(device)(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        )
    with cluster, Client(cluster) as client:
        yield client


def _cluster_class(device: str) -> Any:
    """Return what starts local workers; DepthVarError where those with a GPU each need a package that is missing."""
    if not device.startswith("cuda"):
        from distributed import LocalCluster

        return LocalCluster
    try:
        from dask_cuda import LocalCUDACluster
    except ImportError as error:
        raise DepthVarError(
            "--device cuda with --workers, a process for each GPU: dask-cuda is missing; "
            "pip install 'depthvar[gpu]', or leave out --workers to use one GPU"
        ) from error
    return LocalCUDACluster


def _check_handles(count: int) -> None:
    """Raise where so many files cannot be open at once: Dask would wait for connections that nobody can accept."""
    held: list[int] = []
    try:
        held += (os.dup(0) for _ in range(count))
    except OSError as error:
        raise DepthVarError(
            f"--workers: expected that {count} more files can be open, got {len(held)} ({error.strerror}); raise the "
            "limit (ulimit -n), or use fewer workers"
        ) from None
    finally:
        for file in held:
            os.close(file)


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Start processes that a Ctrl-C in the terminal, which reaches them too, does not end: this process does."""
    is_main = threading.current_thread() is threading.main_thread()  # no other thread can set a handler
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if is_main else None
    try:
        yield
    finally:
        if is_main:
            signal.signal(signal.SIGINT, handler)


class _Given(NamedTuple):
    task: Task
    worker: str
    since: float


class Dispatcher:
    """Gives tasks to the workers of a cluster, and yields a result for each: computed, or given up.

    A worker has ``timeout`` seconds for a task. After ``patience`` seconds without an answer of the scheduler, or
    without a worker, all tasks are given up.
    """

    def __init__(self, client: Any, job: Job, timeout: float, patience: float) -> None:
        self._client, self._job, self._timeout, self._patience = client, job, timeout, patience
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
        future = self._client.submit(
            run_task, self._job, task, workers=[worker], allow_other_workers=False, pure=False, retries=0
        )
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
            yield self._give_up(given, LOST)

    def _overdue(self) -> Iterator[TaskResult]:
        """Give up the tasks whose worker was lost, or has had them for too long."""
        now = time.monotonic()
        for future, given in list(self._given.items()):
            lost = given.worker not in self._threads
            if lost or now - given.since > self._timeout:
                self._client.cancel(self._given.pop(future), force=True)
                yield self._give_up(given, LOST if lost else f"not ended after {self._timeout:g} s (--timeout)")

    def _give_up(self, given: _Given, reason: str) -> TaskResult:
        """Return the failure of a task, once its worker has ended where that can be seen to."""
        self._given_up.add(given.worker)
        when = "" if self._kill(given.worker) else f"when {given.worker} has ended, "
        return _failure(given.task, f"{reason}; {when}run the same command again")

    def _kill(self, worker: str) -> bool:
        """Kill a worker that this run started, whose nanny starts a new one; False where somebody else started it."""
        if self._client.cluster is None:
            return False
        for nanny in self._client.cluster.workers.values():
            if nanny.worker_address == worker and nanny.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(nanny.pid, signal.SIGKILL)
        return True

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
