"""Depth losses that take σ² maps: pure functions, and ``nn.Module`` classes that call them. Needs torch only."""

from .focused import depth_range3, focus_weight, focused_log_l1, gradient_matching
from .functional import inverse_depth_l1, laplace_nll, weighted_l1
from .modules import FocusedLogL1, GradientMatching, InverseDepthL1, LaplaceNLL, WeightedL1

__all__ = [
    "FocusedLogL1",
    "GradientMatching",
    "InverseDepthL1",
    "LaplaceNLL",
    "WeightedL1",
    "depth_range3",
    "focus_weight",
    "focused_log_l1",
    "gradient_matching",
    "inverse_depth_l1",
    "laplace_nll",
    "weighted_l1",
]
