"""A client of a Dask cluster: worker processes on this machine, or a scheduler that somebody else started."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from depthvar.datasets.errors import DepthVarError
from depthvar.datasets.extras import library


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
    """Return what starts local workers; MissingLibraryError where dask-cuda, for a GPU each, is missing."""
    if not device.startswith("cuda"):
        from distributed import LocalCluster

        return LocalCluster
    what = "--device cuda with --workers, a process for each GPU,"
    return library("dask_cuda", "gpu", what, ", or leave out --workers to use one GPU").LocalCUDACluster


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
