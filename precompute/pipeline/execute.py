"""Running the tasks of a plan: serially, in threads, or on Dask. Results are yielded as they come.

A task is tried again only when the process that ran it is known to have ended: nothing here retries by itself.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import islice

from depthvar.datasets.errors import DepthVarError, ParameterError
from depthvar.datasets.extras import need_torch
from depthvar.datasets.params import Estimator
from depthvar.datasets.scalars import number, whole
from depthvar.precompute.kernel.api import auto_engine

from .job import Job, TaskResult
from .shards import Task
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
    workers: int | None = None, scheduler: str | None = None, timeout: float = TIMEOUT, patience: float = PATIENCE
) -> Execute:
    """Run the tasks on Dask: ``workers`` local processes, or the cluster whose scheduler has that address.

    ``timeout`` and ``patience`` are those of ``dispatch.Dispatcher``. The frames of a task that is given up are listed
    as failed, and the run goes on.
    """

    def execute(job: Job, tasks: Iterable[Task]) -> Iterator[TaskResult]:
        from .cluster import connected
        from .dispatch import Dispatcher

        with connected(workers, scheduler, job.device) as client:
            yield from Dispatcher(client, job, timeout, patience).run(tasks)

    return execute


def executor(
    threads: int | None = None, workers: int | None = None, scheduler: str | None = None, timeout: float | None = None
) -> tuple[Execute, str]:
    """Return what runs the tasks, and its name for people; ParameterError for two ways, or a number not above 0."""
    ways = {"threads": threads, "workers": workers, "scheduler": scheduler}
    given = [f"{name}={value!r}" for name, value in ways.items() if value is not None]
    if len(given) > 1:
        raise ParameterError(f"threads, workers, scheduler: expected one of them, got {' and '.join(given)}")
    for name, value in (("threads", threads), ("workers", workers)):
        if value is not None:
            whole(name, value, "a whole number from 1", lambda count: count >= 1)
    if timeout is not None and not (workers or scheduler):
        raise ParameterError("timeout: expected workers or scheduler with it: a thread cannot be stopped")
    if workers or scheduler:
        import distributed  # noqa: F401 # now, and not once an interrupt raises an exception

        seconds = TIMEOUT if timeout is None else number("timeout", timeout, "seconds above 0", lambda t: t > 0)
        processes = "1 worker process" if workers == 1 else f"{workers} worker processes"
        return on_dask(workers, scheduler, seconds), processes if workers else f"the Dask workers of {scheduler}"
    threads = threads or cpus()
    return in_threads(threads), "1 thread" if threads == 1 else f"{threads} threads"


def cpus() -> int:
    """Return how many CPUs this process may use: by its affinity mask, and by the quota of its container."""
    from dask.system import CPU_COUNT

    return int(CPU_COUNT)


def check_engine(device: str, params: Estimator) -> None:
    """Raise MissingLibraryError for an engine that needs torch, DepthVarError for a CUDA device where it sees none."""
    if not device.startswith("cuda"):
        auto_engine(device, params)
        return
    need_torch(f"device {device}")
    import torch

    if not torch.cuda.is_available():
        raise DepthVarError(
            f"device {device}: torch sees no CUDA device; use the CPU, or install a CUDA build of torch"
        )
