"""The estimator ``Difference``: its laws and oracle on both engines, its parameters, and its caches."""

import json
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import Scene, scenes
from tiny_data import TinyData
from torch_memory import PeakBytes

from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import CacheError, ParameterError
from depthvar.datasets.params import ESTIMATORS, Estimator, params_from_json, params_to_json
from depthvar.loss.pi3 import Pi3LossMipNeRFVariance
from depthvar.precompute import Difference, KernelParams, sigma_z2
from depthvar.precompute.cli.main import main
from depthvar.precompute.kernel.torch_engine import sigma_z2_maps
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.fingerprint import fingerprint
from depthvar.precompute.validation.validate import validate

DIFFERENCE = Difference()
K = (50.0, 60.0, 12.0, 9.0)
ENGINES = pytest.mark.parametrize("engine", ["numba", "torch"])
laws = settings(max_examples=60, deadline=None)


def run(depth: NDArray[Any], engine: Any = "numba", **options: Any) -> NDArray[np.float32]:
    return sigma_z2(depth, K, DIFFERENCE, engine=engine, **options)


def floor(z: float) -> float:
    return (1e-4 * z) ** 2 / 3


# ---- values ----


@ENGINES
@laws
@given(scene=scenes(), seed=st.integers(0, 99), max_depth=st.sampled_from([None, 1.0, 30.0]))
def test_oracle(engine: Any, scene: Scene, seed: int, max_depth: float | None) -> None:
    valid = np.random.default_rng(seed).random(scene.depth.shape) < 0.8
    want = reference.difference(scene.depth, valid, max_depth or math.inf)
    np.testing.assert_allclose(run(scene.depth, engine, valid=valid, max_depth=max_depth), want, rtol=1e-6)


def test_the_oracle_on_one_frame_by_hand() -> None:
    """Rows 1 and 3 m apart at most, a hole, and the sky: every rule of the section once."""
    inf = math.inf
    z = [[2.0, 2.5, 0.0, 4.0], [2.0, 3.0, inf, 4.0]]
    want = [
        [0.5**2 / 12, (0.5**2 + 0.5**2) / 12, inf, floor(4)],
        [1.0**2 / 12, 3**2 / 3, inf, 4**2 / 3],
    ]
    np.testing.assert_allclose(reference.difference(z), want, rtol=1e-12)
    np.testing.assert_allclose(run(np.array(z, np.float32)), want, rtol=1e-6)


@ENGINES
def test_on_a_ramp_it_is_the_variance_of_the_footprint(engine: Any) -> None:
    v, u = np.indices((9, 12), np.float32)
    z = 4 + 0.25 * u - 0.125 * v  # exact in float32, at the border too
    np.testing.assert_allclose(run(z, engine), (0.25**2 + 0.125**2) / 12, rtol=1e-6)


@ENGINES
def test_on_a_step_both_sides_have_a_twelfth_of_its_square(engine: Any) -> None:
    z = np.full((6, 10), 2, np.float32)
    z[:, 5:] = 3
    want = np.full((6, 10), floor(2))
    want[:, 5:], want[:, 4:6] = floor(3), 1 / 12
    np.testing.assert_allclose(run(z, engine), want, rtol=1e-6)


@ENGINES
def test_the_larger_side_counts_and_the_axes_add(engine: Any) -> None:
    z = np.array([[0, 5.5, 0], [4.5, 5, 5.25], [0, 5.125, 0]], np.float32)
    assert run(z, engine)[1, 1] == pytest.approx((0.5**2 + 0.5**2) / 12, rel=1e-6)
    z[0, 1] = 0  # unknown: the other side of the axis is left
    assert run(z, engine)[1, 1] == pytest.approx((0.5**2 + 0.125**2) / 12, rel=1e-6)
    z[2, 1] = 0  # and without either, the other axis
    assert run(z, engine)[1, 1] == pytest.approx(0.5**2 / 12, rel=1e-6)


@ENGINES
@pytest.mark.parametrize("unknown", [0.0, -1.0, math.nan, -math.inf])
def test_a_pixel_without_a_known_neighbour_has_no_information(engine: Any, unknown: float) -> None:
    z = np.full((5, 5), unknown, np.float32)
    z[2, 2] = z[1, 1] = z[3, 3] = 2  # diagonal neighbours do not count
    np.testing.assert_array_equal(run(z, engine), np.inf)
    assert run(np.ones((1, 1), np.float32), engine) == np.inf
    np.testing.assert_allclose(run(np.ones((1, 2), np.float32), engine), floor(1), rtol=1e-6)
    np.testing.assert_allclose(run(np.ones((2, 1), np.float32), engine), floor(1), rtol=1e-6)


