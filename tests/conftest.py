"""Fixtures: small data sets on disk, and the three ways to run a plan."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from tiny_data import TinyData, make_depth

from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline.shards import Task
from depthvar.precompute.pipeline.worker import Job, TaskResult

pytest.register_assert_rewrite("ten_shards")  # a helper that asserts
hypothesis.settings.register_profile("depthvar", deadline=None)  # machines are shared: time is benchmarks' business
hypothesis.settings.load_profile("depthvar")


@pytest.fixture
def tiny(tmp_path: Path) -> TinyData:
    """Two sequences of five and three frames of 24×32."""
    data = TinyData(tmp_path / "tiny")
    for sequence, count in (("a/P0", 5), ("b", 3)):
        for index in range(count):
            data.write(sequence, f"{index:03}", make_depth(24, 32, index))
    return data


@pytest.fixture(params=["serial", "threads", "dask"])
def executor(request: pytest.FixtureRequest) -> Iterator[execute.Execute]:
    """Every way to run tasks; on Dask with one scheduler for the whole session."""
    if request.param == "serial":
        yield execute.serial
    elif request.param == "threads":
        yield execute.in_threads(2)
    else:
        yield execute.on_dask(scheduler=request.getfixturevalue("dask_address"))


@pytest.fixture(scope="session")
def dask_address() -> Iterator[str]:
    """The address of a Dask cluster of two processes, which take little time while they wait."""
    import dask
    from distributed import LocalCluster

    processes: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 1, "memory_limit": 0, "dashboard_address": None}
    with (
        dask.config.set({"distributed.worker.profile.enabled": False}),
        LocalCluster(host="127.0.0.1", **processes) as cluster,
    ):
        yield cluster.scheduler_address


@pytest.fixture
def counted() -> Callable[[execute.Execute], tuple[execute.Execute, list[Task]]]:
    """Wrap an executor so that it notes the tasks that it is given."""

    def wrap(run: execute.Execute) -> tuple[execute.Execute, list[Task]]:
        seen: list[Task] = []

        def note(job: Job, tasks: Iterable[Task]) -> Iterator[TaskResult]:
            listed = list(tasks)
            seen.extend(listed)
            return run(job, listed)

        return note, seen

    return wrap
