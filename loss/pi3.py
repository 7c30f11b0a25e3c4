"""Drop-ins for two training losses of Pi3: the original one, and those that use σ² from the data loader.

Pi3's trainer calls them as ``loss(pred, gt_raw)``. They return ``(loss, details)``.

- ``pred``: ``local_points`` (B, N, H, W, 3) in each camera's frame and ``camera_poses`` (B, N, 4, 4), camera to world.
  Other entries, such as ``global_points``, follow from these and are not read.
- ``gt_raw``: N views, dicts of batched tensors: ``pts3d`` (B, H, W, 3) world points in metres, ``valid_mask``
  (B, H, W), ``camera_pose`` (B, 4, 4) camera to world; for :class:`Pi3LossMipNeRFVariance` also ``sigma_Z2`` (B, H, W)
  in m², and optionally ``sigma_Z2_params`` (B, 3); with ``normal_datasets`` also ``dataset``, B names.

``loss = local_pts_loss + normal_loss + 0.1 (100 trans_loss + rot_loss)``. Prediction and ground truth may have
different world frames: points are compared in the frame of their camera, cameras by their relative poses. A pixel is
valid where the mask is set and its true point is finite and in front of the camera; predictions at other pixels are
ignored. Arithmetic is float32, also under autocast; float64 for a float64 prediction. Of all tensors only
``sigma_Z2_params`` is read on the host, once, so the losses do not wait for a GPU.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from . import geometry
from .focused import GRADIENT, focus_weight, focused_log_l1
from .functional import Normalize, check_options, weighted_l1
from .scene import Scene, Truth, View, lookup, read_scenes
from .weights import FOCUS, RELATIVE_SIGMA, inverse_depth_weight

CAMERA_WEIGHT, TRANSLATION_WEIGHT = 0.1, 100.0

LossType = Literal["weighted_l1", "laplace_nll", "focused_log_l1"]


class _Pi3Loss(nn.Module):
    """What both losses share: scenes, scale, normals and cameras. Subclasses define the weights of points."""

    needs_sigma = False
    parts: tuple[float, float]  # of depth_loss and xy_loss in local_pts_loss

    def __init__(
        self,
        normalize_pred: bool = False,
        normalize_gt: bool = True,
        use_scale_align: bool = False,
        normal_datasets: Collection[str] = (),
    ) -> None:
        super().__init__()
        if isinstance(normal_datasets, str):
            raise ValueError(f"normal_datasets: expected a list of names, got the string {normal_datasets!r}")
        self.normalize_pred = normalize_pred
        self.normalize_gt = normalize_gt
        self.use_scale_align = use_scale_align
        self.normal_datasets = frozenset(normal_datasets)

    def weights(self, truth: Truth) -> tuple[Tensor, Tensor]:
        """Return the weights of |pred − target| in z, 0 where it does not count, and in x and y; both (B, N, H, W)."""
        raise NotImplementedError

    def depth_loss(self, depth: Tensor, truth: Truth, weight: Tensor) -> Tensor:
        """Return the mean of the weighted errors of a predicted depth (B, N, H, W), where the weight is above 0."""
        return geometry.masked_mean((depth - truth.depth).abs() * weight, weight > 0)

    def forward(self, pred: Mapping[str, Tensor], gt_raw: Sequence[View]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its parts, of what the top of this module describes.

        Returns:
            A scalar, and scalars without gradient: ``depth_loss``, ``xy_loss``, ``local_pts_loss``, ``normal_loss``,
            ``trans_loss``, ``rot_loss`` (both before their factors; radians), ``depth_xy_ratio`` (depth_loss /
            xy_loss), ``weight_min``, ``weight_mean``, ``weight_max`` of the depth error over the valid pixels,
            and with σ² ``sigma_min``, ``sigma_mean``, ``sigma_max`` in metres. Without any valid pixel they are 0.

        Raises:
            ValueError: shapes that do not fit, a key that is missing, or σ² of other parameters.
        """
        with torch.autocast(lookup(pred, "local_points", "pred").device.type, enabled=False):
            guess, truth = read_scenes(pred, gt_raw, self.normalize_pred, self.normalize_gt, self.needs_sigma)
            weight, xy_weight = self.weights(truth)
            counts, depth_part, xy_part = weight > 0, *self.parts
            if self.use_scale_align:  # with the weight of each component in local_pts_loss
                z_weight = weight * (depth_part / counts.sum().clamp_min(1))
                x_weight = xy_weight * (xy_part / 2 / truth.valid.sum().clamp_min(1))
                components = torch.stack((x_weight, x_weight, z_weight), dim=-1)
                scale = geometry.best_scale(guess.points, truth.scene.points, components)
                guess = guess.scaled(scale[:, None, None, None])
            depth_loss = self.depth_loss(guess.points[..., 2], truth, weight)
            xy_error = (guess.points - truth.scene.points)[..., :2].abs().mean(-1)
            xy_loss = geometry.masked_mean(xy_error * xy_weight, truth.valid)
            points_loss = depth_part * depth_loss + xy_part * xy_loss
            normal_loss = self._normal_loss(guess, truth, gt_raw)
            trans_loss, rot_loss = geometry.camera_losses(guess.poses, truth.scene.poses)
            loss = points_loss + normal_loss + CAMERA_WEIGHT * (TRANSLATION_WEIGHT * trans_loss + rot_loss)
            details = {
                "depth_loss": depth_loss,
                "xy_loss": xy_loss,
                "local_pts_loss": points_loss,
                "normal_loss": normal_loss,
                "trans_loss": trans_loss,
                "rot_loss": rot_loss,
                "depth_xy_ratio": depth_loss / torch.where(xy_loss > 0, xy_loss, math.inf),
                **_spread("weight", weight, counts),
            }
            if truth.sigma_z2 is not None:
                details |= _spread("sigma", torch.where(counts, truth.sigma_z2, 0.0).sqrt(), counts)
        return loss, {name: value.detach() for name, value in details.items()}

    def _normal_loss(self, guess: Scene, truth: Truth, gt_raw: Sequence[View]) -> Tensor:
        if not self.normal_datasets:
            return guess.points.new_zeros(())
        names = [lookup(view, "dataset", f"gt_raw[{index}]") for index, view in enumerate(gt_raw)]
        if any(isinstance(each, str) or len(each) != len(truth.valid) for each in names):
            raise ValueError(f"gt_raw: expected {len(truth.valid)} names under 'dataset' in every view, got {names}")
        chosen = torch.tensor([[name in self.normal_datasets for name in each] for each in names]).T
        chosen = chosen.to(truth.valid.device, non_blocking=True)  # a blocking copy would wait for the GPU
        return geometry.normal_loss(guess.points, truth.scene.points, truth.valid & chosen[..., None, None])


