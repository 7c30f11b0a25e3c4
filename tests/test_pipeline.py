"""A run from end to end: the same results from every executor, and nothing half-done ever counts."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numcodecs import BitRound
from numpy.typing import NDArray
from tiny_data import TinyData, make_depth

from depthvar.datasets import DepthSource
from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.cache.store import LocalStore
from depthvar.datasets.errors import CacheError, DepthVarError, FrameNotFoundError, SourceError
from depthvar.datasets.frame import Frame
from depthvar.precompute import KernelParams, sigma_z2
from depthvar.precompute.pipeline import execute, levels, worker
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.levels import compute_levels, empty_levels, round_mantissas
from depthvar.precompute.pipeline.plan import Plan
from depthvar.precompute.pipeline.summary import Stopwatch
from depthvar.precompute.pipeline.worker import Job, TaskResult
from depthvar.precompute.validation.validate import validate

Wrap = Callable[[execute.Execute], tuple[execute.Execute, list[object]]]


def run(job: Job, executor: execute.Execute = execute.serial, **options: object) -> tuple[Plan, list[TaskResult]]:
    outlook, *results = pipeline.run(job, executor, **options)  # type: ignore[arg-type]
    assert isinstance(outlook, Plan)
    return outlook, results  # type: ignore[return-value]


def contents(cache: str) -> dict[str, bytes]:
    return {
        str(path.relative_to(cache)): path.read_bytes() for path in sorted(Path(cache).rglob("*")) if path.is_file()
    }


def maps(cache: str) -> dict[str, bytes]:
    """Every byte but those that hold modification times."""
    return {name: data for name, data in contents(cache).items() if "source_stat" not in name}


def age(root: Path, seconds: int = 10) -> None:
    """Make all files older, so that their stat is trusted."""
    for path in root.rglob("*"):
        if path.is_file() and ".zarr" not in str(path):
            status = path.stat()
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - seconds * 10**9))


def test_every_frame_and_stride_is_what_the_kernel_gives(tiny: TinyData, executor: execute.Execute) -> None:
    job = tiny.job()
    outlook, results = run(job, executor)
    assert (outlook.frames, outlook.compute, outlook.done) == (8, 8, 0)
    assert sum(result.computed for result in results) == 8
    cache = SigmaCache(job.cache)
    assert sorted(cache.keys()) == job.source.keys()
    for key in job.source.keys():
        frame = job.source.read(key)
        for stride in job.strides:
            expected = sigma_z2(frame.depth[::stride, ::stride], frame.intrinsics / stride)
            stored = cache.read(key, stride)
            rounding = BitRound(keepbits=8)
            np.testing.assert_array_equal(stored, rounding.decode(rounding.encode(expected)))
            finite = np.isfinite(expected)
            sigma = np.sqrt(stored[finite]) / np.sqrt(expected[finite])
            assert np.abs(sigma - 1).max() <= 1e-3
            np.testing.assert_array_equal(finite, frame.valid[::stride, ::stride])


ANY = st.integers(0, 2**32 - 1)
TIES = st.builds(lambda bits, zeros: bits >> zeros << zeros, ANY, st.integers(0, 21))
BITS = ANY | TIES | st.floats(width=32).map(lambda number: int(np.float32(number).view(np.uint32)))


@given(arrays(np.uint32, array_shapes(min_dims=2, max_dims=2), elements=BITS), st.integers(1, 23))
def test_mantissas_are_rounded_to_the_bit_as_numcodecs_rounds_them(bits: NDArray[np.uint32], keepbits: int) -> None:
    """All of float32, infinities, every NaN, subnormals and both zeros too; in an array and in a tensor."""
    rounding = BitRound(keepbits=keepbits)
    expected = np.array(rounding.decode(rounding.encode(bits.view(np.float32))))
    tensor = torch.tensor(bits.view(np.int32))
    for each in (bits.view(np.int32), tensor):
        round_mantissas(each, keepbits)
    np.testing.assert_array_equal(bits, expected.view(np.uint32))
    np.testing.assert_array_equal(tensor, expected.view(np.int32))


def test_what_would_be_rounded_in_a_copy_is_refused() -> None:
    with pytest.raises(TypeError, match="No matching definition"):
        round_mantissas(np.ones((4, 4), np.int32)[:, ::2], 8)


def test_a_run_loads_its_passes_before_its_threads(tiny: TinyData, monkeypatch: pytest.MonkeyPatch) -> None:
    import depthvar.precompute.pipeline.passes as passes

    monkeypatch.delitem(sys.modules, passes.__name__)
    monkeypatch.delattr(sys.modules[passes.__package__], "passes")
    next(pipeline.run(tiny.job(), execute.serial))
    assert passes.__name__ in sys.modules


def test_all_executors_write_the_same_bytes(tiny: TinyData, dask_address: str, tmp_path: Path) -> None:
    caches = []
    for name, executor in (
        ("serial", execute.serial),
        ("threads", execute.in_threads(3)),
        ("dask", execute.on_dask(scheduler=dask_address)),
    ):
        caches.append(str(tmp_path / f"{name}.zarr"))
        run(tiny.job(cache=caches[-1]), executor)
    assert maps(caches[0]) == maps(caches[1]) == maps(caches[2])


@pytest.mark.slow
def test_worker_processes_of_our_own(tiny: TinyData) -> None:
    _, results = run(tiny.job(), execute.on_dask(workers=2))
    assert sum(result.computed for result in results) == 8
    assert validate(tiny.job().cache, tiny.source(), full=True).findings == []


def test_a_second_run_has_nothing_to_do(tiny: TinyData, executor: execute.Execute, counted: Wrap) -> None:
    age(tiny.root)
    run(tiny.job())
    before = contents(tiny.job().cache)
    count, seen = counted(executor)
    outlook, results = run(tiny.job(), count)
    assert (outlook.done, outlook.shards, seen, results) == (8, 0, [], [])
    assert contents(tiny.job().cache) == before


def test_resume_after_k_shards_gives_the_bytes_of_one_run(
    tiny: TinyData, executor: execute.Execute, counted: Wrap, tmp_path: Path
) -> None:
    tiny.shard_frames = 2
    age(tiny.root)
    whole = str(tmp_path / "whole.zarr")
    run(tiny.job(cache=whole))
    events = pipeline.run(tiny.job(), execute.serial)
    for _ in range(3):  # the outlook and two shards
        next(events)
    events.close()
    count, seen = counted(executor)
    outlook, _ = run(tiny.job(), count)
    assert len(seen) == 3  # of five: two were done
    assert (outlook.compute, outlook.check, outlook.done) == (4, 0, 4)
    assert contents(tiny.job().cache) == contents(whole)


def test_a_fault_in_every_third_shard_costs_only_that_shard(tiny: TinyData, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.shard_frames = 2
    calls = 0
    real = worker.write_shard

    def faulty(*arguments: object) -> None:
        nonlocal calls
        calls += 1
        if calls % 3 == 0:
            raise CacheError("injected")
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(worker, "write_shard", faulty)
    attempts = 0
    while True:
        attempts += 1
        try:
            run(tiny.job())
        except CacheError as error:
            assert "injected" in str(error)
            continue
        break
    assert (calls, attempts) == (7, 3)  # five shards, and two that were tried twice
    assert validate(tiny.job().cache, tiny.source(), full=True).findings == []


SHARD_ROWS = """
import sys
from depthvar.datasets import open_source
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.worker import Job
job = Job(sys.argv[2], open_source(sys.argv[1]), strides=(1, 2, 3), shard_frames=2)
for event in pipeline.run(job, execute.serial):
    print(type(event).__name__, flush=True)
    input()
