"""The Triton engine: the real programs, interpreted on the CPU, or on a GPU where there is one."""

import importlib
import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kernel_device
import numpy as np
import pytest
import reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import Scene, params, scenes
from tiny_data import TinyData, make_depth

torch = pytest.importorskip("torch")
triton = pytest.importorskip("triton")

from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402
from torch.fx.experimental.proxy_tensor import make_fx  # noqa: E402

from depthvar.datasets import SigmaCache  # noqa: E402
from depthvar.datasets.errors import ParameterError  # noqa: E402
from depthvar.precompute import Difference, KernelParams, sigma_z2  # noqa: E402
from depthvar.precompute.kernel import api, triton_engine  # noqa: E402
from depthvar.precompute.kernel.api import Components  # noqa: E402
from depthvar.precompute.kernel.triton_engine import sigma_z2_strides  # noqa: E402
from depthvar.precompute.pipeline import job as job_module  # noqa: E402
from depthvar.precompute.pipeline import levels  # noqa: E402
from depthvar.precompute.pipeline.execute import serial  # noqa: E402
from depthvar.precompute.pipeline.job import Job  # noqa: E402
from depthvar.precompute.pipeline.run import run as run_pipeline  # noqa: E402
from depthvar.precompute.validation.validate import validate  # noqa: E402

K = (30.0, 31.0, 6.0, 3.25)
BOTH = pytest.mark.parametrize("p", [KernelParams(window=3), Difference()], ids=["range", "difference"])
SHAPES = pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1), (6, 34)])
TWO_ENGINES = 2e-5  # as in test_kernel
pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # inf - inf, interpreted
few = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several programs in a small frame."""
    monkeypatch.setattr(triton_engine, "_ROWS", 12)
    monkeypatch.setattr(triton_engine, "_COLUMNS", 64)


def frame(height: int, width: int, seed: int = 0, share_unknown: float = 0.2) -> Any:
    """Noise that neither the floor, the prior nor the cap hides, with holes and sky."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(1, 1.5, (height, width)).astype(np.float32)
    z[rng.random(z.shape) < share_unknown] = rng.choice([0, -1, np.nan])
    z[rng.random(z.shape) < share_unknown / 10] = np.inf
    return torch.from_numpy(z)


def run(z: Any, device: str, p: Any = KernelParams(), intrinsics: Any = K, **options: Any) -> Any:  # noqa: B008
    """Return the maps of the Triton engine as arrays."""
    options = {name: x.to(device) if isinstance(x, torch.Tensor) else x for name, x in options.items()}
    maps = sigma_z2(z.to(device), intrinsics, p, engine="triton", **options)
    return Components(*(m.cpu().numpy() for m in maps)) if isinstance(maps, Components) else maps.cpu().numpy()


# ---- values ----


@pytest.mark.parametrize("window", [3, 5, 7])
@SHAPES
def test_oracle(device: str, window: int, shape: tuple[int, int]) -> None:
    z, valid = frame(*shape), np.random.default_rng(1).random(shape) < 0.9
    p = KernelParams(window=window, lambda_prior=0.1, alpha_clamp=1, min_valid=2)
    got = run(z, device, p, valid=torch.from_numpy(valid), max_depth=1.45, return_components=True)
    want = reference.sigma_z2(z.numpy(), K, p, valid, 1.45)
    reference.assert_close(got, want, reference.rounding(want))


def test_components_hold_the_same_variance(device: str) -> None:
    z = frame(3, 6)
    np.testing.assert_array_equal(run(z, device), run(z, device, return_components=True).sigma_z2)


@pytest.mark.parametrize("share_unknown", [0.0, 0.6])
@pytest.mark.parametrize("window", [5, 7])
def test_oracle_at_every_number_of_known_pixels(device: str, window: int, share_unknown: float) -> None:
    z, p = frame(5, 12, window, share_unknown), KernelParams(window, lambda_prior=0, alpha_clamp=1, min_valid=1)
    want = reference.sigma_z2(z.numpy(), K, p)
    reference.assert_close(run(z, device, p, return_components=True), want, reference.rounding(want))


@few
@given(scene=scenes(max_side=6), p=params(), max_depth=st.sampled_from([None, 1.0, 30.0]))
def test_oracle_of_any_scene(device: str, scene: Scene, p: KernelParams, max_depth: float | None) -> None:
    z = torch.from_numpy(scene.depth)
    got = run(z, device, p, scene.intrinsics, max_depth=max_depth, return_components=True)
    want = reference.sigma_z2(*scene, p, max_depth=max_depth or np.inf)
    reference.assert_close(got, want, reference.rounding(want))


