"""The estimator of the range in the language Triton: what one program does on a GPU (``triton_engine`` launches it).

Two rows per step. As in the other engines, only the k smallest distances of a window and the k smallest of their
negatives are kept, first along a row, then over the rows. What two windows share is merged once: the pixels between the
outer ones of two columns, and the rows of two windows, in pairs. The list of a row is a flat tuple: k smallest, k
smallest negatives, number of known pixels. All lists stay in registers.
"""

import triton
import triton.language as tl

from .triton_image import FLOOR, INF, SIZES, THIRD, depth_of, load, tile

_LARGEST = tl.constexpr(3.4028234663852886e38)  # of float32
_FOUR_15TH = tl.constexpr(4 / 15)


@triton.jit
def _pair(a, b, K: tl.constexpr):
    """Return the smallest K of two numbers, sorted; two at most."""
    out = (tl.minimum(a, b),)
    if K > 1:
        out = out + (tl.maximum(a, b),)
    return out


@triton.jit
def _insert(a, x, K: tl.constexpr):
    """Return the K smallest of a sorted list of K and x, sorted."""
    out = (tl.minimum(a[0], x),)
    for i in tl.static_range(1, K):
        out = out + (tl.minimum(a[i], tl.maximum(a[i - 1], x)),)
    return out


@triton.jit
def _smallest(a, b, K: tl.constexpr):
    """Return the K smallest of two sorted lists of K, sorted: Batcher's odd-even merge, cut off; K is 3 at most."""
    out = (tl.minimum(a[0], b[0]),)
    if K == 2:
        out = out + (tl.minimum(tl.maximum(a[0], b[0]), tl.minimum(a[1], b[1])),)
    if K == 3:
        even = tl.minimum(tl.maximum(a[0], b[0]), tl.minimum(a[2], b[2]))
        odd = tl.minimum(a[1], b[1])
        out = out + (tl.minimum(even, odd), tl.maximum(even, odd))
    return out


@triton.jit
def _smallest_of(x, K: tl.constexpr):
    """Return the K smallest of 2 K numbers, sorted."""
    out = _pair(x[0], x[1], K)
    if K == 2:
        out = _smallest(out, _pair(x[2], x[3], K), K)
    if K == 3:
        b, c = _pair(x[2], x[3], K), _pair(x[4], x[5], K)
        high, odd = tl.maximum(out[0], b[0]), tl.minimum(out[1], b[1])
        four = (tl.minimum(out[0], b[0]), tl.minimum(high, odd), tl.maximum(high, odd))  # the 3 smallest of 4
        even, odd = tl.minimum(tl.maximum(four[0], c[0]), four[2]), tl.minimum(four[1], c[1])
        out = (tl.minimum(four[0], c[0]), tl.minimum(even, odd), tl.maximum(even, odd))
    return out


@triton.jit
def _merge(a, b, K: tl.constexpr):
    """Return the list of the pixels of two lists."""
    return _smallest(a[:K], b[:K], K) + _smallest(a[K : 2 * K], b[K : 2 * K], K) + (a[2 * K] + b[2 * K],)


