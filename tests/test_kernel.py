"""The kernel's interface: parameters, shapes, dtypes, engines, errors, and what it loads, compiles and allocates."""

import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_memory import PeakBytes

from depthvar.datasets.errors import ParameterError
from depthvar.precompute.kernel import numba_engine as kernel_numba
from depthvar.precompute.kernel.api import Components, KernelParams, sigma_z2
from depthvar.precompute.kernel.torch_engine import sigma_z2_maps

K = np.array([[50.0, 0, 12], [0, 60, 9], [0, 0, 1]])
ENGINES = pytest.mark.parametrize("engine", ["numba", "torch"])
RNG = np.random.default_rng(1)
DEPTH = RNG.uniform(1, 3, (2, 3, 20, 24)).astype(np.float32)
DEPTH[RNG.random(DEPTH.shape) < 0.1] = 0
TWO_ENGINES = 2e-5  # twice what rounding costs on this noise: reference.rounding


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 4}, "window: expected 3, 5 or 7, got 4"),
        ({"window": 5.0}, "window: expected 3, 5 or 7, got 5.0"),
        ({"lambda_prior": -1}, "lambda_prior: expected a number from 0 to 1e9, got -1"),
        ({"lambda_prior": float("nan")}, "lambda_prior: expected a number from 0 to 1e9, got nan"),
        ({"lambda_prior": "0.5"}, "lambda_prior: expected a number from 0 to 1e9, got '0.5'"),
        ({"alpha_clamp": 0}, "alpha_clamp: expected a number from 1e-6 to 1, got 0"),
        ({"alpha_clamp": 1e-7}, "alpha_clamp: expected a number from 1e-6 to 1, got 1e-07"),
        ({"alpha_clamp": 1.1}, "alpha_clamp: expected a number from 1e-6 to 1, got 1.1"),
        ({"min_valid": 0}, "min_valid: expected a whole number from 1 to window² = 25, got 0"),
        ({"min_valid": 10, "window": 3}, "min_valid: expected a whole number from 1 to window² = 9, got 10"),
        ({"min_valid": True}, "min_valid: expected a whole number from 1 to window² = 25, got True"),
        ({"compat": "pi4"}, "compat: expected None or 'pi3', got 'pi4'"),
        ({"compat": "pi3", "window": 3}, "window: expected 5 with compat='pi3'.*, got 3"),
    ],
)
def test_impossible_parameters(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        KernelParams(**options)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"depth": np.ones(5, np.float32)}, r"depth: expected shape \(..., H, W\) of at least one pixel, got \(5,\)"),
        ({"depth": np.ones((0, 5), np.float32)}, r"depth: expected shape .*, got \(0, 5\)"),
        ({"depth": np.ones((4, 5), np.uint16)}, "depth: expected floating-point metres .*; .*, got 'uint16'"),
        ({"depth": np.ones((4, 5), complex)}, "depth: expected floating-point metres .*; .*, got 'complex128'"),
        ({"intrinsics": np.ones((7, 4))}, r"intrinsics: expected leading dimensions .* \(\), got \(7,\)"),
        ({"intrinsics": np.ones(3)}, r"intrinsics: expected shape \(..., 3, 3\), or \(..., 4\).*\(3,\)"),
        ({"intrinsics": (0.0, 1, 1, 1)}, "intrinsics: expected finite fx, fy, cx, cy"),
        ({"valid": np.ones((4, 5), np.uint8)}, "valid: expected dtype bool, got 'uint8'"),
        ({"valid": np.ones((4, 4), bool)}, r"valid: expected a shape .* the depth's, \(4, 5\), got \(4, 4\)"),
        ({"valid": np.ones((2, 4, 5), bool)}, r"valid: expected a shape .*, got \(2, 4, 5\)"),
        ({"max_depth": 0}, r"max_depth: expected a number of metres above 0 and at most 1e\+15, .*, got 0"),
        ({"max_depth": float("nan")}, "max_depth: expected .*, got nan"),
    ],
)
@ENGINES
def test_input_that_does_not_fit(changed: dict[str, Any], message: str, engine: Any) -> None:
    given = {"depth": np.ones((4, 5), np.float32), "intrinsics": (1.0, 1.0, 0.0, 0.0), **changed}
    with pytest.raises(ParameterError, match=message) as error:
        sigma_z2(**given, engine=engine)
    assert "\n" not in str(error.value)


def test_intrinsics_tensor_of_another_shape() -> None:
    with pytest.raises(ParameterError, match=r"intrinsics: expected shape .*; got shape \(3,\)"):
        sigma_z2(torch.ones(4, 5), torch.ones(3))


def test_unknown_engine() -> None:
    with pytest.raises(ParameterError, match="engine: expected one of auto, numba, torch, triton; got 'cuda'"):
        sigma_z2(np.ones((4, 5), np.float32), K, engine="cuda")  # type: ignore[call-overload]


def test_numba_takes_no_tensor_of_another_device() -> None:
    with pytest.raises(ParameterError, match="depth: expected a tensor on the CPU for engine='numba', got 'meta'"):
        sigma_z2(torch.ones(4, 5, device="meta"), K, engine="numba")


