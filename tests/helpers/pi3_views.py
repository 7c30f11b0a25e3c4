"""Batches of views as Pi3's losses take them."""

from typing import Any

import torch
from torch import Tensor

Batch = tuple[dict[str, Tensor], list[dict[str, Any]]]


def rotations(rng: torch.Generator, *shape: int, angle: float = 1.0) -> Tensor:
    a = angle * torch.randn(*shape, 3, 3, generator=rng, dtype=torch.float64)
    return torch.linalg.matrix_exp(a - a.mT)


def rigid(rotation: Tensor, translation: Tensor) -> Tensor:
    pose = torch.eye(4, dtype=torch.float64).expand(*rotation.shape[:-2], 4, 4).clone()
    pose[..., :3, :3], pose[..., :3, 3] = rotation, translation
    return pose


def batch(b: int = 2, n: int = 3, h: int = 6, w: int = 5, error: float = 0.1, seed: int = 0) -> Batch:
    """Return a prediction and its views in float64: sloped walls at 1 to 4 m, a fifth of the pixels masked."""
    rng = torch.Generator().manual_seed(seed)
    v, u = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    depth = 1 + 0.005 * u + 0.004 * v + 3 * torch.rand(b, n, 1, 1, generator=rng, dtype=torch.float64)
    depth = depth + 0.002 * torch.rand(b, n, h, w, generator=rng, dtype=torch.float64)
    local = torch.stack(((u - w / 2) / 8 * depth, (v - h / 2) / 9 * depth, depth), dim=-1)
    poses = rigid(rotations(rng, b, n), torch.randn(b, n, 3, generator=rng, dtype=torch.float64))
    world = torch.einsum("bnij,bnhwj->bnhwi", poses[..., :3, :3], local) + poses[:, :, None, None, :3, 3]
    valid = torch.rand(b, n, h, w, generator=rng) > 0.2
    sigma_z2 = 10 ** (-4 * torch.rand(b, n, h, w, generator=rng, dtype=torch.float64))
    noise = error * torch.randn(b, n, h, w, 3, generator=rng, dtype=torch.float64)
    guess = poses.clone()
    guess[..., :3, :3] = poses[..., :3, :3] @ rotations(rng, b, n, angle=error)
    guess[..., :3, 3] += error * torch.randn(b, n, 3, generator=rng, dtype=torch.float64)
    views = [
        {
            "pts3d": world[:, i],
            "valid_mask": valid[:, i],
            "camera_pose": poses[:, i],
            "sigma_Z2": sigma_z2[:, i],
            "sigma_Z2_params": torch.tensor([[5, 0.5, 0.3]] * b),
            "dataset": ["room", "other"][:b],
        }
        for i in range(n)
    ]
    return {"local_points": local + noise, "camera_poses": guess}, views


def changed(views: list[dict[str, Any]], **changes: Any) -> list[dict[str, Any]]:
    return [view | {key: change(view[key]) for key, change in changes.items()} for view in views]
