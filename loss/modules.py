"""``nn.Module`` shells that keep the options of a loss and call its function."""

from torch import Tensor, nn

from .functional import Normalize, Reduction, Weighting, check_options, inverse_depth_l1, laplace_nll, weighted_l1


class WeightedL1(nn.Module):
    """:func:`~depthvar.loss.weighted_l1` as a module; options are checked when it is built."""

    def __init__(
        self,
        *,
        weighting: Weighting = "inverse_sigma",
        relative_sigma: float = 0.1,
        normalize: Normalize = "mean",
        eps: float = 0.0,
        sigma_min: float = 0.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        check_options(
            weighting=weighting,
            relative_sigma=relative_sigma,
            normalize=normalize,
            reduction=reduction,
            eps=eps,
            sigma_min=sigma_min,
        )
        self.weighting: Weighting = weighting
        self.relative_sigma = relative_sigma
        self.normalize: Normalize = normalize
        self.eps = eps
        self.sigma_min = sigma_min
        self.reduction: Reduction = reduction

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
        return weighted_l1(
            pred,
            target,
            sigma_z2,
            valid,
            scale=scale,
            weighting=self.weighting,
            relative_sigma=self.relative_sigma,
            normalize=self.normalize,
            eps=self.eps,
            sigma_min=self.sigma_min,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Return the options, for ``repr``."""
        return (
            f"weighting={self.weighting!r}, relative_sigma={self.relative_sigma}, normalize={self.normalize!r}, "
            f"eps={self.eps}, sigma_min={self.sigma_min}, reduction={self.reduction!r}"
        )


class LaplaceNLL(nn.Module):
    """:func:`~depthvar.loss.laplace_nll` as a module; options are checked when it is built."""

    def __init__(self, *, sigma_min: float = 0.0, reduction: Reduction = "mean") -> None:
        super().__init__()
        check_options(reduction=reduction, sigma_min=sigma_min)
        self.sigma_min = sigma_min
        self.reduction: Reduction = reduction

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
        return laplace_nll(
            pred, target, sigma_z2, valid, scale=scale, sigma_min=self.sigma_min, reduction=self.reduction
        )

    def extra_repr(self) -> str:
        """Return the options, for ``repr``."""
        return f"sigma_min={self.sigma_min}, reduction={self.reduction!r}"


class InverseDepthL1(nn.Module):
    """:func:`~depthvar.loss.inverse_depth_l1` as a module; options are checked when it is built."""

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        check_options(reduction=reduction)
        self.reduction: Reduction = reduction

    def forward(self, pred: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return the loss; arguments, result and errors are those of the function."""
        return inverse_depth_l1(pred, target, valid, reduction=self.reduction)

    def extra_repr(self) -> str:
        """Return the options, for ``repr``."""
        return f"reduction={self.reduction!r}"
