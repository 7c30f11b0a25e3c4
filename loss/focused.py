"""A loss of log depth with more weight where σ is large: σ says where to look, instead of what to trust less.

What :mod:`.functional` says of all losses holds here too. In addition, a pixel whose target is not above 0 is invalid.

**Predictions at or below 0** have no logarithm. From a hundredth of the target up, the error is ``log(pred / target)``;
below, it is continued by its tangent. So it is finite, and the lower a prediction, the more it costs, with the gradient
100 / target. Other losses return NaN there, which ends a training, or clamp the prediction, which then has no gradient
and stays where it is. Better still is a network whose last layer is positive, such as exp or softplus: after gradients
that large, Adam makes small steps for a long time.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from . import weights
from .terms import Reduction, Terms, check_options, checked, reduced, sigma_of
from .weights import FOCUS, RELATIVE_SIGMA

# The defaults of all that takes these options.
GRADIENT, SCALES = 0.5, 4

# The part of the target below which the logarithm is continued by its tangent.
LEAST_RATIO = 0.01


def focused_log_l1(
    pred: Tensor,
    target: Tensor,
    sigma_z2: Tensor | None = None,
    valid: Tensor | None = None,
    *,
    focus: float = FOCUS,
    relative_sigma: float = RELATIVE_SIGMA,
    gradient: float = GRADIENT,
    scales: int = SCALES,
    scale: float | Tensor = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """L1 of log depth and of its gradients, with more weight at edges: ``w |log(pred / target)| + gradient · g``.

    w is :func:`focus_weight`, and g is :func:`gradient_matching` with that weight. Depth counts by its ratio, so
    dividing prediction and target by ``s``, with ``scale=s``, does not change the loss. Arguments, errors and shapes
    are those of :func:`weighted_l1`, and

    Args:
        sigma_z2: None: :func:`depth_range3` of the target, which was as good in the study (docs/evidence.md).
        focus: see :func:`focus_weight`.
        relative_sigma: see there.
        gradient: factor of the gradients, at least 0. 0: without them.
        scales: see :func:`gradient_matching`.
        reduction: as for :func:`weighted_l1`; of ``"none"``, the gradients are at the left or upper pixel of a pair.

    Example:
        >>> import torch
        >>> from depthvar.loss import focused_log_l1
        >>> target = torch.full((2, 4, 6), 2.0)
        >>> focused_log_l1(1.1 * target, target, sigma_z2=torch.full((2, 4, 6), 0.01))  # log 1.1
        tensor(0.0953)
    """
    check_options(relative_sigma=relative_sigma, focus=focus, gradient=gradient, scales=scales, reduction=reduction)
    options = focus, relative_sigma, gradient, scales
    return focused_log_l1_terms(pred, target, sigma_z2, valid, scale, *options).loss(reduction)


def focus_weight(
    sigma_z2: Tensor,
    target: Tensor,
    valid: Tensor | None = None,
    *,
    focus: float = FOCUS,
    relative_sigma: float = RELATIVE_SIGMA,
    scale: float | Tensor = 1.0,
) -> Tensor:
    """Return weights that are larger where σ is: ``1 + focus · σ² / (σ² + (c Z)²)``, over their mean in each image.

    Z is the target and c is ``relative_sigma``. Before the division by the mean, a weight is close to 1 on smooth
    surfaces and to 1 + ``focus`` at edges.

    Args:
        sigma_z2: (..., H, W), as for :func:`weighted_l1`; so are ``target``, ``valid`` and ``scale``.
        focus: how much more an edge counts than a smooth surface, at least 0. 0: all pixels count the same.
        relative_sigma: c, above 0, without a unit: the σ / Z that is halfway between the two.

    Returns:
        (..., H, W), 0 where invalid, with the mean 1 over the valid pixels of each image; ``weight > 0`` is the mask.

    Raises:
        ValueError: as :func:`weighted_l1`.

    Example:
        >>> import torch
        >>> from depthvar.loss import focus_weight
        >>> focus_weight(torch.tensor([[1e-9, 1e9]]), torch.ones(1, 2), focus=3)  # smooth, edge
        tensor([[0.4000, 1.6000]])
    """
    check_options(relative_sigma=relative_sigma, focus=focus)
    sigma_z2, target, valid = checked(valid, sigma_z2=sigma_z2, target=target)
    valid = valid & (target > 0)
    sigma = sigma_of(sigma_z2, valid, scale, 0.0)
    return weights.focus_weight(sigma, target, valid, focus, relative_sigma, xp=torch)


def depth_range3(target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return σ² by the range of depth in 3×3 pixels: a stand-in for ``sigma_z2`` with scale 1.

    It is the variance of depth that is spread evenly over the range, δ² / 3 with half of the range as δ. δ is at least
    1e-4 of the target, as in the kernel, so that a flat surface is not invalid. Invalid neighbours are left out; so is
    a neighbour of unknown or far depth, in contrast to the kernel, where far depth counts.

    Args:
        target: (..., H, W) true depth, in any unit.
        valid: (..., H, W) bool. None: all.

    Returns:
        (..., H, W) in the unit of the target squared, +inf where invalid.

    Raises:
        ValueError: as :func:`weighted_l1`.

    Example:
        >>> import torch
        >>> from depthvar.loss import depth_range3
        >>> depth_range3(torch.tensor([[1.0, 1.0, 2.0, 2.0]])).sqrt()  # metres
        tensor([[5.7735e-05, 2.8868e-01, 2.8868e-01, 1.1547e-04]])
    """
    target, valid = checked(valid, target=target)
    valid = valid & (target > 0)
    images = (torch.where(valid, sign * target, -math.inf).reshape(-1, 1, *target.shape[-2:]) for sign in (1, -1))
    farthest, nearest = (max_pool2d(each, 3, stride=1, padding=1).reshape(target.shape) for each in images)
    delta = torch.where(valid, farthest + nearest, 0.0) / 2
    return torch.where(valid, delta.maximum(1e-4 * target).square() / 3, math.inf)


