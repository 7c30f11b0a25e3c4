"""The arms of the study: losses of a prediction, its target, a map of weights and the validity.

Those of ``ARMS`` and ``SENSITIVITY`` differ in their weights only: each is the mean of ``w · |Z_pred - Z_gt|``.
``laplace_nll`` is no exception: σ is given, so its ``log b`` has no gradient. Those of :mod:`focus` have another error
too. Weights come from the ground truth alone, computed once. All are divided by their mean over the image, except where
``normalized`` says otherwise.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from estimators import ESTIMATORS, NATIVE
from ground_truth import GroundTruth
from network import DepthNet
from rooms import INTRINSICS, NATIVE_INTRINSICS
from torch import Tensor

from depthvar.loss.weights import Weighting, inverse_depth_weight, mean_one, sigma_weight
from depthvar.precompute import KernelParams, sigma_z2

Weight = Callable[[Tensor, Tensor, Tensor], Tensor]
Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def weighted_error(pred: Tensor, target: Tensor, weight: Tensor, valid: Tensor) -> Tensor:
    """Return the sum of ``weight · |pred - target|`` over (B, H, W) by the number of valid pixels.

    Target and weight are 0 at invalid pixels.
    """
    return ((pred - target).abs() * weight).sum() / valid.sum().clamp_min(1)


@dataclass(frozen=True)
class Arm:
    """One loss.

    Attributes:
        weight: (σ in m, depth in m, valid), each (N, H, W), to a weight at least 0; called with finite σ and depth.
        sigma: where σ comes from: the kernel, ``"online"`` or ``"cached"`` or with other parameters, or one of
            ``estimators.ESTIMATORS`` of the supervised depth, or of ``NATIVE`` of the depth of twice the resolution.
        normalized: weights of mean 1 in every image.
        loss: (prediction in m, target in m, weight, valid), each (B, H, W), to a scalar; target and weight are 0 where
            invalid.
        cleaned: the target is the median of the depth of twice the resolution, :func:`ground_truth.cleaned`.
        network: of its name; what it gives in training is the prediction of the loss, after ``eval()`` depth in m.
    """

    weight: Weight
    sigma: str | KernelParams = "online"
    normalized: bool = True
    loss: Loss = weighted_error
    cleaned: bool = False
    network: Callable[[str], DepthNet] = DepthNet


def form(weighting: Weighting, c: float = 1.0, floor: float = 0.0) -> Weight:
    """Return a weighting of ``weighted_l1`` with its ``relative_sigma`` c, and σ at least ``floor`` in metres."""
    return lambda sigma, depth, valid: sigma_weight(sigma.clamp_min(floor), depth, valid, weighting, c, xp=torch)


def without_edges(rtol: float) -> Weight:
    """Return a weight of 1, and 0 where depth varies by more than ``rtol`` in 3×3; invalid neighbours do not count."""

    def weight(sigma: Tensor, depth: Tensor, valid: Tensor) -> Tensor:
        near, far = extremes(depth, valid)
        return (far <= (1 + rtol) * near).to(depth.dtype)

    return weight


def extremes(depth: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Return the least and the largest depth of 3×3, (N, H, W) each; invalid neighbours do not count."""
    signed = (torch.where(valid, sign * depth, -torch.inf)[:, None] for sign in (-1, 1))
    least, largest = (F.max_pool2d(each, 3, 1, 1)[:, 0] for each in signed)
    return -least, largest


def inverse_depth(sigma: Tensor, depth: Tensor, valid: Tensor) -> Tensor:
    return inverse_depth_weight(depth, valid, xp=torch)


def one(sigma: Tensor, depth: Tensor, valid: Tensor) -> Tensor:
    return torch.ones_like(depth)


