"""Depth losses that take σ² maps: pure functions, and ``nn.Module`` classes that call them. Needs torch only."""

from .functional import inverse_depth_l1, laplace_nll, weighted_l1
from .modules import InverseDepthL1, LaplaceNLL, WeightedL1

__all__ = ["InverseDepthL1", "LaplaceNLL", "WeightedL1", "inverse_depth_l1", "laplace_nll", "weighted_l1"]
