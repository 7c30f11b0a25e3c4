"""The same input gives the same bytes: whatever the number of workers, their kind, and the order of the shards."""

import os
import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_data import TinyData, make_depth

from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.source.depth_source import DepthSource, open_source
from depthvar.precompute.kernel.api import KernelParams, sigma_z2
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.plan import Task
from depthvar.precompute.pipeline.worker import Job, TaskResult

DATA = Path(__file__).parent / "data"
AGREE = {"range": 3e-4, "difference": 1e-6}  # two engines, relative, of σ²: docs/reliability.md
STEP = 2.0**-8  # between two neighbouring values of σ² that are stored
EXECUTORS = {
    "one thread": execute.in_threads(1),
    "eight threads": execute.in_threads(8),
    "one process": execute.on_dask(workers=1),
    "eight processes": execute.on_dask(workers=8),
}


def contents(cache: str) -> dict[str, bytes]:
    return {str(path.relative_to(cache)): path.read_bytes() for path in Path(cache).rglob("*") if path.is_file()}


def shuffled(executor: execute.Execute, seed: int) -> execute.Execute:
    def run(job: Job, tasks: Iterable[Task]) -> Iterator[TaskResult]:
        order = list(tasks)
        random.Random(seed).shuffle(order)
        return executor(job, order)

    return run


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Twelve shards in six sequences, of files old enough for their stat to be stored."""
    tiny = TinyData(tmp_path / "tiny", shard_frames=2)
    for sequence in range(6):
        for frame in range(4):
            tiny.write(f"P{sequence}", f"{frame:03}", make_depth(24, 32, 4 * sequence + frame), fx=40 + sequence)
    for path in tiny.root.rglob("*"):
        os.utime(path, (path.stat().st_mtime - 10,) * 2)
    return tiny.job(cache=str(tmp_path / "serial.zarr"))


@pytest.fixture
def serial(job: Job) -> dict[str, bytes]:
    """The bytes that one thread writes in order."""
    list(pipeline.run(job, execute.serial))
    return contents(job.cache)


@pytest.mark.parametrize("name", EXECUTORS)
def test_workers_and_order_change_no_byte(job: Job, serial: dict[str, bytes], name: str) -> None:
    other = replace(job, cache=job.cache.replace("serial", "other"))
    _, *results = pipeline.run(other, shuffled(EXECUTORS[name], seed=len(name)))
    assert len(results) == 12
    assert contents(other.cache) == serial


def test_any_order_and_interruption_changes_no_byte(job: Job, serial: dict[str, bytes]) -> None:
    for seed in range(10):
        other = replace(job, cache=job.cache.replace("serial", str(seed)))
        events = pipeline.run(other, shuffled(execute.in_threads(1 + seed % 4), seed))
        for _ in range(1 + seed):  # the outlook, and as many shards as the seed says
            next(events)
        events.close()
        outlook, *_ = pipeline.run(other, shuffled(execute.in_threads(8), 100 + seed))
        assert outlook.compute > 0
        assert contents(other.cache) == serial


def real_depth() -> Iterator[tuple[str, DepthSource]]:
    for name, units in (("redwood_rgbd", 1000), ("tum_rgbd", 5000)):
        camera = (525, 525, 319.5, 239.5)
        yield name, open_source("folder", DATA / name, intrinsics=camera, units_per_metre=units,
                                pattern="depth/{frame}.png")  # fmt: skip


@pytest.mark.parametrize(
    "params",
    [*(KernelParams(window=window) for window in (3, 5, 7)), KernelParams(estimator="difference")],
    ids=lambda params: f"{params.estimator} {params.window}",
)
def test_the_engines_agree_on_real_depth(params: KernelParams) -> None:
    largest = 0.0
    for _, source in real_depth():
        for frame in source:
            for stride in (1, 2, 3, 4, 6, 8):
                depth = frame.depth[::stride, ::stride]
                numba, torch = (
                    sigma_z2(depth, frame.intrinsics / stride, params, engine=engine).astype(np.float64)
                    for engine in ("numba", "torch")
                )
                finite = np.isfinite(numba)
                np.testing.assert_array_equal(finite, np.isfinite(torch))
                largest = max(largest, float(np.abs(torch[finite] / numba[finite] - 1).max()))
    assert AGREE[params.estimator] / 10 < largest <= AGREE[params.estimator]  # and the tolerance is not idle


def test_caches_of_two_engines_are_a_step_apart_and_say_which(tmp_path: Path) -> None:
    for name, source in real_depth():
        caches = []
        for device, engine in (("cpu", "numba"), ("cpu:0", "torch-cpu:0")):  # cuda's code on torch's CPU device
            job = Job(str(tmp_path / f"{name}_{engine}.zarr"), source, strides=(1, 3), device=device)
            list(pipeline.run(job, execute.serial))
            caches.append(SigmaCache(job.cache))
            assert caches[-1].attributes["engine"] == engine
        assert caches[0].attributes["fingerprint"] == caches[1].attributes["fingerprint"]
        for key in source.keys():
            for stride in (1, 3):
                numba, torch = (cache.read(key, stride) for cache in caches)
                finite = np.isfinite(numba)
                np.testing.assert_array_equal(finite, np.isfinite(torch))
                apart = np.abs(torch[finite].astype(np.float64) / numba[finite] - 1)
                assert apart.max() <= STEP
                assert np.mean(apart > 0) < 1e-3