class Pi3LossGTOnlyNorm(_Pi3Loss):
    """Pi3's original loss: L1 of the points, weighted by one over the true depth. Reads no σ².

    ``local_pts_loss`` is the mean over x, y and z of ``|pred − gt| / (max(Z, 0.1 mean Z) + 1e-6)``, and so
    ``(depth_loss + 2 xy_loss) / 3``; see :func:`~depthvar.loss.inverse_depth_l1`.

    Args:
        normalize_pred: divide each predicted sample by the mean distance of its points (where the truth is valid) from
            its first camera.
        normalize_gt: divide each true sample by the mean distance of its own points.
        use_scale_align: first multiply each predicted sample by the scale that minimises ``local_pts_loss``.
        normal_datasets: names of the data sets with a loss of surface normals.
    """

    parts = 1 / 3, 2 / 3

    def weights(self, truth: Truth) -> tuple[Tensor, Tensor]:
        """Return one over the depth, for all three components."""
        weight = torch.where(truth.valid, inverse_depth_weight(truth.depth, truth.valid, xp=torch), 0.0)
        return weight, weight


class Pi3LossMipNeRFVariance(_Pi3Loss):
    """The losses that use σ: for depth, by its variance; x and y are unweighted. Reads ``view["sigma_Z2"]``.

    ``local_pts_loss = depth_loss + xy_loss``; see :func:`~depthvar.loss.weighted_l1`,
    :func:`~depthvar.loss.laplace_nll` and :func:`~depthvar.loss.focused_log_l1`, and for the parameters
    ``docs/migrating-from-online.md``. With ``torch.compile(fullgraph=True)``, run one step before compiling: the first
    reads ``sigma_Z2_params`` on the host.

    Args:
        normalize_pred: as for :class:`Pi3LossGTOnlyNorm`.
        normalize_gt: as there; σ² is divided by the square of that distance.
        use_scale_align: as there; for ``"focused_log_l1"`` nearly that scale: ``|pred − gt| / Z`` is for the logarithm.
        loss_type: ``"weighted_l1"``, ``"laplace_nll"`` or ``"focused_log_l1"``.
        window: the window that σ² must have been computed with. Compared once with ``view["sigma_Z2_params"]``, if
            the view has it; the loss does not use it otherwise.
        lambda_prior: see ``window``.
        alpha_clamp: see ``window``.
        normal_datasets: as for :class:`Pi3LossGTOnlyNorm`.
        normalize_weight: ``"none"``: 1 / σ, as in the original; ``"mean"`` divides an image's weights by their mean.
            For ``"weighted_l1"`` only.
        sigma_min: lower bound of σ, in the units of the normalised ground truth; not for ``"focused_log_l1"``.
        focus, relative_sigma, gradient: of ``"focused_log_l1"``.

    Raises:
        ValueError: an unknown option.
    """

    needs_sigma = True
    parts = 1.0, 1.0

    def __init__(
        self,
        normalize_pred: bool = False,
        normalize_gt: bool = True,
        use_scale_align: bool = False,
        loss_type: LossType = "weighted_l1",
        window: int = 5,
        lambda_prior: float = 0.5,
        alpha_clamp: float = 0.3,
        normal_datasets: Collection[str] = (),
        normalize_weight: Normalize = "none",
        sigma_min: float = 0.0,
        focus: float = FOCUS,
        relative_sigma: float = RELATIVE_SIGMA,
        gradient: float = GRADIENT,
    ) -> None:
        super().__init__(normalize_pred, normalize_gt, use_scale_align, normal_datasets)
        if loss_type not in get_args(LossType):
            raise ValueError(f"loss_type: expected one of {', '.join(get_args(LossType))}; got {loss_type!r}")
        self.focus: dict[str, Any] = {"focus": focus, "relative_sigma": relative_sigma}
        check_options(normalize=normalize_weight, sigma_min=sigma_min, gradient=gradient, **self.focus)
        self.loss_type = loss_type
        self.gradient = gradient
        self.params = {"window": window, "lambda_prior": lambda_prior, "alpha_clamp": alpha_clamp}
        self.normalize_weight: Normalize = normalize_weight
        self.sigma_min = sigma_min
        self._params_checked = False

    def forward(self, pred: Mapping[str, Tensor], gt_raw: Sequence[View]) -> tuple[Tensor, dict[str, Tensor]]:
        """Check the parameters of σ² in the first step that has them, and return the loss and its parts."""
        if not self._params_checked:
            self._params_checked = self._check_params(gt_raw)
        return super().forward(pred, gt_raw)

    def weights(self, truth: Truth) -> tuple[Tensor, Tensor]:
        """Return the weight of depth (the loss of an error of 1; of the focused loss, per small error), and 1."""
        assert truth.sigma_z2 is not None
        if self.loss_type == "focused_log_l1":
            weight = focus_weight(truth.sigma_z2, truth.depth, truth.valid, scale=truth.unit, **self.focus)
            return weight / torch.where(truth.valid, truth.depth, 1.0), truth.valid.to(weight)
        nll = self.loss_type == "laplace_nll"
        weight = weighted_l1(
            torch.ones_like(truth.depth),
            torch.zeros_like(truth.depth),
            truth.sigma_z2,
            truth.valid,
            scale=truth.unit,
            weighting="inverse_sigma",
            normalize="none" if nll else self.normalize_weight,
            sigma_min=self.sigma_min,
            reduction="none",
        )
        return weight * (math.sqrt(2) if nll else 1.0), truth.valid.to(weight)

    def depth_loss(self, depth: Tensor, truth: Truth, weight: Tensor) -> Tensor:
        """Return the weighted mean; of ``"laplace_nll"``, whose weight is 1 / b, with the mean of log b."""
        if self.loss_type == "focused_log_l1":
            assert truth.sigma_z2 is not None
            maps = depth, truth.depth, truth.sigma_z2, truth.valid
            return focused_log_l1(*maps, scale=truth.unit, gradient=self.gradient, **self.focus)
        loss = super().depth_loss(depth, truth, weight)
        return loss - geometry.masked_mean(weight.log(), weight > 0) if self.loss_type == "laplace_nll" else loss

    def _check_params(self, gt_raw: Sequence[View]) -> bool:
        """Return whether any view says what its σ² was computed with; raise where that is something else."""
        expected = list(self.params.values())
        found = False
        for index, view in enumerate(gt_raw):
            rows = torch.as_tensor(view.get("sigma_Z2_params", ())).reshape(-1, 3)
            # What the trainer's cast left of them: 0.3 in bfloat16 is 0.30078125.
            near = max(1e-6, torch.finfo(rows.dtype).eps) if rows.is_floating_point() else 1e-6
            for row in rows.tolist():
                found = True
                if not all(math.isclose(*pair, rel_tol=near) for pair in zip(row, expected, strict=True)):
                    got = {name: float(f"{value:.6g}") for name, value in zip(self.params, row, strict=True)}
                    raise ValueError(
                        f"gt_raw[{index}]['sigma_Z2_params']: σ² was computed with {got}, but the loss expects "
                        f"{self.params}; give the loss the options of the cache, or write a cache with these"
                    )
        return found


def _spread(name: str, values: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Return min, mean and max of ``values``, at least 0, where ``mask``; 0 where that is nowhere."""
    lowest = torch.where(mask, values, math.inf).amin()
    return {
        f"{name}_min": torch.where(mask.any(), lowest, 0.0),
        f"{name}_mean": geometry.masked_mean(values, mask),
        f"{name}_max": torch.where(mask, values, 0.0).amax(),
    }