@SHAPES
def test_oracle_of_the_difference(device: str, shape: tuple[int, int]) -> None:
    z, valid = frame(*shape), np.random.default_rng(1).random(shape) < 0.9
    got = run(z, device, Difference(), valid=torch.from_numpy(valid), max_depth=1.45)
    np.testing.assert_allclose(got, reference.difference(z.numpy(), valid, 1.45), rtol=1e-6)


@BOTH
def test_oracle_with_a_quantisation_step(device: str, p: Any) -> None:
    """Of the size of the noise, so that it counts next to it; and one that vanishes is none."""
    z, p = frame(4, 9), replace(p, quantisation_step=0.5)
    if isinstance(p, KernelParams):
        want = reference.sigma_z2(z.numpy(), K, p)
        reference.assert_close(run(z, device, p, return_components=True), want, reference.rounding(want))
    else:
        np.testing.assert_allclose(run(z, device, p), reference.difference(z.numpy(), quantisation_step=0.5), rtol=1e-6)
    off, vanishing = (run(z, device, replace(p, quantisation_step=step)) for step in (0.0, 1e-30))
    np.testing.assert_array_equal(vanishing, off)


@BOTH
@pytest.mark.parametrize("nothing", [0.0, np.nan, np.inf])
def test_a_frame_without_any_depth_is_infinite(device: str, p: Any, nothing: float) -> None:
    np.testing.assert_array_equal(run(torch.full((3, 4), nothing), device, p), np.inf)


# ---- input ----


@BOTH
def test_a_batch_is_its_frames(device: str, p: Any) -> None:
    z = torch.stack([frame(3, 7, seed) for seed in range(4)]).reshape(2, 2, 3, 7)
    cameras = np.array([[30, 31, 6, 3], [40, 35, 9, 2.0]])
    valid = torch.from_numpy(np.random.default_rng(2).random((2, 1, 7)) < 0.8)
    together = run(z, device, p, cameras, valid=valid)
    for i, j in np.ndindex(2, 2):
        alone = run(z[i, j], device, p, cameras[j], valid=valid[j].expand(3, 7))
        np.testing.assert_array_equal(together[i, j], alone)
    assert run(z[:0], device, p).shape == (0, 2, 3, 7)


@BOTH
@pytest.mark.parametrize(
    "view",
    [
        lambda z: z.transpose(-1, -2),
        lambda z: z[1:, ::2, 1::3],
        lambda z: z[:, 2:, 3:-2],
        lambda z: z.flip(-1, -2),
        lambda z: z.permute(1, 0, 2),
        lambda z: z[:1].expand(2, -1, -1),
    ],
    ids=["transposed", "strided", "part", "flipped", "permuted", "expanded"],
)
def test_a_view_is_read_in_place(device: str, p: Any, view: Any) -> None:
    z = torch.stack([frame(4, 8, seed) for seed in range(2)])
    mask = z > 1.1
    want = run(view(z).clone(memory_format=torch.contiguous_format), device, p, valid=view(mask).clone())
    np.testing.assert_array_equal(run(view(z.to(device)), device, p, valid=view(mask.to(device))), want)


@BOTH
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_other_dtypes_are_computed_in_float32(device: str, p: Any, dtype: Any) -> None:
    z = frame(4, 5).to(dtype)
    got = run(z, device, p)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, run(z.float(), device, p))


@BOTH
def test_all_strides_of_a_batch(device: str, p: Any) -> None:
    z = torch.stack([frame(7, 33, seed) for seed in range(2)])
    cameras, valid = np.array([K, (40.0, 35, 9, 2)]), z > 1.05
    levels = sigma_z2_strides(z.to(device), cameras, (1, 2, 3, 6), p, valid.to(device), 1.4)
    for stride, (level,) in zip((1, 2, 3, 6), levels, strict=True):
        want = sigma_z2(z[:, ::stride, ::stride], cameras / stride, p, valid[:, ::stride, ::stride], 1.4)
        torch.testing.assert_close(level.cpu(), want, rtol=TWO_ENGINES, atol=0)


def test_no_gradient_is_recorded(device: str) -> None:
    assert not sigma_z2(frame(2, 2).to(device).requires_grad_(), K, engine="triton").requires_grad


