"""What a loss sees in a training step, as numbers to log: its parts, its weights and σ.

``seen = loss.observe(…)``, with the arguments of the loss, computes the loss once more, without a gradient. From it,
:func:`details` makes a plain dict and :func:`weight_histogram` counts. Both wait for the GPU, so call them every
hundred steps or so, as ``Watch`` does, which sends them to TensorBoard or Weights & Biases (docs/watching.md).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .terms import Terms, reduced
from .weights import mean_of

QUANTILES = {"p05": 0.05, "p50": 0.5, "p95": 0.95}
# The bins of weight_histogram: ten for each power of ten. A weight beyond the ends counts in the first or last bin.
LOG10_EDGES = tuple(each / 10 for each in range(-40, 41))


class Observation(NamedTuple):
    """A loss at one step, without gradient. Maps are (..., H, W), of one shape and on one device.

    Attributes:
        parts: scalars: ``loss`` and what it is the sum of, as means over the valid pixels.
        pred: in metres (in the units of the target for a loss without ``scale``); so are ``depth`` and ``sigma``.
        depth: the target.
        sigma: σ, 0 where invalid. None for a loss that does not read it.
        weight: the factor of each pixel's error, 0 where invalid.
        valid: bool, the pixels that count.
    """

    parts: dict[str, Tensor]
    pred: Tensor
    depth: Tensor
    sigma: Tensor | None
    weight: Tensor
    valid: Tensor


def observed(
    terms: Terms, pred: Tensor, target: Tensor, sigma_z2: Tensor | None, scale: float | Tensor = 1.0
) -> Observation:
    """Return what a loss sees, from its terms and its arguments as they came."""
    parts = {name: reduced(part, terms.valid, "mean") for name, part in terms.parts.items()}
    sigma = None if sigma_z2 is None else torch.where(terms.valid, sigma_z2, 0.0).to(terms.weight).sqrt()
    guess, depth = (each.to(terms.weight) * scale for each in (pred, target))
    return Observation({"loss": terms.loss("mean"), **parts}, guess, depth, sigma, terms.weight, terms.valid)


def details(seen: Observation) -> dict[str, float]:
    """Return the numbers of a step; docs/watching.md says what each one means, and what is a bad sign.

    Without any valid pixel, all but ``valid_share`` are what an empty mean is: 0.

    Returns:
        The ``parts``: ``loss``; ``data_loss`` and, where there is one, ``gradient_loss`` or ``log_b``, which add up to
        it; for a loss of Pi3 what its ``details`` hold, such as ``depth_xy_ratio``.

        ``valid_share``: of the pixels. ``weight_min``, ``weight_mean``, ``weight_max`` over the valid pixels.
        ``weight_effective_share``: (Σ w)² / (n Σ w²), in 1 / n to 1, the share of equally weighted pixels that a mean
        is as certain with (Kish, Survey Sampling, 1965). With σ also ``sigma_min``, ``sigma_mean``, ``sigma_max`` and
        the quantiles ``sigma_p05``, ``sigma_p50``, ``sigma_p95``, of which each is the value of a pixel.

    Example:
        >>> import torch
        >>> from depthvar.loss import WeightedL1
        >>> from depthvar.loss.watch import details
        >>> target = torch.full((1, 1, 4), 2.0)
        >>> seen = WeightedL1().observe(target + 0.5, target, sigma_z2=torch.tensor([[[0.01, 0.01, 0.01, 1e9]]]))
        >>> round(details(seen)["weight_effective_share"], 2)  # a fourth pixel has no weight
        0.75
    """
    values = {
        **seen.parts,
        "valid_share": seen.valid.to(seen.weight).mean(),
        **spread("weight", seen.weight, seen.valid),
        "weight_effective_share": _effective_share(seen.weight, seen.valid),
    }
    if seen.sigma is not None:
        values |= spread("sigma", seen.sigma, seen.valid) | _quantiles("sigma", seen.sigma, seen.valid)
    numbers = torch.stack([each.to(seen.weight) for each in values.values()]).tolist()  # one wait for the GPU
    return dict(zip(values, numbers, strict=True))


def weight_histogram(seen: Observation) -> list[int]:
    """Return how many valid pixels have a weight in each bin between ``LOG10_EDGES``, of log₁₀ of the weight.

    The bins are the same at every step, so that histograms of a training can be compared and added.
    """
    inner = torch.tensor([10.0**each for each in LOG10_EDGES[1:-1]], dtype=seen.weight.dtype, device=seen.weight.device)
    bins = len(LOG10_EDGES) - 1
    places = torch.where(seen.valid, torch.bucketize(seen.weight, inner, right=True), bins)
    counts: list[int] = torch.bincount(places.flatten(), minlength=bins + 1)[:bins].tolist()
    return counts


def spread(name: str, values: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """Return min, mean and max of ``values``, at least 0, where ``valid``; 0 where that is nowhere."""
    known = torch.where(valid, values, 0.0)
    return {
        f"{name}_min": torch.where(valid.any(), torch.where(valid, values, math.inf).amin(), 0.0),
        f"{name}_mean": mean_of(known, valid, xp=torch),
        f"{name}_max": known.amax(),
    }


def _effective_share(weight: Tensor, valid: Tensor) -> Tensor:
    """Return (Σ w)² / (n Σ w²) of weights that are 0 where invalid."""
    largest = weight.amax()
    part = weight / torch.where(largest > 0, largest, 1.0)  # at most 1: squares of large weights overflow
    mean, mean_square = (mean_of(each, valid, xp=torch) for each in (part, part.square()))
    return torch.where(mean_square > 0, mean.square() / mean_square, 0.0)


def _quantiles(name: str, values: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """Return the values at ``QUANTILES`` of the sorted valid ones, rounded down to one of them."""
    ordered = torch.where(valid, values, math.inf).flatten().sort().values  # torch.quantile ends at 16 million
    last = (valid.sum() - 1).clamp_min(0)
    found = {f"{name}_{short}": ordered[(last * share).long()] for short, share in QUANTILES.items()}
    return {key: torch.where(valid.any(), value, 0.0) for key, value in found.items()}
