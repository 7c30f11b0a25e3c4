"""Every folder name that a file system allows works as a sequence, also one that the cache has for itself."""

import os
from pathlib import Path

import numpy as np
import pytest
import zarr
from tiny_data import make_depth

from depthvar.datasets import SigmaCache, open_source
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.worker import Job
from depthvar.precompute.validation.validate import validate

NAMES = [
    "depth", "Depth", "key", "digest", "intrinsics", "source_stat", "sigma_Z2", "sigma_Z2_s2", "_root", "__x", "c", "0",
    "zarr.json", "P0@24x32", "@", "~", "depth~", "depth~~", "a b", "ü σ 日本", "x" * 250, "con.npy",
    "a'b\"c", "$HOME", "-rf", "%2e", "edge", "edge_s2",
]  # fmt: skip


def cached(root: Path, pattern: str, keep: tuple[str, ...] = ()) -> SigmaCache:
    source = open_source("folder", root, intrinsics=(40, 40, 16, 12), pattern=pattern)
    job = Job(str(root.parent / "cache.zarr"), source, strides=(1, 2), shard_frames=2, keep=keep)
    list(pipeline.run(job, execute.serial))
    cache = SigmaCache(job.cache)
    assert sorted(cache.keys()) == source.keys()
    for key in source.keys():
        np.testing.assert_array_equal(cache.read(key) < np.inf, source.read(key).valid)
    assert validate(job.cache, source, full=True).findings == []
    _, *results = pipeline.run(job, execute.serial)
    assert results == [] or {r.computed for r in results} == {0}  # type: ignore[union-attr]
    for group in zarr.open_group(job.cache, mode="r").attrs["groups"]:  # type: ignore[union-attr]
        assert zarr.open_array(f"{job.cache}/{group}/sigma_Z2", mode="r").ndim == 3
    return cache


def write(root: Path, *keys: str) -> None:
    for index, key in enumerate(keys):
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        np.save(root / key, make_depth(24, 32, index))


def test_the_tree_of_virtual_kitti(tmp_path: Path) -> None:
    root = tmp_path / "vkitti"
    for scene in ("Scene01/clone", "Scene02/fog"):
        for camera in ("Camera_0", "Camera_1"):
            write(root, *(f"{scene}/frames/depth/{camera}/depth_{n:05}.npy" for n in range(3)))
    cache = cached(root, "{sequence}/depth_{frame}.npy")
    assert cache.attributes["groups"][0] == "Scene01/clone/frames/depth~/Camera_0"


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_any_name_alone_and_below_another(tmp_path: Path, name: str) -> None:
    root = tmp_path / "data"
    write(root, f"{name}/0.npy", f"a/{name}/0.npy", f"a/{name}/b/0.npy", f"{name}/{name}/0.npy", "a/0.npy", "a/1.npy")
    cached(root, "{sequence}/{frame}.npy")


@pytest.mark.parametrize("keep", [(), ("edge",)], ids=str)
def test_all_of_them_next_to_each_other(tmp_path: Path, keep: tuple[str, ...]) -> None:
    root = tmp_path / "data"
    write(root, *(f"a/{name}/{n}.npy" for name in NAMES for n in range(2)), "a/0.npy")
    cache = cached(root, "{sequence}/{frame}.npy", keep)
    assert len(cache.attributes["groups"]) == len(set(NAMES)) + 1
    assert ("a/edge~" in cache.attributes["groups"]) == (keep != ())
    assert len(cache.keys()) == 2 * len(NAMES) + 1
    assert len(os.listdir(tmp_path / "cache.zarr/a")) >= len(NAMES)
