"""The CPU engine of the difference: one sweep over the rows.

In the sweep an unknown pixel is NaN, and so is a difference to it; max(-1, NaN) is -1, less than any known difference.
Ratios to the depth are squared, not differences, so that a step to any depth stays finite and scaling by a power of two
is exact. fastmath is off, as in ``numba_range``.
"""

from typing import Any

import numpy as np

from depthvar.datasets.compiled import njit
from depthvar.datasets.frame import SMALLEST_DEPTH

# No code is shared with numba_range, since Numba's cache on disk detects edits of this file only.
_JIT: dict[str, Any] = {"nogil": True, "error_model": "numpy", "cache": True}
_INF, _NAN, _NONE = np.float32(np.inf), np.float32(np.nan), np.float32(-1)
_ZERO, _ONE = np.float32(0), np.float32(1)
_QUARTER, _THIRD = np.float32(0.25), np.float32(1 / 3)
_FLOOR = np.float32(1e-8)  # (1e-4)²: method, step 5
_SMALLEST = np.float32(SMALLEST_DEPTH)


@njit(**_JIT)
def _load(depth, valid, v, z, i):  # type: ignore[no-untyped-def]
    """Copy row v of the depth into row i of the ring, with NaN where it is unknown."""
    for u in range(depth.shape[1]):
        z[i, u + 1] = depth[v, u] if depth[v, u] >= _SMALLEST else _NAN
    if valid.size > 0:
        for u in range(depth.shape[1]):
            z[i, u + 1] = z[i, u + 1] if valid[v, u] else _NAN


@njit(**_JIT)
def _rounding(z, i, step, step2):  # type: ignore[no-untyped-def]
    """The square of the quantisation step, as a part of Z²."""
    for u in range(step2.size):
        r = step / z[i, u + 1]
        step2[u] = r * r


@njit(**_JIT)
def _variances(z, above, i, below, step2, max_depth, out, v):  # type: ignore[no-untyped-def]
    """σ² = Z² x / 3, x = (Δu² + Δv² + step²) / (4 Z²) within bounds; +inf where unknown, far or without a neighbour."""
    for u in range(out.shape[1]):
        zu = z[i, u + 1]
        du = max(max(_NONE, abs(z[i, u] - zu)), abs(z[i, u + 2] - zu))
        dv = max(max(_NONE, abs(z[above, u + 1] - zu)), abs(z[below, u + 1] - zu))
        ru, rv = max(du, _ZERO) / zu, max(dv, _ZERO) / zu
        x = min(max(_QUARTER * (ru * ru + rv * rv + step2[u]), _FLOOR), _ONE)
        usable = zu < _INF and zu <= max_depth and max(du, dv) >= _ZERO
        out[v, u] = zu * zu * x * _THIRD if usable else _INF


def sweep(depth, valid, max_depth, step, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` (H, W), row by row; a ring holds three rows of depth, between columns of unknown pixels."""
    height, width = depth.shape
    z, step2 = np.full((3, width + 2), _NAN), np.zeros(width, np.float32)
    for v in range(height + 1):
        if v < height:
            _load(depth, valid, v, z, v % 3)
        else:  # below the image
            z[v % 3] = _NAN
        if v > 0:
            if step > _ZERO:
                _rounding(z, (v - 1) % 3, step, step2)
            _variances(z, (v + 1) % 3, (v - 1) % 3, v % 3, step2, max_depth, out, v - 1)