@ENGINES
def test_sky_makes_a_silhouette_and_far_depth_takes_part(engine: Any) -> None:
    z = np.full((4, 6), 2, np.float32)
    z[:, 4:] = np.inf
    assert run(z, engine)[:, 3] == pytest.approx(2**2 / 3, rel=1e-6)  # σ is finite: no hole to a lookup
    np.testing.assert_allclose(run(z, engine)[:, :3], floor(2), rtol=1e-6)
    z[:, 4:] = 3
    np.testing.assert_allclose(run(z, engine, max_depth=2.5)[:, 3], 1 / 12, rtol=1e-6)
    np.testing.assert_array_equal(run(z, engine, max_depth=2.5)[:, 4:], np.inf)


@ENGINES
@laws
@given(scene=scenes(), power=st.integers(-6, 12))
def test_scale_by_a_power_of_two_is_exact(engine: Any, scene: Scene, power: int) -> None:
    scaled = run(scene.depth * np.float32(2.0**power), engine)
    np.testing.assert_array_equal(scaled, run(scene.depth, engine) * np.float32(4.0**power))


@laws
@given(scene=scenes(largest=1e4), scale=st.floats(0.01, 100))
def test_scale_by_any_number(scene: Scene, scale: float) -> None:
    """In float64, where the rounding of the scaled depth does not hide a small difference."""
    z = torch.from_numpy(scene.depth.astype(np.float64))
    once, twice = (sigma_z2(depth, K, DIFFERENCE).numpy() for depth in (z, scale * z))
    # A scaled depth is off by 1e-16 of itself, a difference of 1e-4 of it, the floor's, by 1e-12.
    np.testing.assert_allclose(twice, scale**2 * once, rtol=1e-11)


@ENGINES
@laws
@given(scene=scenes())
def test_flips_and_a_transposition_are_exact(engine: Any, scene: Scene) -> None:
    z, once = scene.depth, run(scene.depth, engine)
    np.testing.assert_array_equal(run(z[::-1, ::-1], engine), once[::-1, ::-1])
    np.testing.assert_array_equal(run(z[:, ::-1], engine), once[:, ::-1])
    np.testing.assert_array_equal(run(z.T, engine), once.T)


@ENGINES
@laws
@given(scene=scenes(min_side=6, max_side=20), left=st.integers(0, 2), top=st.integers(0, 2))
def test_interior_of_a_crop_has_the_same_bits(engine: Any, scene: Scene, left: int, top: int) -> None:
    crop, inner = np.s_[top:-1, left:-1], np.s_[1:-1, 1:-1]
    np.testing.assert_array_equal(run(scene.depth[crop], engine)[inner], run(scene.depth, engine)[crop][inner])


@ENGINES
@laws
@given(scene=scenes(), data=st.data(), other=st.sampled_from([0, np.nan, np.inf, 7.0]))
def test_a_pixel_changes_itself_and_its_four_neighbours_only(
    engine: Any, scene: Scene, data: st.DataObject, other: float
) -> None:
    height, width = scene.depth.shape
    v, u = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    changed = scene.depth.copy()
    changed[v, u] = other
    j, i = np.indices(scene.depth.shape)
    elsewhere = abs(j - v) + abs(i - u) > 1
    np.testing.assert_array_equal(run(changed, engine)[elsewhere], run(scene.depth, engine)[elsewhere])


@ENGINES
@laws
@given(scene=scenes(), max_depth=st.sampled_from([None, 0.5, 10.0]))
def test_bounded_where_finite_and_finite_where_a_neighbour_is_known(
    engine: Any, scene: Scene, max_depth: float | None
) -> None:
    got, known = run(scene.depth, engine, max_depth=max_depth), np.pad(scene.depth > 0, 1)
    beside = known[1:-1, :-2] | known[1:-1, 2:] | known[:-2, 1:-1] | known[2:, 1:-1]
    valid = known[1:-1, 1:-1] & (scene.depth < np.inf) & (scene.depth <= (max_depth or np.inf))
    np.testing.assert_array_equal(np.isfinite(got), valid & beside)
    assert (got[~valid] == np.inf).all()
    z, finite = scene.depth.astype(np.float64), np.isfinite(got)
    assert (got[finite] >= 0.999999 * floor(1) * z[finite] ** 2).all()
    assert (got[finite] <= 1.000001 * z[finite] ** 2 / 3).all()


