"""Poses, points, normals and scale of a few views, as pure functions of tensors.

A pose is camera to world, (..., 4, 4), and rigid: its inverse uses the transposed rotation. Products are computed
element by element, so that they stay float32 where matrix products run in TF32.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import huber_loss, smooth_l1_loss

from .weights import mean_of

DEPTH_EDGE = 0.03  # a step of more than this part of the nearest depth is an edge, which has no normal
SMALLEST_ANGLE, LARGEST_ANGLE, ANGLE_BETA = math.radians(1), math.radians(90), math.radians(3)
SMALLEST_SCALE = 1e-3
HUBER_DELTA = 0.1


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of ``values`` where ``mask``; 0 with a zero gradient where that is nowhere."""
    return mean_of(torch.where(mask, values, 0.0), mask, xp=torch)


def rotate(rotation: Tensor, vectors: Tensor) -> Tensor:
    """Return (..., 3): ``rotation`` (..., 3, 3) times ``vectors`` (..., 3)."""
    return (rotation * vectors[..., None, :]).sum(-1)


def to_camera(points: Tensor, poses: Tensor) -> Tensor:
    """Return world points (..., H, W, 3) in the frame of their camera, whose pose is (..., 4, 4)."""
    poses = poses[..., None, None, :, :]
    return rotate(poses[..., :3, :3].mT, points - poses[..., :3, 3])


def to_world(points: Tensor, poses: Tensor) -> Tensor:
    """Return points (..., H, W, 3) of cameras with poses (..., 4, 4) in the world."""
    poses = poses[..., None, None, :, :]
    return rotate(poses[..., :3, :3], points) + poses[..., :3, 3]


def mean_distance(points: Tensor, poses: Tensor, valid: Tensor) -> Tensor:
    """Return how far the valid world points (B, N, H, W, 3) of a sample are from its first camera, in the mean.

    (B, 1, 1, 1); 1 for a sample without a valid point.
    """
    distance = torch.linalg.vector_norm(points - poses[:, :1, None, None, :3, 3], dim=-1)
    return mean_of(torch.where(valid, distance, 0.0), valid, (1, 2, 3), if_none=1.0, xp=torch)


