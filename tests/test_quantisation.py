"""The quantisation step of the stored depth: what it adds to σ², in the kernel, in caches and on the command line."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import torch
import zarr
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import STEP, Scene, params, scenes
from tiny_data import TinyData

from depthvar.datasets import SigmaCache
from depthvar.datasets.errors import ParameterError
from depthvar.datasets.params import Estimator, params_from_json, params_to_json
from depthvar.precompute import Difference, KernelParams, sigma_z2
from depthvar.precompute.cli.main import main
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.fingerprint import fingerprint
from depthvar.precompute.validation.validate import validate

CACHE_V1 = Path(__file__).parent / "data/cache_v1/data/sigma_Z2.zarr/zarr.json"
ENGINES = pytest.mark.parametrize("engine", ["numba", "torch"])
KINDS = pytest.mark.parametrize("kind", [KernelParams, Difference])
laws = settings(max_examples=60, deadline=None)
estimators = st.one_of(params(), st.builds(Difference, quantisation_step=STEP))


def run(scene: Scene, p: Estimator, engine: Any = "numba") -> NDArray[np.float32]:
    return sigma_z2(scene.depth, scene.intrinsics, p, engine=engine)


# ---- values; tests/test_kernel_properties.py compares the range with the oracle, also with steps ----


@ENGINES
@laws
@given(scene=scenes(), step=STEP)
def test_oracle_of_the_difference(engine: Any, scene: Scene, step: float) -> None:
    want = reference.difference(scene.depth, quantisation_step=step)
    np.testing.assert_allclose(run(scene, Difference(step), engine), want, rtol=1e-6)


@ENGINES
@KINDS
def test_on_a_wall_it_is_the_variance_of_what_rounding_does(engine: Any, kind: Any) -> None:
    """Also off the optical axis, where the ray is longer: an error of depth is one of depth."""
    step = 0.01
    exact = np.random.default_rng(0).uniform(1.9, 2.1, 10**6)
    error = np.round(exact / step) * step - exact
    none = {"lambda_prior": 0.0} if kind is KernelParams else {}
    wall = Scene(np.full((5, 6), 2, np.float32), np.array([1e5, 1e5, -1e5, 2]))  # 45° to the side
    got = run(wall, kind(quantisation_step=step, **none), engine)
    np.testing.assert_allclose(got, step**2 / 12, rtol=1e-4)
    np.testing.assert_allclose(got, error.var(), rtol=5e-3)  # of a million samples: 9e-4


def test_it_adds_to_the_square_of_the_half_width_in_quadrature() -> None:
    """In float64, from the half-width without a step."""
    z = torch.from_numpy(2 + np.random.default_rng(1).uniform(0, 0.1, (9, 12)))
    z[2, 3] = 0
    off, on = (sigma_z2(z, (50, 60, 4, 5), KernelParams(quantisation_step=q), return_components=True) for q in (0, 0.1))
    seen, d_z = z > 0, z / off.t_mu
    added = (0.05 / d_z) ** 2
    torch.testing.assert_close((on.t_delta**2)[seen], (off.t_delta**2 + added)[seen], rtol=1e-12, atol=0)
    want = d_z**2 * reference.frustum_variance(off.t_mu, torch.sqrt(off.t_delta**2 + added))
    torch.testing.assert_close(on.sigma_z2[seen], want[seen], rtol=1e-9, atol=0)


@ENGINES
@laws
@given(scene=scenes(), p=estimators)
def test_a_step_that_vanishes_is_none_bit_for_bit(engine: Any, scene: Scene, p: Estimator) -> None:
    off, vanishing = (run(scene, replace(p, quantisation_step=step), engine) for step in (0.0, 1e-30))
    np.testing.assert_array_equal(vanishing, off)


@ENGINES
@laws
@given(scene=scenes(), p=estimators, larger=st.floats(1, 100))
def test_sigma_grows_with_the_step(engine: Any, scene: Scene, p: Estimator, larger: float) -> None:
    once, more = (run(scene, replace(p, quantisation_step=p.quantisation_step * by), engine) for by in (1, larger))
    assert (more >= once * np.float32(1 - 1e-6)).all()


@ENGINES
@laws
@given(scene=scenes(), step=STEP, power=st.integers(-6, 12))
def test_the_difference_scales_with_depth_and_step(engine: Any, scene: Scene, step: float, power: int) -> None:
    scaled = scene._replace(depth=scene.depth * np.float32(2.0**power))
    want = run(scene, Difference(step), engine) * np.float32(4.0**power)
    np.testing.assert_array_equal(run(scaled, Difference(step * 2.0**power), engine), want)


@laws
@given(scene=scenes(largest=1e4), p=estimators, scale=st.floats(0.01, 100))
def test_scale_by_any_number(scene: Scene, p: Estimator, scale: float) -> None:
    z, with_step = (
        torch.from_numpy(scene.depth.astype(np.float64)),
        replace(p, quantisation_step=p.quantisation_step * scale),
    )
    once, twice = sigma_z2(z, scene.intrinsics, p), sigma_z2(scale * z, scene.intrinsics, with_step)
    np.testing.assert_allclose(twice.numpy(), scale**2 * once.numpy(), rtol=1e-7)


@laws
@given(scene=scenes(), p=estimators)
def test_the_engines_agree(scene: Scene, p: Estimator) -> None:
    numba, torch_ = run(scene, p), run(scene, p, "torch")
    if isinstance(p, KernelParams):
        allowed = 2 * reference.rounding(reference.sigma_z2(*scene, p))
        np.testing.assert_array_equal(np.isfinite(numba), np.isfinite(torch_))
        seen = np.isfinite(numba)
        assert (np.abs(numba[seen] - torch_[seen]) <= allowed[seen] * numba[seen]).all()
    else:
        np.testing.assert_allclose(torch_, numba, rtol=1e-6)


@ENGINES
@laws
@given(scene=scenes(), p=estimators)
def test_a_step_of_any_size_stays_below_the_clamp(engine: Any, scene: Scene, p: Estimator) -> None:
    got, off = (
        run(scene, replace(p, quantisation_step=1e9), engine),
        run(scene, replace(p, quantisation_step=0), engine),
    )
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(off))  # it gives no pixel a σ, and takes none
    seen = np.isfinite(got) & (scene.depth < 1e6)
    largest = reference.frustum_variance(1.0, p.alpha_clamp) if isinstance(p, KernelParams) else 1 / 3
    np.testing.assert_allclose(got[seen], scene.depth[seen].astype(np.float64) ** 2 * largest, rtol=1e-6)


@KINDS
def test_it_can_be_compiled(kind: Any) -> None:
    z, p = torch.rand(6, 7) + 1, kind(quantisation_step=0.1)
    got = torch.compile(lambda z: sigma_z2(z, (50.0, 60, 4, 5), p), backend="eager", fullgraph=True)(z)
    torch.testing.assert_close(got, sigma_z2(z, (50.0, 60, 4, 5), p), rtol=0, atol=0)


# ---- parameters ----


@KINDS
@pytest.mark.parametrize("step", [-1, float("nan"), float("inf"), 2e9, True, "0.001", None])
def test_impossible_steps(kind: Any, step: Any) -> None:
    with pytest.raises(ParameterError, match=r"^quantisation_step: expected a number of metres from 0 to 1e9, got "):
        kind(quantisation_step=step)


def test_the_compatibility_mode_has_none() -> None:
    with pytest.raises(ParameterError, match=r"^quantisation_step: expected 0 with compat='pi3', .*, got 0.001$"):
        KernelParams(compat="pi3", quantisation_step=0.001)
    assert KernelParams(compat="pi3", quantisation_step=0) == KernelParams(compat="pi3")


@KINDS
def test_it_is_recorded_where_it_is_used_and_only_there(kind: Any) -> None:
    p = kind(quantisation_step=np.float32(0.001))
    assert params_to_json(p)["quantisation_step"] == 0.001
    assert params_from_json(json.loads(json.dumps(params_to_json(p)))) == p
    assert "quantisation_step" not in params_to_json(kind())
    assert params_from_json(params_to_json(kind())) == kind()


def test_caches_from_before_it_keep_their_fingerprint() -> None:
    root = json.loads(CACHE_V1.read_text())["attributes"]
    given = root["parameters"]
    again = {name: given[name] for name in given if name not in params_to_json(KernelParams())}
    assert fingerprint(again | params_to_json(params_from_json(given))) == root["fingerprint"]


# ---- caches and the command line ----


def cli(*words: object) -> Any:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.mark.parametrize("estimator", ["range", "difference"])
def test_a_cache_records_it_is_validated_with_it_and_refuses_another(tiny: TinyData, estimator: str) -> None:
    cache = tiny.root / "sigma_Z2.zarr"
    command = ("run", "--dataset", tiny.toml, "--strides", "1,2", "--estimator", estimator)
    assert cli(*command, "--quantisation-step", 0.25).exit_code == 0
    assert ", quantisation_step 0.25, keepbits 8" in cli("info", cache).stdout
    assert cli("validate", cache, "--full").exit_code == 0
    first, key = SigmaCache(cache), "b/depth/001.npy"
    assert params_from_json(first.params).quantisation_step == 0.25
    depth = np.load(tiny.root / key)
    for stride in (1, 2):
        want = sigma_z2(depth[::stride, ::stride], first.intrinsics(key) / stride, params_from_json(first.params))
        np.testing.assert_allclose(first.read(key, stride), want, rtol=2**-8)
    before = first.read(key)
    for other, got in (("0.5", "0.5"), ("0", "None")):
        refused = cli(*command, "--quantisation-step", other)
        assert refused.exit_code == 1
        assert f"quantisation_step is 0.25 in the cache and {got} in this run; pass --overwrite" in refused.stderr
    assert cli(*command, "--overwrite").exit_code == 0
    off = SigmaCache(cache)
    assert "quantisation_step" not in off.params
    assert (before > off.read(key))[np.isfinite(before)].any()
    assert cli("validate", cache, "--full").exit_code == 0


@pytest.mark.parametrize("p", [KernelParams(lambda_prior=0, quantisation_step=0.25), Difference(0.25)])
def test_validate_finds_a_value_that_only_the_step_forbids(tiny: TinyData, p: Estimator) -> None:
    job = tiny.job(params=p, with_depth=True)
    list(pipeline.run(job, execute.serial))
    array = zarr.open_array(f"{job.cache}/b/sigma_Z2", mode="r+")
    stored = np.asarray(array[:])
    stored[0, 20, 3] = 0.25**2 / 13
    array[:] = stored
    (finding,) = validate(job.cache, recompute=0).findings
    assert (finding.check, finding.where) == ("limits", "b/depth/000.npy, sigma_Z2")
    assert "m² at row 20, column 3, outside 0.0051" in finding.got
