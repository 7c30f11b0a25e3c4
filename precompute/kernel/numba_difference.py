"""The CPU engine of the difference: one sweep over the rows, each pair of neighbours read once.

Unknown pixels have depth 0. A pair with an unknown pixel has the difference -1, which is smaller than any known one.
Ratios to the depth are squared, not differences, so that a step to any depth stays finite and scaling by a power of two
is exact. fastmath is off, as in ``numba_range``.
"""

from typing import Any

import numpy as np

from depthvar.datasets.compiled import njit
from depthvar.datasets.frame import SMALLEST_DEPTH

# No code is shared with numba_range, since Numba's cache on disk detects edits of this file only.
_JIT: dict[str, Any] = {"nogil": True, "error_model": "numpy", "cache": True}
_INF, _ZERO, _ONE, _UNKNOWN = np.float32(np.inf), np.float32(0), np.float32(1), np.float32(-1)
_QUARTER, _THIRD = np.float32(0.25), np.float32(1 / 3)
_FLOOR = np.float32(1e-8)  # (1e-4)²: method, step 5
_SMALLEST = np.float32(SMALLEST_DEPTH)


@njit(**_JIT)
def _known(depth, valid, v, z, i):  # type: ignore[no-untyped-def]
    """Copy row v of the depth into row i of the ring, with 0 where it is unknown."""
    for u in range(z.shape[1]):
        known = depth[v, u] >= _SMALLEST and (valid.size == 0 or valid[v, u])
        z[i, u] = depth[v, u] if known else _ZERO


@njit(inline="always")
def _apart(a, b):  # type: ignore[no-untyped-def]
    """Return |a − b| of two depths, -1 where one is unknown; NaN between two without a depth (``+inf``)."""
    return abs(a - b) if a > _ZERO and b > _ZERO else _UNKNOWN


@njit(**_JIT)
def _across(z, i, steps):  # type: ignore[no-untyped-def]
    """Fill ``steps[1:-1]`` with the differences along row i; there are none beyond the image."""
    for u in range(z.shape[1] - 1):
        steps[u + 1] = _apart(z[i, u], z[i, u + 1])


@njit(**_JIT)
def _down(z, i, steps):  # type: ignore[no-untyped-def]
    """Fill ``steps[i]`` with the differences of row i to the other row of the ring, the one above."""
    for u in range(z.shape[1]):
        steps[i, u] = _apart(z[1 - i, u], z[i, u])


@njit(**_JIT)
def _variances(z, i, across, down, max_depth, out, v):  # type: ignore[no-untyped-def]
    """σ² = Z² x / 3 with x = (Δu² + Δv²) / (4 Z²) within bounds; +inf where unknown, far or without a neighbour."""
    for u in range(z.shape[1]):
        zu = z[i, u]
        du, dv = max(across[u], across[u + 1]), max(down[0, u], down[1, u])
        ru, rv = max(du, _ZERO) / zu, max(dv, _ZERO) / zu
        x = min(max(_QUARTER * (ru * ru + rv * rv), _FLOOR), _ONE)
        usable = zu > _ZERO and zu < _INF and zu <= max_depth and max(du, dv) >= _ZERO
        out[v, u] = zu * zu * x * _THIRD if usable else _INF


def sweep(depth, valid, max_depth, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` (H, W), row by row; a ring holds two rows of depth and the differences above and below."""
    height, width = depth.shape
    z = np.zeros((2, width), np.float32)
    across = np.full(width + 1, _UNKNOWN, np.float32)
    down = np.empty((2, width), np.float32)
    for v in range(height + 1):
        i = v % 2
        if v < height:
            _known(depth, valid, v, z, i)
            _down(z, i, down)  # unknown for the first row: the ring begins with zeros
        else:
            down[i] = _UNKNOWN
        if v > 0:
            _across(z, 1 - i, across)
            _variances(z, 1 - i, across, down, max_depth, out, v - 1)
