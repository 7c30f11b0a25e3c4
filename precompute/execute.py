"""Running the tasks of a plan: serially, in threads, or on Dask. Results are yielded as they come.

A task is tried again only when the process that ran it is known to have ended: nothing here retries by itself.
"""

import logging
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from typing import Any

from depthvar.datasets.errors import DepthVarError

from .plan import Task
from .worker import Job, TaskResult, run_task

Execute = Callable[[Job, Iterable[Task]], Iterator[TaskResult]]


def serial(job: Job, tasks: Iterable[Task]) -> Iterator[TaskResult]:
    """Run the tasks one after the other in this thread."""
    return (run_task(job, task) for task in tasks)


def in_threads(workers: int) -> Execute:
    """Run the tasks in threads of this process: the kernel, zlib and Blosc all release the GIL."""

    def execute(job: Job, tasks: Iterable[Task]) -> Iterator[TaskResult]:
        queue = iter(tasks)
        with ThreadPoolExecutor(workers) as pool:
            pending = {pool.submit(run_task, job, task) for task in islice(queue, workers)}
            try:
                while pending:
                    finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                    for future in finished:
                        yield future.result()
                        pending |= {pool.submit(run_task, job, task) for task in islice(queue, 1)}
            finally:  # an error or Ctrl-C: what runs ends its shard, nothing new begins
                for future in pending:
                    future.cancel()

    return execute


def on_dask(workers: int | None = None, scheduler: str | None = None) -> Execute:
    """Run the tasks on Dask: ``workers`` local processes, or the cluster whose scheduler has that address."""

    def execute(job: Job, tasks: Iterable[Task]) -> Iterator[TaskResult]:
        from distributed import as_completed

        with _client(workers, scheduler) as client:
            queue = iter(tasks)
            ahead = 2 * max(1, sum(client.nthreads().values()))  # so a million shards are not all in the scheduler
            futures = [_submit(client, job, task) for task in islice(queue, ahead)]
            completed = as_completed(futures)
            try:
                for future in completed:
                    yield _result(future)
                    for task in islice(queue, 1):
                        completed.add(_submit(client, job, task))
            finally:
                client.cancel(list(completed.futures), force=True)

    return execute


def _submit(client: Any, job: Job, task: Task) -> "Future[TaskResult]":
    future: Future[TaskResult] = client.submit(run_task, job, task, pure=False, retries=0)
    return future


def _result(future: Any) -> TaskResult:
    from distributed import KilledWorker

    try:
        result: TaskResult = future.result()
    except KilledWorker as error:
        raise DepthVarError(
            f"a worker process died while it computed a shard ({error}); nothing half-written counts as done: "
            "run the same command again, with fewer workers if memory ran out"
        ) from None
    return result


@contextmanager
def _client(workers: int | None, scheduler: str | None) -> Iterator[Any]:
    import dask
    from distributed import Client, LocalCluster

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
    # One process a worker, one thread a process; a shard whose worker died is not run a second time behind our back.
    settings = {"distributed.scheduler.allowed-failures": 0, "distributed.worker.daemon": True}
    with dask.config.set(settings), _ignoring_interrupts():
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,  # what matters to a user comes back as a result or an error
        )
    with cluster, Client(cluster) as client:
        yield client


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Start processes that a Ctrl-C in the terminal, which reaches them too, does not end: this process does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
