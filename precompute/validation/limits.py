"""What a stored σ² may be, from its parameters and the depth alone: limits without the kernel, and expectations.

The limits are written a second time on purpose: what checks the kernel's results must not share its faults.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.frame import Frame
from depthvar.precompute.pipeline.fingerprint import kernel_params
from depthvar.precompute.pipeline.summary import DepthSummary

FLOOR2 = 1e-8  # (δ/t)² of the floor: docs/method.md, step 5
JUMP = 0.1  # of the nearer depth: a larger step to a neighbour is taken for an edge


def ratio_limits(parameters: Mapping[str, Any], intrinsics: NDArray[np.float64], stride: int) -> tuple[float, float]:
    """Return the least and the largest σ_Z²/Z² that a valid pixel of a level can have, before rounding.

    σ_Z²/Z² = σ_t²/t² depends on x = (δ/t)² alone, and grows with it; x lies between the larger of the floor and the
    prior, and alpha_clamp². The difference has the limits of docs/method.md; compat "pi3" has no lower one, and never
    more than δ²/3.
    """
    params = kernel_params(parameters)
    cap = params.alpha_clamp**2
    if params.compat == "pi3" or params.estimator == "difference":
        return (0.0 if params.compat else FLOOR2 / 3), cap / 3
    prior = params.lambda_prior * stride * math.hypot(0.5 / intrinsics[0], 0.5 / intrinsics[1])
    return _frustum(min(max(FLOOR2, prior**2), cap)), _frustum(cap)


def _frustum(x: float) -> float:
    """Return the variance of a conical frustum at t = 1 with δ² = x, as mip-NeRF's eq. 7 writes it."""
    return x / 3 - 4 / 15 * (x**2 * (12 - x)) / (3 + x) ** 2


def impossible(values: NDArray[np.float32], parameters: Mapping[str, Any]) -> str | None:
    """Say what no run stores in a level, whatever its depth: None if there is nothing of that.

    Args:
        values: (h, w) σ_Z² in m², without NaN.
        parameters: of the cache. With a maximum depth, no value exceeds the limit at that depth.
    """
    if (values < 0).any():
        return f"the negative value {values.min()}"
    if parameters["max_depth"] is None:
        return None
    most = parameters["max_depth"] ** 2 * ratio_limits(parameters, np.ones(4), 1)[1] * (1 + _step(parameters))
    largest = values.max(initial=0, where=np.isfinite(values))
    return f"{largest:.6g} m², above {most:.6g} m², the most at the maximum depth" if largest > most else None


def unlike_depth(
    values: NDArray[np.float32],
    depth: NDArray[np.float32],
    parameters: Mapping[str, Any],
    intrinsics: NDArray[np.float64],
    stride: int,
) -> str | None:
    """Say where a level contradicts its depth: finite where that is not valid, ``+inf`` where it is, out of limits.

    Args:
        values: (h, w) σ_Z² in m², without NaN.
        depth: (H, W) of stride 1 in metres, as a ``Frame`` has it.
        parameters: of the cache.
        intrinsics: (4,) of stride 1.
        stride: of the level.
    """
    valid = Frame("", depth, intrinsics, parameters["max_depth"]).valid[::stride, ::stride]
    finite = np.isfinite(values)
    lonely = parameters.get("estimator") == "difference"  # +inf also where no neighbour is known
    wrong = finite & ~valid if lonely else finite != valid
    if wrong.any():
        y, x = np.argwhere(wrong)[0]
        return f"{values[y, x]:.6g} m² at row {y}, column {x}, where the depth is {'' if valid[y, x] else 'not '}valid"
    low, high = ratio_limits(parameters, intrinsics, stride)
    depth2 = depth[::stride, ::stride][finite].astype(np.float64) ** 2
    step, absolute = _step(parameters), 1e-12 if parameters["compat"] else 0.0  # compat "pi3" keeps δ above 1 µm
    below, above = low * depth2 * (1 - step), high * depth2 * (1 + step) + absolute
    outside = (values[finite] < below) | (values[finite] > above)
    if outside.any():
        i = int(outside.argmax())
        y, x = np.argwhere(finite)[i]
        return f"{values[y, x]:.6g} m² at row {y}, column {x}, outside {below[i]:.6g} to {above[i]:.6g} m²"
    return None


def _step(parameters: Mapping[str, Any]) -> float:
    return math.ldexp(1.0, -parameters["keepbits"])


class Contrast:
    """Typical σ (geometric mean, in metres) at edges and elsewhere, and in the far and the near half of each frame."""

    def __init__(self) -> None:
        self.depth = DepthSummary()  # of the frames added
        self._sums = dict.fromkeys(("edge", "smooth", "far", "near"), (0.0, 0))

    def add(self, values: NDArray[np.float32], frame: Frame) -> None:
        """Take in one frame: (H, W) σ_Z² in m², and its depth."""
        self.depth += DepthSummary.of(frame)
        depth = frame.depth
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
