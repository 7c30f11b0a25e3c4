"""Statistics: σ is mostly larger at edges than elsewhere, and far away than near; where not, that is a warning."""

import math
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from .finding import Finding
from .subject import Subject

JUMP = 0.1  # of the nearer depth: a larger step to a neighbour counts as an edge
EXPECTED = (("edge", "smooth", "at edges of the depth"), ("far", "near", "in the farther half"))

LogSigma = dict[str, tuple[float, int]]
"""By kind of pixel (edge, smooth, far, near), the sum of log σ and the number of pixels."""


def add_frame(log_sigma: LogSigma, values: NDArray[np.float32], depth: NDArray[np.float32]) -> None:
    """Add up log σ of one frame, (H, W) σ_Z² in m² and depth: at edges and elsewhere, in its far and its near half."""
    usable = np.isfinite(values) & (values > 0) & (depth > 0)
    if not usable.any():
        return
    logs = 0.5 * np.log(values[usable].astype(np.float64))
    edge, far = edges(depth)[usable], depth[usable] > np.median(depth[usable])
    for name, chosen in (("edge", edge), ("smooth", ~edge), ("far", far), ("near", ~far)):
        total, count = log_sigma.get(name, (0.0, 0))
        log_sigma[name] = total + float(logs[chosen].sum()), count + int(chosen.sum())


def typical(log_sigma: Mapping[str, tuple[float, int]]) -> dict[str, float]:
    """Return the typical σ in m, the geometric mean, of each kind of pixel that there is."""
    return {name: math.exp(total / count) for name, (total, count) in log_sigma.items() if count}


def edges(depth: NDArray[np.float32]) -> NDArray[np.bool_]:
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
    found = subject.report.typical = typical(subject.log_sigma)
    for more, less, what in EXPECTED:
        if more in found and less in found and found[more] <= found[less]:
            yield Finding(
                "statistics",
                f"the {subject.report.recomputed} frames computed again",
                f"σ {what} above σ elsewhere",
                f"typically {found[more]:.3g} m there and {found[less]:.3g} m elsewhere",
                "none is needed where the scenes are like that; else check that the data set is described as it is "
                "stored (unit, far, intrinsics: docs/datasets.md)",
                is_warning=True,
            )
