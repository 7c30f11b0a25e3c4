"""The arms of the study. An arm is a map of weights: every loss here is the mean of ``w · |Z_pred - Z_gt|``.

``laplace_nll`` is no exception: σ is given, so its ``log b`` has no gradient. Weights come from the ground truth alone,
computed once. All are divided by their mean over the image, except where ``normalized`` says otherwise.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from estimators import ESTIMATORS
from ground_truth import GroundTruth
from rooms import INTRINSICS
from torch import Tensor

from depthvar.loss.functional import inverse_depth_weight

Weight = Callable[[Tensor, Tensor, Tensor], Tensor]
EDGE = 0.03  # relative range in 3×3 from which a hard mask drops a pixel


@dataclass(frozen=True)
class Arm:
    """One loss.

    Attributes:
        weight: (σ in m, depth in m, valid), each (N, H, W), to a weight at least 0; called with finite σ and depth.
        sigma: where σ comes from: the kernel, ``"online"`` or ``"cached"``, or one of ``estimators.ESTIMATORS``.
        normalized: weights of mean 1 in every image.
    """

    weight: Weight
    sigma: str = "online"
    normalized: bool = True


def relative(c: float) -> Weight:
    """Return the weight ``1 / sqrt(1 + (σ / (c Z))²)``: 1 on what is flat, like c Z / σ at edges."""
    return lambda sigma, depth, valid: 1 / (1 + (sigma / (c * depth)).square()).sqrt()


def without_edges(sigma: Tensor, depth: Tensor, valid: Tensor) -> Tensor:
    """Return 1, and 0 where depth varies by more than ``EDGE`` in 3×3; invalid neighbours do not count."""
    far, near = (F.max_pool2d(torch.where(valid, sign * depth, -torch.inf)[:, None], 3, 1, 1)[:, 0] for sign in (1, -1))
    return (far <= (1 + EDGE) * -near).to(depth.dtype)


def times_inverse_depth(weight: Weight) -> Weight:
    """Return a weight times that of the loss ``inverse_depth_l1``."""
    return lambda sigma, depth, valid: weight(sigma, depth, valid) * inverse_depth_weight(depth, valid)


def one(sigma: Tensor, depth: Tensor, valid: Tensor) -> Tensor:
    return torch.ones_like(depth)


ARMS = {
    "l1": Arm(one),
    "inverse_depth": Arm(times_inverse_depth(one)),
    "edge_mask": Arm(without_edges),
    "inverse_sigma_raw": Arm(lambda sigma, depth, valid: 1 / sigma, normalized=False),
    "inverse_sigma": Arm(lambda sigma, depth, valid: 1 / sigma),
    "inverse_sigma_cached": Arm(lambda sigma, depth, valid: 1 / sigma, sigma="cached"),
    "laplace_nll": Arm(lambda sigma, depth, valid: 2**0.5 / sigma, normalized=False),
    "floor_0.1": Arm(lambda sigma, depth, valid: 1 / sigma.clamp_min(0.1)),
    "inverse_sqrt_sigma": Arm(lambda sigma, depth, valid: sigma.rsqrt()),
    "relative_0.01": Arm(relative(0.01)),
    "relative_0.03": Arm(relative(0.03)),
    "relative_0.1": Arm(relative(0.1)),
    "difference_0.01": Arm(relative(0.01), sigma="difference"),
    "difference_0.03": Arm(relative(0.03), sigma="difference"),
    "planarity_0.01": Arm(relative(0.01), sigma="planarity"),
    "planarity_0.03": Arm(relative(0.03), sigma="planarity"),
    "planarity_0.03_inverse_depth": Arm(times_inverse_depth(relative(0.03)), sigma="planarity"),
}


def sigma_of(source: str, given: GroundTruth) -> Tensor:
    """Return the σ of an arm in metres, (N, H, W) float32; see :class:`Arm`."""
    if source in ("online", "cached"):
        return torch.from_numpy(getattr(given, source)).sqrt()
    estimate, camera = ESTIMATORS[source], np.array(INTRINSICS)
    return torch.from_numpy(np.stack([estimate(depth, camera) for depth in given.depth]).astype(np.float32))


def weights(arm: Arm, given: GroundTruth) -> Tensor:
    """Return the weights of an arm, (N, H, W) float32: finite, at least 0, and 0 at invalid pixels."""
    depth = torch.from_numpy(given.depth)
    sigma = sigma_of(arm.sigma, given)
    known = depth.isfinite() & sigma.isfinite()
    weight = arm.weight(torch.where(known, sigma, 1.0), torch.where(known, depth, 1.0), known)
    weight = torch.where(known, weight, 0.0)
    if arm.normalized:
        count, total = known.sum((-2, -1), keepdim=True), weight.sum((-2, -1), keepdim=True)
        weight = torch.where(total > 0, weight * count / total, 0.0)
    return weight


def weighted_error(pred: Tensor, target: Tensor, weight: Tensor, valid: Tensor) -> Tensor:
    """Return the mean over the valid pixels of a batch of ``weight · |pred - target|``; (B, H, W) each."""
    return torch.where(valid, (pred - target).abs() * weight, 0.0).sum() / valid.sum().clamp_min(1)
