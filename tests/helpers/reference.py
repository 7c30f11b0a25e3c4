"""The oracle: docs/method.md in float64 and plain loops, one pixel at a time, no tricks.

Also its twin for large frames, and how far from it arithmetic of a given precision may be.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from depthvar.precompute import KernelParams


class Reference(NamedTuple):
    """The five maps, (H, W) float64, and the largest distance in each window (what rounding errors scale with)."""

    sigma_z2: NDArray[np.float64]
    sigma_t2: NDArray[np.float64]
    t_mu: NDArray[np.float64]
    t_delta: NDArray[np.float64]
    edge: NDArray[np.float64]
    t_max: NDArray[np.float64]


def sigma_z2(
    depth: ArrayLike,
    intrinsics: ArrayLike,
    params: KernelParams | None = None,
    valid: ArrayLike | None = None,
    max_depth: float = math.inf,
) -> Reference:
    """Return the maps of one (H, W) frame with intrinsics (4,) fx, fy, cx, cy."""
    z = np.array(depth, dtype=np.float64)
    usable = np.ones(z.shape, bool) if valid is None else np.asarray(valid)
    params = params or KernelParams()
    z[~(usable & (z > 0))] = 0
    return (_pi3 if params.compat == "pi3" else _default)(z, intrinsics, params, max_depth)


def _default(z: NDArray[np.float64], intrinsics: ArrayLike, params: KernelParams, max_depth: float) -> Reference:
    fx, fy, cx, cy = np.asarray(intrinsics, dtype=np.float64)
    tan_theta = math.sqrt((0.5 / fx) ** 2 + (0.5 / fy) ** 2)
    out = Reference(*np.full((6, *z.shape), np.inf))
    t = np.full(z.shape, np.inf)
    for v, u in np.ndindex(z.shape):
        if z[v, u] > 0:
            t[v, u] = z[v, u] / d_z(u, v, fx, fy, cx, cy)
    for v, u in np.ndindex(z.shape):
        if z[v, u] == 0 or z[v, u] == math.inf:
            continue
        around = window_of(t, v, u, params.window)[window_of(z, v, u, params.window) > 0]
        edge = half_range(around.tolist(), params.min_valid)
        tu = t[v, u]
        prior = params.lambda_prior * tan_theta * tu
        rounding = params.quantisation_step / 2 / d_z(u, v, fx, fy, cx, cy)
        delta2 = min(max(edge**2 + prior**2 + rounding**2, (1e-4 * tu) ** 2), (params.alpha_clamp * tu) ** 2)
        sigma_t2 = frustum_variance(tu, math.sqrt(delta2))
        out.t_mu[v, u], out.t_delta[v, u], out.t_max[v, u] = tu, math.sqrt(delta2), around[around < math.inf].max()
        if z[v, u] <= max_depth:
            out.sigma_t2[v, u] = sigma_t2
            out.sigma_z2[v, u] = d_z(u, v, fx, fy, cx, cy) ** 2 * sigma_t2
            out.edge[v, u] = min(math.hypot(edge, rounding) / tu, 1)
    return out


def lowest_rank(n: Any) -> Any:
    """Return which of n ranked distances is the lower end of the range; the upper end is as far from the other side."""
    return (n + 9) // 20


def sigma_z2_of_arrays(
    depth: ArrayLike,
    intrinsics: ArrayLike,
    params: KernelParams | None = None,
    rank: Callable[[Any], Any] = lowest_rank,
) -> Reference:
    """Return what ``sigma_z2`` does, for all pixels at once; without a mask, a maximum depth and ``compat``.

    ``rank``: another one than that of the method is a fault, which the tests plant.
    """
    params = params or KernelParams()
    z = np.array(depth, dtype=np.float64)
    fx, fy, cx, cy = np.asarray(intrinsics, dtype=np.float64)
    v, u = np.indices(z.shape)
    slant = np.sqrt(((u - cx) / fx) ** 2 + ((v - cy) / fy) ** 2 + 1)
    t = np.where(z > 0, z * slant, np.nan)
    around = np.pad(t, params.window // 2, constant_values=np.nan)
    ranked = np.sort(sliding_window_view(around, (params.window, params.window)).reshape(*z.shape, -1))  # NaN last
    n = (~np.isnan(ranked)).sum(-1)
    low, high, largest = (
        np.take_along_axis(ranked, np.maximum(at, 0)[..., None], -1)[..., 0] for at in (rank(n), n - 1 - rank(n), n - 1)
    )
    edge = (high - np.where(high < np.inf, low, 0)) / 2
    edge[(n < params.min_valid) & (largest < np.inf)] = 0
    seen = (z > 0) & (z < np.inf)
    t = np.where(seen, t, 1)
    tan2 = (0.5 / fx) ** 2 + (0.5 / fy) ** 2
    without_prior = (edge / t) ** 2 + (params.quantisation_step * slant / (2 * t)) ** 2
    x = np.clip(without_prior + params.lambda_prior**2 * tan2, 1e-8, params.alpha_clamp**2)
    t_max = np.nanmax(np.where(ranked < np.inf, ranked, np.nan), axis=-1, initial=0)
    sigma_t2 = frustum_variance(t, t * np.sqrt(x))
    maps = (sigma_t2 / slant**2, sigma_t2, t, t * np.sqrt(x), np.minimum(np.sqrt(without_prior), 1), t_max)
    return Reference(*(np.where(seen, values, np.inf) for values in maps))


def rounding(want: Reference, roundoff: float = 2.0**-24) -> NDArray[np.float64]:
    """Return how far each value may be from the oracle's, relative, if an operation is off by at most ``roundoff``.

    A distance t = Z sqrt(a² + b² + 1) carries 2.5 roundings under the root, 1 of the product, and 1 of the root, or 2
    where a root is good to 1 ulp only, as MKL's is on some CPUs. So half a difference of two carries up to 5.5 of the
    larger one, however small it is itself: ε = 5.5 · roundoff · t_max / t, in units of t. In x = (δ/t)² = r² + prior²,
    r ≤ √x, that is 2√x ε + ε². The steps behind it are some 50 operations without such a cancellation.
    """
    t_max, t, delta = (np.where(np.isfinite(want.t_mu), values, 1) for values in (want.t_max, want.t_mu, want.t_delta))
    x = (delta / t) ** 2
    eps = 5.5 * roundoff * t_max / t
    return 50 * roundoff + 2 * eps / np.sqrt(x) + eps**2 / x


def assert_close(got: Any, want: Reference, allowed: NDArray[np.float64]) -> None:
    """Compare all maps within a relative error, (H, W).

    ``edge`` has no lower bound: its error is that of √x, of which it is a part, and its own.
    """
    for name in got._fields:
        a, b = np.asarray(getattr(got, name), np.float64), getattr(want, name)
        assert not np.isnan(a).any(), name
        np.testing.assert_array_equal(a == np.inf, b == np.inf, err_msg=name)
        finite = b < np.inf
        size = b[finite] + (want.t_delta[finite] / want.t_mu[finite] if name == "edge" else 0)
        assert (np.abs(a[finite] - b[finite]) <= allowed[finite] * size).all(), name


def _pi3(z: NDArray[np.float64], intrinsics: ArrayLike, params: KernelParams, max_depth: float) -> Reference:
    fx, fy, cx, cy = np.asarray(intrinsics, dtype=np.float64)
    tan_theta = math.sqrt((0.5 / (fx + 1e-6)) ** 2 + (0.5 / (fy + 1e-6)) ** 2)
    out = Reference(*np.full((6, *z.shape), np.inf))
    t = np.empty(z.shape)
    for v, u in np.ndindex(z.shape):
        entered = 0.0 if z[v, u] == math.inf or z[v, u] > max_depth else z[v, u]
        t[v, u] = max(entered, 1e-6) / (d_z(u, v, fx, fy, cx, cy) + 1e-6)
    padded = np.pad(t, 2)
    for v, u in np.ndindex(z.shape):
        ranked = sorted(padded[v : v + 5, u : u + 5].ravel().tolist())
        edge = (ranked[23] - ranked[1]) / 2
        tu = t[v, u]
        delta2 = min(edge**2 + (params.lambda_prior * tan_theta * tu) ** 2 + 1e-6, (params.alpha_clamp * tu) ** 2)
        tc, dc = max(tu, 1e-6), max(math.sqrt(delta2), 1e-6)
        sigma_t2 = dc**2 / 3 - 4 * dc**4 * (12 * tc**2 - dc**2) / (15 * (3 * tc**2 + dc**2) ** 2 + 1e-6)
        out.t_mu[v, u], out.t_delta[v, u], out.t_max[v, u] = tu, math.sqrt(delta2), ranked[-1]
        out.sigma_t2[v, u] = sigma_t2
        out.sigma_z2[v, u] = d_z(u, v, fx, fy, cx, cy) ** 2 * sigma_t2
        out.edge[v, u] = min(edge / tu, 1)
    return out


def difference(
    depth: ArrayLike, valid: ArrayLike | None = None, max_depth: float = math.inf, quantisation_step: float = 0.0
) -> NDArray[np.float64]:
    """Return σ² (H, W) of the estimator ``Difference``: the section of that name in docs/method.md."""
    z = np.array(depth, dtype=np.float64)
    usable = np.ones(z.shape, bool) if valid is None else np.asarray(valid)
    z[~(usable & (z > 0))] = 0
    out = np.full(z.shape, np.inf)
    for v, u in np.ndindex(z.shape):
        steps: list[float] = []
        if not 0 < z[v, u] < math.inf:
            continue
        for axis in (((v, u - 1), (v, u + 1)), ((v - 1, u), (v + 1, u))):
            inside = [z[j, i] for j, i in axis if 0 <= j < z.shape[0] and 0 <= i < z.shape[1]]
            known = [neighbour for neighbour in inside if neighbour > 0]
            if known:
                steps.append(max(abs(neighbour - z[v, u]) for neighbour in known))
        if z[v, u] <= max_depth and steps:
            spread2 = sum(step**2 for step in [*steps, quantisation_step]) / 12
            out[v, u] = min(max(spread2, (1e-4 * z[v, u]) ** 2 / 3), z[v, u] ** 2 / 3)
    return out


def d_z(u: float, v: float, fx: float, fy: float, cx: float, cy: float) -> float:
    """Return the z component of the unit ray of a pixel."""
    ray = np.array([(u - cx) / fx, (v - cy) / fy, 1.0])
    return float(1 / np.linalg.norm(ray))


def window_of(values: NDArray[np.float64], v: int, u: int, window: int) -> NDArray[np.float64]:
    """Return the part of a pixel's window that lies inside the image."""
    r = window // 2
    return values[max(0, v - r) : v + r + 1, max(0, u - r) : u + r + 1]


def half_range(distances: list[float], min_valid: int) -> float:
    """Return step 3 of the method for the known distances of a window."""
    ranked = sorted(distances)
    n = len(ranked)
    if n < min_valid and math.inf not in ranked:
        return 0.0
    lo = lowest_rank(n)
    hi = n - 1 - lo
    return math.inf if ranked[hi] == math.inf else (ranked[hi] - ranked[lo]) / 2


def frustum_variance(t: Any, delta: Any) -> Any:
    """Return the variance of t in a conical frustum, as mip-NeRF's eq. 7 writes it (arXiv:2103.13415)."""
    return delta**2 / 3 - 4 * delta**4 * (12 * t**2 - delta**2) / (15 * (3 * t**2 + delta**2) ** 2)
