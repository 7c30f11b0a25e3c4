"""Arms that look more closely where depth varies, and their baselines, by names that say what they are.

A name is a base and options with ``+`` between, such as ``log+gradient+focus=4+c=0.1+sigma=difference``:

- base: ``l1``, ``inverse_depth`` (as those of :mod:`arms`), ``power_p`` (Z^-p), all weights of ``|Z_pred - Z_gt|``; or
  ``log``, the mean of ``w · |log Z_pred - log Z_gt|``;
- ``gradient`` or ``gradient=w``: plus w (0.5) times :func:`gradient_matching` of the logarithms;
- ``focus=β``: weights times ``1 + β e``, with ``e = σ² / (σ² + (c Z)²)``; ``c=`` (0.1);
- ``sigma=``: one of ``SIGMAS``, ``cached`` without it; ``online`` with another parameter: ``alpha_clamp_0.1`` and such;
- ``both``: the weights count in the gradients too;
- ``median``: the target is the median of the finer depth under a pixel.
"""

import functools
from typing import NamedTuple

import multimodal
import torch
from arms import ARMS, SENSITIVITY, Arm, Loss, Weight, extremes, inverse_depth, one, weighted_error
from torch import Tensor

KNOBS = {name.removeprefix("inverse_sigma_"): arm.sigma for name, arm in SENSITIVITY.items()}
SIGMAS = ("cached", "online", "sigma_window3", "difference", "range3", "sobel", *KNOBS)
SCALES = 4
BASES: dict[str, Weight] = {"l1": one, "log": one, "inverse_depth": inverse_depth}


class Options(NamedTuple):
    """What a name says after its base."""

    gradient: float = 0.0
    focus: float = 0.0
    c: float = 0.1
    sigma: str = "cached"
    both: bool = False
    median: bool = False


@functools.cache
def arm_of(name: str) -> Arm:
    """Return the arm of a name, one of :mod:`arms` or :mod:`multimodal`, or by the grammar above.

    Raises:
        ValueError: the name is neither.
    """
    known = ARMS | SENSITIVITY | multimodal.ARMS
    if name in known:
        return known[name]
    base, *words = name.split("+")
    options = options_of(name, words)
    log = base == "log"
    return Arm(
        focused(base_weight(name, base), options),
        sigma=KNOBS.get(options.sigma, options.sigma),
        loss=loss_of(log_error if log else weighted_error, options.gradient, options.both),
        cleaned=options.median,
    )


def options_of(name: str, words: list[str]) -> Options:
    """Return the options of a name."""
    found: dict[str, object] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if key in ("both", "median") and not equals:
            found[key] = True
        elif key == "sigma" and value in SIGMAS:
            found[key] = value
        elif key in ("gradient", "focus", "c") and (value or key == "gradient"):
            found[key] = float(value or 0.5)
        else:
            raise ValueError(f"loss {name!r}: unknown option {word!r}; see evidence/focus.py")
    return Options(**found)  # type: ignore[arg-type]


def base_weight(name: str, base: str) -> Weight:
    """Return the weight of a base."""
    if base.startswith("power_"):
        power = float(base.removeprefix("power_"))
        return lambda sigma, depth, valid: depth**-power
    if base not in BASES:
        raise ValueError(f"loss {name!r}: expected one of arms.py, or a base of {', '.join(BASES)}, power_p")
    return BASES[base]


def focused(base: Weight, options: Options) -> Weight:
    """Return a weight times ``1 + β e``; a range and a Sobel gradient, per pixel, count as √12 standard deviations."""

    def weight(sigma: Tensor, depth: Tensor, valid: Tensor) -> Tensor:
        if options.sigma == "range3":  # of the pixels a loss has
            near, far = extremes(depth, valid)
            sigma = (far - near) / 12**0.5
        elif options.sigma == "sobel":
            sigma = sigma / 12**0.5
        e = sigma**2 / (sigma**2 + (options.c * depth) ** 2)
        return base(sigma, depth, valid) * (1 + options.focus * e)

    return weight


def loss_of(data: Loss, gradient: float, both: bool) -> Loss:
    """Return a data term plus ``gradient`` times the matching of gradients, weighted as the data where ``both``."""
    if not gradient:
        return data

    def loss(pred: Tensor, target: Tensor, weight: Tensor, valid: Tensor) -> Tensor:
        root = weight.sqrt() if both else valid.to(pred.dtype)
        return data(pred, target, weight, valid) + gradient * gradient_matching(log_ratio(pred, target, valid), root)

    return loss


def log_error(pred: Tensor, target: Tensor, weight: Tensor, valid: Tensor) -> Tensor:
    """Return the sum of ``weight · |log pred - log target|`` over (B, H, W) by the number of valid pixels."""
    return (log_ratio(pred, target, valid).abs() * weight).sum() / valid.sum().clamp_min(1)


def log_ratio(pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return ``log pred - log target``, 0 where invalid."""
    return torch.where(valid, pred / torch.where(valid, target, 1.0), 1.0).log()


def gradient_matching(residual: Tensor, root: Tensor) -> Tensor:
    """Return the sum over scales of the mean ``|difference|`` of a residual to its right and lower neighbours.

    Scale s has every 2^s-th pixel. A pair counts the product of its two weights ``root``, 0 at invalid pixels, and the
    sum is divided by the sum of ``root`` over the scale: with 1 everywhere, by the number of valid pixels.
    """
    total = residual.new_zeros(())
    for step in (2**s for s in range(SCALES)):
        r, w = residual[:, ::step, ::step], root[:, ::step, ::step]
        pairs = ((r[:, :, 1:] - r[:, :, :-1]).abs() * w[:, :, 1:] * w[:, :, :-1]).sum()
        pairs = pairs + ((r[:, 1:] - r[:, :-1]).abs() * w[:, 1:] * w[:, :-1]).sum()
        total = total + pairs / w.sum().clamp_min(1)
    return total
