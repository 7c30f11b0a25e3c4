"""What is loaded when: the help answers at once, and a dataloader worker loads nothing that it does not use."""

import pickle
import subprocess
import sys

import pytest
from tiny_data import TinyData

from depthvar.datasets import SigmaCache
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


def test_completing_a_name_loads_nothing_heavy() -> None:
    """A shell starts the command at each press of Tab."""
    code = """
from depthvar.precompute.cli.complete import data_sets
assert [item.value for item in data_sets(None, None, "tartanair-sh")] == ["tartanair-shibuya"]
"""
    assert loaded(code) & HEAVY == {"tomllib"}


@pytest.mark.parametrize("package", ["depthvar.datasets", "depthvar.precompute", "depthvar.datasets.errors"])
def test_a_package_loads_nothing_heavy(package: str) -> None:
    assert not loaded(f"import {package}") & (HEAVY | {"click"})


def test_the_command_imports_next_to_nothing_before_it_can_deal_with_ctrl_c() -> None:
    start = "from depthvar.precompute.cli.__main__ import main"
    assert loaded(start) - loaded("") <= {"depthvar", "signal", "enum"}  # what Python itself starts with varies
    assert {"click", "typing"} <= loaded(command_line("--help"))


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
    assert not modules & {"zarr", "torch", "dask", "distributed", "click", "fsspec"}
    code += "assert cache.sample(key, (40, 40, 8, 6), (12, 16)).shape == (12, 16)"
    modules = loaded(code, job.cache)
    assert {"numcodecs", "numba"} <= modules
    assert not modules & {"zarr", "torch", "dask", "distributed", "click"}


def test_a_reader_loads_the_lookup_where_it_is_made(tiny: TinyData) -> None:
    """Workers that a DataLoader forks then inherit Numba and the compiled lookup; each would load them otherwise."""
    job = tiny.job()
    list(pipeline.run(job, execute.serial))
    code = """
import os, pickle, sys
from depthvar.datasets import SigmaCache
cache = SigmaCache(sys.argv[1])
worker = os.fork()
if not worker:
    before = set(sys.modules)
    assert cache.sample("a/P0/depth/000.npy", (40, 40, 8, 6), (12, 16)).shape == (12, 16)
    new = {name.partition(".")[0] for name in set(sys.modules) - before}
    os._exit(1 if new & {"numba", "llvmlite"} or "depthvar.datasets.lookup.sample" not in before else 0)
assert os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) == 0
"""
    assert "numba" in loaded(code, job.cache)
    spawned = "import pickle, sys; pickle.loads(bytes.fromhex(sys.argv[1]))"
    pickled = pickle.dumps(SigmaCache(job.cache)).hex()
    assert "numba" in loaded(spawned, pickled)


@pytest.mark.parametrize("command", ["info", "datasets"])
def test_a_command_that_only_shows_loads_no_kernel(tiny: TinyData, command: str) -> None:
    job = tiny.job()
    list(pipeline.run(job, execute.serial))
    modules = loaded(command_line(command, *([job.cache] if command == "info" else [])))
    assert "numpy" in modules
    assert not modules & {"torch", "numba", "dask", "distributed"}


def test_a_run_in_threads_loads_no_distributed_and_no_torch(tiny: TinyData) -> None:
    modules = loaded(command_line("run", "--dataset", str(tiny.toml)))
    assert {"numba", "dask"} <= modules  # dask.system counts the CPUs
    assert not modules & {"torch", "distributed"}


def test_listing_and_reading_depth_loads_no_zarr_torch_numba_dask_or_click(tiny: TinyData) -> None:
    code = """
import sys
from depthvar.datasets import open_source
source = open_source(sys.argv[1])
assert source[0].depth.shape == (24, 32)
"""
    modules = loaded(code, str(tiny.toml))
    assert not modules & {"zarr", "torch", "numba", "dask", "distributed", "click"}
    assert not modules & {"OpenEXR", "h5py", "scipy", "tifffile", "imagecodecs", "cv2"}  # libraries of other formats
