"""The reader: by key, in other processes and threads, of sizes that differ, and of what is not there."""

import json
import multiprocessing
import pickle
import threading
from pathlib import Path
from typing import Any

import children
import numpy as np
import pytest
import torch
from tiny_data import TinyData, make_depth

from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import CacheError, FrameNotFoundError, ParameterError
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline

KEY = "b/depth/001.npy"


@pytest.fixture
def cache(tiny: TinyData) -> SigmaCache:
    list(pipeline.run(tiny.job(), execute.serial))
    return SigmaCache(tiny.job().cache)


def test_what_a_cache_says_of_itself(tiny: TinyData, cache: SigmaCache) -> None:
    assert sorted(cache.keys()) == tiny.source().keys()
    assert {"window": 5, "lambda_prior": 0.5, "alpha_clamp": 0.3, "strides": [1, 2, 3]}.items() <= cache.params.items()
    assert cache.strides == (1, 2, 3)
    assert (cache.attributes["dataset"], cache.attributes["groups"]) == ("tiny", ["a/P0", "b"])
    np.testing.assert_array_equal(cache.intrinsics(KEY), [40, 40, 16, 12])
    assert cache.shape(KEY) == (24, 32)
    assert repr(cache) == f"SigmaCache({cache.path!r}, root={str(tiny.root)!r})"
    cache.intrinsics(KEY)[:] = 0  # a copy
    assert cache.intrinsics(KEY)[0] == 40


def test_read_gives_every_stride_as_float32_without_nan(cache: SigmaCache) -> None:
    for stride, shape in ((1, (24, 32)), (2, (12, 16)), (3, (8, 11))):
        values = cache.read(KEY, stride)
        assert (values.shape, values.dtype) == (shape, np.float32)
        assert (values > 0).all()


def test_annotate_sets_what_sample_gives(cache: SigmaCache) -> None:
    matrix = np.array([[20.0, 0, 8], [0, 20, 6], [0, 0, 1]])
    view: dict[str, Any] = {"camera_intrinsics": matrix, "depthmap": np.zeros((12, 16))}
    cache.annotate(view, KEY)
    nowhere = np.zeros((12, 16), np.bool_)
    np.testing.assert_array_equal(view["sigma_Z2"], cache.sample(KEY, matrix, (12, 16), valid=nowhere))
    assert (view["sigma_Z2"].shape, view["sigma_Z2"].dtype) == ((12, 16), np.float32)
    np.testing.assert_array_equal(view["sigma_Z2_params"], np.float32([5, 0.5, 0.3]))
    assert view["sigma_Z2_params"].dtype == np.float32  # DUSt3R, CUT3R and MapAnything refuse float64
    cache.annotate(view, KEY, "linear", flip=True)
    np.testing.assert_array_equal(view["sigma_Z2"], cache.sample(KEY, matrix, (12, 16), "linear", flip=True))


def test_annotate_warns_of_depth_outside_of_the_frame(cache: SigmaCache) -> None:
    half = np.array([[20.0, 0, 8], [0, 20, 6], [0, 0, 1]])  # intrinsics of half the size
    with pytest.warns(UserWarning, match="^7[0-9]% of the pixels with depth lie outside of the native frame, by the v"):
        cache.annotate({"camera_intrinsics": half, "depthmap": np.ones((24, 32))}, KEY)
    padded = np.zeros((24, 32))
    padded[:12, :16] = 1
    cache.annotate({"camera_intrinsics": half, "depthmap": padded}, KEY)  # a padded view has no depth there


def test_a_batch_is_no_view(cache: SigmaCache) -> None:
    batch = {"camera_intrinsics": np.eye(3)[None], "depthmap": np.ones((1, 12, 16))}
    with pytest.raises(
        ParameterError, match=r"^depthmap: expected one view \(h, w\), got shape \(1, 12, 16\); annotate"
    ):
        cache.annotate(batch, KEY)