def gradient_matching(
    pred: Tensor,
    target: Tensor,
    valid: Tensor | None = None,
    *,
    weight: Tensor | None = None,
    scales: int = SCALES,
    reduction: Reduction = "mean",
) -> Tensor:
    """L1 of the differences of log depth between neighbours, at several scales; added to another loss, not used alone.

    With ``r = log(pred / target)``, scale s = 0, 1, … uses every 2^s-th row and column of r: the sum of
    ``√(w_a w_b) |r_a - r_b|`` over its pairs a, b of horizontal and of vertical neighbours, both valid, divided by the
    sum of √w over its valid pixels. The loss of an image is the sum over the scales (after Li and Snavely,
    MegaDepth, CVPR 2018, which has no weights). A factor of the prediction does not change it. σ² is not needed.

    Args:
        pred: (..., H, W), as for :func:`weighted_l1`; so are ``target`` and ``valid``.
        weight: (..., H, W), w, such as of :func:`focus_weight`. A pixel is invalid where it is not finite or not above
            0. None: 1 everywhere.
        scales: how many, at least 1.
        reduction: to a scalar, by the ``"mean"`` of the images, each counted by its number of valid pixels, or by the
            ``"sum"``, which is that mean times the number of valid pixels; or ``"none"``: (..., H, W), each pair
            at its left or upper pixel, so that the valid ones have this mean.

    Raises:
        ValueError: as :func:`weighted_l1`.

    Example:
        >>> import torch
        >>> from depthvar.loss import gradient_matching
        >>> target = torch.full((2, 4, 6), 2.0)
        >>> pred = torch.where(torch.arange(6) < 3, 2.0, 2.2).expand(2, 4, 6)  # a step that is not there
        >>> gradient_matching(pred, target, scales=1)  # log 1.1 in one of six columns
        tensor(0.0159)
    """
    check_options(scales=scales, reduction=reduction)
    if weight is None:
        pred, target, valid = checked(valid, pred=pred, target=target)
    else:
        pred, target, weight, valid = checked(valid, pred=pred, target=target, weight=weight)
    valid = valid & (target > 0)
    weight = valid.to(pred.dtype) if weight is None else weight
    return reduced(_gradients(_log_error(pred, target, valid), weight, valid, scales), valid, reduction)


def focused_log_l1_terms(
    pred: Tensor,
    target: Tensor,
    sigma_z2: Tensor | None,
    valid: Tensor | None,
    scale: float | Tensor,
    focus: float,
    relative_sigma: float,
    gradient: float,
    scales: int,
) -> Terms:
    """Return what :func:`focused_log_l1` is made of; the options are checked already."""
    if sigma_z2 is None:
        sigma_z2, scale = depth_range3(target, valid), 1.0
    pred, target, sigma_z2, valid = checked(valid, pred=pred, target=target, sigma_z2=sigma_z2)
    valid = valid & (target > 0)
    sigma = sigma_of(sigma_z2, valid, scale, 0.0)
    weight = weights.focus_weight(sigma, target, valid, focus, relative_sigma, xp=torch)
    error = _log_error(pred, target, valid)
    parts = {"data_loss": weight * error.abs()}
    if gradient > 0:
        parts["gradient_loss"] = gradient * _gradients(error, weight, valid, scales)
    return Terms(parts, weight, valid)


def _log_error(pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return log(pred / target), continued by its tangent below ``LEAST_RATIO``; 0 where invalid."""
    ratio = torch.where(valid, pred, 1.0) / torch.where(valid, target, 1.0)
    tangent = ratio / LEAST_RATIO + (math.log(LEAST_RATIO) - 1)
    return torch.where(ratio > LEAST_RATIO, ratio.clamp_min(LEAST_RATIO).log(), tangent)


def _gradients(error: Tensor, weight: Tensor, valid: Tensor, scales: int) -> Tensor:
    """Return (..., H, W) whose mean over the valid pixels of an image is its :func:`gradient_matching`."""
    # Invalid weights become 1 before the root, whose gradient at 0 is infinite.
    root = torch.where(valid, torch.where(valid, weight, 1.0).sqrt(), 0.0)
    count = valid.sum((-2, -1), keepdim=True)
    loss = torch.zeros_like(error)
    for step in (2**s for s in range(scales)):
        r, w, at = error[..., ::step, ::step], root[..., ::step, ::step], loss[..., ::step, ::step]
        total = w.sum((-2, -1), keepdim=True)
        share = count / torch.where(total > 0, total, 1.0)
        at[..., :, :-1] += share * r.diff(dim=-1).abs() * w[..., :, 1:] * w[..., :, :-1]
        at[..., :-1, :] += share * r.diff(dim=-2).abs() * w[..., 1:, :] * w[..., :-1, :]
    return loss
