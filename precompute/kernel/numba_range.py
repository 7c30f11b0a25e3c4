"""The range estimator for the CPU, compiled by Numba, one core per call (``numba_engine`` calls it).

A frame is swept once, row by row; every stage is a function over one row. The two quantiles of a window are ranks
at the ends of a sorted list, so only the ``k`` smallest and ``k`` largest distances are kept (k = 1, 2, 3 for
windows 3, 5, 7): first per row, then over the last ``window`` rows, which a ring buffer holds. The largest are
stored as the smallest of ``-t``. Then ``+inf`` means "none" in both lists, and one merge function is enough. Minima
and maxima do not depend on order or position, so a crop of the interior has identical bits.

fastmath is off: it would break ``+inf``, NaN and these identical bits.
"""

import math
from typing import Any

import numpy as np

from depthvar.datasets.compiled import njit
from depthvar.datasets.frame import SMALLEST_DEPTH

_JIT: dict[str, Any] = {"nogil": True, "error_model": "numpy", "cache": True}

# Numba would compute in float64 with plain Python literals.
_INF, _ZERO, _HALF, _ONE = np.float32(np.inf), np.float32(0), np.float32(0.5), np.float32(1)
_THREE, _TEN, _TWELVE, _THIRTY = np.float32(3), np.float32(10), np.float32(12), np.float32(30)
_THIRD, _FOUR_15TH = np.float32(1 / 3), np.float32(4 / 15)
_FLOOR = np.float32(1e-8)  # (1e-4)²: method, step 5
_SMALLEST = np.float32(SMALLEST_DEPTH)  # metres; below, σ² would underflow


@njit(inline="always")
def _merge2(a0, a1, b0, b1):  # type: ignore[no-untyped-def]
    """Return the two smallest of two sorted pairs, sorted."""
    return min(a0, b0), min(max(a0, b0), min(a1, b1))


@njit(inline="always")
def _merge3(a0, a1, a2, b0, b1, b2):  # type: ignore[no-untyped-def]
    """Return the three smallest of two sorted triples, sorted."""
    c2 = min(min(a2, b2), min(max(a1, b0), max(a0, b1)))
    return min(a0, b0), min(max(a0, b0), min(a1, b1)), c2


# Most stages get a whole array and the index of a row: slicing a row costs as much as a short stage.


@njit(**_JIT)
def _load(depth, valid, v, z, i):  # type: ignore[no-untyped-def]
    """Copy row v of the depth, with 0 where it is unknown."""
    if valid.size > 0:
        for u in range(z.shape[1]):
            z[i, u] = depth[v, u] if valid[v, u] and depth[v, u] >= _SMALLEST else _ZERO
    else:
        for u in range(z.shape[1]):
            z[i, u] = depth[v, u] if depth[v, u] >= _SMALLEST else _ZERO


@njit(**_JIT)
def _rays(z, i, a2, b2, t, neg_t, known):  # type: ignore[no-untyped-def]
    """Steps 1 and 2: distance along the ray, t = Z / d_z, with d_z = 1 / sqrt(a² + b² + 1)."""
    for u in range(a2.size):
        distance = z[i, u] * math.sqrt(a2[u] + b2 + _ONE)
        usable = z[i, u] > _ZERO
        t[u] = distance if usable else _INF
        neg_t[u] = -distance if usable else _INF
        known[u] = usable


@njit(**_JIT)
def _count(known, window, row_count, i, count):  # type: ignore[no-untyped-def]
    """Replace the row that leaves the window by the row that enters it in the number of known pixels."""
    for u in range(count.size):
        count[u] -= row_count[i, u]
        row_count[i, u] = known[u]
    for shift in range(1, window):
        for u in range(count.size):
            row_count[i, u] += known[u + shift]
    for u in range(count.size):
        count[u] += row_count[i, u]


@njit(**_JIT)
def _smallest_3(x, j, out, i):  # type: ignore[no-untyped-def]
    """Step 3 along a row: the k smallest of each run of ``window`` values of row j, padded."""
    for u in range(out.shape[2]):
        out[i, 0, u] = min(min(x[j, u], x[j, u + 1]), x[j, u + 2])