@given(scene=scenes())
@laws
def test_the_engines_agree(scene: Scene) -> None:
    np.testing.assert_allclose(run(scene.depth, "torch"), run(scene.depth, "numba"), rtol=1e-6)


@ENGINES
def test_intrinsics_do_not_enter_and_batches_are_their_frames(engine: Any) -> None:
    z = np.random.default_rng(0).uniform(1, 3, (2, 3, 8, 9)).astype(np.float32)
    valid = z > 1.2
    cameras = np.random.default_rng(1).uniform(1, 99, (3, 4))
    together = sigma_z2(z, cameras, DIFFERENCE, valid=valid, engine=engine)
    for at in np.ndindex(2, 3):
        np.testing.assert_array_equal(together[at], run(z[at], engine, valid=valid[at]))


def test_torch_keeps_float64_never_waits_compiles_and_holds_few_maps() -> None:
    z = torch.rand(200, 300) + 1
    fine = sigma_z2(z.double(), K, DIFFERENCE)
    assert fine.dtype == torch.float64
    torch.testing.assert_close(fine.float(), sigma_z2(z, K, DIFFERENCE), rtol=1e-6, atol=0)
    meta = torch.ones(2, 9, 8, device="meta")
    (shaped,) = sigma_z2_maps(meta, torch.ones(4, device="meta"), DIFFERENCE, meta > 0, 5.0, components=False)
    assert shaped.shape == (2, 9, 8)
    compiled = torch.compile(sigma_z2_maps, backend="eager", fullgraph=True)
    (got,) = compiled(z, torch.tensor(K), DIFFERENCE, None, None, components=False)
    torch.testing.assert_close(got, sigma_z2(z, K, DIFFERENCE), rtol=0, atol=0)
    with PeakBytes(z) as memory:
        got = sigma_z2(z, torch.tensor(K), DIFFERENCE)
    assert 2 * z.nbytes < memory.peak < 9 * z.nbytes


# ---- parameters ----


@pytest.mark.parametrize(
    "params", [KernelParams(), KernelParams(7, 0.2, 1, 49), KernelParams(compat="pi3"), DIFFERENCE]
)
def test_a_cache_records_the_estimator_and_its_parameters(params: Any) -> None:
    recorded = params_to_json(params)
    assert recorded["estimator"] == params.estimator
    assert set(recorded) == {"estimator", *(field.name for field in fields(params))} - {"quantisation_step"}
    assert params_from_json(json.loads(json.dumps(recorded | {"strides": [1]}))) == params
    assert ESTIMATORS[params.estimator] is type(params)


@pytest.mark.parametrize("estimator", ["sobel", None, 1, ["range"]])
def test_an_unknown_estimator(estimator: Any) -> None:
    with pytest.raises(ParameterError, match=r"^estimator: expected 'range' or 'difference', got "):
        params_from_json({"estimator": estimator})
    with pytest.raises(ParameterError, match=r"^params: expected KernelParams or Difference, got "):
        sigma_z2(np.ones((3, 3)), K, estimator)


def test_a_parameter_that_a_cache_does_not_name() -> None:
    recorded = params_to_json(KernelParams())
    del recorded["window"]
    with pytest.raises(ParameterError, match=r"^window: expected a value, got none$"):
        params_from_json(recorded)


@ENGINES
def test_there_are_no_components(engine: Any) -> None:
    with pytest.raises(ParameterError, match=r"^return_components: expected False with Difference, "):
        run(np.ones((3, 3), np.float32), engine, return_components=True)


# ---- caches ----


def compute(tiny: TinyData, params: Estimator, **options: Any) -> SigmaCache:
    job = tiny.job(params=params)
    list(pipeline.run(job, execute.serial, **options))
    return SigmaCache(job.cache)


def test_a_cache_holds_the_kernels_values_at_every_stride_and_says_which(tiny: TinyData) -> None:
    cache, key = compute(tiny, DIFFERENCE), "b/depth/001.npy"
    assert cache.params["estimator"] == "difference"
    assert "window" not in cache.params
    assert params_from_json(cache.params) == DIFFERENCE
    depth = np.load(tiny.root / key)
    for stride in cache.strides:
        np.testing.assert_allclose(cache.read(key, stride), run(depth[::stride, ::stride]), rtol=2**-8)
    assert validate(cache.path, tiny.source(), full=True).findings == []