@BOTH
def test_input_is_left_alone(device: str, p: Any) -> None:
    z, mask, camera = frame(4, 5).to(device), torch.ones(4, 5, dtype=torch.bool, device=device), torch.tensor(K)
    before = z.clone()
    sigma_z2(z, camera, p, mask, engine="triton")
    torch.testing.assert_close(z, before, rtol=0, atol=0, equal_nan=True)
    assert mask.all()


# ---- graphs ----


@BOTH
def test_it_is_one_operator_of_a_graph(device: str, p: Any) -> None:
    z, camera = frame(4, 6).to(device), torch.tensor(K, device=device)
    compiled = torch.compile(
        lambda z, camera, valid: sigma_z2(z, camera, p, valid, 1.4, engine="triton"),
        backend="aot_eager",
        fullgraph=True,
    )
    for intrinsics in (camera, K, np.array(K)):
        got = compiled(z, intrinsics, z > 1.1)
        torch.testing.assert_close(got, sigma_z2(z, intrinsics, p, z > 1.1, 1.4, engine="triton"), rtol=0, atol=0)


def test_parameters_can_be_made_inside_of_a_graph(device: str) -> None:
    z = frame(3, 4).to(device)

    def inside(z: Any) -> Any:
        return sigma_z2(z, K, KernelParams(window=3, lambda_prior=0.2), engine="triton")

    got = torch.compile(inside, backend="eager", fullgraph=True)(z)
    torch.testing.assert_close(got, inside(z), rtol=0, atol=0)


def test_the_operator_keeps_torchs_rules(device: str) -> None:
    z, camera = frame(4, 6).to(device), torch.tensor(K, device=device, dtype=torch.float64)
    for window, valid in ((3, z > 1.1), (0, None)):
        torch.library.opcheck(
            triton_engine._sigma_z2, (z, camera, valid, [1, 2], window, 0.5, 0.3, 3, 2.0**50, 0.01, window == 3)
        )


