"""Estimators of the spread of depth inside a pixel: depth and intrinsics in, a map that should rise with it out.

Each takes planar depth (H, W) in metres (0 or NaN: unknown; +inf: sky), intrinsics (4,) fx, fy, cx, cy in pixels, and
returns (H, W) float64 in metres unless it says otherwise. Values where the depth itself is unknown mean nothing.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from depthvar.precompute import Difference, KernelParams, sigma_z2

Float = NDArray[np.float64]
Estimator = Callable[[Float, Float], Float]

SKY = 80.0  # metres: stands for +inf in all estimators but those of the kernel, which take it as it is
_AXES = ((0, 1), (1, 0))
_DIRECTIONS = (*_AXES, (1, 1), (1, -1))


def sigma(depth: Float, intrinsics: Float, window: int = 5) -> Float:
    """Ours, docs/method.md: rank range of ray distance, footprint prior, conical frustum."""
    return np.sqrt(sigma_z2(depth, intrinsics, KernelParams(window=window)), dtype=np.float64)


def sigma_range_on_z(depth: Float, intrinsics: Float) -> Float:
    """Ours with the range taken on Z: the kernel of a camera so long that t = Z, with the prior scaled back."""
    longer = 1e6
    params = KernelParams(lambda_prior=KernelParams().lambda_prior * longer)
    return np.sqrt(sigma_z2(depth, intrinsics * (longer, longer, 1, 1), params), dtype=np.float64)


def full_frustum(depth: Float, intrinsics: Float) -> Float:
    """Ours with the transverse term: zz of d dᵀ σ_t² + (I − d dᵀ) σ_r² (Barron et al., ICCV 2021, eq. 7 and 8)."""
    maps = sigma_z2(depth, intrinsics, return_components=True)
    variance, t, half = (np.float64(m) for m in (maps.sigma_z2, maps.t_mu, maps.t_delta))
    with np.errstate(invalid="ignore"):
        d_z = depth / t
        z2, half2 = depth**2, (d_z * half) ** 2
        radius2 = (4 / 12) / (intrinsics[0] * intrinsics[1])  # of the cone at depth 1: 2/√12 of a pixel, as there
        across = radius2 * (z2 / 4 + 5 / 12 * half2 - 4 / 15 * half2**2 / (3 * z2 + half2))
    return np.sqrt(variance + (1 - d_z**2) * across)


def inverse_depth(depth: Float, intrinsics: Float) -> Float:
    """Depth itself: what weights of 1/Z take the spread for, up to a factor."""
    return _known(depth)


def depth_edge(depth: Float, intrinsics: Float, rtol: float = 0.03) -> Float:
    """1 where the 3×3 range is above rtol of the depth, else 0 (no unit): the edge mask of MoGe and utils3d."""
    return (range3(depth, intrinsics) > rtol * _known(depth)).astype(np.float64)


def sobel(depth: Float, intrinsics: Float) -> Float:
    """Magnitude of the Sobel gradient, metres per pixel; unknown neighbours count as the centre."""
    near = _window(_known(depth), 3)
    a, b, c, d, _, f, g, h, i = np.where(np.isnan(near), near[4], near)
    return np.hypot((c + 2 * f + i) - (a + 2 * d + g), (g + 2 * h + i) - (a + 2 * b + c)) / 8


def std5(depth: Float, intrinsics: Float) -> Float:
    """Standard deviation of Z over the known pixels of 5×5."""
    near = _window(_known(depth), 5)
    return _moments(near, np.ones(len(near)))


def gaussian7(depth: Float, intrinsics: Float) -> Float:
    """Masked Gaussian moments over 7×7, of standard deviation 1.4 pixels (OpenCV's rule for that size)."""
    v, u = np.indices((7, 7)) - 3
    return _moments(_window(_known(depth), 7), np.exp(-(u**2 + v**2) / (2 * 1.4**2)).ravel())


def range3(depth: Float, intrinsics: Float) -> Float:
    """Largest minus smallest known Z of 3×3."""
    near = _window(_known(depth), 3)
    return np.fmax.reduce(near) - np.fmin.reduce(near)


def planarity(depth: Float, intrinsics: Float) -> Float:
    """Residual of planarity: the largest |second difference of 1/Z| of four directions, times Z²; 0 on any plane."""
    z = _known(depth)
    bends = [np.abs(_ahead(1 / z, step) - _behind(1 / z, step)) for step in _DIRECTIONS]
    return np.nan_to_num(np.fmax.reduce(bends)) * z**2


def planarity_and_slope(depth: Float, intrinsics: Float) -> Float:
    """Residual of planarity, and a footprint on the local plane: of either neighbour, that which changes less."""
    z = _known(depth)
    rises = [np.fmin(np.abs(_ahead(1 / z, step)), np.abs(_behind(1 / z, step))) for step in _AXES]
    slope2 = sum(np.nan_to_num(rise) ** 2 for rise in rises) * z**4 / 12
    return np.sqrt(planarity(depth, intrinsics) ** 2 + slope2)


def difference(depth: Float, intrinsics: Float) -> Float:
    """Expected spread from the four neighbours: √((Δu² + Δv²)/12), docs/method.md; +inf without a known neighbour."""
    return np.sqrt(sigma_z2(depth, intrinsics, Difference()), dtype=np.float64)


ESTIMATORS: dict[str, Estimator] = {
    "sigma": sigma,
    "sigma_window3": partial(sigma, window=3),
    "sigma_window7": partial(sigma, window=7),
    "sigma_range_on_z": sigma_range_on_z,
    "full_frustum": full_frustum,
    "inverse_depth": inverse_depth,
    "depth_edge": depth_edge,
    "sobel": sobel,
    "std5": std5,
    "gaussian7": gaussian7,
    "range3": range3,
    "planarity": planarity,
    "planarity_and_slope": planarity_and_slope,
    "difference": difference,
}


def native_std(depth: Float, intrinsics: Float, stride: int) -> Float:
    """Standard deviation of the native Z inside each pixel of a stride: (⌈H/s⌉, ⌈W/s⌉) of native depth (H, W)."""
    return _moments(*_footprint(_known(depth), stride))


def native_total(depth: Float, intrinsics: Float, stride: int) -> Float:
    """Law of total variance: native_std² plus the mean, inside the pixel, of difference² of the native pixels."""
    within = difference(depth, intrinsics) ** 2
    near, weights = _footprint(np.where(np.isinf(within), np.nan, within), stride)
    return np.sqrt(native_std(depth, intrinsics, stride) ** 2 + _mean(near, weights))


NATIVE: dict[str, Callable[[Float, Float, int], Float]] = {"native_std": native_std, "native_total": native_total}


def _known(depth: Float) -> Float:
    """Return float64 depth with NaN for unknown and SKY for +inf."""
    depth = np.asarray(depth, np.float64)
    return np.where(depth > 0, np.minimum(depth, SKY), np.nan)


def _window(x: Float, side: int, stride: int = 1) -> Float:
    """Return (side², H', W'): the neighbours of every stride-th pixel by rows, NaN outside the image."""
    height, width = x.shape
    padded = np.pad(x, side // 2, constant_values=np.nan)
    shifts = np.ndindex(side, side)
    return np.stack([padded[v : v + height : stride, u : u + width : stride] for v, u in shifts])


def _ahead(x: Float, step: tuple[int, int]) -> Float:
    """Return x(p + step) − x(p), NaN where one is unknown."""
    height, width = x.shape
    padded = np.pad(x, 1, constant_values=np.nan)
    return padded[1 + step[0] : 1 + step[0] + height, 1 + step[1] : 1 + step[1] + width] - x


def _behind(x: Float, step: tuple[int, int]) -> Float:
    """Return x(p) − x(p − step), NaN where one is unknown."""
    return -_ahead(x, (-step[0], -step[1]))


def _footprint(x: Float, stride: int) -> tuple[Float, Float]:
    """Return the (n, H', W') native pixels under each pixel of a stride, and the (n,) parts of them that it covers."""
    side = stride + 1 - stride % 2
    cover = np.ones(side)
    if stride % 2 == 0:
        cover[[0, -1]] = 0.5  # its border runs through the middle of native pixels
    return _window(x, side, stride), np.outer(cover, cover).ravel()


def _mean(x: Float, weights: Float) -> Float:
    """Return the weighted mean over the first axis without NaN; 0 where all are."""
    part = np.where(np.isnan(x), 0.0, weights[:, None, None])
    return (part * np.nan_to_num(x)).sum(0) / np.maximum(part.sum(0), 1e-300)


def _moments(x: Float, weights: Float) -> Float:
    """Return the weighted standard deviation over the first axis without NaN; 0 where all are."""
    return np.sqrt(_mean((x - _mean(x, weights)) ** 2, weights))