def relative_poses(poses: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pose of camera j in the frame of camera i, for all N (N − 1) ordered pairs of two cameras.

    From (B, N, 4, 4) to rotations (B, N (N − 1), 3, 3) and translations (B, N (N − 1), 3).
    """
    n = poses.shape[1]
    first, second = torch.triu_indices(n, n, offset=1, device=poses.device)
    at, of = poses[:, torch.cat((first, second))], poses[:, torch.cat((second, first))]
    inverse = at[..., :3, :3].mT
    rotation = (inverse[..., None] * of[..., None, :3, :3]).sum(-2)
    return rotation, rotate(inverse, of[..., :3, 3] - at[..., :3, 3])


def rotation_angle(a: Tensor, b: Tensor) -> Tensor:
    """Return the angle in radians, (...), of the rotation between ``a`` and ``b`` (..., 3, 3), in 0 to π.

    Computed by atan2 of the rotation's antisymmetric part and its trace. Unlike an arccos of the trace, this has a
    finite gradient at equal and almost equal rotations (0 at equal ones).
    """
    between = (a[..., :, :, None] * b[..., :, None, :]).sum(-3)
    skew = (between - between.mT) / 2
    sine = torch.linalg.vector_norm(torch.stack((skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]), dim=-1), dim=-1)
    cosine = (between.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    return torch.atan2(sine, cosine)


def camera_losses(pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Compare predicted and true poses (B, N, 4, 4) by the relative poses of all ordered pairs of a sample's views.

    Returns the mean Huber loss (δ 0.1) over the components of the translations, and the mean angle in radians between
    the rotations; both 0 for a single view.
    """
    rotation, translation = relative_poses(pred)
    true_rotation, true_translation = relative_poses(target)
    distance = huber_loss(translation, true_translation, reduction="sum", delta=HUBER_DELTA)
    angle = rotation_angle(rotation, true_rotation)
    return distance / max(translation.numel(), 1), angle.sum() / max(angle.numel(), 1)


def normal_loss(pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return the mean smooth L1 of the angles between predicted and true surface normals, in radians; 0 without any.

    Each corner of a block of 2×2 pixels has a normal: the cross product of the two sides of the block that meet there.
    A block counts if its four pixels are valid and their true depths lie within 3 %. Angles are clamped to 1° (below it
    the gradient is 0, so a perfect prediction has the value 1°/6) and 90°; β is 3°. A predicted normal of length 0
    counts as 90°. Points are (..., H, W, 3) in their camera's frame, finite where invalid too.
    """
    depth = _blocks(target[..., 2])
    nearest = depth.amin(-1)
    smooth = _blocks(valid).all(-1) & (depth.amax(-1) - nearest <= DEPTH_EDGE * nearest)
    n, has_n = _unit(_corner_normals(pred))
    m, has_m = _unit(_corner_normals(target))
    sine = torch.linalg.vector_norm(torch.linalg.cross(n, m), dim=-1)
    cosine = (n * m).sum(-1)
    known = has_n & has_m  # the gradient of atan2(0, 0) is NaN
    angle = torch.atan2(torch.where(known, sine, 0.0), torch.where(known, cosine, 1.0))
    angle = torch.where(has_n, angle, LARGEST_ANGLE).clamp(SMALLEST_ANGLE, LARGEST_ANGLE)
    # A prediction that is not finite must make the loss not finite.
    loss = smooth_l1_loss(angle, torch.zeros_like(angle), reduction="none", beta=ANGLE_BETA)
    return masked_mean(loss, smooth[..., None] & has_m)


def best_scale(pred: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return the scale s ≥ 1e-3 of each sample that minimises ``Σ weight |s · pred − target|``; 1 without any weight.

    From maps (B, ...), the weight at least 0 and 0 where invalid, to (B,). The sum is convex in s and bends at the
    ratios target / pred, so its minimum is their median weighted by ``weight · |pred|``. It has no gradient: at the
    minimum, the sum does not depend on s to first order.
    """
    pred, target, weight = (each.detach().flatten(1) for each in (pred, target, weight))
    weight = weight * pred.abs()
    counts = weight > 0
    ratio = torch.where(counts, target / torch.where(counts, pred, 1.0), math.inf)
    ratio, order = ratio.sort(-1)
    below = torch.where(counts, weight, 0.0).gather(-1, order).double().cumsum(-1)  # a million float32 drift
    middle = (below < below[:, -1:] / 2).sum(-1, keepdim=True)
    scale = ratio.gather(-1, middle)[:, 0].clamp_min(SMALLEST_SCALE)
    return torch.where(counts.any(-1), scale, 1.0)


def _blocks(values: Tensor) -> Tensor:
    """Return (..., H − 1, W − 1, 4): the blocks of 2×2 pixels of (..., H, W)."""
    top, bottom = values[..., :-1, :], values[..., 1:, :]
    return torch.stack((top[..., :-1], top[..., 1:], bottom[..., :-1], bottom[..., 1:]), dim=-1)


def _corner_normals(points: Tensor) -> Tensor:
    """Return (..., H − 1, W − 1, 4, 3): the normals at the corners of each 2×2 block, of any length."""
    across = points[..., :, 1:, :] - points[..., :, :-1, :]
    down = points[..., 1:, :, :] - points[..., :-1, :, :]
    pairs = [
        (a, d) for a in (across[..., :-1, :, :], across[..., 1:, :, :]) for d in (down[..., :-1, :], down[..., 1:, :])
    ]
    return torch.stack([torch.linalg.cross(a, d) for a, d in pairs], dim=-2)


def _unit(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return vectors of length 1, and where they had one above 0.

    The length counts as a constant: an angle does not depend on it, so the gradient of the angle is the same.
    """
    length = torch.linalg.vector_norm(vectors.detach(), dim=-1, keepdim=True)
    exists = length != 0  # also for NaN: a prediction that is not finite must make the loss not finite
    return vectors / torch.where(exists, length, 1.0), exists[..., 0]
