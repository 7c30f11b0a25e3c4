"""Running the tasks of a plan: serially, in threads, or on Dask. Results are yielded as they come.

A task is tried again only when the process that ran it is known to have ended: nothing here retries by itself.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import islice

from .job import Job, TaskResult
from .plan import Task
from .worker import run_task

Execute = Callable[[Job, Iterable[Task]], Iterator[TaskResult]]

TIMEOUT = 600.0  # seconds for a shard in a worker process; 64 frames of 640×480 take one
PATIENCE = 60.0  # seconds without a word of the scheduler, or without a worker


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


def on_dask(
    workers: int | None = None,
    scheduler: str | None = None,
    timeout: float = TIMEOUT,
    patience: float = PATIENCE,
) -> Execute:
    """Run the tasks on Dask: ``workers`` local processes, or the cluster whose scheduler has that address.

    A task whose worker is lost, or has not ended it after ``timeout`` seconds, is given up: its frames are listed as
    failed, and the run goes on with the others. A local worker that hangs is killed. All that is not done is given up
    after ``patience`` seconds without an answer of the scheduler or without a worker.
    """

    def execute(job: Job, tasks: Iterable[Task]) -> Iterator[TaskResult]:
        from .cluster import Dispatcher, connected

        with connected(workers, scheduler) as client:
            yield from Dispatcher(client, job, timeout, patience).run(tasks)

    return execute
