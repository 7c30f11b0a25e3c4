"""``nn.Module`` classes that keep the options of a loss and call its function."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from .focused import GRADIENT, SCALES, focused_log_l1, gradient_matching
from .functional import Normalize, Reduction, check_options, inverse_depth_l1, laplace_nll, weighted_l1
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

    def extra_repr(self) -> str:
        """Return the options, for ``repr``."""
        return ", ".join(f"{name}={value!r}" for name, value in self._options().items())


class _SigmaLoss(_Loss):
    """Calls a loss that reads σ²."""

    function: Callable[..., Tensor]

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


class WeightedL1(_SigmaLoss):
    """:func:`~depthvar.loss.weighted_l1` as a module; options are checked when it is built."""

    function = staticmethod(weighted_l1)

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
