"""What is loaded when: the help answers at once, and a dataloader worker loads nothing that it does not use."""

import subprocess
import sys

import pytest
from tiny_data import TinyData

from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline

HEAVY = {"torch", "numba", "numpy", "zarr", "numcodecs", "dask", "distributed", "PIL", "scipy", "tomllib"}


def loaded(code: str, *arguments: str) -> set[str]:
    """Return the packages that a new process has loaded after running ``code``."""
    end = "\nimport sys\nprint(*sorted({name.partition('.')[0] for name in sys.modules}))"
    command = [sys.executable, "-c", code + end, *arguments]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1].split())


def command_line(*arguments: str) -> str:
    return f"""
from depthvar.precompute.cli.main import main
try:
    main({list(arguments)!r})
except SystemExit as end:
    assert not end.code, end.code
"""


@pytest.mark.parametrize(
    "arguments", [("--help",), ("run", "--help"), ("validate", "--help"), ("--version",)], ids=" ".join
)
def test_help_loads_nothing_heavy(arguments: tuple[str, ...]) -> None:
    modules = loaded(command_line(*arguments))
    assert "click" in modules
    assert not modules & HEAVY


@pytest.mark.parametrize("package", ["depthvar.datasets", "depthvar.precompute", "depthvar.datasets.errors"])
def test_a_package_loads_nothing_heavy(package: str) -> None:
    assert not loaded(f"import {package}") & (HEAVY | {"click"})


def test_the_check_sees_a_heavy_import() -> None:
    assert "numpy" in loaded(command_line("--help") + "\nimport numpy")
    assert {"numpy", "zarr"} <= loaded("from depthvar.datasets import SigmaCache; SigmaCache('x').path; import zarr")


def test_every_public_name_resolves_and_no_other() -> None:
    import depthvar.datasets
    import depthvar.loss
    import depthvar.precompute

    for package in (depthvar.datasets, depthvar.loss, depthvar.precompute):
        for name in package.__all__:
            assert getattr(package, name).__name__ == name
        with pytest.raises(AttributeError, match="has no attribute 'Nonsense'"):
            package.Nonsense  # noqa: B018


def test_reading_a_cache_loads_what_it_needs(tiny: TinyData) -> None:
    job = tiny.job()
    list(pipeline.run(job, execute.serial))
    code = """
import sys
from depthvar.datasets import SigmaCache
cache = SigmaCache(sys.argv[1])
key = cache.keys()[0]
assert cache.read(key).shape == (24, 32)
"""
    modules = loaded(code, job.cache)
    assert "numcodecs" in modules
    assert not modules & {"zarr", "torch", "numba", "dask", "distributed", "click", "fsspec"}
    code += "assert cache.sample(key, (40, 40, 8, 6), (12, 16)).shape == (12, 16)"
    assert not loaded(code, job.cache) & {"torch", "dask", "distributed", "click"}


def test_listing_and_reading_depth_loads_no_zarr_torch_numba_dask_or_click(tiny: TinyData) -> None:
    code = """
import sys
from depthvar.datasets import open_source
source = open_source(sys.argv[1])
assert source[0].depth.shape == (24, 32)
"""
    assert not loaded(code, str(tiny.toml)) & {"zarr", "torch", "numba", "dask", "distributed", "click"}