@pytest.mark.parametrize("components", [False, True])
def test_a_trace_on_a_gpu_never_waits(components: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake tensor has no values: any look at one is an error."""
    monkeypatch.setattr(triton_engine, "why_not", lambda device: None)
    with FakeTensorMode():
        z, camera = torch.empty(2, 9, 8, device="cuda"), torch.empty(2, 3, 3, device="cuda")

        def traced(z: Any, camera: Any) -> Any:
            return sigma_z2(z, camera, valid=z > 1, max_depth=5.0, return_components=components)

        graph = make_fx(traced)(z, camera).graph
        maps = traced(z, camera) if components else (traced(z, camera),)
    assert [(m.shape, m.dtype, m.device.type) for m in maps] == [((2, 9, 8), torch.float32, "cuda")] * len(maps)
    assert [str(node.target) for node in graph.nodes].count("depthvar.sigma_z2.default") == 1


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
@BOTH
def test_a_cuda_graph_replays_it(p: Any) -> None:
    z, camera = torch.rand(2, 40, 150, device="cuda") + 1, torch.tensor(K, device="cuda")
    sigma_z2(z, camera, p)  # compiled
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        levels = sigma_z2_strides(z, camera, (1, 2), p)
    z.copy_(torch.rand_like(z) + 2)
    graph.replay()
    for (level,), (want,) in zip(levels, sigma_z2_strides(z, camera, (1, 2), p), strict=True):
        torch.testing.assert_close(level, want, rtol=0, atol=0)


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
@BOTH
def test_compiled_for_the_gpu_without_a_graph_break(p: Any) -> None:
    z, camera = torch.rand(2, 40, 150, device="cuda") + 1, torch.tensor(K, device="cuda")
    got = torch.compile(lambda z: 2 * sigma_z2(z, camera, p), fullgraph=True)(z)
    torch.testing.assert_close(got, 2 * sigma_z2(z, camera, p), rtol=1e-6, atol=0)


@pytest.mark.gpu
@BOTH
def test_it_is_what_a_gpu_gets_and_never_waits_for_it(
    p: Any, never_waits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    z, camera = torch.rand(2, 480, 640, device="cuda") + 1, torch.tensor(K, device="cuda")
    monkeypatch.undo()  # its own tiles
    sigma_z2(z, camera, p)  # compiled
    with never_waits():
        got = sigma_z2(z, camera, p)
    torch.testing.assert_close(got, sigma_z2(z, camera, p, engine="triton"), rtol=0, atol=0)
    torch.testing.assert_close(got, sigma_z2(z, camera, p, engine="torch"), rtol=TWO_ENGINES, atol=0)


# ---- which engine ----


@pytest.mark.parametrize(
    ("depth", "why"),
    [
        (np.ones((2, 2), np.float32), "an array is not on a GPU"),
        (torch.ones(2, 2, dtype=torch.float64), "it computes in float32, and the depth is torch.float64"),
        (torch.ones(2, 2, device="meta"), "a tensor on meta is not on a GPU"),
    ],
)
def test_where_it_cannot_run(depth: Any, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_engine, "INTERPRETED", False)
    with pytest.raises(ParameterError, match=f"^engine: 'triton' cannot run: {why}; use engine='auto' or 'torch'$"):
        sigma_z2(depth, K, engine="triton")


def test_the_compatibility_mode_is_of_torch() -> None:
    with pytest.raises(ParameterError, match=r"^engine: expected 'auto' or 'torch' with compat='pi3', got 'triton'$"):
        sigma_z2(torch.ones(2, 2), K, KernelParams(compat="pi3"), engine="triton")


def test_without_triton_or_a_compiler_a_gpu_gets_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeTensorMode():
        z = torch.empty(2, 2, device="cuda")
    monkeypatch.setattr(triton_engine, "why_not", lambda device: None)
    assert api._chosen("auto", z, KernelParams()) == "triton"
    assert api._chosen("auto", z.double(), KernelParams()) == "torch"
    assert api._chosen("auto", z, KernelParams(compat="pi3")) == "torch"
    assert api._chosen("auto", torch.ones(2, 2), KernelParams()) == "torch"
    monkeypatch.setattr(triton_engine, "why_not", lambda device: "RuntimeError: Failed to find C compiler.")
    assert api._chosen("auto", z, KernelParams()) == "torch"
    with pytest.raises(ParameterError, match=r"^engine: 'triton' cannot run: RuntimeError: Failed to find C compiler"):
        api._chosen("triton", z, KernelParams())
    monkeypatch.setitem(sys.modules, "depthvar.precompute.kernel.triton_engine", None)
    assert api._chosen("auto", z, KernelParams()) == "torch"
    with pytest.raises(ParameterError, match=r"^engine: 'triton' cannot run: Triton cannot be imported here \(.*; use"):
        api._chosen("triton", z, KernelParams())


def test_a_triton_that_cannot_compile_the_kernel_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton, "__version__", "3.3.1")
    with pytest.raises(ImportError, match=r"triton 3\.4 or newer, as torch 2\.8 brings it; got 3\.3\.1"):
        importlib.reload(triton_engine)


def test_what_fails_on_the_device_is_said_in_one_line(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("Failed to find C compiler.\nPlease specify via CC")

    monkeypatch.setattr(triton_engine, "sigma_z2_strides", fail)
    assert triton_engine._refusal.__wrapped__(device) == "RuntimeError: Failed to find C compiler."


def test_every_program_compiles_for_a_gpu_and_stays_in_its_registers() -> None:
    if not (Path(triton.__path__[0]) / "backends/nvidia/bin/cuobjdump").exists():
        pytest.skip("this Triton has no compiler for NVIDIA's GPUs")
    script = Path(__file__).parent / "helpers/triton_binaries.py"
    environment = os.environ | {"TRITON_INTERPRET": "0"}
    ran = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    programs = json.loads(ran.stdout)
    with_steps = ["difference", "spread"]
    want = ["difference"] * 2 + ["spread"] * 6 + with_steps + ["spread"]
    assert [program["program"] for program in programs] == want
    assert [program["spilled"] for program in programs] == [0] * 11


# ---- a run ----


@pytest.fixture
def played(tmp_path: Path, device: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Job, list[str]]:
    """A job of one small frame for a device where Triton runs, and for which devices its engine is chosen."""
    data, asked, real = TinyData(tmp_path / "one"), [], job_module.auto_engine
    data.write("a", "0", make_depth(5, 9, 0))

    def choose(name: str, p: Any) -> str:
        asked.append(name)
        return "triton" if device == "cpu" and name != "cpu" else real(name, p)

    monkeypatch.setattr(job_module, "auto_engine", choose)
    where = "cpu:0" if device == "cpu" else device
    return data.job(device=where, strides=(1, 2), params=KernelParams(window=3)), asked


def test_a_run_chooses_triton_once_computes_by_it_and_names_it(
    played: tuple[Job, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (job, asked), used, real = played, [], levels.sigma_z2

    def note(*given: Any, engine: Any, **options: Any) -> Any:
        used.append(engine)
        return real(*given, engine=engine, **options)

    monkeypatch.setattr(levels, "sigma_z2", note)
    list(run_pipeline(job, serial))
    assert SigmaCache(job.cache).attributes["engine"] == f"triton-{job.device}"
    assert used == ["triton"] * 2
    assert pickle.loads(pickle.dumps(job)).engine == f"triton-{job.device}"  # a worker process does not choose
    assert asked == [job.device]
    assert validate(job.cache, job.source, full=True).findings == []  # recomputed by the CPU engine


def test_a_run_that_goes_on_with_another_engine_says_so(
    played: tuple[Job, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    job, _ = played
    list(run_pipeline(replace(job, device="cpu"), serial))
    list(run_pipeline(job, serial))
    assert SigmaCache(job.cache).attributes["engine"] == "numba"
    assert f"was begun with the numba engine; this run goes on with triton-{job.device}, which differs" in caplog.text


@pytest.mark.parametrize(
    ("refusal", "engine"), [(None, "triton-cuda"), ("RuntimeError: Failed to find C compiler.", "torch-cuda")]
)
def test_the_engine_of_a_run_is_what_auto_is_there(
    refusal: str | None, engine: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = TinyData(tmp_path / "one")
    assert data.job().engine == "numba"
    assert data.job(params=KernelParams(compat="pi3")).engine == "torch-cpu"
    assert data.job(device="cpu:0").engine == "torch-cpu:0"
    monkeypatch.setattr(triton_engine, "why_not", lambda device: refusal)
    with FakeTensorMode():  # a GPU without values
        assert data.job(device="cuda").engine == engine
        assert data.job(device="cuda", params=KernelParams(compat="pi3")).engine == "torch-cuda"


# ---- benchmark ----


def test_the_benchmark_of_a_device_in_the_small(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_device, "STRIDES", (1, 2))
    monkeypatch.setattr(kernel_device, "estimators", lambda: {"range": KernelParams(window=3)})
    frames = [np.nan_to_num(frame(2, 3, seed).numpy()) for seed in range(2)]
    found = kernel_device.report(frames, K, device, batch=3, repeats=1)
    assert found["batch"] == [3, 2, 3]
    rows = found["estimators"]["range"]
    for way in ("triton", "triton, all strides", "torch", "unfold_sort"):
        assert rows[way]["ms"] > 0, rows[way]
        assert rows[way]["peak_extra_maps"] >= 1
    assert all("not_measured" in other or "ms" in other for other in rows.values())


def test_the_benchmark_without_triton_measures_the_others() -> None:
    script = Path(__file__).parents[1] / "benchmarks/kernel.py"
    options = "--device cpu --batch 1 --rows 9 --repeats 1"
    environment = os.environ | {"TRITON_INTERPRET": "0"}
    ran = subprocess.run([sys.executable, script, *options.split()], env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    rows = json.loads(ran.stdout)["estimators"]["range, window 5"]
    assert rows["torch"]["megapixels_per_s"] > 0
    assert rows["triton"]["not_measured"].startswith("ParameterError: engine: 'triton' cannot run: a tensor on cpu is")


def test_the_last_lines_say_how_many_gpu_tests_did_not_run(request: pytest.FixtureRequest) -> None:
    (conftest,) = (
        plugin
        for plugin in request.config.pluginmanager.get_plugins()
        if getattr(plugin, "__file__", None) == str(Path(__file__).with_name("conftest.py"))
    )
    one, other = ("file", 1, "Skipped: no CUDA device"), ("file", 2, "Skipped: TRITON_INTERPRET=1")
    skipped = [
        SimpleNamespace(keywords=keywords, longrepr=why)
        for keywords, why in (({"gpu": 1}, one), ({"gpu": 1}, one), ({}, one), ({"gpu": 1}, other))
    ]
    said: list[str] = []
    summary = conftest.pytest_terminal_summary(SimpleNamespace(stats={"skipped": skipped}, write_line=said.append))
    next(summary)
    assert not said  # before the others' lines
    assert next(summary, None) is None
    assert said == ["GPU tests not run: 2 (no CUDA device)", "GPU tests not run: 1 (TRITON_INTERPRET=1)"]
