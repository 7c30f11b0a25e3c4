"""The oracle's own test: pixels computed by hand, and the frustum's variance by sampling."""

import math

import numpy as np
import pytest
import reference

from depthvar.precompute import KernelParams


@pytest.mark.parametrize(("t", "delta"), [(1.0, 0.3), (1.0, 1.0), (5.0, 0.4), (2.0, 0.01)])
def test_frustum_variance_by_sampling(t: float, delta: float) -> None:
    """In a cone, the density of the distance along the axis grows with its square (mip-NeRF, appendix A)."""
    edges = np.linspace(t - delta, t + delta, 200_001)
    s = (edges[:-1] + edges[1:]) / 2
    weight = s**2 / (s**2).sum()
    quadrature = (weight * s**2).sum() - (weight * s).sum() ** 2
    assert reference.frustum_variance(t, delta) == pytest.approx(quadrature, rel=1e-5)

    rng = np.random.default_rng(0)
    tip = rng.uniform(
        (t - delta) ** 3, (t + delta) ** 3, 400_000
    )  # a uniform point of the cone: its volume grows as s³
    assert reference.frustum_variance(t, delta) == pytest.approx(np.cbrt(tip).var(), rel=0.01)


def test_half_range_takes_the_ranks_of_the_method() -> None:
    def ranks(n: int) -> float:
        return reference.half_range([float(i) for i in range(n)][::-1], min_valid=3)

    assert ranks(9) == (8 - 0) / 2
    assert ranks(10) == (9 - 0) / 2
    assert ranks(11) == (9 - 1) / 2
    assert ranks(25) == (23 - 1) / 2
    assert ranks(31) == (28 - 2) / 2
    assert ranks(49) == (46 - 2) / 2


def test_half_range_beside_the_sky_and_with_too_few() -> None:
    inf = math.inf
    assert reference.half_range([1.0, 2.0], min_valid=3) == 0
    assert reference.half_range([1.0, inf], min_valid=3) == inf
    assert reference.half_range([float(i) for i in range(24)] + [inf], min_valid=3) == (23 - 1) / 2
    assert reference.half_range([1.0] + 24 * [inf], min_valid=3) == inf


def test_one_pixel_by_hand() -> None:
    """The pixel (u, v) = (0, 0), with fx = fy = 1, cx = -2, cy = -2: its ray is (2, 2, 1), of length 3."""
    got = reference.sigma_z2([[6.0]], (1, 1, -2, -2), KernelParams(lambda_prior=0.1, alpha_clamp=0.3))
    t = 18.0
    delta = 0.1 * math.sqrt(0.5) * t
    assert got.t_mu[0, 0] == pytest.approx(t)
    assert got.t_delta[0, 0] == pytest.approx(delta)
    x = (delta / t) ** 2  # 0.005
    assert got.sigma_t2[0, 0] == pytest.approx(t**2 * (x / 3 - 4 * x**2 * (12 - x) / (15 * (3 + x) ** 2)))
    assert got.sigma_z2[0, 0] == pytest.approx(got.sigma_t2[0, 0] / 9)


def test_one_edge_by_hand() -> None:
    """Three pixels at 1, 2 and 3 m before a camera so long that t = Z, and the footprint is nothing."""
    line, camera = [[1.0, 2.0, 3.0]], (1e9, 1e9, 1, 0)
    three = reference.sigma_z2(line, camera, KernelParams(window=3, alpha_clamp=1.0))
    np.testing.assert_allclose(three.t_delta, [[1e-4, 1.0, 3e-4]], rtol=1e-6)  # the ends see two: only the floor
    two = reference.sigma_z2(line, camera, KernelParams(window=3, alpha_clamp=1.0, min_valid=2))
    np.testing.assert_allclose(two.t_delta, [[0.5, 1.0, 0.5]], rtol=1e-6)
    capped = reference.sigma_z2(line, camera, KernelParams(window=3, alpha_clamp=0.3, min_valid=2))
    np.testing.assert_allclose(capped.t_delta, [[0.3, 0.6, 0.5]], rtol=1e-6)


def test_unknown_and_far_are_infinite() -> None:
    got = reference.sigma_z2([[1.0, 0.0, math.inf, 50.0]], (100, 100, 0, 0), max_depth=40)
    np.testing.assert_array_equal(np.isfinite(got.sigma_z2), [[True, False, False, False]])
    assert np.isfinite(got.t_mu[0, 3])
