"""How well two maps of log σ² agree. A map holds NaN where it has no σ."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.floating[Any]]


class Agreement(NamedTuple):
    """How well a map of σ agrees with the kernel's on a view's depth."""

    weight_error: float  # mean |w₁ − w₂| of the weights 1/σ, each divided by its mean; 0 to 2. No σ is weight 0
    rank: float  # Spearman's rank correlation of σ, −1 to 1
    ratio: float  # median of σ divided by the kernel's


def agreement(given: Map, online: Map) -> Agreement:
    """Compare two (h, w) maps of log σ² where the second has values."""
    both = np.isfinite(given) & np.isfinite(online)
    ratio = float(np.exp(np.median(given[both] - online[both]) / 2)) if both.any() else np.nan
    return Agreement(weight_error(given, online), correlation(_ranks(given[both]), _ranks(online[both])), ratio)


def weight_error(given: Map, online: Map) -> float:
    """Return mean |w₁ − w₂| of mean-normalised weights where the second map has values; 2, the most, for nowhere."""
    used = np.isfinite(online)
    if not used.any():
        return 2.0
    return float(np.abs(_weights(given[used]) - _weights(online[used])).mean())


def correlation(one: Map, other: Map) -> float:
    """Return Pearson's correlation; 0 where one is constant, or the second lacks most of the first's values."""
    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() <= np.isfinite(one).sum() / 2:
        return 0.0
    a, b = (values[both].astype(np.float64) for values in (one, other))
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt(np.square(a).sum() * np.square(b).sum())
    return float((a * b).sum() / size) if size > 0 else 0.0


def _weights(log_sigma_z2: Map) -> NDArray[np.float64]:
    weights = np.where(np.isfinite(log_sigma_z2), np.exp(-0.5 * log_sigma_z2.astype(np.float64)), 0.0)
    normalised: NDArray[np.float64] = weights / max(float(weights.mean()), np.finfo(np.float64).tiny)
    return normalised


def _ranks(values: Map) -> NDArray[np.float64]:
    """Return average ranks: stored σ has 8 bits of mantissa, so many values are equal."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (counts.cumsum() - (counts - 1) / 2)[place]
    return ranks
