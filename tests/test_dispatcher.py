"""A cluster that loses workers, hangs, or is lost, played by a stand-in for Dask's client.

tests/test_cluster.py does the same to real processes, with `pytest -m slow`.
"""

import math
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_data import TinyData

from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import DepthVarError
from depthvar.precompute.pipeline import cluster, dispatch, execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.dispatch import Dispatcher
from depthvar.precompute.pipeline.worker import TaskResult

AGAIN = "run the same command again"
FIRST = {f"a/P0/depth/{frame:03}.npy" for frame in range(5)}  # the frames of the first task
ALL = FIRST | {f"b/depth/{frame:03}.npy" for frame in range(3)}


class Future:
    """What ``submit`` returns: ended with a result, or pending for ever."""

    def __init__(self, result: Any = None) -> None:
        self.status = "pending" if result is None else "finished"
        self._result = result

    def add_done_callback(self, call: Callable[["Future"], None]) -> None:
        if self.status == "finished":
            call(self)

    def result(self) -> Any:
        return self._result


class Client:
    """A cluster of workers with a thread each, in somebody else's hands; what happens to the first task is given.

    "works", "dies" (its worker leaves the cluster), "hangs", "ends itself" (hangs, and leaves after a second), "closes"
    (the connection), "mutes" (the scheduler).
    """

    def __init__(self, workers: int, first: str = "works") -> None:
        self.threads = {f"tcp://{index}": 1 for index in range(workers)}
        self.status, self.cluster, self.scheduler, self.first = "running", None, self, first
        self.ncores, self.muted = None, False
        self.leaves: dict[str, float] = {}  # when, by worker

    def sync(self, call: None, **_: Any) -> dict[str, int]:
        if self.muted:
            raise OSError("timed out")
        return {
            name: count for name, count in self.threads.items() if time.monotonic() < self.leaves.get(name, math.inf)
        }

    def submit(self, call: Callable[..., Any], *arguments: Any, workers: list[str], **_: Any) -> Future:
        first, self.first = self.first, "works"
        match first:
            case "works":
                return Future(call(*arguments))
            case "dies":
                del self.threads[workers[0]]
            case "ends itself":
                self.leaves[workers[0]] = time.monotonic() + 1
            case "closes":
                self.status = "closed"
            case "mutes":
                self.muted = True
        return Future()

    def cancel(self, futures: Any, force: bool) -> None:
        assert force


def run(tiny: TinyData, client: Client, timeout: float = 60, patience: float = 60) -> tuple[dict[str, str], int]:
    """Return the message of every frame that was given up, and the number of frames computed."""
    _, *results = pipeline.run(tiny.job(), lambda job, tasks: Dispatcher(client, job, timeout, patience).run(tasks))
    computed = [result for result in results if isinstance(result, TaskResult)]
    failed = {key: message for result in computed for key, message in result.failed}
    assert ALL - failed.keys() == set(SigmaCache(tiny.job().cache).keys())  # what is listed is not done, and no other
    return failed, sum(result.computed for result in computed)


def test_tasks_that_end_are_all_there_is(tiny: TinyData) -> None:
    assert run(tiny, Client(workers=1)) == ({}, 8)


@pytest.mark.parametrize(
    ("first", "timeout", "reason"),
    [
        ("dies", 60, "its worker process was lost: killed, or out of memory; when tcp://0 has ended, "),
        ("hangs", 0.1, "not ended after 0.1 s (--timeout); when tcp://0 has ended, "),
        ("ends itself", 0.1, "not ended after 0.1 s (--timeout); "),
    ],
)
def test_a_task_is_given_up_with_its_worker_and_the_others_go_on(
    tiny: TinyData, monkeypatch: pytest.MonkeyPatch, first: str, timeout: float, reason: str
) -> None:
    monkeypatch.setattr(dispatch, "GRACE_SECONDS", 2.5)
    failed, computed = run(tiny, Client(workers=2, first=first), timeout)
    assert failed == dict.fromkeys(FIRST, reason + AGAIN)
    assert computed == 3
    list(pipeline.run(tiny.job(), execute.serial))
    assert set(SigmaCache(tiny.job().cache).keys()) == ALL


@pytest.mark.parametrize(
    ("client", "reason"),
    [
        (Client(workers=1, first="closes"), "the Dask scheduler was lost"),
        (Client(workers=1, first="mutes"), "the Dask scheduler has not answered for 1.5 s"),
        (Client(workers=0), "no Dask worker was there for 1.5 s"),
    ],
)
def test_without_a_scheduler_or_a_worker_all_is_listed(tiny: TinyData, client: Client, reason: str) -> None:
    failed, computed = run(tiny, client, patience=1.5)
    assert failed == dict.fromkeys(ALL, f"{reason}; when its workers have ended, {AGAIN}")
    assert computed == 0


# A process for each GPU


def test_workers_with_a_gpu_each_need_dask_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask_cuda", None)
    message = r"^--device cuda with --workers, .*, needs dask-cuda, .*: pip install 'depthvar\[gpu\]', or leave out --w"
    with pytest.raises(DepthVarError, match=message), cluster.connected(2, None, "cuda"):
        pass


def test_workers_with_a_gpu_each_are_those_of_dask_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Played: what dask-cuda starts has never run here with a GPU."""
    asked: list[dict[str, Any]] = []

    class Started(Exception):
        pass

    def local_cuda_cluster(**options: Any) -> None:
        asked.append(options)
        raise Started

    monkeypatch.setitem(sys.modules, "dask_cuda", SimpleNamespace(LocalCUDACluster=local_cuda_cluster))
    with pytest.raises(Started), cluster.connected(2, None, "cuda"):
        pass
    assert (asked[0]["n_workers"], asked[0]["threads_per_worker"]) == (2, 1)
