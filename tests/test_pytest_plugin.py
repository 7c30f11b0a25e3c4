"""The fixtures depthvar_check_loader and depthvar_check_cache, in a test suite of their own."""

import ast
import sys
from importlib.util import find_spec
from pathlib import Path

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

def test_right(depthvar_check_loader):
    cache = SigmaCache({cache!r})
    depthvar_check_loader(views(cache, False), cache, lambda view: view["id"])

def test_wrong(depthvar_check_loader):
    cache = SigmaCache({cache!r})
    depthvar_check_loader(views(cache, True), cache, lambda view: view["id"])
"""
CACHE = """
def test_by_default_against_the_folder_that_holds_it(depthvar_check_cache):
    depthvar_check_cache({cache!r})

def test_against_another_folder(depthvar_check_cache):
    depthvar_check_cache({cache!r}, {root!r})

def test_every_frame(depthvar_check_cache):
    depthvar_check_cache({cache!r}, full=True)

def test_by_itself(depthvar_check_cache):
    depthvar_check_cache({cache!r}, recompute=0)

def test_no_cache_at_all(depthvar_check_cache):
    depthvar_check_cache({cache!r} + "x")

def test_behind_a_url(depthvar_check_cache):
    depthvar_check_cache("memory://somewhere/sigma_Z2.zarr")
"""


# Before pytester in every test: pytester forgets modules that were imported since, and Numba cannot be imported twice.
@pytest.fixture
def data(tmp_path: Path) -> TinyData:
    return make_data(tmp_path / "tiny")


@pytest.fixture
def edited(tmp_path: Path) -> TinyData:
    """Another data set, whose frames are others than when its cache was computed."""
    tiny = make_data(tmp_path / "edited")
    for index in range(2):
        tiny.write("a", f"{index:03}", make_depth(48, 64, index + 7))
    return tiny


def make_data(root: Path) -> TinyData:
    tiny = TinyData(root)
    for index in range(2):
        tiny.write("a", f"{index:03}", make_depth(48, 64, index))
    list(pipeline.run(tiny.job(), execute.serial))
    return tiny


def run(pytester: pytest.Pytester, **files: str) -> pytest.RunResult:
    pytester.makepyfile(**files)
    return pytester.runpytest_subprocess("-p", "no:cacheprovider")  # found by its entry point


def test_check_loader_fails_with_the_findings(data: TinyData, pytester: pytest.Pytester) -> None:
    result = run(pytester, test_loader=LOADER.format(toml=str(data.toml), cache=data.job().cache))
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["flip: *pass flip=True to annotate*"])


def test_check_cache_fails_with_every_finding(data: TinyData, edited: TinyData, pytester: pytest.Pytester) -> None:
    sound, stale = (CACHE.format(cache=tiny.job().cache, root=str(tiny.root)) for tiny in (data, edited))
    result = run(pytester, test_sound=sound, test_stale=stale)
    result.assert_outcomes(passed=4 + 1, failed=2 + 5)  # by itself the stale one is what it was
    result.stdout.fnmatch_lines_random(
        ["*sigma_Z2.zarrx: no cache is there*", "*memory://somewhere/sigma_Z2.zarr: no cache is there*"]
        + [f"  *a/depth/00{index}.npy: expected *repair: *" for index in range(2)]
    )


def test_its_names_are_ours_in_the_suites_of_others() -> None:
    spec = find_spec(PLUGIN)
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text())
    fixtures = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.decorator_list]
    assert fixtures == ["depthvar_check_loader", "depthvar_check_cache"]


def test_the_plugin_itself_loads_nothing_heavy(pytester: pytest.Pytester) -> None:
    code = f"import sys, {PLUGIN}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    modules = set(pytester.run(sys.executable, "-c", code).outlines[-1].split())
    assert "pytest" in modules
    assert not modules & {"torch", "numba", "numpy", "zarr", "numcodecs", "dask", "distributed", "PIL"}