@njit(**_JIT)
def _smallest_5(x, j, out, i):  # type: ignore[no-untyped-def]
    for u in range(out.shape[2]):
        x0, x1, x2, x3, x4 = x[j, u], x[j, u + 1], x[j, u + 2], x[j, u + 3], x[j, u + 4]
        c0, c1 = _merge2(min(x0, x1), max(x0, x1), min(x2, x3), max(x2, x3))
        out[i, 0, u] = min(c0, x4)
        out[i, 1, u] = min(c1, max(c0, x4))


@njit(**_JIT)
def _smallest_7(x, j, out, i):  # type: ignore[no-untyped-def]
    for u in range(out.shape[2]):
        x0, x1, x2, x3 = x[j, u], x[j, u + 1], x[j, u + 2], x[j, u + 3]
        x4, x5, x6 = x[j, u + 4], x[j, u + 5], x[j, u + 6]
        a0, a1, a2 = _merge3(min(x0, x1), max(x0, x1), _INF, min(x2, x3), max(x2, x3), _INF)
        b0, b1, b2 = _merge3(min(x4, x5), max(x4, x5), _INF, x6, _INF, _INF)
        out[i, 0, u], out[i, 1, u], out[i, 2, u] = _merge3(a0, a1, a2, b0, b1, b2)


@njit(inline="always")
def _half_range(low, high, n, min_valid, highest):  # type: ignore[no-untyped-def]
    edge = _HALF * (high - low) if high < _INF else _INF
    return _ZERO if n < min_valid and highest < _INF else edge


@njit(**_JIT)
def _edges_3(small, neg, count, min_valid, edge):  # type: ignore[no-untyped-def]
    """Step 3 over the rows of the ring: the quantiles (rank (n + 9) // 20 from either end) and half their range."""
    for u in range(edge.size):
        low, high = small[0, 0, u], neg[0, 0, u]
        for i in range(1, 3):
            low = min(low, small[i, 0, u])
            high = min(high, neg[i, 0, u])
        edge[u] = _half_range(low, -high, np.float32(count[u]), min_valid, -high)


@njit(**_JIT)
def _edges_5(small, neg, count, min_valid, edge):  # type: ignore[no-untyped-def]
    for u in range(edge.size):
        a0, a1 = small[0, 0, u], small[0, 1, u]
        b0, b1 = neg[0, 0, u], neg[0, 1, u]
        for i in range(1, 5):
            a0, a1 = _merge2(a0, a1, small[i, 0, u], small[i, 1, u])
            b0, b1 = _merge2(b0, b1, neg[i, 0, u], neg[i, 1, u])
        n = np.float32(count[u])
        low = a1 if n > _TEN else a0
        high = b1 if n > _TEN else b0
        edge[u] = _half_range(low, -high, n, min_valid, -b0)


@njit(**_JIT)
def _edges_7(small, neg, count, min_valid, edge):  # type: ignore[no-untyped-def]
    for u in range(edge.size):
        a0, a1, a2 = small[0, 0, u], small[0, 1, u], small[0, 2, u]
        b0, b1, b2 = neg[0, 0, u], neg[0, 1, u], neg[0, 2, u]
        for i in range(1, 7):
            a0, a1, a2 = _merge3(a0, a1, a2, small[i, 0, u], small[i, 1, u], small[i, 2, u])
            b0, b1, b2 = _merge3(b0, b1, b2, neg[i, 0, u], neg[i, 1, u], neg[i, 2, u])
        n = np.float32(count[u])
        low = a2 if n > _THIRTY else (a1 if n > _TEN else a0)
        high = b2 if n > _THIRTY else (b1 if n > _TEN else b0)
        edge[u] = _half_range(low, -high, n, min_valid, -b0)


@njit(**_JIT)
def _flat(z, i, prior2, half_step, flat2):  # type: ignore[no-untyped-def]
    """Step 4: δ² / t² of a pixel on a flat surface, by its footprint and by the rounding of the stored depth."""
    for u in range(flat2.size):
        rounding = half_step / z[i, u]  # (step / 2) / d_z, divided by t
        flat2[u] = prior2 + rounding * rounding


