"""The arguments of a Pi3 loss as two scenes: checked, in the frames of their cameras, and normalised."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .geometry import mean_distance, to_camera, to_world

View = Mapping[str, Any]


class Scene(NamedTuple):
    """The points of B samples of N views in their cameras' frames, and the cameras, in one unit of length."""

    points: Tensor  # (B, N, H, W, 3), 0 where invalid
    poses: Tensor  # (B, N, 4, 4), camera to world

    def scaled(self, scale: Tensor) -> "Scene":
        """Return the scene with all lengths multiplied by ``scale``, (B, 1, 1, 1)."""
        rotation, translation, rest = self.poses[..., :3, :3], self.poses[..., :3, 3:], self.poses[..., 3:, :]
        top = torch.cat((rotation, translation * scale), dim=-1)
        return Scene(self.points * scale[..., None], torch.cat((top, rest), dim=-2))


class Truth(NamedTuple):
    """The ground truth in the units of the loss, its valid pixels and its variance."""

    scene: Scene
    valid: Tensor  # (B, N, H, W) bool
    unit: Tensor  # (B, 1, 1, 1): what metres were divided by
    sigma_z2: Tensor | None  # (B, N, H, W) in m²

    @property
    def depth(self) -> Tensor:
        return self.scene.points[..., 2]


def read_scenes(
    pred: Mapping[str, Tensor], gt_raw: Sequence[View], normalize_pred: bool, normalize_gt: bool, with_sigma: bool
) -> tuple[Scene, Truth]:
    """Return prediction and ground truth, 0 where the truth is invalid, in the units of the loss.

    ``pred`` and ``gt_raw`` are described in :mod:`depthvar.loss.pi3`, the options there in the losses; ``sigma_Z2`` is
    read only ``with_sigma``. Raises ValueError where a key is missing or a shape does not fit.
    """
    points, guessed = lookup(pred, "local_points", "pred"), lookup(pred, "camera_poses", "pred")
    points = points.to(torch.promote_types(points.dtype, torch.float32))
    if points.dim() != 5 or points.shape[1] != len(gt_raw) or points.shape[-1] != 3:
        raise ValueError(
            f"pred['local_points']: expected shape (B, N, H, W, 3) for the N = {len(gt_raw)} views of gt_raw, "
            f"got {tuple(points.shape)}"
        )
    b, n, h, w, _ = points.shape
    if guessed.dim() != 4 or guessed.shape[:2] != (b, n) or guessed.shape[2] < 3 or guessed.shape[3] != 4:
        raise ValueError(
            f"pred['camera_poses']: expected shape {(b, n, 4, 4)}, camera to world, got {tuple(guessed.shape)}"
        )
    world = _stack(gt_raw, "pts3d", (b, h, w, 3), points).to(points)
    poses = _stack(gt_raw, "camera_pose", (b, 4, 4), points).to(points)
    valid = _stack(gt_raw, "valid_mask", (b, h, w), points).bool() & world.isfinite().all(-1)
    sigma_z2 = _stack(gt_raw, "sigma_Z2", (b, h, w), points).to(points) if with_sigma else None
    world = torch.where(valid[..., None], world, 0.0)
    local = to_camera(world, poses)
    valid = valid & ~(local[..., 2] <= 0)  # so that a pose of NaN does not pass for a sample without valid pixels
    guess = Scene(torch.where(valid[..., None], points, 0.0), guessed.to(points))
    truth = Scene(torch.where(valid[..., None], local, 0.0), poses)
    if normalize_pred:
        distance = mean_distance(to_world(guess.points, guess.poses), guess.poses, valid)
        guess = guess.scaled(1 / distance.clamp_min(1e-6))  # a collapsed prediction stays finite
    unit = mean_distance(world, poses, valid) if normalize_gt else points.new_ones(b, 1, 1, 1)
    return guess, Truth(truth.scaled(1 / unit), valid, unit, sigma_z2)


def lookup(entries: Mapping[str, Any], key: str, where: str) -> Any:
    """Return ``entries[key]``; if it is missing, raise a ValueError that says what to add or which keys exist."""
    if key in entries:
        return entries[key]
    if key == "sigma_Z2":
        raise ValueError(
            f"{where}: no 'sigma_Z2'; add to the data set, after crop and resize: "
            'cache.annotate(view, key)  # cache = depthvar.datasets.SigmaCache("<root>/sigma_Z2.zarr")'
        )
    raise ValueError(f"{where}: no {key!r}; got {sorted(entries)}")


def _stack(gt_raw: Sequence[View], key: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Return (B, N, ...): the views' entries under a key, on the device of ``like`` (trainers may not move σ²)."""
    maps = [lookup(view, key, f"gt_raw[{index}]") for index, view in enumerate(gt_raw)]
    for index, each in enumerate(maps):
        got = tuple(each.shape) if isinstance(each, Tensor) else type(each).__name__
        if got != shape:
            hint = "; rotate the map with the view if you rotate it after annotate" if key == "sigma_Z2" else ""
            hint = hint if isinstance(each, Tensor) else "; collate the views into tensors first"
            raise ValueError(f"gt_raw[{index}][{key!r}]: expected a tensor of shape {shape}, got {got}{hint}")
    return torch.stack([each.to(like.device, non_blocking=True) for each in maps], dim=1)
