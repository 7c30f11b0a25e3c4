"""Other Zarr v3 readers see in a cache what we see: tensorstore, zarrs, xarray, and zarrita in Node.

Each runs in a child process: tensorstore aborts and zarrs hangs in a process that forks.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import zarr
from npm import names_no_registry, npm_install
from numpy.typing import NDArray
from tiny_data import TinyData, make_depth

from depthvar.datasets.cache.format import level_name
from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline

READERS = Path(__file__).parent / "other_readers"


class Stored(NamedTuple):
    """A cache, and what zarr-python and depthvar read in it."""

    cache: Path
    values: dict[str, NDArray[Any]]
    dimensions: dict[str, list[str]]
    attributes: dict[str, dict[str, Any]]  # of the root (""), groups and arrays


def of_version_1(folder: Path) -> Path:
    """The fixture: several groups and shards, holes, far pixels, depth."""
    source = Path(__file__).parent / "data/cache_v1/data/sigma_Z2.zarr"
    return Path(shutil.copytree(source, folder / "sigma_Z2.zarr"))


def of_several_blocks(folder: Path) -> Path:
    """Chunks of two Blosc blocks, odd sizes, a row without values, frames at the root, ranges of the windows."""
    data = TinyData(folder)
    data.toml.write_text(data.toml.read_text().replace("{sequence}/", ""))
    for name in ("depth", "camera"):
        (folder / name).mkdir()
    for index in range(3):
        np.save(folder / f"depth/{index}.npy", make_depth(401, 403, index))
        (folder / f"camera/{index}.txt").write_text("300 301 200.5 200")
    job = data.job(strides=(1, 2, 8), keep=("edge",))
    list(pipeline.run(job, execute.serial))
    (folder / "depth/1.npy").unlink()
    list(pipeline.run(data.job(strides=(1, 2, 8), keep=("edge",)), execute.serial))
    return Path(job.cache)


@pytest.fixture(scope="module", params=[of_version_1, of_several_blocks])
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    make: Callable[[Path], Path] = request.param
    cache = make(tmp_path_factory.mktemp("cache"))
    root = zarr.open_group(cache, mode="r")
    values, dimensions, attributes = {}, {}, {"": root.attrs.asdict()}
    for name in root.attrs["groups"]:  # type: ignore[union-attr]
        group = root[str(name)]
        assert isinstance(group, zarr.Group)
        attributes[str(name)] = group.attrs.asdict()
        for array_name, array in group.arrays():
            path = f"{name}/{array_name}"
            values[path] = np.asarray(array[:])
            dimensions[path] = list(array.metadata.dimension_names)  # type: ignore[union-attr,arg-type]
            attributes[path] = array.attrs.asdict()
    reader = SigmaCache(cache)
    seen = 0
    for key in reader.keys():
        for name in reader.attributes["groups"]:
            rows = [bytes(row).rstrip(b"\0").decode() for row in values[f"{name}/key"]]
            for stride in reader.strides if key in rows else ():
                np.testing.assert_array_equal(
                    values[f"{name}/{level_name(stride)}"][rows.index(key)], reader.read(key, stride)
                )
                seen += 1
    assert seen == len(reader.keys()) * len(reader.strides)
    return Stored(cache, values, dimensions, attributes)


def equal(got: NDArray[Any], expected: NDArray[Any]) -> None:
    """Assert the same dtype, shape and values, bit for bit but for which NaN it is."""
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("reader", ["tensorstore", "zarrs", "xarray"])
def test_a_python_reader_sees_the_same(stored: Stored, reader: str, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    command = [sys.executable, READERS / "read.py", reader, stored.cache, out, *stored.values]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == stored.dimensions
    with np.load(out) as got:
        assert set(got.files) == set(stored.values)
        for path, expected in stored.values.items():
            equal(got[path], expected)


def test_dimensions_are_named_by_level(stored: Stored) -> None:
    for path, names in stored.dimensions.items():
        name = path.rpartition("/")[2]
        suffix = name.removeprefix("sigma_Z2") if name.startswith("sigma_Z2") else ""
        if name == "depth" or name.startswith("sigma_Z2"):
            assert names == ["frame", f"y{suffix}", f"x{suffix}"]


@pytest.fixture(scope="session")
def zarrita(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with zarrita installed by npm; without Node a failure in CI (CI=true), and a skip elsewhere."""
    folder = tmp_path_factory.mktemp("zarrita")
    npm_install(READERS, folder, "zarrita")
    return folder


def test_zarrita_sees_the_same(stored: Stored, zarrita: Path, tmp_path: Path) -> None:
    paths = list(stored.attributes)
    command = ["node", zarrita / "read.mjs", stored.cache, tmp_path, *paths]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert {path: facts["attributes"] for path, facts in found.items()} == stored.attributes
    for number, path in enumerate(paths):
        if path not in stored.values:
            continue
        expected, facts = stored.values[path], found[path]
        assert facts["dimension_names"] == stored.dimensions[path]
        got = np.fromfile(tmp_path / str(number), dtype=np.dtype(facts["dtype"]).newbyteorder("<"))
        equal(got.reshape(facts["shape"]), expected)


@pytest.mark.slow
@pytest.mark.parametrize(("ci", "last"), [("", "SKIPPED [2] "), ("true", "ERROR ")])
def test_without_node_the_last_lines_say_what_was_not_tried(ci: str, last: str, tmp_path: Path) -> None:
    command = [Path(sys.executable).with_name("pytest"), __file__, "-k", "zarrita_sees", "-p", "no:cacheprovider"]
    environment = os.environ | {"PATH": str(tmp_path), "CI": ci}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    summary = ran.stdout.rpartition("short test summary info")[2].splitlines()[1:-1]
    assert all(line.startswith(last) and "zarrita was not tried: it needs node and npm" in line for line in summary)
    assert summary
    assert ran.returncode == (1 if ci else 0)


def test_the_lock_file_names_no_registry() -> None:
    assert names_no_registry(READERS)