"""


def test_killed_in_a_second_shard_and_resumed(tiny: TinyData, tmp_path: Path) -> None:
    """tests/torture/test_kills.py has more times to be killed at."""
    tiny.shard_frames = 2
    age(tiny.root)
    whole, killed = str(tmp_path / "whole.zarr"), str(tmp_path / "killed.zarr")
    run(tiny.job(cache=whole))
    for _ in range(3):
        command = [sys.executable, "-c", SHARD_ROWS, str(tiny.toml), killed]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for event in ("Plan\n", "TaskResult\n"):
                assert process.stdout.readline() == event
                process.stdin.write("go on\n")
            process.send_signal(signal.SIGKILL)
        for finding in validate(killed, tiny.source(), full=True).findings:
            assert finding.check in ("completeness", "structure")  # missing, but nothing wrong counts as done
    run(tiny.job(cache=killed))
    assert contents(killed) == contents(whole)


def test_touched_files_are_hashed_and_nothing_is_computed(tiny: TinyData, executor: execute.Execute) -> None:
    age(tiny.root)
    run(tiny.job())
    before = maps(tiny.job().cache)
    age(tiny.root)
    outlook, results = run(tiny.job(), executor)
    assert (outlook.check, outlook.compute) == (8, 0)
    assert [result.computed for result in results] == [0, 0]
    assert sum(result.checked for result in results) == 8
    assert maps(tiny.job().cache) == before
    assert run(tiny.job())[0].done == 8


def test_an_edit_a_new_frame_and_a_removed_one(tiny: TinyData, executor: execute.Execute) -> None:
    age(tiny.root)
    run(tiny.job())
    edited = tiny.write("a/P0", "001", make_depth(24, 32, 77))
    added = tiny.write("a/P0", "0005", make_depth(24, 32, 78))  # sorts before the others
    gone = "a/P0/depth/003.npy"
    before = SigmaCache(tiny.job().cache).read(gone)
    (tiny.root / gone).unlink()
    outlook, results = run(tiny.job(), executor)
    assert outlook.compute == 5
    assert outlook.done == 3  # the other sequence
    assert outlook.kept == 1
    assert [result.group for result in results] == ["a/P0"]
    cache = SigmaCache(tiny.job().cache)
    assert cache.keys() == ["a/P0/depth/000.npy", edited, "a/P0/depth/002.npy", gone, "a/P0/depth/004.npy", added] + [
        f"b/depth/{n:03}.npy" for n in range(3)
    ]
    np.testing.assert_array_equal(cache.read(gone), before)
    assert validate(tiny.job().cache, tiny.source(), full=True).findings == []
    assert run(tiny.job())[0].compute == 0


def test_changed_intrinsics_recompute_the_frame(tiny: TinyData) -> None:
    age(tiny.root)
    run(tiny.job())
    key = "b/depth/001.npy"
    before = SigmaCache(tiny.job().cache).read(key)
    tiny.write("b", "001", make_depth(24, 32, 1), fx=30.0)
    _, results = run(tiny.job())
    assert [(result.group, result.computed) for result in results] == [("b", 3)]
    assert not np.array_equal(SigmaCache(tiny.job().cache).read(key), before)


def test_frames_of_other_sizes_and_cameras_in_one_sequence(tiny: TinyData, executor: execute.Execute) -> None:
    wide = tiny.write("b", "wide", make_depth(16, 48, 9), fx=20.0)
    tall = tiny.write("b", "tall", make_depth(48, 16, 9), fx=25.0)
    run(tiny.job(), executor)
    cache = SigmaCache(tiny.job().cache)
    assert cache.attributes["groups"] == ["a/P0", "b", "b@16x48", "b@48x16"]
    assert cache.read(wide, 3).shape == (6, 16)
    assert cache.read(tall).shape == (48, 16)
    np.testing.assert_array_equal(cache.intrinsics(tall), [25, 25, 8, 24])
    assert validate(tiny.job().cache, tiny.source(), full=True).findings == []


def test_a_sequence_in_the_folder_of_another(tiny: TinyData) -> None:
    run(tiny.job())
    key = tiny.write("a", "000", make_depth(24, 32, 9))
    _, results = run(tiny.job())
    assert {result.group: result.computed for result in results} == {"a": 1, "a/P0": 0, "b": 0}
    assert SigmaCache(tiny.job().cache).read(key).shape == (24, 32)
    assert validate(tiny.job().cache, tiny.source(), full=True).findings == []


def test_lost_intrinsics_come_back(tiny: TinyData) -> None:
    run(tiny.job())
    (Path(tiny.job().cache) / "b/intrinsics/c.0.0").unlink()
    _, results = run(tiny.job())
    assert sum(result.computed for result in results) == 0  # their digests tell that the maps are right
    assert validate(tiny.job().cache, tiny.source(), full=True).findings == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"params": KernelParams(window=7)}, "window is 5 in the cache and 7 in this run"),
        ({"params": KernelParams(lambda_prior=0.7)}, "lambda_prior is 0.5 in the cache and 0.7 in this run"),
        ({"params": KernelParams(alpha_clamp=0.1)}, "alpha_clamp is 0.3 in the cache and 0.1 in this run"),
        ({"params": KernelParams(compat="pi3")}, "compat is None in the cache and 'pi3' in this run"),
        ({"strides": (1, 2)}, r"strides is \[1, 2, 3\] in the cache and \[1, 2\] in this run"),
        ({"keepbits": 10}, "keepbits is 8 in the cache and 10 in this run"),
        ({"with_depth": True}, "with_depth is False in the cache and True in this run"),
    ],
)
def test_a_cache_of_other_parameters_is_refused(tiny: TinyData, change: dict[str, object], message: str) -> None:
    run(tiny.job())
    before = contents(tiny.job().cache)
    with pytest.raises(CacheError, match=f"{message}; pass --overwrite"):
        run(tiny.job(**change))
    assert contents(tiny.job().cache) == before
    run(tiny.job(**change), overwrite=True)
    assert validate(tiny.job().cache, tiny.source(), full=True).findings == []


def test_another_decode_rule_is_refused(tiny: TinyData) -> None:
    run(tiny.job())
    tiny.toml.write_text(tiny.toml.read_text().replace("far = [inf]", "max_depth = 4.0"))
    with pytest.raises(CacheError, match=r"max_depth is None in the cache and 4\.0.*far is .* in the cache"):
        run(tiny.job())


def test_overwrite_refuses_what_is_not_ours(tiny: TinyData, tmp_path: Path) -> None:
    import zarr

    zarr.create_group(tmp_path / "other.zarr")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("mine")
    for name, message in (("other.zarr", "--overwrite refuses"), ("folder", "exists and is not a depthvar cache")):
        with pytest.raises(CacheError, match=message):
            run(tiny.job(cache=str(tmp_path / name)), overwrite=True)
    assert (tmp_path / "folder" / "notes.txt").read_text() == "mine"


def test_overwrite_killed_in_the_middle_leaves_nothing_done(tiny: TinyData, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tiny.job())
    removed = []

    def dies(store: LocalStore, path: str) -> None:
        removed.append(path)
        if path == "b":
            raise KeyboardInterrupt
        real(store, path)

    real = LocalStore.delete_folder
    monkeypatch.setattr(LocalStore, "delete_folder", dies)
    with pytest.raises(KeyboardInterrupt):
        run(tiny.job(), overwrite=True)
    assert removed
    assert SigmaCache(tiny.job().cache).keys() == []
    monkeypatch.undo()
    run(tiny.job(params=KernelParams(window=3)), overwrite=True)
    assert validate(tiny.job().cache, tiny.source(), full=True).findings == []


def test_an_unreadable_frame_ends_the_run_or_is_listed(tiny: TinyData, executor: execute.Execute) -> None:
    broken = tiny.root / "a/P0/depth/002.npy"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:300])
    age(tiny.root)
    with pytest.raises(SourceError, match=r"002\.npy: expected 3200 bytes .*got 300"):
        run(tiny.job(), executor)
    _, results = run(tiny.job(on_error="skip"), executor)
    assert [key for result in results for key, _ in result.failed] == ["a/P0/depth/002.npy"]
    cache = SigmaCache(tiny.job().cache)
    assert len(cache.keys()) == 7
    with pytest.raises(FrameNotFoundError, match="could not be read when the cache was written"):
        cache.read("a/P0/depth/002.npy")
    outlook, results = run(tiny.job(on_error="skip"), executor)  # not tried again: it has not changed
    assert results == []
    assert [key for key, _ in outlook.failed] == ["a/P0/depth/002.npy"]
    broken.write_bytes(whole)
    _, results = run(tiny.job(on_error="skip"), executor)
    assert sum(result.computed for result in results) == 5
    assert validate(tiny.job().cache, tiny.source(), full=True).findings == []


def test_a_file_that_changes_while_it_is_read(tiny: TinyData, monkeypatch: pytest.MonkeyPatch) -> None:
    real = DepthSource.read

    def read(self: DepthSource, key: str) -> Frame:
        frame = real(self, key)
        if key == "b/depth/001.npy":
            tiny.write("b", "001", make_depth(24, 32, 99))
        return frame

    monkeypatch.setattr(DepthSource, "read", read)
    with pytest.raises(SourceError, match=r"b/depth/001\.npy: the file changed while it was read; run again"):
        run(tiny.job())
    assert not any(key.startswith("b/") for key in SigmaCache(tiny.job().cache).keys())
    _, results = run(tiny.job(on_error="skip"))
    assert [key for result in results for key, _ in result.failed] == ["b/depth/001.npy"]


def test_a_young_file_is_looked_at_again(tiny: TinyData) -> None:
    """An edit within the resolution of a clock, of equal size, must not pass for the old content."""
    key = tiny.write("b", "001", make_depth(24, 32, 1))
    run(tiny.job())
    status = (tiny.root / key).stat()
    tiny.write("b", "001", make_depth(24, 32, 55))
    os.utime(tiny.root / key, ns=(status.st_atime_ns, status.st_mtime_ns))
    outlook, results = run(tiny.job())
    assert outlook.check == 8
    assert {result.group: result.computed for result in results} == {"a/P0": 0, "b": 3}


def test_parts_write_the_cache_of_one_run(tiny: TinyData, tmp_path: Path) -> None:
    tiny.shard_frames = 2
    whole = str(tmp_path / "whole.zarr")
    run(tiny.job(cache=whole))
    for part in (2, 3, 1):
        run(tiny.job(), part=(part, 3))
    assert maps(tiny.job().cache) == maps(whole)


def test_limit_never_changes_the_number_of_rows(tiny: TinyData) -> None:
    tiny.shard_frames = 2
    _, results = run(tiny.job(), limit=3)
    assert sum(result.computed for result in results) == 4
    import zarr

    assert zarr.open_group(tiny.job().cache, mode="r")["a/P0/sigma_Z2"].shape == (5, 24, 32)  # type: ignore[union-attr]
    assert len(SigmaCache(tiny.job().cache).keys()) == 4


def test_with_depth_stores_what_was_decoded(tiny: TinyData) -> None:
    import zarr

    run(tiny.job(with_depth=True))
    stored = zarr.open_group(tiny.job().cache, mode="r")["b/depth"][1]  # type: ignore[index]
    np.testing.assert_array_equal(stored, tiny.source().read("b/depth/001.npy").depth)


def test_compat_stores_no_information_where_the_original_had_a_number(tiny: TinyData) -> None:
    job = tiny.job(params=KernelParams(compat="pi3"))
    run(job)
    for key in job.source.keys()[:2]:
        stored = SigmaCache(job.cache).read(key)
        np.testing.assert_array_equal(np.isfinite(stored), job.source.read(key).valid)


def test_the_torch_engine_agrees_and_is_named(tiny: TinyData, tmp_path: Path) -> None:
    """What --device cuda does, on torch's CPU device."""
    run(tiny.job())
    job = tiny.job(cache=str(tmp_path / "torch.zarr"), device="cpu:0")
    run(job)
    assert SigmaCache(job.cache).attributes["engine"] == "torch-cpu:0"
    assert validate(job.cache, replace(job).source, full=True).findings == []  # recomputed by the CPU engine


