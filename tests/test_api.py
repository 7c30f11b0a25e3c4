"""The Python API: what the command line does, and data sets that are a class of the user's own."""

import doctest
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doors import refusal
from numpy.typing import NDArray
from tiny_data import TinyData, make_depth

import depthvar.datasets
import depthvar.loss
import depthvar.precompute
from depthvar.datasets import CacheError, Frame, SigmaCache, Source, SourceError, open_source
from depthvar.datasets.hospital.write import write_sample
from depthvar.precompute import Difference, KernelParams, plan, run, sigma_z2, validate


class Arrays(Source):
    """Ten lines over arrays in memory, as the docstring of Source has them."""

    name = "arrays"

    def __init__(self, depths: dict[str, NDArray[Any]], camera: Any = (40, 40, 15.5, 11.5)) -> None:
        self.depths, self.camera, self.read_keys = depths, camera, list[str]()

    def keys(self) -> list[str]:
        return sorted(self.depths)

    def read(self, key: str) -> Frame:
        self.read_keys.append(key)
        return Frame(key, self.depths[key], intrinsics=self.camera)


@pytest.fixture
def arrays() -> Arrays:
    return Arrays({f"{room}/{index:03}": make_depth(24, 32, index) for room in "ab" for index in range(3)})


def test_a_class_over_arrays_in_memory_is_a_data_set(arrays: Arrays, tmp_path: Path) -> None:
    out = tmp_path / "sigma.zarr"
    assert repr(plan(arrays, out, strides=[1, 2])).startswith(f"Plan(arrays, 6 frames → {out}: compute 6, check 0, ")
    assert not out.exists()
    result = run(arrays, out, strides=[1, 2])
    assert (result.computed, result.unchanged, result.left, result.failed) == (6, 0, 0, ())
    cache = SigmaCache(out)
    assert cache.keys() == arrays.keys()
    for key, depth in arrays.depths.items():
        np.testing.assert_allclose(cache.read(key), sigma_z2(depth, [40, 40, 15.5, 11.5]), rtol=2**-8)
    assert validate(out, arrays, full=True).findings == []
    assert validate(out, arrays, full=True).recomputed == 6


def test_its_frames_are_hashed_again_in_every_run_as_nothing_tells_whether_they_changed(
    arrays: Arrays, tmp_path: Path
) -> None:
    out = tmp_path / "sigma.zarr"
    run(arrays, out)
    again = run(arrays, out)
    assert (again.computed, again.unchanged) == (0, 6)
    arrays.depths["a/001"] = make_depth(24, 32, 9)
    changed = run(arrays, out)
    assert changed.computed == 3  # its shard
    np.testing.assert_allclose(
        SigmaCache(out).read("a/001"), sigma_z2(arrays.depths["a/001"], [40, 40, 15.5, 11.5]), rtol=2**-8
    )


def test_validate_without_it_checks_what_needs_no_depth_and_says_so(arrays: Arrays, tmp_path: Path) -> None:
    out = tmp_path / "sigma.zarr"
    run(arrays, out)
    report = validate(out)
    assert report.findings == []
    assert [warning.got for warning in report.warnings] == [
        "frames that only their own Source class can read: not compared with depth"
    ]
    with pytest.raises(CacheError, match="computed by a Source class, got a folder: pass source="):
        validate(out, tmp_path)


@pytest.mark.parametrize(
    ("depth", "camera", "message"),
    [
        (
            np.ones((24, 32), np.uint16),
            (40, 40, 16, 12),
            r"arrays/a/0: depth: expected floats in metres .*, got uint16",
        ),
        (np.ones((1, 24, 32)), (40, 40, 16, 12), r"arrays/a/0: depth: .* got float64 of shape \(1, 24, 32\)"),
        (np.ones((24, 32)), (0.6, 0.8, 0.5, 0.5), "arrays/a/0: intrinsics: expected fx, fy, cx, cy in pixels"),
        (np.ones((24, 32)), (40, 40, 320, 240), "arrays/a/0: intrinsics: expected the principal point"),
        (np.ones((24, 32)), [(40, 40, 16, 12)], "arrays/a/0: intrinsics: expected one camera"),
    ],
)
def test_what_it_returns_is_checked_as_files_are(depth: Any, camera: Any, message: str, tmp_path: Path) -> None:
    source = Arrays({"a/0": depth, "b/0": depth}, camera)
    with pytest.raises(SourceError, match=message):
        run(source, tmp_path / "sigma.zarr")


def test_one_of_its_frames_that_cannot_be_read_can_be_skipped(arrays: Arrays, tmp_path: Path) -> None:
    arrays.depths["b/001"] = np.ones((24, 32), np.int32)
    result = run(arrays, tmp_path / "sigma.zarr", on_error="skip")
    assert (result.computed, [key for key, _ in result.failed]) == (5, ["b/001"])
    assert result.to_json()["failed"][0]["error"].startswith("arrays/b/001: depth: expected floats in metres")