@triton.jit
def _load_two(image, v, u, WINDOW: tl.constexpr, MASKED: tl.constexpr):
    """Return what the lists of the rows v and v + 1 need."""
    FIRST: tl.constexpr = -(WINDOW // 2)
    return load(image, v, u, FIRST, WINDOW + 1, MASKED), load(image, v + 1, u, FIRST, WINDOW + 1, MASKED)


@triton.jit
def _list(loaded, a2, b2, WINDOW: tl.constexpr, MASKED: tl.constexpr):
    """Steps 1 to 3 along a row: the lists of the runs of WINDOW pixels around two columns, and these columns' depth."""
    K: tl.constexpr = WINDOW // 2
    depth, small, negative, counts = (), (), (), ()
    for i in tl.static_range(WINDOW + 1):
        z, known = depth_of(loaded, i, MASKED)
        z = tl.where(known, z, INF)
        t = z * tl.sqrt(a2[i] + b2)
        depth, small = depth + (z,), small + (t,)
        negative = negative + (tl.where(known, -t, INF),)
        counts = counts + (known.to(tl.int32),)
    n = counts[1]
    for i in tl.static_range(2, WINDOW):
        n += counts[i]
    found = _outer(_smallest_of(small[1:WINDOW], K), small, WINDOW)
    found = found + _outer(_smallest_of(negative[1:WINDOW], K), negative, WINDOW)
    return found + (n[:, None] + tl.join(counts[0], counts[WINDOW]),), tl.join(depth[K], depth[K + 1])


@triton.jit
def _outer(inner, x, WINDOW: tl.constexpr):
    """Insert the first of the WINDOW + 1 numbers into the list of the left column, the last into that of the right."""
    K: tl.constexpr = WINDOW // 2
    both = ()
    for i in tl.static_range(K):
        both = both + (inner[i][:, None],)
    return _insert(both, tl.join(x[0], x[WINDOW]), K)


@triton.jit
def _at_rank(a, n, K: tl.constexpr):
    """Return rank (n + 9) // 20 of a list."""
    ranked = a[0]
    for r in tl.static_range(1, K):
        ranked = tl.where(n > 20 * r - 10, a[r], ranked)
    return ranked


@triton.jit
def _finish(
    z, window, v, columns, slant2, maps, limits, K: tl.constexpr, COMPONENTS: tl.constexpr, QUANTISED: tl.constexpr
):
    """Steps 3 to 7 of the pixels of row v, from their depth, +inf where it is unknown, and their windows' lists."""
    out, height, width, map_step = maps
    prior2, cap2, max_depth, min_valid, half_step = limits
    t = z * tl.sqrt(slant2)
    n = window[2 * K]
    low, high = _at_rank(window[:K], n, K), -_at_rank(window[K : 2 * K], n, K)
    edge = 0.5 * (high - tl.minimum(low, _LARGEST))  # inf if high is, also where low is
    edge = tl.where((n < min_valid) & (window[K] > -INF), 0.0, edge)
    r = edge * tl.rsqrt(t * t)  # inf * 0 only where t is inf, which the last step overwrites
    flat2 = prior2
    if QUANTISED:
        rounding = half_step * tl.rsqrt(z * z)  # (step / 2) / d_z, divided by t
        flat2 += rounding * rounding
    x = tl.minimum(tl.maximum(r * r + flat2, FLOOR), cap2)  # step 5: x = δ² / t², the cap last
    # Step 6: σ_t² / t² of a conical frustum of relative half-length √x (mip-NeRF, arXiv:2103.13415, eq. 7).
    root = tl.rsqrt(3 + x)
    q = x * (root * root)
    g = x * THIRD - (12 * _FOUR_15TH - _FOUR_15TH * x) * (q * q)
    finite = z <= max_depth
    inside = columns < tl.where(v < height, width, 0)
    at = out + v.to(tl.int64) * width + columns
    tl.store(at, tl.where(finite, z * z * g, INF), mask=inside)
    if COMPONENTS:
        tl.store(at + map_step, tl.where(finite, t * t * g, INF), mask=inside)
        tl.store(at + 2 * map_step, t, mask=inside)
        tl.store(at + 3 * map_step, tl.where(t < INF, t * tl.sqrt(x), INF), mask=inside)
        if QUANTISED:
            r = tl.sqrt(r * r + rounding * rounding)
        tl.store(at + 4 * map_step, tl.where(finite, tl.minimum(r, 1.0), INF), mask=inside)  # at most 1, as α is


@triton.jit(do_not_specialize=SIZES)
def spread(
    depth, valid, cameras, out, height, width, stride, frame_step, row_step, column_step, mask_frame_step,
    mask_row_step, mask_column_step, frames, lambda_prior2, cap2, max_depth, min_valid, half_step, rows,
    WINDOW: tl.constexpr, MASKED: tl.constexpr, COMPONENTS: tl.constexpr, QUANTISED: tl.constexpr,
    COLUMNS: tl.constexpr,
):  # fmt: skip
    """Fill rows × COLUMNS pixels of ``out`` by the estimator of the range; ``rows`` is a multiple of 2 (WINDOW // 2).

    Before the rows v and v + 1 there are these lists, with r = WINDOW // 2: ``second`` of the rows v - r, v - r + 2,
    ..., v + r - 2; ``pairs`` of the rows behind v - r up to v + r - 2, two by two; ``first`` of row v + r - 1. r steps
    fill them, and after r more they are all new: so many are written out in the loop, and no register is copied.
    """
    K: tl.constexpr = WINDOW // 2
    frame, top, u = tile(height, width, rows, COLUMNS)
    image = (
        depth + frame * frame_step, valid + frame * mask_frame_step, height, width, row_step, column_step,
        mask_row_step, mask_column_step,
    )  # fmt: skip
    maps = (out + frame * height * width, height, width, frames.to(tl.int64) * height * width)
    # In pixels of this level: focal lengths and centre are the full frame's, divided by the stride.
    per_pixel = stride.to(tl.float32)
    camera = cameras + 4 * frame
    fx, fy = per_pixel / tl.load(camera).to(tl.float32), per_pixel / tl.load(camera + 1).to(tl.float32)
    cx, cy = tl.load(camera + 2).to(tl.float32) / per_pixel, tl.load(camera + 3).to(tl.float32) / per_pixel
    prior2 = lambda_prior2 * 0.25 * (fx * fx + fy * fy)
    limits = (prior2, cap2, max_depth, min_valid, half_step)
    a2 = ()
    for i in tl.static_range(WINDOW + 1):
        a = ((u + (i - K)).to(tl.float32) - cx) * fx
        a2 = a2 + (a * a + 1,)
    own_a2, columns = tl.join(a2[K], a2[K + 1]), u[:, None] + tl.arange(0, 2)[None, :]
    loaded = _load_two(image, top - K, u, WINDOW, MASKED)
    below, z_below = _list(loaded[0], a2, _b2(top - K, cy, fy), WINDOW, MASKED)
    first, z_after = _list(loaded[1], a2, _b2(top - K + 1, cy, fy), WINDOW, MASKED)
    second, pairs, depths = (below,), (), (z_below, z_after)
    for i in tl.static_range(1, K):
        v = top - K + 2 * i
        loaded = _load_two(image, v, u, WINDOW, MASKED)
        below, z_below = _list(loaded[0], a2, _b2(v, cy, fy), WINDOW, MASKED)
        pairs, second = pairs + (_merge(first, below, K),), second + (below,)
        first, z_after = _list(loaded[1], a2, _b2(v + 1, cy, fy), WINDOW, MASKED)
        depths = depths + (z_below, z_after)
    depths = depths[K:]
    loaded = _load_two(image, top + K, u, WINDOW, MASKED)
    STEPS: tl.constexpr = K if K < 3 else 1  # three take the compiler minutes
    EARLY: tl.constexpr = 2 if K < 3 else 0  # rows are loaded a step ahead, where the lists leave registers for it
    for i in range(0, tl.minimum(rows, height - top), 2 * STEPS):
        for j in tl.static_range(STEPS):
            v = top + i + 2 * j
            coming = _load_two(image, v + K + EARLY, u, WINDOW, MASKED)
            if EARLY == 0:
                loaded = coming
            below, z_below = _list(loaded[0], a2, _b2(v + K, cy, fy), WINDOW, MASKED)
            after, z_after = _list(loaded[1], a2, _b2(v + K + 1, cy, fy), WINDOW, MASKED)
            pairs = pairs + (_merge(first, below, K),)
            both = pairs[0]
            for k in tl.static_range(1, K):
                both = _merge(both, pairs[k], K)
            upper, lower = _merge(second[0], both, K), _merge(both, after, K)
            depths = depths + (z_below, z_after)
            slant2 = own_a2 + _b2(v, cy, fy)
            _finish(depths[0], upper, v, columns, slant2, maps, limits, K, COMPONENTS, QUANTISED)
            slant2 = own_a2 + _b2(v + 1, cy, fy)
            _finish(depths[1], lower, v + 1, columns, slant2, maps, limits, K, COMPONENTS, QUANTISED)
            pairs, second, first, depths = pairs[1:], second[1:] + (below,), after, depths[2:]
            loaded = coming


@triton.jit
def _b2(v, cy, fy):
    """Return b² of row v."""
    b = (v.to(tl.float32) - cy) * fy
    return b * b
