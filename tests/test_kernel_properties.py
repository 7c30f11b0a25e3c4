"""Laws of the kernel, on both engines: the oracle, scale, flips, crops, and what a single pixel may change."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import Scene, params, scenes

from depthvar.precompute import KernelParams, sigma_z2

ENGINES = pytest.mark.parametrize("engine", ["numba", "torch"])
laws = settings(max_examples=60, deadline=None)


def run(scene: Scene, p: KernelParams, engine: Any, **options: Any) -> NDArray[np.float32]:
    return sigma_z2(scene.depth, scene.intrinsics, p, engine=engine, **options)


def half_width_bound(alpha: float) -> float:
    """σ_t² / t² at the cap, the largest there is."""
    return reference.frustum_variance(1.0, alpha)


@ENGINES
@laws
@given(scene=scenes(), p=params(), max_depth=st.sampled_from([None, 1.0, 30.0]))
def test_oracle(engine: Any, scene: Scene, p: KernelParams, max_depth: float | None) -> None:
    got = run(scene, p, engine, max_depth=max_depth, return_components=True)
    want = reference.sigma_z2(*scene, p, max_depth=max_depth or np.inf)
    reference.assert_close(got, want, reference.rounding(want))


@laws
@given(scene=scenes(), p=params())
def test_the_twin_for_large_frames_is_the_oracle(scene: Scene, p: KernelParams) -> None:
    want = reference.sigma_z2(*scene, p)
    two_of_float64 = 4 * reference.rounding(want, 2.0**-53)  # each of them, whose norms have more roundings, twice that
    reference.assert_close(reference.sigma_z2_of_arrays(*scene, p), want, two_of_float64)


@ENGINES
@pytest.mark.parametrize("window", [3, 5, 7])
@pytest.mark.parametrize("share_unknown", [0.0, 0.35, 0.7])
def test_oracle_at_every_number_of_known_pixels(engine: Any, window: int, share_unknown: float) -> None:
    """Noise that neither the floor, the prior nor the cap hides, so that every rank counts."""
    rng = np.random.default_rng(window)
    z = rng.uniform(1, 1.5, (40, 40)).astype(np.float32)
    z[rng.random(z.shape) < share_unknown] = 0
    p = KernelParams(window=window, lambda_prior=0, alpha_clamp=1, min_valid=1)
    got = sigma_z2(z, (300, 310, 20, 19), p, engine=engine, return_components=True)
    want = reference.sigma_z2(z, (300, 310, 20, 19), p)
    reference.assert_close(got, want, reference.rounding(want))


@laws
@given(scene=scenes(largest=1e3), p=params(compat=True), max_depth=st.sampled_from([None, 1.0, 30.0]))
def test_oracle_of_the_compatibility_mode(scene: Scene, p: KernelParams, max_depth: float | None) -> None:
    got = run(scene, p, "torch", max_depth=max_depth, return_components=True)
    want = reference.sigma_z2(*scene, p, max_depth=max_depth or np.inf)
    reference.assert_close(got, want, 1e-3 + reference.rounding(want))


@ENGINES
@laws
@given(scene=scenes(), p=params(), seed=st.integers(0, 99))
def test_mask_is_the_same_as_zero_depth(engine: Any, scene: Scene, p: KernelParams, seed: int) -> None:
    valid = np.random.default_rng(seed).random(scene.depth.shape) < 0.7
    zeroed = scene._replace(depth=np.where(valid, scene.depth, np.float32(0)))
    np.testing.assert_array_equal(run(scene, p, engine, valid=valid), run(zeroed, p, engine))


@ENGINES
@laws
@given(scene=scenes(largest=1e6), p=params(), power=st.integers(-6, 12))
def test_scale_by_a_power_of_two_is_exact(engine: Any, scene: Scene, p: KernelParams, power: int) -> None:
    scaled = scene._replace(depth=scene.depth * np.float32(2.0**power))
    with_step = replace(p, quantisation_step=p.quantisation_step * 2.0**power)
    np.testing.assert_array_equal(run(scaled, with_step, engine), run(scene, p, engine) * np.float32(4.0**power))


@ENGINES
@laws
@given(scene=scenes(), p=params())
def test_flips_are_exact(engine: Any, scene: Scene, p: KernelParams) -> None:
    fx, fy, cx, cy = scene.intrinsics
    height, width = scene.depth.shape
    flipped = Scene(scene.depth[::-1, ::-1], np.array([fx, fy, width - 1 - cx, height - 1 - cy]))
    np.testing.assert_array_equal(run(flipped, p, engine), run(scene, p, engine)[::-1, ::-1])


@ENGINES
@laws
@given(scene=scenes(min_side=9, max_side=30), p=params(), left=st.integers(0, 3), top=st.integers(0, 3))
def test_interior_of_a_crop_has_the_same_bits(engine: Any, scene: Scene, p: KernelParams, left: int, top: int) -> None:
    height, width = scene.depth.shape
    rows, columns = slice(top, height - 1), slice(left, width - 1)
    cropped = Scene(scene.depth[rows, columns], scene.intrinsics - (0, 0, left, top))
    r = p.window // 2
    inner = (slice(r, -r), slice(r, -r))
    np.testing.assert_array_equal(run(cropped, p, engine)[inner], run(scene, p, engine)[rows, columns][inner])


@ENGINES
@laws
@given(scene=scenes(), p=params(), data=st.data(), hole=st.sampled_from([0, np.nan, np.inf]))
def test_a_pixel_changes_its_own_window_only(
    engine: Any, scene: Scene, p: KernelParams, data: st.DataObject, hole: float
) -> None:
    height, width = scene.depth.shape
    v, u = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    changed = scene._replace(depth=scene.depth.copy())
    changed.depth[v, u] = hole
    r = p.window // 2
    outside = np.ones(scene.depth.shape, bool)
    outside[max(0, v - r) : v + r + 1, max(0, u - r) : u + r + 1] = False
    after = run(changed, p, engine)
    np.testing.assert_array_equal(after[outside], run(scene, p, engine)[outside])
    assert after[v, u] == np.inf


@ENGINES
@laws
@given(scene=scenes(), p=params(), max_depth=st.sampled_from([None, 0.5, 10.0]))
def test_finite_and_bounded_where_valid_infinite_elsewhere(
    engine: Any, scene: Scene, p: KernelParams, max_depth: float | None
) -> None:
    got = run(scene, p, engine, max_depth=max_depth)
    valid = (scene.depth > 0) & (scene.depth < np.inf) & (scene.depth <= (max_depth or np.inf))
    np.testing.assert_array_equal(np.isfinite(got), valid)
    assert (got[~valid] == np.inf).all()
    bound = scene.depth[valid].astype(np.float64) ** 2
    assert (got[valid] > 0).all()
    assert (got[valid] <= bound * half_width_bound(p.alpha_clamp) * 1.000001).all()


@ENGINES
@laws
@given(scene=scenes(), p=params(), max_depth=st.sampled_from([0.5, 10.0]))
def test_max_depth_changes_only_what_lies_beyond(engine: Any, scene: Scene, p: KernelParams, max_depth: float) -> None:
    beyond = scene.depth > max_depth
    want = np.where(beyond, np.float32(np.inf), run(scene, p, engine))
    np.testing.assert_array_equal(run(scene, p, engine, max_depth=max_depth), want)


@ENGINES
@pytest.mark.parametrize("window", [3, 5, 7])
def test_plane_seen_by_a_narrow_camera_has_the_closed_form(engine: Any, window: int) -> None:
    f, lambda_prior = 1e5, 100.0  # the range of t within a window is 4e-10 t, the prior 7e-4 t
    z = np.full((9, 11), 3, np.float32)
    p = KernelParams(window=window, lambda_prior=lambda_prior)
    prior = lambda_prior * np.sqrt(2) * 0.5 / f
    want = 9 * reference.frustum_variance(1.0, prior)
    np.testing.assert_allclose(sigma_z2(z, (f, f, 5, 4), p, engine=engine), want, rtol=1e-4)


@ENGINES
def test_without_a_prior_a_plane_keeps_the_relative_floor(engine: Any) -> None:
    got = sigma_z2(np.full((5, 5), 2, np.float32), (1e5, 1e5, 2, 2), KernelParams(lambda_prior=0), engine=engine)
    np.testing.assert_allclose(got, 4 * reference.frustum_variance(1.0, 1e-4), rtol=1e-6)


@ENGINES
@pytest.mark.parametrize("window", [3, 5, 7])
def test_sky_makes_a_silhouette_and_a_hole_does_not(engine: Any, window: int) -> None:
    z = np.full((20, 20), 10, np.float32)
    reach = window // 2
    first = 10 - reach  # the first column whose windows hold the sky
    p = KernelParams(window=window)
    flat = sigma_z2(z, (1000, 1000, 9.5, 9.5), p, engine=engine)
    z[:, 10:] = np.inf
    sky = sigma_z2(z, (1000, 1000, 9.5, 9.5), p, engine=engine)
    z[:, 10:] = 0
    hole = sigma_z2(z, (1000, 1000, 9.5, 9.5), p, engine=engine)
    np.testing.assert_allclose(sky[reach:-reach, first:10], 100 * half_width_bound(0.3), rtol=1e-6)
    np.testing.assert_array_equal(sky[:, :first], flat[:, :first])
    assert (hole[:, :10] < 2 * flat[:, :10]).all()


@ENGINES
@pytest.mark.parametrize("nothing", [0.0, -3.0, np.nan, -np.inf, np.inf])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (6, 7)])
def test_a_frame_without_any_depth_is_infinite(engine: Any, nothing: float, shape: tuple[int, int]) -> None:
    maps = sigma_z2(np.full(shape, nothing, np.float32), (50, 50, 0, 0), engine=engine, return_components=True)
    for m in maps:
        np.testing.assert_array_equal(m, np.inf)


@ENGINES
@pytest.mark.parametrize("min_valid", [1, 2, 3, 4])
def test_too_few_known_pixels_have_no_range(engine: Any, min_valid: int) -> None:
    z = np.array([[1, 1.2, 1.1]], np.float32)
    got = sigma_z2(z, (500, 500, 1, 0), KernelParams(min_valid=min_valid), engine=engine)
    ranged = got > 1e-3
    assert ranged.all() == (min_valid <= 3)
    assert ranged.any() == (min_valid <= 3)


@ENGINES
def test_too_few_known_pixels_beside_sky_are_still_a_silhouette(engine: Any) -> None:
    got = sigma_z2(np.array([[1, np.inf]], np.float32), (500, 500, 0, 0), KernelParams(), engine=engine)
    np.testing.assert_allclose(got[0, 0], half_width_bound(0.3), rtol=1e-6)
