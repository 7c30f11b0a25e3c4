"""The same input gives the same bytes, by any workers in any order; two engines differ by their rounding alone."""

import os
import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import reference
import torch
from numcodecs import BitRound
from numpy.typing import NDArray
from tiny_data import TinyData, make_depth

from depthvar.datasets import DepthSource, open_source
from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.frame import Frame
from depthvar.precompute import Difference, KernelParams, sigma_z2
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.shards import Task
from depthvar.precompute.pipeline.worker import Job, TaskResult

DATA = Path(__file__).parent / "data"
ENGINES: tuple[Literal["numba", "torch"], ...] = ("numba", "torch")


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


@pytest.mark.parametrize("threads", [1, 8])
def test_threads_and_order_change_no_byte(job: Job, serial: dict[str, bytes], threads: int) -> None:
    check_bytes(job, serial, execute.in_threads(threads))


def test_worker_processes_and_order_change_no_byte(job: Job, serial: dict[str, bytes], dask_address: str) -> None:
    check_bytes(job, serial, execute.on_dask(scheduler=dask_address))


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 8])
def test_processes_of_our_own_and_order_change_no_byte(job: Job, serial: dict[str, bytes], processes: int) -> None:
    check_bytes(job, serial, execute.on_dask(workers=processes))


def check_bytes(job: Job, serial: dict[str, bytes], executor: execute.Execute) -> None:
    other = replace(job, cache=job.cache.replace("serial", "other"))
    _, *results = pipeline.run(other, shuffled(executor, seed=1))
    assert len(results) == 12
    assert contents(other.cache) == serial


def test_any_order_and_interruption_changes_no_byte(job: Job, serial: dict[str, bytes]) -> None:
    for seed in (0, 3, 6, 9):
        other = replace(job, cache=job.cache.replace("serial", str(seed)))
        events = pipeline.run(other, shuffled(execute.in_threads(1 + seed % 4), seed))
        for _ in range(1 + seed):  # the outlook, and as many shards as the seed says
            next(events)
        events.close()
        outlook, *_ = pipeline.run(other, shuffled(execute.in_threads(8), 100 + seed))
        assert outlook.compute > 0
        assert contents(other.cache) == serial


# Two engines


def real_sources() -> Iterator[DepthSource]:
    """Three Kinect frames of 480×640: steps of millimetres, holes, silhouettes."""
    for name, units in (("redwood_rgbd", 1000), ("tum_rgbd", 5000)):
        camera = (525, 525, 319.5, 239.5)
        yield open_source("folder", DATA / name, intrinsics=camera, units_per_metre=units, pattern="depth/{frame}.png")


def at_stride(frame: Frame, stride: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    return np.ascontiguousarray(frame.depth[::stride, ::stride]), frame.intrinsics / stride


def share_of_rounding(got: NDArray[np.float32], want: reference.Reference) -> NDArray[np.float64]:
    """Return how far an engine is from float64, in what rounding explains: more than 1 is a fault of the engine."""
    known = np.isfinite(want.sigma_z2)
    np.testing.assert_array_equal(np.isfinite(got), known)
    error = np.abs(got[known].astype(np.float64) / want.sigma_z2[known] - 1)
    return error / reference.rounding(want)[known]


@pytest.mark.parametrize(
    ("window", "strides"),
    [
        (3, (1, 2, 3, 4, 6, 8)),
        (5, (1, 2, 3, 4, 6, 8)),
        (7, (2, 3, 4, 6, 8)),
        pytest.param(7, (1,), marks=pytest.mark.slow),  # the plain loops take as long as all others
    ],
)
def test_each_engine_is_within_its_rounding_of_float64_on_real_depth(window: int, strides: tuple[int, ...]) -> None:
    params = KernelParams(window=window)
    for source in real_sources():
        for frame in source:
            for stride in strides:
                depth, camera = at_stride(frame, stride)
                want = reference.sigma_z2_of_arrays(depth, camera, params)
                for engine in ENGINES:
                    got = sigma_z2(depth, camera, params, engine=engine)
                    assert share_of_rounding(got, want).max() <= 1, (frame.key, stride, engine)


def test_the_number_of_torchs_threads_changes_no_byte() -> None:
    """The suite has one thread a process (tests/conftest.py); whoever uses torch has as many as CPUs."""
    depth, camera = at_stride(next(real_sources())[0], 1)
    before = torch.get_num_threads()
    try:
        got = []
        for threads in (1, 4):
            torch.set_num_threads(threads)
            assert torch.get_num_threads() == threads
            got.append(sigma_z2(depth, camera, engine="torch"))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(*got)


def test_what_is_no_rounding_is_seen() -> None:
    """A thousandth at the edges alone, the outermost ranks, a focal length that is off by half a per cent."""
    depth, camera = at_stride(next(real_sources())[0], 3)
    right, want = sigma_z2(depth, camera), reference.sigma_z2_of_arrays(depth, camera)
    at_edges = np.where(want.t_delta > 0.01 * want.t_mu, np.float32(1.001), np.float32(1))
    wrong_rank = reference.sigma_z2_of_arrays(depth, camera, rank=np.zeros_like)
    for got in (right * at_edges, wrong_rank.sigma_z2, sigma_z2(depth, camera * (1.005, 1, 1, 1))):
        assert (share_of_rounding(got, want) > 1).mean() > 0.01


def test_the_engines_agree_on_the_difference_of_real_depth() -> None:
    """Each is within 1e-6 of float64 (tests/test_estimator.py): differences of depth itself have nothing to amplify."""
    params = Difference()
    for source in real_sources():
        for frame in source:
            numba_s, torch_s = (sigma_z2(*at_stride(frame, 1), params, engine=engine) for engine in ENGINES)
            np.testing.assert_allclose(torch_s, numba_s, rtol=2e-6)


def test_what_two_engines_store_is_a_step_apart_where_rounding_decides_and_equal_elsewhere(tmp_path: Path) -> None:
    """Rounding to 8 bits keeps the order: what is stored lies between the rounded ends of what an engine may return."""
    store = BitRound(keepbits=8)
    for index, source in enumerate(real_sources()):
        caches = []
        for device, engine in (("cpu", "numba"), ("cpu:0", "torch-cpu:0")):  # cuda's code on torch's CPU device
            job = Job(str(tmp_path / f"{index}_{engine}.zarr"), source, strides=(1, 3), device=device)
            list(pipeline.run(job, execute.serial))
            caches.append(SigmaCache(job.cache))
            assert caches[-1].attributes["engine"] == engine
        assert caches[0].attributes["fingerprint"] == caches[1].attributes["fingerprint"]
        for frame in source:
            for stride in (1, 3):
                want = reference.sigma_z2_of_arrays(*at_stride(frame, stride))
                error = reference.rounding(want)
                low, high = (
                    store.decode(store.encode((want.sigma_z2 * end).astype(np.float32)))
                    for end in (1 - error, 1 + error)
                )
                for cache in caches:
                    stored = cache.read(frame.key, stride)
                    assert ((low <= stored) & (stored <= high)).all()
                finite = np.isfinite(low)
                steps = high[finite].view(np.int32) - low[finite].view(np.int32)
                assert set(np.unique(steps)) == {0, 1 << (23 - 8)}
                assert (steps > 0).mean() < 0.2  # the law decides four pixels of five, or more