@njit(**_JIT)
def _variances(z, i, t, edge, flat2, cap2, max_depth, out, v):  # type: ignore[no-untyped-def]
    """Steps 5 to 7, and the components: +inf where unknown (t is +inf there) or, but for t and δ, far.

    x is δ² / t², g is σ_t² / t² of a conical frustum of relative half-length √x (mip-NeRF, arXiv:2103.13415, eq. 7).
    """
    components = out.shape[0] > 1
    for u in range(edge.size):
        zu, tu = z[i, u], t[u]
        r = edge[u] / tu
        x = min(max(_FLOOR, r * r + flat2[u]), cap2)  # never NaN: max(floor, NaN) is the floor
        g = x * _THIRD - _FOUR_15TH * x * x * (_TWELVE - x) / ((_THREE + x) * (_THREE + x))
        usable = tu < _INF and zu <= max_depth
        out[0, v, u] = zu * zu * g if usable else _INF  # d_z² σ_t²
        if components:
            out[1, v, u] = tu * tu * g if usable else _INF
            out[2, v, u] = tu
            out[3, v, u] = tu * math.sqrt(x)


@njit(**_JIT)
def _relative_edge(z, i, t, edge, half_step, max_depth, out, v):  # type: ignore[no-untyped-def]
    """Steps 3 and 4 without the prior: what of √x depends on neither λ nor α, at most 1 as α is; +inf where σ² is."""
    for u in range(edge.size):
        zu, tu = z[i, u], t[u]
        r, rounding = edge[u] / tu, half_step / zu
        usable = tu < _INF and zu <= max_depth
        out[4, v, u] = min(math.sqrt(r * r + rounding * rounding), _ONE) if usable else _INF


def sweep(  # type: ignore[no-untyped-def]
    depth, valid, fx, fy, cx, cy, window, lambda_prior, alpha_clamp, min_valid, max_depth, half_step, out
):
    """Fill ``out``, (1, H, W) or with components (5, H, W), row by row; ``half_step`` is half the quantisation step."""
    height, width = depth.shape
    reach, k = window // 2, (window - 1) // 2
    tan2 = (0.5 / fx) ** 2 + (0.5 / fy) ** 2
    prior2, cap2 = np.float32(lambda_prior * lambda_prior * tan2), np.float32(alpha_clamp * alpha_clamp)
    # Divided in float64, so that a crop has the same bits.
    a2 = np.square(((np.arange(width) - cx) / fx).astype(np.float32))
    b2 = np.square(((np.arange(height) - cy) / fy).astype(np.float32))
    padded = width + 2 * reach
    inner = slice(reach, reach + width)
    z = np.zeros((window, width), np.float32)
    t, neg_t = np.full((window, padded), _INF), np.full((1, padded), _INF)
    known = np.zeros(padded, np.uint8)
    small, neg = np.full((window, k, width), _INF), np.full((window, k, width), _INF)
    row_count = np.zeros((window, width), np.uint8)
    count = np.zeros(width, np.uint8)
    edge, flat2 = np.empty(width, np.float32), np.full(width, prior2)
    for v in range(height + reach):
        i = v % window
        if v < height:
            _load(depth, valid, v, z, i)
            _rays(z, i, a2, b2[v], t[i, inner], neg_t[0, inner], known[inner])
        else:  # below the image
            t[i], neg_t[0], known[:] = _INF, _INF, 0
        _count(known, window, row_count, i, count)
        if window == 3:
            _smallest_3(t, i, small, i)
            _smallest_3(neg_t, 0, neg, i)
            _edges_3(small, neg, count, min_valid, edge)
        elif window == 5:
            _smallest_5(t, i, small, i)
            _smallest_5(neg_t, 0, neg, i)
            _edges_5(small, neg, count, min_valid, edge)
        else:
            _smallest_7(t, i, small, i)
            _smallest_7(neg_t, 0, neg, i)
            _edges_7(small, neg, count, min_valid, edge)
        c = v - reach  # the row at the centre of the ring
        if c >= 0:
            i = c % window
            if half_step > _ZERO:
                _flat(z, i, prior2, half_step, flat2)
            _variances(z, i, t[i, inner], edge, flat2, cap2, max_depth, out, c)
            if out.shape[0] > 1:
                _relative_edge(z, i, t[i, inner], edge, half_step, max_depth, out, c)