def test_a_frame_by_relative_and_absolute_path(tiny: TinyData, cache: SigmaCache, tmp_path: Path) -> None:
    expected = cache.read(KEY)
    link = tmp_path / "link"
    link.symlink_to(tiny.root)
    elsewhere = SigmaCache(cache.path, root=link)
    through = SigmaCache(link / "sigma_Z2.zarr")
    for reader, key in (
        (cache, f"./{KEY}"), (cache, Path(KEY)), (cache, tiny.root / KEY), (cache, str(link / KEY)),
        (elsewhere, link / KEY), (elsewhere, tiny.root / KEY), (elsewhere, KEY),
        (through, link / KEY), (through, tiny.root / KEY),
    ):  # fmt: skip
        np.testing.assert_array_equal(reader.read(key), expected)
    with pytest.raises(FrameNotFoundError, match=r"not below the root .*; pass root= to SigmaCache"):
        SigmaCache(cache.path, root=tmp_path / "other").read(tiny.root / KEY)


def test_frames_of_several_sizes(tiny: TinyData) -> None:
    wide = tiny.write("b", "wide", make_depth(16, 48, 9), fx=20.0)
    list(pipeline.run(tiny.job(), execute.serial))
    cache = SigmaCache(tiny.job().cache)
    assert "b@16x48" in cache.attributes["groups"]
    assert (cache.shape(wide), cache.read(wide, 3).shape, cache.shape(KEY)) == ((16, 48), (6, 16), (24, 32))
    assert cache.sample(wide, (20, 20, 24, 8), (16, 48)).shape == (16, 48)
    assert len(cache.keys()) == 9


# Processes and threads


def test_pickle_takes_no_handle_along(cache: SigmaCache) -> None:
    expected = cache.read(KEY)
    copy = pickle.loads(pickle.dumps(cache))
    assert len(pickle.dumps(cache)) < 1000
    assert (copy.path, copy.root) == (cache.path, cache.root)
    np.testing.assert_array_equal(copy.read(KEY), expected)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_process_opens_its_own_handle(cache: SigmaCache, method: str) -> None:
    expected = cache.read(KEY)  # the parent's handle is open, and Zarr's threads run
    context: Any = multiprocessing.get_context(method)
    results = context.Queue()
    process = context.Process(target=children.read, args=(cache, KEY, results))
    process.start()
    values, (opened_first, opened_then) = results.get(timeout=120)
    process.join()
    np.testing.assert_array_equal(values, expected)
    assert (opened_first > 0, opened_then) == (True, 0)
    np.testing.assert_array_equal(cache.read(KEY), expected)


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_a_dataloader_with_two_workers(cache: SigmaCache, method: str) -> None:
    keys = cache.keys()
    loader = torch.utils.data.DataLoader(
        children.Frames(cache, keys), batch_size=2, num_workers=2, multiprocessing_context=method, timeout=120
    )
    values = torch.cat(list(loader)).numpy()
    np.testing.assert_array_equal(values, np.stack([cache.read(key) for key in keys]))


def test_threads_that_open_at_once(cache: SigmaCache) -> None:
    expected, keys = cache.read(KEY), cache.keys()
    for _ in range(5):
        fresh, failures = SigmaCache(cache.path), []
        barrier = threading.Barrier(8)

        def work(reader: SigmaCache = fresh, start: threading.Barrier = barrier, out: list[Any] = failures) -> None:
            start.wait()
            try:
                assert reader.keys() == keys
                np.testing.assert_array_equal(reader.read(KEY), expected)
            except BaseException as error:
                out.append(error)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []


def test_reads_while_a_run_extends_the_cache(tiny: TinyData, cache: SigmaCache) -> None:
    before = {key: cache.read(key) for key in cache.keys()}
    new = [tiny.write("c", f"{index:03}", make_depth(24, 32, index)) for index in range(3)]
    new += [tiny.write("b", f"1{index:02}", make_depth(24, 32, index)) for index in range(3)]
    stop, failures = threading.Event(), []

    def look() -> None:
        try:
            while not stop.is_set():
                for key in before:
                    if key.startswith("a/"):  # a sequence that the run leaves alone
                        np.testing.assert_array_equal(cache.read(key), before[key])
                SigmaCache(cache.path).keys()
        except BaseException as error:
            failures.append(error)

    reader = threading.Thread(target=look)
    reader.start()
    list(pipeline.run(tiny.job(), execute.serial))
    stop.set()
    reader.join()
    assert failures == []
    fresh = SigmaCache(cache.path)
    assert set(fresh.keys()) == {*before, *new}
    for key, values in before.items():
        np.testing.assert_array_equal(fresh.read(key), values)