def test_a_run_compiles_its_estimator_before_its_threads(tiny: TinyData, monkeypatch: pytest.MonkeyPatch) -> None:
    warmed: list[str] = []
    monkeypatch.setattr(pipeline, "warm_up", warmed.append)
    compute(tiny, DIFFERENCE)
    assert warmed == ["difference"]


def test_a_view_between_strides_is_found_and_annotated(tiny: TinyData) -> None:
    cache, key = compute(tiny, DIFFERENCE), "b/depth/001.npy"
    view = {"depthmap": np.ones((16, 21)), "camera_intrinsics": np.diag([40 / 1.5, 40 / 1.5, 1])}
    view["camera_intrinsics"][:2, 2] = (16.5 / 1.5 - 0.5, 12.5 / 1.5 - 0.5)
    cache.annotate(view, key)
    expected = Pi3LossMipNeRFVariance(window=3, lambda_prior=0, alpha_clamp=1).params
    assert view["sigma_Z2_params"].tolist() == list(expected.values())
    assert np.isfinite(view["sigma_Z2"]).mean() > 0.5


def test_the_parameters_of_a_range_and_their_fingerprint(tiny: TinyData) -> None:
    parameters = tiny.job().parameters()
    assert parameters == {
        "kernel_version": 1, "estimator": "range", "window": 5, "lambda_prior": 0.5, "alpha_clamp": 0.3,
        "min_valid": 3, "compat": None, "strides": [1, 2, 3], "max_depth": None, "keepbits": 8, "with_depth": False,
        "decode_rule": tiny.source().describe()["depth"],
    }  # fmt: skip
    assert params_from_json(parameters) == KernelParams()
    assert fingerprint(tiny.job(params=DIFFERENCE).parameters()) != fingerprint(parameters)


@pytest.mark.parametrize("first", ["range", "difference"])
def test_a_cache_of_one_estimator_is_not_continued_with_the_other(tiny: TinyData, first: Any) -> None:
    other = "difference" if first == "range" else "range"
    cache = compute(tiny, ESTIMATORS[first]())
    before = cache.read("b/depth/000.npy")
    with pytest.raises(CacheError, match=f"estimator is '{first}' in the cache and '{other}' in this run; pass --over"):
        compute(tiny, ESTIMATORS[other]())
    np.testing.assert_array_equal(SigmaCache(cache.path).read("b/depth/000.npy"), before)
    changed = compute(tiny, ESTIMATORS[other](), overwrite=True).read("b/depth/000.npy")
    assert (changed != before).any()


def cli(*words: object) -> Any:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_the_command_line_computes_it_and_info_shows_it(tiny: TinyData) -> None:
    cache = tiny.root / "sigma_Z2.zarr"
    command = ("run", "--dataset", tiny.toml, "--strides", "1,2")
    assert cli(*command, "--estimator", "difference").exit_code == 0
    assert "parameters   estimator difference, keepbits 8" in cli("info", cache).stdout
    assert json.loads(cli("info", cache, "--json").stdout)["parameters"]["estimator"] == "difference"
    assert cli("validate", cache, "--full").exit_code == 0
    refused = cli(*command)
    assert refused.exit_code == 1
    assert "estimator is 'difference' in the cache and 'range' in this run" in refused.stderr
    assert cli(*command, "--overwrite").exit_code == 0
    assert "parameters   estimator range, window 5, lambda_prior 0.5, alpha_clamp 0.3" in cli("info", cache).stdout
    assert json.loads(cli("info", cache, "--json").stdout)["parameters"]["estimator"] == "range"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("--window 5", "--window 5"),
        ("--lambda-prior 0", "--lambda-prior 0.0"),
        ("--alpha-clamp 0.3 --compat pi3", "--alpha-clamp 0.3, --compat pi3"),
        ("--quantisation-step 0.1 --min-valid 3", "--min-valid 3"),
    ],
)
def test_an_option_of_the_range_is_refused_with_the_difference(tiny: TinyData, options: str, named: str) -> None:
    """At its default too: what is typed is meant."""
    result = cli("run", "--dataset", tiny.toml, "--estimator", "difference", *options.split())
    assert result.exit_code == 2
    message = f"error: --estimator difference: expected no parameter of the range, got {named}; leave it out\n"
    assert result.stderr == message
    assert not list(Path(tiny.root).glob("*.zarr"))


def test_an_unknown_estimator_on_the_command_line(tiny: TinyData) -> None:
    result = cli("run", "--dataset", tiny.toml, "--estimator", "sobel")
    assert result.exit_code == 2
    assert "'sobel' is not one of 'range', 'difference'." in result.stderr
