"""The CPU engine of the kernel: NumPy in, NumPy out, compiled by Numba when first used, one core per call."""

import functools
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from depthvar.datasets.compiled import announced, njit
from depthvar.datasets.params import Difference, Estimator

_COMPILE_SECONDS = {"range": 10, "difference": 2}  # cold, on a machine of 2023; only for the message
_NO_MASK = np.empty((0, 0), np.bool_)


@functools.cache
def _compiled(estimator: str) -> Any:
    """Compile the sweep for this machine, or load it from Numba's cache."""
    sweep: Any
    real, single = types.float64, types.float32
    frame = [types.Array(dtype, 2, "C", readonly=True) for dtype in (single, types.bool_)]  # writable ones too
    if estimator == "difference":
        from .numba_difference import sweep

        signature = types.void(*frame, single, single, single[:, ::1])
    else:
        from .numba_range import sweep

        signature = types.void(
            *frame, real, real, real, real, types.intp, real, real, single, single, single, single[:, :, ::1]
        )
    with announced("the CPU kernel", _COMPILE_SECONDS[estimator]):
        return njit(signature, nogil=True, error_model="numpy", cache=True)(sweep)


def warm_up(estimator: str = "range") -> None:
    """Compile an estimator, or load it from the cache on disk, before the first call; see ``announced`` for the log."""
    _compiled(estimator)


def sigma_z2_frame(
    depth: NDArray[np.float32],
    intrinsics: NDArray[np.float64],
    params: Estimator,
    max_depth: float | None = None,
    valid: NDArray[np.bool_] | None = None,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Return sigma_Z² of one frame, without any checks.

    Args:
        depth: (H, W) float32 metres, of any strides; below ``SMALLEST_DEPTH`` or NaN is unknown, ``+inf`` far.
        intrinsics: (4,) fx, fy, cx, cy in pixels.
        params: the estimator, without ``compat``.
        max_depth: metres; deeper pixels are far. None: no maximum.
        valid: (H, W) bool, False where depth is unknown. None: known wherever it is above 0.
        out: float32, C contiguous, filled and returned: (H, W) or (1, H, W) for sigma_z2 in m²; of the range also
            (5, H, W) for the maps of :class:`~depthvar.precompute.kernel.api.Components`.
    """
    if out is None:
        out = np.empty(depth.shape, np.float32)
    depth = np.ascontiguousarray(depth)
    valid = _NO_MASK if valid is None else np.ascontiguousarray(valid)
    farthest = np.inf if max_depth is None else max_depth
    sweep = _compiled(params.estimator)
    if isinstance(params, Difference):
        sweep(depth, valid, farthest, params.quantisation_step, out if out.ndim == 2 else out[0])
        return out
    fx, fy, cx, cy = intrinsics
    sweep(
        depth, valid, fx, fy, cx, cy, params.window, params.lambda_prior, params.alpha_clamp, params.min_valid,
        farthest, params.quantisation_step / 2, out if out.ndim == 3 else out[None],
    )  # fmt: skip
    return out