@ENGINES
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_numpy_gives_numpy_float32(engine: Any, dtype: Any) -> None:
    got = sigma_z2(DEPTH[0, 0].astype(dtype), K, engine=engine)
    assert type(got) is np.ndarray
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, sigma_z2(DEPTH[0, 0], K), rtol=0.05)


@pytest.mark.parametrize("engine", ["auto", "numba", "torch"])
@pytest.mark.parametrize("intrinsics", [K, torch.from_numpy(K), torch.from_numpy(K).float()])
def test_torch_gives_torch(engine: Any, intrinsics: Any) -> None:
    got = sigma_z2(torch.from_numpy(DEPTH), intrinsics, engine=engine)
    assert isinstance(got, torch.Tensor)
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got.numpy(), sigma_z2(DEPTH, K), rtol=TWO_ENGINES)


def test_torch_computes_float64_in_float64() -> None:
    got = sigma_z2(torch.from_numpy(DEPTH).double(), K)
    assert got.dtype == torch.float64
    np.testing.assert_allclose(got.numpy(), sigma_z2(DEPTH, K), rtol=TWO_ENGINES)


@ENGINES
def test_leading_dimensions_broadcast(engine: Any) -> None:
    cameras = np.stack([K, K + np.diag([5.0, 7.0, 0]), K + np.diag([9.0, 1.0, 0])])
    valid = RNG.random((3, 1, 24)) < 0.8
    together = sigma_z2(DEPTH, cameras, valid=valid, engine=engine, return_components=True)
    for i in range(2):
        for j in range(3):
            mask = np.broadcast_to(valid[j], (20, 24))
            alone = sigma_z2(DEPTH[i, j], cameras[j], valid=mask, engine=engine, return_components=True)
            for name in Components._fields:
                np.testing.assert_array_equal(getattr(together, name)[i, j], getattr(alone, name))


@pytest.mark.parametrize(("engine", "compat"), [("numba", None), ("torch", None), ("torch", "pi3")])
def test_components_hold_the_same_variance(engine: Any, compat: Any) -> None:
    p = KernelParams(compat=compat)
    maps = sigma_z2(DEPTH, K, p, engine=engine, return_components=True)
    np.testing.assert_array_equal(maps.sigma_z2, sigma_z2(DEPTH, K, p, engine=engine))
    finite = np.isfinite(maps.sigma_z2)
    d_z2 = (DEPTH[finite] / maps.t_mu[finite]) ** 2
    if compat is None:
        np.testing.assert_allclose(maps.sigma_z2[finite], d_z2 * maps.sigma_t2[finite], rtol=1e-5)


@ENGINES
@pytest.mark.parametrize("view", [np.s_[::2, ::3], np.s_[3:, 5:11], np.s_[::-1, ::-1]])
def test_strided_and_read_only_input(engine: Any, view: Any) -> None:
    depth = DEPTH[0, 0].copy()
    depth.flags.writeable = False
    want = sigma_z2(np.ascontiguousarray(depth[view]), K, engine=engine)
    np.testing.assert_array_equal(sigma_z2(depth[view], K, engine=engine), want)
    np.testing.assert_array_equal(sigma_z2(depth[view], K, valid=depth[view] > 0, engine=engine), want)


@ENGINES
def test_input_is_left_alone(engine: Any) -> None:
    depth, mask, camera = DEPTH.copy(), DEPTH > 1.5, K.copy()
    for p in (KernelParams(), KernelParams(compat="pi3")) if engine == "torch" else (KernelParams(),):
        sigma_z2(depth, camera, p, mask, engine=engine)
        sigma_z2(torch.from_numpy(depth), camera, p, torch.from_numpy(mask), engine=engine)
    np.testing.assert_array_equal(depth, DEPTH)
    np.testing.assert_array_equal(mask, DEPTH > 1.5)


def test_empty_batch() -> None:
    assert sigma_z2(np.ones((0, 4, 5), np.float32), K).shape == (0, 4, 5)
    assert sigma_z2(torch.ones(0, 4, 5), K).shape == (0, 4, 5)


def test_no_gradient_is_recorded() -> None:
    assert not sigma_z2(torch.from_numpy(DEPTH).requires_grad_(), K).requires_grad
    assert not sigma_z2(torch.from_numpy(DEPTH).requires_grad_(), K, engine="numba").requires_grad


def test_frame_entry_fills_out() -> None:
    out = np.full((2, 20, 24), 7, np.float32)
    camera = np.array([50, 60, 12, 9.0])
    kernel_numba.sigma_z2_frame(DEPTH[0, 0], camera, KernelParams(), 2.5, DEPTH[0, 0] > 1.1, out=out[1])
    want = sigma_z2(DEPTH[0, 0], K, max_depth=2.5, valid=DEPTH[0, 0] > 1.1)
    np.testing.assert_array_equal(out[1], want)
    assert (out[0] == 7).all()


def test_threads_share_the_engine() -> None:
    frames = [np.roll(DEPTH[0, 0], i, axis=1) for i in range(16)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda z: sigma_z2(z, K), frames))
    for got, frame in zip(together, frames, strict=True):
        np.testing.assert_array_equal(got, sigma_z2(frame, K))