# What is not there


def test_a_frame_that_is_not_listed(cache: SigmaCache) -> None:
    with pytest.raises(FrameNotFoundError, match=r"frame 'b/nothing\.npy' is not in the cache.*keys look like 'a/P0/"):
        cache.read("b/nothing.npy")
    with pytest.raises(KeyError):
        cache.shape("nothing")


def test_a_frame_that_failed(tiny: TinyData) -> None:
    (tiny.root / KEY).write_bytes(b"broken")
    list(pipeline.run(tiny.job(on_error="skip"), execute.serial))
    cache = SigmaCache(tiny.job().cache)
    assert KEY not in cache.keys()
    for stride in cache.strides:
        with pytest.raises(FrameNotFoundError, match=f"{KEY} could not be read when the cache was written; fix"):
            cache.read(KEY, stride)


def test_a_frame_that_is_not_computed_yet(tiny: TinyData) -> None:
    list(pipeline.run(tiny.job(), execute.serial, limit=1))
    cache = SigmaCache(tiny.job().cache)
    assert all(key.startswith("a/P0/") for key in cache.keys())
    with pytest.raises(FrameNotFoundError, match="not computed yet"):
        cache.read(KEY)


def test_a_stride_that_is_not_stored(cache: SigmaCache) -> None:
    with pytest.raises(ParameterError, match=r"stride: expected one of \(1, 2, 3\), got 4"):
        cache.read(KEY, 4)


def test_damaged_and_lost_chunks(cache: SigmaCache) -> None:
    chunk = Path(cache.path, "b/sigma_Z2/c.0.0.0")
    content = bytearray(chunk.read_bytes())
    content[100] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(CacheError, match=r"b/depth/000.npy, stride 1: damaged \(.*(hecksum|CRC32C).*validate --clear"):
        cache.read("b/depth/000.npy")  # the first chunk of the shard
    chunk.unlink()
    for act in (cache.read, lambda key: cache.sample(key, cache.intrinsics(key), (24, 32))):
        with pytest.raises(CacheError, match=rf"{KEY}, stride 1: damaged \(stored values are missing, or negative\)"):
            act(KEY)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("place", "old", "new", "message"),
    [
        ("zarr.json", '"format_version": 1', '"format_version": 2', "format version 2, this depthvar reads 1; install"),
        ("zarr.json", '"lambda_prior": 0.5', '"lambda_prior": 0.7', r"damaged \(attributes: expected checksum"),
        ("zarr.json", '"depthvar-sigma_Z2"', '"another"', "not a depthvar cache: expected format"),
        ("b/zarr.json", '"height": 24', '"height": 25', r"b: damaged \(attributes: expected checksum"),
        ("b/digest/zarr.json", '"uint8"', '"uint9"', r"b/digest: damaged \(data_type: expected uint8, got uint9\)"),
    ],
)
def test_flipped_metadata(cache: SigmaCache, place: str, old: str, new: str, message: str) -> None:
    edit(Path(cache.path, place), old, new)
    with pytest.raises(CacheError, match=message):
        SigmaCache(cache.path).read(KEY)


def test_what_the_metadata_of_a_level_claim_changes_no_value(cache: SigmaCache) -> None:
    """The format decides how a map is stored; another shape or codec in its metadata is validation's to find."""
    expected = cache.read(KEY, 2)
    path = Path(cache.path, "b/sigma_Z2_s2/zarr.json")
    metadata = json.loads(path.read_text())
    metadata["shape"][1] -= 4
    path.write_text(json.dumps(metadata))
    np.testing.assert_array_equal(SigmaCache(cache.path).read(KEY, 2), expected)


def test_a_path_that_is_no_cache(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="no cache is there; write one with `precompute run`"):
        SigmaCache(tmp_path / "gone.zarr").keys()
    (tmp_path / "zarr.json").write_text("garbage")
    with pytest.raises(CacheError, match=r"zarr\.json: unreadable \(expected JSON: .*; restore it from a copy"):
        SigmaCache(tmp_path).keys()
