"""The weight of a pixel in a loss, by formula: the one place that knows them, for training and for pictures.

Every function works on torch tensors and on NumPy arrays; ``xp`` is the module of the arrays, ``torch`` or ``numpy``.
This file imports neither, so pictures and reports need no torch. Maps are (..., H, W), an image is one slice over the
last two dimensions, and values at invalid pixels must be finite.
"""

from typing import Any, Literal, TypeVar

Weighting = Literal["inverse_sigma", "inverse_sqrt_sigma", "relative", "inverse_sigma_and_depth"]

Array = TypeVar("Array", bound=Any)  # a tensor, or an array of NumPy

# The defaults of all that takes these options.
FOCUS, RELATIVE_SIGMA = 8.0, 0.1


def sigma_weight(
    sigma: Array, target: Array, valid: Array, weighting: Weighting, relative_sigma: float = RELATIVE_SIGMA, *, xp: Any
) -> Array:
    """Return the weight of each pixel by its σ in the units of the target, 0 where invalid.

    :func:`depthvar.loss.weighted_l1` has the formulas.
    """
    if weighting == "inverse_sigma":
        weight = 1.0 / sigma
    elif weighting == "inverse_sqrt_sigma":
        weight = 1.0 / xp.sqrt(sigma)
    else:
        depth = relative_sigma * xp.where(valid, target, 1.0)
        weight = 1.0 / xp.hypot(sigma, depth)
        if weighting == "relative":
            weight = weight * depth
    found: Array = xp.where(valid, weight, 0.0)
    return found


def focus_weight(sigma: Array, target: Array, valid: Array, focus: float, relative_sigma: float, *, xp: Any) -> Array:
    """Return ``1 + focus · σ² / (σ² + (c Z)²)`` over its mean in each image, 0 where invalid.

    :func:`depthvar.loss.focus_weight` says more; here σ is in the units of the target Z, and c is ``relative_sigma``.
    """
    share = sigma / xp.hypot(sigma, relative_sigma * xp.where(valid, target, 1.0))
    found: Array = mean_one(xp.where(valid, 1.0 + focus * xp.square(share), 0.0), valid, xp=xp)
    return found


def inverse_depth_weight(target: Array, valid: Array, *, xp: Any) -> Array:
    """Return ``1 / (max(target, 0.1 mean) + 1e-6)``; :func:`depthvar.loss.inverse_depth_l1` says more."""
    depth = xp.where(valid, target, 0.0)
    found: Array = 1.0 / (xp.maximum(depth, 0.1 * mean_of(depth, valid, (-2, -1), if_none=1.0, xp=xp)) + 1e-6)
    return found


def mean_one(weight: Array, valid: Array, *, xp: Any) -> Array:
    """Return weights (..., H, W), 0 where invalid, divided by their mean over the valid pixels of each image."""
    found: Array = weight / mean_of(weight, valid, (-2, -1), if_none=1.0, xp=xp)
    return found


def mean_of(
    values: Array, valid: Array, dims: tuple[int, ...] | None = None, *, if_none: float = 0.0, xp: Any
) -> Array:
    """Return the mean over the valid ones of ``values`` that are 0 elsewhere, in all or ``dims``, which are kept."""
    keep = dims is not None
    count = valid.sum(dims, keepdims=keep)
    found: Array = xp.where(count > 0, values.sum(dims, keepdims=keep) / (count + (count == 0)), if_none)
    return found