@pytest.mark.parametrize("p", [KernelParams(), KernelParams(window=7), KernelParams(compat="pi3")])
@pytest.mark.parametrize("components", [False, True])
def test_torch_never_waits_for_the_device(p: KernelParams, components: bool) -> None:
    """A meta tensor has no values: any look at one is an error."""
    depth, camera = torch.ones(2, 9, 8, device="meta"), torch.ones(2, 3, 3, device="meta")
    maps = sigma_z2_maps(depth, camera, p, depth > 0, 5.0, components=components)
    assert [m.shape for m in maps] == [(2, 9, 8)] * (5 if components else 1)
    with pytest.raises(RuntimeError):
        float(maps[0].sum())


def test_torch_compiles_without_a_graph_break() -> None:
    compiled = torch.compile(sigma_z2_maps, backend="eager", fullgraph=True)
    depth, camera = torch.from_numpy(DEPTH), torch.from_numpy(K)
    (got,) = compiled(depth, camera, KernelParams(), None, None, components=False)
    torch.testing.assert_close(got, sigma_z2(depth, camera), rtol=0, atol=0)


@pytest.mark.parametrize("p", [*(KernelParams(window=w) for w in (3, 5, 7)), KernelParams(compat="pi3")])
def test_torch_holds_few_maps_at_once(p: KernelParams) -> None:
    depth, mask = torch.rand(200, 300) + 1, torch.rand(200, 300) > 0.1
    with PeakBytes(depth, mask) as memory:
        got = sigma_z2(depth, torch.from_numpy(K), p, mask, 1.5)
    assert 2 * depth.nbytes < memory.peak < 12 * depth.nbytes
    assert memory.live == got.nbytes  # the count itself: all but the result is gone


def run_python(code: str, **environment: str) -> str:
    """Run code in a fresh interpreter and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return done.stdout.strip()


LOADED = """
import sys
import numpy as np
from depthvar.precompute import sigma_z2
sigma_z2(np.ones((3, 3), np.float32), (1, 1, 0, 0))
print([m for m in ("torch", "dask", "distributed", "click", "zarr", "numcodecs", "tqdm") if m in sys.modules])
"""


def test_numpy_loads_nothing_heavy() -> None:
    assert run_python(LOADED) == "[]"


def test_a_heavy_module_would_be_noticed() -> None:
    assert run_python(f"import click\n{LOADED}") == "['click']"


COMPILED = """
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
from depthvar.precompute.kernel import numba_engine as kernel_numba
kernel_numba.warm_up("difference")
"""


SLOW_LOAD = """
import time
from numba.core.caching import FunctionCache
load = FunctionCache.load_overload
FunctionCache.load_overload = lambda self, *given: (time.sleep(1.5), load(self, *given))[1]  # a busy machine
"""


def test_compiled_once_for_all_processes_and_said_so(tmp_path: Path) -> None:
    (said,) = run_python(COMPILED, NUMBA_CACHE_DIR=str(tmp_path)).splitlines()
    assert said.startswith("compiling the CPU kernel for this machine (once, about ")
    assert str(tmp_path) in said
    compiled = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")}
    assert compiled
    for code in (COMPILED, SLOW_LOAD + COMPILED):
        assert run_python(code, NUMBA_CACHE_DIR=str(tmp_path)) == ""
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")} == compiled


def test_warm_engine_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    kernel_numba.warm_up()
    with caplog.at_level(logging.DEBUG, logger="depthvar"):
        kernel_numba.warm_up()
        sigma_z2(DEPTH, K)
    assert not caplog.records


MEMORY = """
import numpy as np
from depthvar.precompute import KernelParams
from depthvar.precompute.kernel.numba_engine import sigma_z2_frame, warm_up
warm_up()
size = (4096, 4096)
depth, out, mask = np.full(size, 2, np.float32), np.full(size, 7, np.float32), np.ones(size, bool)
def peak():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
before = peak()
sigma_z2_frame(depth, np.array([1e3, 1e3, 0, 0]), KernelParams(window=7), None, mask, out)
kernel = (peak() - before) / depth.nbytes
copy = depth + 1
print(kernel, (peak() - before) / depth.nbytes)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_numba_needs_less_than_a_map() -> None:
    kernel, with_a_copy = map(float, run_python(MEMORY).split())
    assert kernel < 0.5
    assert with_a_copy > 0.9  # the measure does see a map


FIRST_ROOTS = """
import torch
root, seen = torch.Tensor.sqrt, []
torch.Tensor.sqrt = lambda x: (seen.append((x.dtype, x.numel())), root(x))[1]
from depthvar.precompute.kernel import torch_engine as kernel_torch
assert seen == [(torch.float32, 1), (torch.float64, 1)], seen
"""


def test_the_first_root_of_a_process_is_one_of_a_single_element() -> None:
    """Several threads that make MKL's first root at once can get a coarse one: 3 of 100 processes here, σ² 46 % off."""
    process = subprocess.run([sys.executable, "-c", FIRST_ROOTS], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