@pytest.mark.parametrize(
    "keys", [["a/0", "a/0"], ["../a/0"], ["/a/0"], ["a//0"], ["a/\n0"], [""], [7]], ids=["twice", *"012345"]
)
def test_its_keys_are_checked(keys: list[Any], tmp_path: Path) -> None:
    class Listed(Arrays):
        def keys(self) -> list[str]:
            return keys

        def read(self, key: str) -> Frame:
            return Frame(key, make_depth(24, 32, 0), np.array([40, 40, 15.5, 11.5]))

    with pytest.raises(SourceError, match="arrays: expected keys that are relative paths as str, each once, got "):
        run(Listed({}), tmp_path / "sigma.zarr")
    assert not (tmp_path / "sigma.zarr").exists()


class Wrong(Arrays):
    """A class of a user's own with one mistake."""

    def __init__(self, **mistakes: Any) -> None:
        super().__init__({"a/0": make_depth(24, 32, 0)})
        for name, value in mistakes.items():
            setattr(self, name, value if name in ("name", "max_depth") else lambda *_, value=value: value)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ({"read": None}, "wrong/a/0: read: expected a depthvar.datasets.Frame from Wrong.read, got None"),
        ({"keys": None}, "wrong: expected a list of keys, got NoneType"),
        ({"keys": "abc"}, "wrong: expected a list of keys, got str"),
        ({"keys": [["a/0"]]}, r"wrong: expected keys that are relative paths as str, each once, got \['a/0'\]"),
        ({"sequence": None}, "wrong/a/0: sequence: expected a str, got None"),
        ({"intrinsics": np.ones((5, 3, 3))}, "wrong/a/0: intrinsics: expected "),
        ({"stat": 5}, "wrong/a/0: stat: expected a SourceStat, got 5"),
        ({"shape": None}, r"wrong/a/0: shape: expected \(H, W\), got None"),
        ({"shape": (32, 24)}, r"wrong/a/0: expected 32×24 pixels, got 24×32; .*shape\(\) of a Source class"),
        ({"name": 5}, "name of the source: expected one line of text, got 5"),
        ({"max_depth": "2.5"}, "max_depth of the source: expected a number of metres"),
    ],
)
def test_a_mistake_in_a_class_is_one_line_and_writes_nothing_that_counts(
    mistake: dict[str, Any], message: str, tmp_path: Path
) -> None:
    source = Wrong(**{"name": "wrong", **mistake})
    refusal(lambda: run(source, tmp_path / "sigma.zarr"), message)
    assert not (tmp_path / "sigma.zarr").exists() or SigmaCache(tmp_path / "sigma.zarr").keys() == []


def test_its_maximum_depth_holds_for_every_frame(tmp_path: Path) -> None:
    source = Arrays({"a/0": np.where(np.arange(32) < 16, np.float32(2), np.float32(3)) + np.zeros((24, 1), np.float32)})
    source.max_depth = 2.5
    result = run(source, tmp_path / "sigma.zarr")
    assert (result.depth.valid, result.depth.far) == (24 * 16, 24 * 16)
    assert np.isinf(SigmaCache(tmp_path / "sigma.zarr").read("a/0")[:, 16:]).all()
    assert validate(tmp_path / "sigma.zarr", source, full=True).findings == []


def test_a_source_without_frames(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"arrays: expected frames, got none"):
        run(Arrays({}), tmp_path / "sigma.zarr")


def test_the_bytes_written_are_those_of_the_files(tiny: TinyData) -> None:
    seen: list[int] = []

    def progress(what: str, done: int, total: int, failed: int, written: int = 0) -> None:
        seen.append(written)

    result = run(tiny.source(), threads=1, progress=progress)
    shards = [path for path in Path(result.cache).rglob("c.*") if path.is_file()]
    assert result.bytes_written == sum(path.stat().st_size for path in shards)
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0, result.bytes_written)
    again = run(tiny.source(), threads=1)  # the files are young: their content is compared
    noted = [path for path in shards if path.parent.name in ("intrinsics", "source_stat")]
    assert again.bytes_written == sum(path.stat().st_size for path in noted) > 0
    tiny.age()
    run(tiny.source())
    assert run(tiny.source()).bytes_written == 0


def test_everything_the_command_line_does(tiny: TinyData) -> None:
    lines: list[tuple[object, ...]] = []
    result = run(tiny.source(), params=Difference(), threads=1, limit=1, progress=lambda *line: lines.append(line))
    assert result.left > 0
    assert lines[0] == ("frames done", 0, result.computed, 0)
    assert lines[-1] == ("frames done", result.computed, result.computed, 0, result.bytes_written)
    assert result.cache.endswith("sigma_Z2.zarr")
    with pytest.raises(CacheError, match="computed with other parameters"):
        run(tiny.source())
    again = run(tiny.source(), params=KernelParams(window=3), overwrite=True, with_depth=True, strides=(1,), part=None)
    assert again.computed == again.frames == len(tiny.source())
    assert plan(tiny.source(), params=KernelParams(window=3), with_depth=True, strides=(1,)).compute == 0