ARMS = {
    "l1": Arm(one),
    "inverse_depth": Arm(inverse_depth),
    "inverse_depth_raw": Arm(inverse_depth, normalized=False),
    "edge_mask_0.1": Arm(without_edges(0.1)),
    "edge_mask_0.2": Arm(without_edges(0.2)),
    "inverse_sigma_raw": Arm(form("inverse_sigma"), normalized=False),
    "inverse_sigma": Arm(form("inverse_sigma")),
    "inverse_sigma_cached": Arm(form("inverse_sigma"), sigma="cached"),
    "inverse_sigma_difference": Arm(form("inverse_sigma"), sigma="difference"),
    "inverse_sigma_native": Arm(form("inverse_sigma"), sigma="native_total"),
    "laplace_nll": Arm(lambda *maps: 2**0.5 * form("inverse_sigma")(*maps), normalized=False),
    "floor_0.1": Arm(form("inverse_sigma", floor=0.1)),
    "inverse_sqrt_sigma": Arm(form("inverse_sqrt_sigma")),
    "relative_0.01": Arm(form("relative", 0.01)),
    "relative_0.03": Arm(form("relative", 0.03)),
    "relative_0.1": Arm(form("relative", 0.1)),
    "difference_0.01": Arm(form("relative", 0.01), sigma="difference"),
    "difference_0.03": Arm(form("relative", 0.03), sigma="difference"),
    "planarity_0.03": Arm(form("relative", 0.03), sigma="planarity"),
    "sigma_and_depth_0.03": Arm(form("inverse_sigma_and_depth", 0.03)),
    "difference_and_depth_0.01": Arm(form("inverse_sigma_and_depth", 0.01), sigma="difference"),
    "difference_and_depth_0.03": Arm(form("inverse_sigma_and_depth", 0.03), sigma="difference"),
    "difference_and_depth_0.1": Arm(form("inverse_sigma_and_depth", 0.1), sigma="difference"),
    "native_and_depth_0.03": Arm(form("inverse_sigma_and_depth", 0.03), sigma="native_total"),
    "planarity_and_depth_0.03": Arm(form("inverse_sigma_and_depth", 0.03), sigma="planarity"),
}

SENSITIVITY = {  # 1/σ, mean-normalised, with one or two knobs of the kernel changed; the defaults are 0.5, 0.3 and 5
    f"inverse_sigma_{name}_{value}": Arm(form("inverse_sigma"), sigma=KernelParams(**{name: value}))
    for name, values in {"lambda_prior": (0.0, 0.1, 1.0, 2.0), "alpha_clamp": (0.1, 0.5), "window": (3, 7)}.items()
    for value in values
} | {
    "inverse_sigma_alpha_clamp_0.1_window_3": Arm(form("inverse_sigma"), sigma=KernelParams(alpha_clamp=0.1, window=3))
}


def sigma_of(source: str | KernelParams, given: GroundTruth) -> Tensor:
    """Return the σ of an arm in metres, (N, H, W) float32; see :class:`Arm`."""
    if isinstance(source, KernelParams):
        return torch.from_numpy(sigma_z2(given.depth, INTRINSICS, source)).sqrt()
    if source in ("online", "cached"):
        return torch.from_numpy(getattr(given, source)).sqrt()
    if source in NATIVE:
        inside, camera = NATIVE[source], np.array(NATIVE_INTRINSICS)
        maps = [inside(depth, camera, 2) for depth in given.native]
    else:
        estimate, camera = ESTIMATORS[source], np.array(INTRINSICS)
        maps = [estimate(depth, camera) for depth in given.depth]
    return torch.from_numpy(np.stack(maps).astype(np.float32))


def weights(arm: Arm, given: GroundTruth) -> Tensor:
    """Return the weights of an arm, (N, H, W) float32: finite, at least 0, and 0 at invalid pixels."""
    depth = torch.from_numpy(given.depth)
    sigma = sigma_of(arm.sigma, given)
    known = torch.from_numpy(given.valid) & sigma.isfinite()
    weight = arm.weight(torch.where(known, sigma, 1.0), torch.where(known, depth, 1.0), known)
    weight = torch.where(known, weight, 0.0)
    return mean_one(weight, known, xp=torch) if arm.normalized else weight
