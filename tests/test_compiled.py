"""Compiled code where Numba has no folder to keep it in: no home, and an installation that is read-only."""

import os
import subprocess
import sys

import numba
import pytest

from depthvar.datasets.compiled import njit

WITHOUT_A_FOLDER = """
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
from numba.core import caching
for implementation in (caching.CacheImpl, caching.CompileResultCacheImpl):
    implementation._locator_classes = []
import numpy as np
from depthvar.datasets.lookup.resize import resize_depth
from depthvar.datasets.lookup.sample import sample
from depthvar.precompute import Difference, KernelParams, sigma_z2
from depthvar.precompute.pipeline.summary import SigmaSummary
depth = np.linspace(1, 2, 48, dtype=np.float32).reshape(6, 8)
levels = {1: sigma_z2(depth, (8, 8, 4, 3), Difference())}
view = sample(lambda stride, rows: levels[stride][rows], (1,), (8, 8, 4, 3), (6, 8), (6, 6, 3, 2), (3, 4))
assert view.shape == (3, 4) and np.isfinite(view).any()
assert SigmaSummary.of(levels[1]).finite == 48
assert resize_depth(depth, (8, 8, 4, 3), (4, 4, 1.75, 1.25), (3, 4), "median").all()
"""


def test_the_kernel_the_passes_and_the_lookup_need_no_folder_for_compiled_code() -> None:
    process = subprocess.run([sys.executable, "-c", WITHOUT_A_FOLDER], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    said = "compiling the CPU kernel for this machine (about 2 s in every process: set NUMBA_CACHE_DIR to a folder"
    assert process.stdout.startswith(said)


def test_another_error_of_the_compiler_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **options: object) -> object:
        raise RuntimeError(f"{os.name}: cannot cache" if "cache" in options else "compiled anyway")

    monkeypatch.setattr(numba, "njit", fail)
    with pytest.raises(RuntimeError, match="cannot cache"):
        njit(cache=True)(lambda x: x)
