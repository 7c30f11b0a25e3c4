"""Statistics: σ is mostly larger at edges than elsewhere, and far away than near; where not, that is a warning."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .finding import Finding
from .subject import Subject

JUMP = 0.1  # of the nearer depth: a larger step to a neighbour counts as an edge


def add_frame(subject: Subject, values: NDArray[np.float32], depth: NDArray[np.float32]) -> None:
    """Add up log σ of one frame, (H, W) σ_Z² in m² and depth: at edges and elsewhere, in its far and its near half."""
    usable = np.isfinite(values) & (values > 0) & (depth > 0)
    if not usable.any():
        return
    log_sigma = 0.5 * np.log(values[usable].astype(np.float64))
    edge, far = _edges(depth)[usable], depth[usable] > np.median(depth[usable])
    for name, chosen in (("edge", edge), ("smooth", ~edge), ("far", far), ("near", ~far)):
        total, count = subject.log_sigma.get(name, (0.0, 0))
        subject.log_sigma[name] = total + float(log_sigma[chosen].sum()), count + int(chosen.sum())


def _edges(depth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return where a known 4-neighbour lies more than ``JUMP`` nearer or farther."""
    edge = np.zeros(depth.shape, bool)
    for z, mark in ((depth, edge), (depth.T, edge.T)):
        a, b = z[1:], z[:-1]
        with np.errstate(invalid="ignore"):  # inf − inf: no edge
            jump = (a > 0) & (b > 0) & (np.abs(a - b) > JUMP * np.minimum(a, b))
        mark[1:] |= jump
        mark[:-1] |= jump
    return edge


def check(subject: Subject) -> Iterator[Finding]:
    """Yield a warning where the typical σ (geometric mean) of the frames computed again is not as in most scenes."""
    sums = subject.log_sigma.items()
    typical = subject.report.typical = {name: math.exp(total / count) for name, (total, count) in sums if count}
    for more, less, what in (("edge", "smooth", "at edges of the depth"), ("far", "near", "in the farther half")):
        if more in typical and less in typical and typical[more] <= typical[less]:
            yield Finding(
                "statistics",
                f"the {subject.report.recomputed} frames computed again",
                f"σ {what} above σ elsewhere",
                f"typically {typical[more]:.3g} m there and {typical[less]:.3g} m elsewhere",
                "none is needed where the scenes are like that; else check that the data set is described as it is "
                "stored (unit, far, intrinsics: docs/datasets.md)",
                is_warning=True,
            )
