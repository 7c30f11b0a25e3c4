"""The arguments of a loss, checked, and the maps that it is made of."""

import math
from functools import reduce
from numbers import Real
from operator import add
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from .weights import Weighting, mean_of

Normalize = Literal["mean", "none"]
Reduction = Literal["mean", "sum", "none"]


class Terms(NamedTuple):
    """What a loss is made of: maps (..., H, W) of one shape.

    Attributes:
        parts: by name; their sum is the loss of each pixel. Any finite value where invalid.
        weight: the factor of a pixel's error, 0 where invalid.
        valid: bool, the pixels that count.
    """

    parts: dict[str, Tensor]
    weight: Tensor
    valid: Tensor

    def loss(self, reduction: Reduction) -> Tensor:
        """Return the loss of the valid pixels as ``reduction`` says."""
        return reduced(reduce(add, self.parts.values()), self.valid, reduction)


def check_options(
    weighting: str = "inverse_sigma",
    relative_sigma: float = 1.0,
    normalize: str = "mean",
    eps: float = 0.0,
    sigma_min: float = 0.0,
    reduction: str = "mean",
    focus: float = 0.0,
    gradient: float = 0.0,
    scales: int = 1,
) -> None:
    """Raise ValueError for an option of a loss that is unknown or out of its range."""
    if weighting not in get_args(Weighting):
        raise ValueError(f"weighting: expected one of {', '.join(get_args(Weighting))}; got {weighting!r}")
    if not (_is_number(relative_sigma) and 0 < relative_sigma < math.inf):
        raise ValueError(f"relative_sigma: expected a finite number > 0, got {relative_sigma!r}")
    if normalize not in get_args(Normalize):
        raise ValueError(f"normalize: expected 'mean' or 'none', got {normalize!r}")
    for name, value in (("eps", eps), ("sigma_min", sigma_min), ("focus", focus), ("gradient", gradient)):
        if not (_is_number(value) and 0 <= value < math.inf):
            raise ValueError(f"{name}: expected a finite number >= 0, got {value!r}")
    if not (isinstance(scales, int) and not isinstance(scales, bool) and scales >= 1):
        raise ValueError(f"scales: expected a whole number >= 1, got {scales!r}")
    if reduction not in get_args(Reduction):
        raise ValueError(f"reduction: expected 'mean', 'sum' or 'none', got {reduction!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def checked(valid: Tensor | None, **maps: Tensor) -> list[Tensor]:
    """Return the maps in float32, or float64 where one of them is, and the mask of pixels that count.

    The maps are ``target``, and any of ``pred``, ``sigma_z2`` and ``weight``; all have the shape of the first one.
    """
    dtype = torch.float32
    for name, m in maps.items():
        if not isinstance(m, Tensor) or m.is_complex():
            raise ValueError(f"{name}: expected a tensor of real numbers, got {_kind(m)}; pass torch.from_numpy(array)")
        dtype = torch.promote_types(dtype, m.dtype)
    if valid is not None and _kind(valid) != torch.bool:
        raise ValueError(f"valid: expected a tensor of torch.bool, got {_kind(valid)}; pass torch.as_tensor(valid) > 0")
    first = next(iter(maps))
    shape = maps[first].shape
    if len(shape) < 2:
        raise ValueError(f"{first}: expected shape (..., H, W), got {tuple(shape)}")
    for name, m in (maps if valid is None else maps | {"valid": valid}).items():
        if m.shape != shape:
            raise ValueError(f"{name}: expected the shape of {first} {tuple(shape)}, got {tuple(m.shape)}")
    usable = maps["target"].isfinite()
    for name in ("sigma_z2", "weight"):
        if name in maps:
            usable = usable & maps[name].isfinite() & (maps[name] > 0)
    return [*(m.to(dtype) for m in maps.values()), usable if valid is None else usable & valid]


def _kind(value: Any) -> Any:
    return value.dtype if isinstance(value, Tensor) else type(value).__name__


def sigma_of(sigma_z2: Tensor, valid: Tensor, scale: float | Tensor, sigma_min: float) -> Tensor:
    """Return σ in the units of the target, 1 / scale where invalid."""
    if isinstance(scale, Tensor):
        # A (B,) would broadcast over the columns of (B, H, W), so all dimensions are required.
        shape, of_maps = tuple(scale.shape), tuple(sigma_z2.shape)
        if shape and not (len(shape) == len(of_maps) and all(n in (1, m) for n, m in zip(shape, of_maps, strict=True))):
            raise ValueError(
                f"scale: expected a number, or a tensor with the dimensions of the maps {of_maps} or 1 in their place, "
                f"got shape {shape}"
            )
        scale = scale.to(sigma_z2.dtype)
    elif not (_is_number(scale) and 0 < scale < math.inf):
        raise ValueError(f"scale: expected a finite number > 0, got {scale!r}")
    # Invalid values become 1 before the root: a where() after the root would still give a gradient of NaN.
    return (torch.where(valid, sigma_z2, 1.0).sqrt() / scale).clamp_min(sigma_min)


def reduced(loss: Tensor, valid: Tensor, reduction: Reduction) -> Tensor:
    """Return the loss of valid pixels as ``reduction`` says."""
    loss = torch.where(valid, loss, 0.0)
    if reduction == "mean":
        return mean_of(loss, valid, xp=torch)
    return loss.sum() if reduction == "sum" else loss