def levels_of(job: Job, frames: list[Frame]) -> dict[str, NDArray[np.float32]]:
    out = empty_levels(len(frames), frames[0].depth.shape, job)  # type: ignore[arg-type]
    compute_levels(frames, job, out, Stopwatch())
    return dict(out)


def test_a_batch_on_a_device_is_each_frame_alone(tiny: TinyData) -> None:
    job = tiny.job(device="cpu:0")
    read = [tiny.source().read(key) for key in tiny.source().keys()]
    frames = [replace(frame, max_depth=limit) for frame, limit in zip(read, (3, 3, None, 5, 5, 5, 3, 3), strict=True)]
    together = levels_of(job, frames)
    for i, frame in enumerate(frames):
        for name, maps in levels_of(job, [frame]).items():
            np.testing.assert_array_equal(together[name][i], maps[0])


def test_where_the_memory_of_a_device_ends_the_batch_is_halved(tiny: TinyData, monkeypatch: pytest.MonkeyPatch) -> None:
    job = tiny.job(device="cpu:0")
    frames = [tiny.source().read(key) for key in tiny.source().keys()[:5]]
    expected, real, sizes = levels_of(job, frames), levels.sigma_z2, []

    def small(depth: Any, *rest: Any, **options: Any) -> Any:
        sizes.append(len(depth))
        if len(depth) > most:
            raise torch.cuda.OutOfMemoryError("no memory left")
        return real(depth, *rest, **options)

    monkeypatch.setattr(levels, "sigma_z2", small)
    most = 2
    for stride, maps in levels_of(job, frames).items():
        np.testing.assert_array_equal(maps, expected[stride])
    assert sizes == [5, 3, *[2] * len(job.strides) * 2, *[1] * len(job.strides)]
    most = 0
    with pytest.raises(DepthVarError, match=r"^device cpu:0: no memory for one frame of 24×32; free some, "):
        levels_of(job, frames)


def test_a_remote_store_works_through_a_url(tiny: TinyData) -> None:
    cache = f"memory://{tiny.root.name}/remote.zarr"
    run(tiny.job(cache=cache))
    opened = SigmaCache(cache, root=tiny.root)
    assert opened.read(tiny.root / "b/depth/001.npy").shape == (24, 32)
    assert run(tiny.job(cache=cache))[0].compute == 0
    run(tiny.job(cache=cache, params=KernelParams(window=3)), overwrite=True)
    assert validate(cache, tiny.source(), full=True).findings == []


def test_a_job_is_small_when_pickled_however_many_frames(tiny: TinyData) -> None:
    import pickle

    job = tiny.job()
    job.source.keys()
    assert len(pickle.dumps(job)) < 4096
