"""The fixtures check_loader and check_cache, in a test suite of their own."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_data import TinyData, make_depth

from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline

pytest_plugins = ["pytester"]

PLUGIN = "depthvar.precompute.pytest_plugin"
LOADER = """
import numpy as np
from depthvar.datasets import SigmaCache, open_source

def views(cache, flip):
    for frame in open_source({toml!r}):
        fx, fy, cx, cy = frame.intrinsics
        view = {{"depthmap": np.where(frame.valid, frame.depth, 0)[:, :: -1 if flip else 1], "id": frame.key}}
        view["camera_intrinsics"] = [[fx, 0, frame.depth.shape[1] - 1 - cx if flip else cx], [0, fy, cy], [0, 0, 1]]
        cache.annotate(view, frame.key)
        yield view

def test_right(check_loader):
    cache = SigmaCache({cache!r})
    check_loader(views(cache, False), cache, lambda view: view["id"])

def test_wrong(check_loader):
    cache = SigmaCache({cache!r})
    check_loader(views(cache, True), cache, lambda view: view["id"])
"""
CACHE = """
def test_by_default_against_the_folder_that_holds_it(check_cache):
    check_cache({cache!r})

def test_against_another_folder(check_cache):
    check_cache({cache!r}, {root!r})
"""
THOROUGH = """
import pytest

def test_every_frame(check_cache):
    check_cache({cache!r}, full=True)

def test_by_itself(check_cache):
    check_cache({cache!r}, recompute=0)

def test_no_cache_at_all(check_cache):
    check_cache({cache!r} + "x")

def test_behind_a_url(check_cache):
    check_cache("memory://somewhere/sigma_Z2.zarr")
"""


# Before pytester in every test: pytester forgets modules that were imported since, and Numba cannot be imported twice.
@pytest.fixture
def data(tmp_path: Path) -> TinyData:
    tiny = TinyData(tmp_path / "tiny")
    for index in range(2):
        tiny.write("a", f"{index:03}", make_depth(48, 64, index))
    list(pipeline.run(tiny.job(), execute.serial))
    return tiny


def run(pytester: pytest.Pytester, code: str) -> pytest.RunResult:
    pytester.makepyfile(code)
    return pytester.runpytest_subprocess("-p", "no:cacheprovider")  # found by its entry point


def test_check_loader_fails_with_the_findings(data: TinyData, pytester: pytest.Pytester) -> None:
    result = run(pytester, LOADER.format(toml=str(data.toml), cache=data.job().cache))
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["flip: *pass flip=True to annotate*"])


def test_check_cache_fails_with_every_finding(data: TinyData, pytester: pytest.Pytester) -> None:
    code = CACHE.format(cache=data.job().cache, root=str(data.root))
    run(pytester, code).assert_outcomes(passed=2)
    for index in range(2):
        data.write("a", f"{index:03}", make_depth(48, 64, index + 7))
    result = run(pytester, code)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines([f"  *a/depth/00{index}.npy: expected *repair: *" for index in range(2)])


def test_check_cache_by_content_by_itself_and_where_nothing_is(data: TinyData, pytester: pytest.Pytester) -> None:
    code = THOROUGH.format(cache=data.job().cache)
    for path in data.root.rglob("*.npy"):
        os.utime(path, (1e9, 1e9))  # touched: the files are hashed now
    list(pipeline.run(data.job(), execute.serial))
    result = run(pytester, code)
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(["*sigma_Z2.zarrx: no cache is there*", "*pass --root DIR, or --recompute 0*"])
    frame = data.root / "a/depth/001.npy"
    np.save(frame, np.load(frame) + 1)
    os.utime(frame, (1e9, 1e9))  # keeps size and time
    run(pytester, code + CACHE.format(cache=data.job().cache, root=str(data.root))).assert_outcomes(passed=1, failed=5)


def test_the_plugin_itself_loads_nothing_heavy(pytester: pytest.Pytester) -> None:
    code = f"import sys, {PLUGIN}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    modules = set(pytester.run(sys.executable, "-c", code).outlines[-1].split())
    assert "pytest" in modules
    assert not modules & {"torch", "numba", "numpy", "zarr", "numcodecs", "dask", "distributed", "PIL"}
