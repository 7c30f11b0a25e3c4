"""Typical σ by kind of pixel: at edges and elsewhere, in the far and the near half of a frame."""

import math

import numpy as np
from numpy.typing import NDArray

JUMP = 0.1  # of the nearer depth: a larger step to a neighbour counts as an edge


class Contrast:
    """Typical σ (geometric mean, in metres) at edges and elsewhere, and in the far and the near half of each frame."""

    def __init__(self) -> None:
        self._sums = dict.fromkeys(("edge", "smooth", "far", "near"), (0.0, 0))

    def add(self, values: NDArray[np.float32], depth: NDArray[np.float32]) -> None:
        """Take in one frame: (H, W) σ_Z² in m², and its depth."""
        usable = np.isfinite(values) & (values > 0) & (depth > 0)
        if not usable.any():
            return
        log_sigma = 0.5 * np.log(values[usable].astype(np.float64))
        edge, far = _edges(depth)[usable], depth[usable] > np.median(depth[usable])
        for name, chosen in (("edge", edge), ("smooth", ~edge), ("far", far), ("near", ~far)):
            total, count = self._sums[name]
            self._sums[name] = total + float(log_sigma[chosen].sum()), count + int(chosen.sum())

    def typical(self) -> dict[str, float]:
        """Return σ in metres by kind of pixel: edge, smooth, far, near; without those of which there are none."""
        return {name: math.exp(total / count) for name, (total, count) in self._sums.items() if count}


def _edges(depth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return where a known 4-neighbour lies more than ``JUMP`` nearer or farther."""
    edge = np.zeros(depth.shape, bool)
    for a, b, mark_a, mark_b in (
        (depth[1:], depth[:-1], edge[1:], edge[:-1]),
        (depth[:, 1:], depth[:, :-1], edge[:, 1:], edge[:, :-1]),
    ):
        with np.errstate(invalid="ignore"):  # inf − inf: no edge
            jump = (a > 0) & (b > 0) & (np.abs(a - b) > JUMP * np.minimum(a, b))
        mark_a |= jump
        mark_b |= jump
    return edge