def test_another_data_set_into_the_same_cache_is_refused(tiny: TinyData, arrays: Arrays) -> None:
    out = run(tiny.source()).cache
    with pytest.raises(CacheError, match="computed from the data set 'tiny', this run is of 'arrays'; pass --out"):
        run(arrays, out)
    assert run(arrays, out, overwrite=True).computed == 6


@pytest.mark.parametrize(
    ("scale", "max_depth", "message"),
    [
        (1e-3, None, "depth from .* m is unusual: check the unit"),
        (1e3, None, "depth from .* m is unusual: check the unit"),
        (1, 1e-3, "no pixel of the frames computed has a valid depth"),
        (1, None, None),
    ],
)
def test_depth_that_is_unusual_is_said(
    scale: float, max_depth: float | None, message: str | None, arrays: Arrays, tmp_path: Path, caplog: Any
) -> None:
    arrays.depths = {key: depth * np.float32(scale) for key, depth in arrays.depths.items()}
    arrays.max_depth = max_depth
    run(arrays, tmp_path / "sigma.zarr")
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    warned = [line for line in warned if not line.startswith("looked at ")]  # of the first frames: test_inspect.py
    assert [bool(re.match(message, line)) for line in warned] == [True] if message else warned == []


@pytest.mark.parametrize("camera", [(20, 20, 7.5, 5.5), (40, 20, 15.5, 11.5), (40, 40, 15.5, 20.5)])
def test_a_camera_that_is_unusual_is_said_once(camera: Any, arrays: Arrays, tmp_path: Path, caplog: Any) -> None:
    arrays.camera = camera
    run(arrays, tmp_path / "sigma.zarr")
    warned = [record.getMessage() for record in caplog.records if "unusual intrinsics" in record.getMessage()]
    assert len(warned) == 1
    assert warned[0].startswith("a/000: unusual intrinsics fx ")


def test_arguments_are_checked(tiny: TinyData, arrays: Arrays) -> None:
    source = tiny.source()
    refusal(lambda: run(arrays), "out: expected the cache to write, a folder or a URL, got None")
    refusal(lambda: run(str(tiny.root), "x.zarr"), "source: expected a Source, as open_source returns, got")  # type: ignore[arg-type]
    refusal(
        lambda: run(source, threads=1, workers=2), "threads, workers, scheduler: expected one of them, got threads=1"
    )
    refusal(lambda: run(source, strides=2), "strides: expected whole numbers from 1 to 1024, .*, got 2")  # type: ignore[arg-type]
    refusal(lambda: run(source, threads=0), "threads: expected a whole number from 1, got 0")
    refusal(lambda: run(source, timeout=5), "timeout: expected workers or scheduler with it")
    refusal(lambda: run(source, part=(0, 2)), r"part: expected two whole numbers \(i, n\) with i from 1 to n, got 0")
    refusal(lambda: run(source, part="1/2"), r"part: expected two whole numbers \(i, n\) with i from 1 to n, got '1/2'")  # type: ignore[arg-type]
    refusal(lambda: plan(source, limit=0), "limit: expected a whole number from 1, got 0")
    assert not list(tiny.root.glob("*.zarr"))


@pytest.mark.parametrize("module", [depthvar.datasets, depthvar.loss, depthvar.precompute])
def test_public_names_are_there_for_completion(module: Any) -> None:
    assert set(module.__all__) <= set(dir(module))
    assert all(hasattr(module, name) for name in module.__all__)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sample scene where the README's commands write it."""
    folder = tmp_path_factory.mktemp("api")
    write_sample(folder / "data/hospital-sample", frames=1)
    source = open_source("hospital-sample", folder / "data/hospital-sample")
    run(source, folder / "data/hospital-sample/sigma_Z2.zarr")
    return folder


EXAMPLES = [
    f"{module.__name__}.{name}"
    for module in (depthvar.datasets, depthvar.loss, depthvar.precompute)
    for name in module.__all__
    if inspect.isfunction(getattr(module, name)) or name in ("Source", "SigmaCache", "CachedDepthDataset")
]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_of_a_public_function(name: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, _, attribute = name.rpartition(".")
    found = getattr(importlib.import_module(module), attribute)
    tests = doctest.DocTestFinder(recurse=False).find(found, attribute, globs={})
    assert tests
    assert tests[0].examples, f"{name} has no example"
    monkeypatch.chdir(data)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert runner.run(tests[0]).failed == 0
