"""``nn.Module`` classes that keep the options of a loss and call its function."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .focused import GRADIENT, SCALES, depth_range3, focused_log_l1, focused_log_l1_terms, gradient_matching
from .functional import (
    inverse_depth_l1,
    inverse_depth_l1_terms,
    laplace_nll,
    laplace_nll_terms,
    weighted_l1,
    weighted_l1_terms,
)
from .terms import Normalize, Reduction, Terms, check_options
from .watch import Observation, observed
from .weights import FOCUS, RELATIVE_SIGMA, Weighting


class _Loss(nn.Module):
    """Keeps checked options as attributes, and shows them in ``repr``."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        check_options(**options)
        self._names = tuple(options)
        for name, value in options.items():
            setattr(self, name, value)

    def _options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._names}

    def _terms_options(self) -> dict[str, Any]:
        return {name: value for name, value in self._options().items() if name != "reduction"}

    def extra_repr(self) -> str:
        """Return the options, for ``repr``."""
        return ", ".join(f"{name}={value!r}" for name, value in self._options().items())


class _SigmaLoss(_Loss):
    """Calls a loss that reads σ²."""

    function: Callable[..., Tensor]
    terms: Callable[..., Terms]

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        sigma_z2: Tensor,
        valid: Tensor | None = None,
        *,
        scale: float | Tensor = 1.0,
    ) -> Tensor:
        """Return the loss; arguments, result and errors are those of the function."""
        return self.function(pred, target, sigma_z2, valid, scale=scale, **self._options())

    @torch.no_grad()
    def observe(
        self,
        pred: Tensor,
        target: Tensor,
        sigma_z2: Tensor,
        valid: Tensor | None = None,
        *,
        scale: float | Tensor = 1.0,
    ) -> Observation:
        """Return what the loss sees in a step, for :mod:`depthvar.loss.watch`; arguments are those of a call."""
        terms = self.terms(pred, target, sigma_z2, valid, scale, **self._terms_options())
        return observed(terms, pred, target, sigma_z2, scale)


class WeightedL1(_SigmaLoss):
    """:func:`~depthvar.loss.weighted_l1` as a module; options are checked when it is built."""

    function = staticmethod(weighted_l1)
    terms = staticmethod(weighted_l1_terms)

    def __init__(
        self,
        *,
        weighting: Weighting = "inverse_sigma",
        relative_sigma: float = RELATIVE_SIGMA,
        normalize: Normalize = "mean",
        eps: float = 0.0,
        sigma_min: float = 0.0,
        reduction: Reduction = "mean",
    ) -> None:
        options = {"weighting": weighting, "relative_sigma": relative_sigma, "normalize": normalize}
        super().__init__(**options, eps=eps, sigma_min=sigma_min, reduction=reduction)


class LaplaceNLL(_SigmaLoss):
    """:func:`~depthvar.loss.laplace_nll` as a module; options are checked when it is built."""

    function = staticmethod(laplace_nll)
    terms = staticmethod(laplace_nll_terms)

    def __init__(self, *, sigma_min: float = 0.0, reduction: Reduction = "mean") -> None:
        super().__init__(sigma_min=sigma_min, reduction=reduction)


class FocusedLogL1(_Loss):
    """:func:`~depthvar.loss.focused_log_l1` as a module; options are checked when it is built."""

    def __init__(
        self,
        *,
        focus: float = FOCUS,
        relative_sigma: float = RELATIVE_SIGMA,
        gradient: float = GRADIENT,
        scales: int = SCALES,
        reduction: Reduction = "mean",
    ) -> None:
        options = {"focus": focus, "relative_sigma": relative_sigma, "gradient": gradient, "scales": scales}
        super().__init__(**options, reduction=reduction)

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        sigma_z2: Tensor | None = None,
        valid: Tensor | None = None,
        *,
        scale: float | Tensor = 1.0,
    ) -> Tensor:
        """Return the loss; arguments, result and errors are those of the function."""
        return focused_log_l1(pred, target, sigma_z2, valid, scale=scale, **self._options())

    @torch.no_grad()
    def observe(
        self,
        pred: Tensor,
        target: Tensor,
        sigma_z2: Tensor | None = None,
        valid: Tensor | None = None,
        *,
        scale: float | Tensor = 1.0,
    ) -> Observation:
        """Return what the loss sees in a step, for :mod:`depthvar.loss.watch`; arguments are those of a call."""
        terms = focused_log_l1_terms(pred, target, sigma_z2, valid, scale, **self._terms_options())
        variance = depth_range3(target, valid) * scale**2 if sigma_z2 is None else sigma_z2
        return observed(terms, pred, target, variance, scale)


class GradientMatching(_Loss):
    """:func:`~depthvar.loss.gradient_matching` as a module; options are checked when it is built."""

    def __init__(self, *, scales: int = SCALES, reduction: Reduction = "mean") -> None:
        super().__init__(scales=scales, reduction=reduction)

    def forward(
        self, pred: Tensor, target: Tensor, valid: Tensor | None = None, *, weight: Tensor | None = None
    ) -> Tensor:
        """Return the loss; arguments, result and errors are those of the function."""
        return gradient_matching(pred, target, valid, weight=weight, **self._options())


class InverseDepthL1(_Loss):
    """:func:`~depthvar.loss.inverse_depth_l1` as a module; options are checked when it is built."""

    def __init__(self, *, normalize: Normalize = "none", reduction: Reduction = "mean") -> None:
        super().__init__(normalize=normalize, reduction=reduction)

    def forward(
        self, pred: Tensor, target: Tensor, valid: Tensor | None = None, *, weight: Tensor | None = None
    ) -> Tensor:
        """Return the loss; arguments, result and errors are those of the function."""
        return inverse_depth_l1(pred, target, valid, weight=weight, **self._options())

    @torch.no_grad()
    def observe(
        self, pred: Tensor, target: Tensor, valid: Tensor | None = None, *, weight: Tensor | None = None
    ) -> Observation:
        """Return what the loss sees in a step, for :mod:`depthvar.loss.watch`; arguments are those of a call."""
        terms = inverse_depth_l1_terms(pred, target, valid, weight, **self._terms_options())
        return observed(terms, pred, target, None)
