"""Limits: what a stored σ² may be, from its parameters and the depth alone, without the kernel.

The limits are written a second time on purpose: what checks the kernel's results must not share its faults.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from depthvar.datasets.frame import Frame
from depthvar.datasets.params import Difference, params_from_json

FLOOR2 = 1e-8  # (δ/t)² of the floor: docs/method.md, step 5
EXPECTED = "σ² ≥ 0 in the limits of the parameters, finite exactly where the depth is valid"
EXPECTED_EDGE = "0 to 1 where σ² is finite, +inf elsewhere"


def ratio_limits(
    parameters: Mapping[str, Any], intrinsics: NDArray[np.float64], stride: int, depth: ArrayLike = math.inf
) -> tuple[Any, float]:
    """Return the least and the largest σ_Z²/Z² that valid pixels of a level can have, before rounding.

    σ_Z²/Z² = σ_t²/t² depends on x = (δ/t)² alone, and grows with it; x lies between the larger of the floor and of the
    prior with half the quantisation step at the depth, and alpha_clamp². The difference has the limits of
    docs/method.md; compat "pi3" has no lower one, and never more than δ²/3.

    Args:
        parameters: of the cache.
        intrinsics: (4,) of stride 1.
        stride: of the level.
        depth: of the pixels, in metres, of any shape: that of the least ratio. inf: the least at any depth.
    """
    params = params_from_json(parameters)
    cap, rounding = params.alpha_clamp**2, params.quantisation_step / (2 * np.asarray(depth, np.float64))
    if params.compat == "pi3":
        return 0.0, cap / 3
    if isinstance(params, Difference):
        return np.clip(rounding**2, FLOOR2, cap) / 3, cap / 3
    prior = params.lambda_prior * stride * math.hypot(0.5 / intrinsics[0], 0.5 / intrinsics[1])
    return _frustum(np.clip(prior**2 + rounding**2, FLOOR2, cap)), _frustum(cap)


def _frustum(x: Any) -> Any:
    """Return the variance of a conical frustum at t = 1 with δ² = x, as mip-NeRF's eq. 7 writes it."""
    return x / 3 - 4 / 15 * (x**2 * (12 - x)) / (3 + x) ** 2


def impossible(values: NDArray[np.float32], parameters: Mapping[str, Any]) -> str | None:
    """Return what no run stores in a level, whatever its depth; None where there is nothing of that kind.

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


def impossible_edge(values: NDArray[np.float32], has_sigma: NDArray[np.bool_]) -> str | None:
    """Return where ``edge`` (h, w), without NaN, is none that a run stores next to σ²; None: nowhere.

    ``has_sigma`` is (h, w) where σ² is finite.
    """
    wrong = np.where(has_sigma, (values < 0) | (values > 1), values != np.inf)
    if not wrong.any():
        return None
    y, x = np.argwhere(wrong)[0]
    return f"{values[y, x]:.6g} at row {y}, column {x}, where σ² is {'finite' if has_sigma[y, x] else '+inf'}"


def unlike_depth(
    values: NDArray[np.float32],
    depth: NDArray[np.float32],
    parameters: Mapping[str, Any],
    intrinsics: NDArray[np.float64],
    stride: int,
) -> str | None:
    """Return where a level contradicts its depth: finite where that is not valid, ``+inf`` where it is, out of limits.

    Args:
        values: (h, w) σ_Z² in m², without NaN.
        depth: (H, W) of stride 1 in metres, as a ``Frame`` has it.
        parameters: of the cache.
        intrinsics: (4,) of stride 1.
        stride: of the level.
    """
    valid = Frame("", depth, intrinsics, parameters["max_depth"]).valid[::stride, ::stride]
    finite = np.isfinite(values)
    lonely = parameters["estimator"] == "difference"  # +inf also where no neighbour is known
    wrong = finite & ~valid if lonely else finite != valid
    if wrong.any():
        y, x = np.argwhere(wrong)[0]
        return f"{values[y, x]:.6g} m² at row {y}, column {x}, where the depth is {'' if valid[y, x] else 'not '}valid"
    depth = depth[::stride, ::stride][finite].astype(np.float64)
    low, high = ratio_limits(parameters, intrinsics, stride, depth)
    depth2 = depth**2
    step, absolute = _step(parameters), 1e-12 if parameters.get("compat") else 0.0  # compat "pi3" keeps δ above 1 µm
    below, above = low * depth2 * (1 - step), high * depth2 * (1 + step) + absolute
    outside = (values[finite] < below) | (values[finite] > above)
    if outside.any():
        i = int(outside.argmax())
        y, x = np.argwhere(finite)[i]
        return f"{values[y, x]:.6g} m² at row {y}, column {x}, outside {below[i]:.6g} to {above[i]:.6g} m²"
    return None


def _step(parameters: Mapping[str, Any]) -> float:
    return math.ldexp(1.0, -parameters["keepbits"])
