"""A cache that an earlier depthvar wrote (tests/data/cache_v1) is read, found right, and not computed again."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cache_v1 import VIEWS
from click.testing import CliRunner

from depthvar.datasets import open_source
from depthvar.datasets.cache.format import seal
from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import CacheError
from depthvar.precompute.cli.main import main
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.shards import Task
from depthvar.precompute.pipeline.worker import Job
from depthvar.precompute.report.info import cache_info
from depthvar.precompute.validation.validate import validate

FIXTURE = Path(__file__).parent / "data" / "cache_v1"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A copy of source and cache, with the modification times of a fresh clone, but old enough to be trusted."""
    shutil.copytree(FIXTURE / "data", tmp_path / "data", copy_function=shutil.copyfile)
    for path in (tmp_path / "data").rglob("*.*"):
        os.utime(path, (1.5e9, 1.5e9))
    return tmp_path / "data"


def contents(cache: Path) -> dict[str, bytes]:
    return {str(path.relative_to(cache)): path.read_bytes() for path in cache.rglob("*") if path.is_file()}


def test_what_is_read_and_sampled_is_what_was(data: Path) -> None:
    cache = SigmaCache(data / "sigma_Z2.zarr")
    expected = np.load(FIXTURE / "expected.npz")
    names = {f"{key} {what}" for key in cache.keys() for what in (*cache.strides, *VIEWS)}
    assert names == set(expected.files)
    assert len(names) == 5 * 7
    states = set()
    for key in cache.keys():
        for stride in cache.strides:
            np.testing.assert_array_equal(cache.read(key, stride), expected[f"{key} {stride}"])
        for name, (intrinsics, size, flip) in VIEWS.items():
            np.testing.assert_array_equal(cache.sample(key, intrinsics, size, flip=flip), expected[f"{key} {name}"])
        between = cache.sample(key, (28.0, 28.0, 7.0, 5.0), (11, 14))
        assert (between > 0).all()
        assert np.isfinite(between).any()
        states |= set(np.isfinite(cache.read(key)).ravel().tolist())
    assert states == {True, False}


def test_it_has_what_a_cache_can_have(data: Path) -> None:
    cache = SigmaCache(data / "sigma_Z2.zarr")
    attributes = cache.attributes
    assert attributes["format_version"] == 1
    assert attributes["groups"] == ["a/P0", "b", "b@12x20"]
    assert attributes["parameters"]["with_depth"] is True
    assert (data / "sigma_Z2.zarr/a/P0/sigma_Z2/c.1.0.0").exists()  # a second shard
    depth = np.stack([frame.depth for frame in open_source(str(data / "tiny.toml")) if frame.depth.shape == (16, 20)])
    assert (depth == 0).any()
    assert np.isinf(depth).any()
    assert (depth[np.isfinite(depth)] > attributes["parameters"]["max_depth"]).any()


def test_validate_finds_nothing(data: Path) -> None:
    report = validate(str(data / "sigma_Z2.zarr"), data, full=True)
    assert report.findings == []
    assert (report.frames, report.recomputed) == (5, 5)


def test_a_run_computes_nothing_again(
    data: Path, counted: Callable[[execute.Execute], tuple[execute.Execute, list[Task]]]
) -> None:
    cache = data / "sigma_Z2.zarr"
    before = contents(cache)
    job = Job(str(cache), open_source(str(data / "tiny.toml")), strides=(1, 2, 3), with_depth=True)
    for times in (1, 2):
        execute_, tasks = counted(execute.serial)
        list(pipeline.run(job, execute_))
        # The times of a clone are others than those stored: the content is compared, and found the same.
        assert [task.action for task in tasks] == (["check"] * 4 if times == 1 else [])
    changed = {path for path, content in contents(cache).items() if content != before[path]}
    assert changed
    assert all("/source_stat/c." in path for path in changed)
    assert contents(cache).keys() == before.keys()


@pytest.fixture
def newer(data: Path) -> Path:
    """The cache with another number as its format version, and the right checksum."""
    path = data / "sigma_Z2.zarr/zarr.json"
    metadata = json.loads(path.read_text())
    metadata["attributes"] = seal(metadata["attributes"] | {"format_version": 2})
    path.write_text(json.dumps(metadata))
    return path.parent


def test_a_newer_version_is_refused_by_all_that_open_a_cache(newer: Path) -> None:
    toml = newer.parent / "tiny.toml"
    before = contents(newer)
    job = Job(str(newer), open_source(str(toml)), strides=(1, 2, 3), with_depth=True)
    message = "format version 2, this depthvar reads 1; install the depthvar that wrote it"
    for act in (
        SigmaCache(newer).keys,
        lambda: cache_info(str(newer)),
        lambda: validate(str(newer), newer.parent),
        lambda: list(pipeline.run(job, execute.serial)),
        lambda: pipeline.plan_run(job),
    ):
        with pytest.raises(CacheError, match=message):
            act()
    for words in (["info", newer], ["validate", newer], ["run", "--dataset", toml]):
        result = CliRunner().invoke(main, [str(word) for word in words])
        assert result.exit_code == 1
        (line,) = result.stderr.splitlines()
        assert line.startswith("error: ")
        assert message in line
    assert contents(newer) == before
