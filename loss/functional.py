"""Depth losses as pure functions of predicted depth, target depth and the variance of the target. For all of them:

- Maps are (..., H, W), all of one shape; an image is one slice over the last two dimensions.
- A pixel is *invalid* where ``valid`` is False, the target is not finite, or ``sigma_z2`` is not finite or not above 0.
  Its part of the loss and of every gradient is exactly 0, even where a map holds NaN. A prediction that is not finite
  at a valid pixel makes the loss not finite. Without any valid pixel the loss and its gradient are 0.
- Arithmetic and result are float32, also under autocast and for float16 or bfloat16 maps; float64 if any map is
  float64. Keep ``sigma_z2`` in float32 or float64: in float16, 1e-8 m² becomes 0, which is invalid.
- Options, shapes and dtypes are checked. No value of a tensor is read, so the losses never wait for a GPU.
"""

import math

import torch
from torch import Tensor

from .terms import Normalize, Reduction, Terms, check_options, checked, sigma_of
from .weights import RELATIVE_SIGMA, Weighting, inverse_depth_weight, mean_one, sigma_weight


def weighted_l1(
    pred: Tensor,
    target: Tensor,
    sigma_z2: Tensor,
    valid: Tensor | None = None,
    *,
    scale: float | Tensor = 1.0,
    weighting: Weighting = "inverse_sigma",
    relative_sigma: float = RELATIVE_SIGMA,
    normalize: Normalize = "mean",
    eps: float = 0.0,
    sigma_min: float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """L1 of depth, weighted by the standard deviation of the target: ``w |pred - target|``.

    If depth and prediction are divided by ``s``, pass ``scale=s``. With ``normalize="mean"`` the loss is then divided
    by ``s``, as a plain L1 is; with ``normalize="none"`` and weights in 1/m it does not change. ``eps`` and
    ``sigma_min`` must be 0 or divided too. σ² = 1 everywhere with ``normalize="mean"`` is a plain masked L1, for the
    weightings that do not read the target.

    Args:
        pred: (..., H, W) predicted depth, in the units of ``target``.
        target: (..., H, W) true depth in metres / ``scale``.
        sigma_z2: (..., H, W) variance of the true depth in m², +inf where there is no information.
        valid: (..., H, W) bool, pixels to train on. None: all.
        scale: the factor by which the training divided its ground truth, above 0; σ is divided by it. A float, or a
            tensor with a value per image or sample and as many dimensions as the maps, such as (B, 1, 1).
        weighting: the formula of w, with σ for σ + ``eps``, Z for the target and c for ``relative_sigma``; compared in
            docs/evidence.md. ``"inverse_sigma"``: 1 / σ. ``"inverse_sqrt_sigma"``: 1 / √σ.
            ``"inverse_sigma_and_depth"``: 1 / √(σ² + (c Z)²), close to 1 / Z where σ is small and to 1 / σ where it is
            large. ``"relative"``: c Z / √(σ² + (c Z)²), close to 1 where σ is small. For the last two, a pixel whose
            target is not above 0 is invalid.
        relative_sigma: c, above 0, without a unit: above this σ / Z, σ decides the weight.
        normalize: ``"mean"`` divides the weights of each image by their mean over its valid pixels, so the loss keeps
            the size of a plain L1 and learning rates carry over; ``"none"`` leaves them.
        eps: added to σ, at least 0, in the units of ``target``.
        sigma_min: lower bound of σ, at least 0, in the units of ``target``.
        reduction: to a scalar, by the ``"mean"`` over the valid pixels of the batch or the ``"sum"``; or ``"none"``:
            (..., H, W), 0 at invalid pixels.

    Raises:
        ValueError: an unknown option, one out of its range, another shape, or a mask that is not bool.

    Example:
        >>> import torch
        >>> from depthvar.loss import weighted_l1
        >>> target, pred = torch.full((2, 4, 6), 2.0), torch.full((2, 4, 6), 2.5)
        >>> weighted_l1(pred, target, sigma_z2=torch.full((2, 4, 6), 0.01))
        tensor(0.5000)
    """
    check_options(weighting, relative_sigma, normalize, eps, sigma_min, reduction)
    options = weighting, relative_sigma, normalize, eps, sigma_min
    return weighted_l1_terms(pred, target, sigma_z2, valid, scale, *options).loss(reduction)


def laplace_nll(
    pred: Tensor,
    target: Tensor,
    sigma_z2: Tensor,
    valid: Tensor | None = None,
    *,
    scale: float | Tensor = 1.0,
    sigma_min: float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Negative log-likelihood of a Laplace distribution of variance σ²: ``|pred - target| / b + log b``.

    ``b = σ / √2``; the constant ``log 2`` is left out. σ is given and not predicted, so the gradient is √2 times that
    of :func:`weighted_l1` with ``normalize="none"`` and the same ``sigma_min``; but values can be compared between σ
    maps. If depth and prediction are divided by ``s``, pass ``scale=s``; the loss of every valid pixel is then lower by
    ``log s``. Arguments, errors and shapes are those of :func:`weighted_l1`; the result can be below 0.

    Example:
        >>> import torch
        >>> from depthvar.loss import laplace_nll
        >>> target, pred = torch.full((2, 4, 6), 2.0), torch.full((2, 4, 6), 2.5)
        >>> laplace_nll(pred, target, sigma_z2=torch.full((2, 4, 6), 0.01))
        tensor(4.4219)
    """
    check_options(reduction=reduction, sigma_min=sigma_min)
    return laplace_nll_terms(pred, target, sigma_z2, valid, scale, sigma_min).loss(reduction)


def inverse_depth_l1(
    pred: Tensor,
    target: Tensor,
    valid: Tensor | None = None,
    *,
    weight: Tensor | None = None,
    normalize: Normalize = "none",
    reduction: Reduction = "mean",
) -> Tensor:
    """L1 of depth, weighted by one over the target: ``|pred - target| / (max(target, 0.1 mean) + 1e-6)``.

    ``mean`` is the mean of the target over the valid pixels of the image. This loss needs no σ, and is the one to
    compare with. Dividing depth and prediction by ``s`` does not change it, except through the 1e-6; with
    ``normalize="mean"`` it is then divided by ``s``, as a plain L1 is. Arguments, result and errors are those of
    :func:`weighted_l1`; a pixel whose target is not above 0 is unknown, so invalid.

    Args:
        weight: (..., H, W), a further factor, such as of :func:`focus_weight`. A pixel is invalid where it is not
            finite or not above 0. None: 1 everywhere.
        normalize: ``"none"``, or ``"mean"``: the product of both weights is divided by its mean over the valid pixels
            of each image.

    Example:
        >>> import torch
        >>> from depthvar.loss import inverse_depth_l1
        >>> target, pred = torch.full((2, 4, 6), 2.0), torch.full((2, 4, 6), 2.5)
        >>> inverse_depth_l1(pred, target)
        tensor(0.2500)
    """
    check_options(normalize=normalize, reduction=reduction)
    return inverse_depth_l1_terms(pred, target, valid, weight, normalize).loss(reduction)


def weighted_l1_terms(
    pred: Tensor,
    target: Tensor,
    sigma_z2: Tensor,
    valid: Tensor | None,
    scale: float | Tensor,
    weighting: Weighting,
    relative_sigma: float,
    normalize: Normalize,
    eps: float,
    sigma_min: float,
) -> Terms:
    """Return what :func:`weighted_l1` is made of; the options are checked already."""
    pred, target, sigma_z2, valid = checked(valid, pred=pred, target=target, sigma_z2=sigma_z2)
    if weighting in ("relative", "inverse_sigma_and_depth"):
        valid = valid & (target > 0)
    sigma = sigma_of(sigma_z2, valid, scale, sigma_min) + eps
    weight = sigma_weight(sigma, target, valid, weighting, relative_sigma, xp=torch)
    if normalize == "mean":
        weight = mean_one(weight, valid, xp=torch)
    return Terms({"data_loss": _abs_error(pred, target, valid) * weight}, weight, valid)


def laplace_nll_terms(
    pred: Tensor, target: Tensor, sigma_z2: Tensor, valid: Tensor | None, scale: float | Tensor, sigma_min: float
) -> Terms:
    """Return what :func:`laplace_nll` is made of; its weight is 1 / b."""
    pred, target, sigma_z2, valid = checked(valid, pred=pred, target=target, sigma_z2=sigma_z2)
    b = sigma_of(sigma_z2, valid, scale, sigma_min) / math.sqrt(2)
    parts = {"data_loss": _abs_error(pred, target, valid) / b, "log_b": b.log()}
    return Terms(parts, torch.where(valid, 1.0 / b, 0.0), valid)


def inverse_depth_l1_terms(
    pred: Tensor, target: Tensor, valid: Tensor | None, weight: Tensor | None, normalize: Normalize
) -> Terms:
    """Return what :func:`inverse_depth_l1` is made of."""
    if weight is None:
        pred, target, valid = checked(valid, pred=pred, target=target)
    else:
        pred, target, weight, valid = checked(valid, pred=pred, target=target, weight=weight)
    valid = valid & (target > 0)
    factor = torch.where(valid, 1.0 if weight is None else weight, 0.0) * inverse_depth_weight(target, valid, xp=torch)
    if normalize == "mean":
        factor = mean_one(factor, valid, xp=torch)
    return Terms({"data_loss": _abs_error(pred, target, valid) * factor}, factor, valid)


def _abs_error(pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return |pred - target|, 0 with a zero gradient where invalid."""
    return torch.where(valid, pred - target, 0.0).abs()
