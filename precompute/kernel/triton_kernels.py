"""The kernel in the language Triton: what one program does on a GPU (``triton_engine`` launches it).

A program goes down a block of columns of one frame, two rows per step, with one column per thread. As in the other
engines, only the k smallest distances of a window and the k smallest of their negatives are kept, first along a row,
then over the rows. The list of a row is a flat tuple: k smallest, k smallest negatives, number of known pixels. Rows
that several windows share are merged once, in pairs. All lists stay in registers; a depth comes once from memory, and
then from the cache.
"""

import triton
import triton.language as tl

from depthvar.datasets.frame import SMALLEST_DEPTH

_INF = tl.constexpr(float("inf"))
_SMALLEST = tl.constexpr(SMALLEST_DEPTH)
_FLOOR = tl.constexpr(1e-8)  # (1e-4)²: method, step 5
_THIRD = tl.constexpr(1 / 3)
_FOUR_15TH = tl.constexpr(4 / 15)

# Arguments whose values need no compilation of their own. (Of the others, a step of 1 between columns does.)
_SIZES = ["height", "width", "full_height", "full_width", "stride", "frame_step", "row_step", "mask_frame_step"]
_SIZES += ["mask_row_step", "mask_column_step", "frames", "min_valid"]


@triton.jit(do_not_specialize=_SIZES)
def rays(cameras, lambda_prior2, out, height, width, BLOCK: tl.constexpr):
    """Fill ``out`` (N, W + H + 1): a² of the columns, b² + 1 of the rows, prior² / t² (steps 1 and 4), in float64."""
    entries = width + height + 1
    blocks = tl.cdiv(entries, BLOCK)
    frame = (tl.program_id(0) // blocks).to(tl.int64)
    i = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    camera = cameras + 4 * frame
    fx, fy, cx, cy = tl.load(camera), tl.load(camera + 1), tl.load(camera + 2), tl.load(camera + 3)
    a = (i.to(tl.float64) - cx) / fx
    b = ((i - width).to(tl.float64) - cy) / fy
    prior2 = lambda_prior2 * (0.25 / (fx * fx) + 0.25 / (fy * fy))
    value = tl.where(i < width, a * a, tl.where(i < width + height, b * b + 1, prior2))
    tl.store(out + frame * entries + i, value.to(tl.float32), mask=i < entries)


@triton.jit
def _insert(a, x, LENGTH: tl.constexpr, K: tl.constexpr):
    """Return the K smallest of a sorted list and x, sorted; all of them, if they are fewer."""
    out = (tl.minimum(a[0], x),)
    for i in tl.static_range(1, LENGTH):
        out = out + (tl.minimum(a[i], tl.maximum(a[i - 1], x)),)
    if LENGTH < K:
        out = out + (tl.maximum(a[LENGTH - 1], x),)
    return out


@triton.jit
def _smallest(a, b, FIRST: tl.constexpr, K: tl.constexpr):
    """Return the K smallest of two lists, of which each is sorted from FIRST on.

    Rank r of the union is the smallest of a[r], b[r] and max(a[i], b[j]) over i + j = r - 1.
    """
    out = (tl.minimum(a[FIRST], b[FIRST]),)
    for r in tl.static_range(1, K):
        ranked = tl.minimum(a[FIRST + r], b[FIRST + r])
        for i in tl.static_range(r):
            ranked = tl.minimum(ranked, tl.maximum(a[FIRST + i], b[FIRST + r - 1 - i]))
        out = out + (ranked,)
    return out


@triton.jit
def _merge(a, b, K: tl.constexpr):
    """Return the list of the pixels of two lists."""
    return _smallest(a, b, 0, K) + _smallest(a, b, K, K) + (a[2 * K] + b[2 * K],)


@triton.jit
def _tile(height, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Return the frame, the first row and the columns of a program; programs are numbered along the rows first."""
    across, down = tl.cdiv(width, COLUMNS), tl.cdiv(height, ROWS)
    program = tl.program_id(0)
    u = program % across * COLUMNS + tl.arange(0, COLUMNS)
    return (program // (across * down)).to(tl.int64), program // across % down * ROWS, u


@triton.jit
def _depth(image, v, u, ACROSS: tl.constexpr, MASKED: tl.constexpr):
    """Return the depth of the pixels ACROSS columns from u, and whether it is known; beyond the image it is not."""
    depth, valid, height, width, row_step, column_step, mask_row_step, mask_column_step = image
    end = tl.where((v >= 0) & (v < height), width, 0)
    inside = (u + ACROSS >= 0) & (u + ACROSS < end)
    # A pointer to u, and from there a constant: one address serves all shifts.
    v, u = v.to(tl.int64), u.to(tl.int64)
    z = tl.load(depth + v * row_step + u * column_step + ACROSS * column_step, mask=inside, other=0.0).to(tl.float32)
    known = z >= _SMALLEST
    if MASKED:
        at = valid + v * mask_row_step + u * mask_column_step + ACROSS * mask_column_step
        known = known & (tl.load(at, mask=inside, other=0) != 0)
    return z, known


@triton.jit
def _list(image, v, u, a2, b2, WINDOW: tl.constexpr, MASKED: tl.constexpr):
    """Steps 1 to 3 along row v: the lists of the runs of WINDOW pixels around the columns u."""
    K: tl.constexpr = WINDOW // 2
    z, known = _depth(image, v, u, -K, MASKED)
    t = z * tl.sqrt(a2[0] + b2)
    small, negative, n = (tl.where(known, t, _INF),), (tl.where(known, -t, _INF),), known.to(tl.int32)
    for i in tl.static_range(1, WINDOW):
        z, known = _depth(image, v, u, i - K, MASKED)
        t = z * tl.sqrt(a2[i] + b2)
        small = _insert(small, tl.where(known, t, _INF), i if i < K else K, K)
        negative = _insert(negative, tl.where(known, -t, _INF), i if i < K else K, K)
        n += known.to(tl.int32)
    return small + negative + (n,)


@triton.jit
def _at_rank(a, n, FIRST: tl.constexpr, K: tl.constexpr):
    """Return rank (n + 9) // 20 of a list."""
    ranked = a[FIRST]
    for r in tl.static_range(1, K):
        ranked = tl.where(n > 20 * r - 10, a[FIRST + r], ranked)
    return ranked


@triton.jit
def _finish(image, window, v, u, slant2, maps, limits, K: tl.constexpr, MASKED: tl.constexpr, COMPONENTS: tl.constexpr):
    """Steps 3 to 7 of the pixels of row v, from the lists of their windows."""
    height, width = image[2], image[3]
    out, map_step = maps
    prior2, cap2, max_depth, min_valid = limits
    z, known = _depth(image, v, u, 0, MASKED)
    t = tl.where(known, z * tl.sqrt(slant2), _INF)
    n = window[2 * K]
    low, high = _at_rank(window, n, 0, K), -_at_rank(window, n, K, K)
    edge = tl.where(high == _INF, _INF, 0.5 * (high - low))
    edge = tl.where((n < min_valid) & (window[K] > -_INF), 0.0, edge)
    r = tl.div_rn(edge, t)  # inf / inf only where t is inf, which the last step overwrites
    x = tl.minimum(tl.maximum(r * r + prior2, _FLOOR), cap2)  # step 5: x = δ² / t², the cap last
    # Step 6: σ_t² / t² of a conical frustum of relative half-length √x (mip-NeRF, arXiv:2103.13415, eq. 7).
    g = x * _THIRD - _FOUR_15TH * x * x * (12 - x) / ((3 + x) * (3 + x))
    finite = (t < _INF) & (z <= max_depth)
    inside = u < tl.where(v < height, width, 0)
    at = out + v.to(tl.int64) * width + u
    tl.store(at, tl.where(finite, z * z * g, _INF), mask=inside)
    if COMPONENTS:
        tl.store(at + map_step, tl.where(finite, t * t * g, _INF), mask=inside)
        tl.store(at + 2 * map_step, t, mask=inside)
        tl.store(at + 3 * map_step, tl.where(t < _INF, t * tl.sqrt(x), _INF), mask=inside)


@triton.jit(do_not_specialize=_SIZES)
def spread(
    depth, valid, rays, out, height, width, full_height, full_width, stride, frame_step, row_step, column_step,
    mask_frame_step, mask_row_step, mask_column_step, frames, cap2, max_depth, min_valid,
    WINDOW: tl.constexpr, MASKED: tl.constexpr, COMPONENTS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Fill ROWS × COLUMNS pixels of ``out`` by the estimator of the range; ROWS is even.

    Before the rows v and v + 1 there are these lists, with r = WINDOW // 2: ``second`` of the rows v - r, v - r + 2,
    ..., v + r - 2; ``pairs`` of the rows behind v - r up to v + r - 2, two by two; ``first`` of row v + r - 1. The
    first r steps only fill them.
    """
    K: tl.constexpr = WINDOW // 2
    frame, top, u = _tile(height, width, ROWS, COLUMNS)
    image = (
        depth + frame * frame_step, valid + frame * mask_frame_step, height, width, row_step, column_step,
        mask_row_step, mask_column_step,
    )  # fmt: skip
    maps = (out + frame * height * width, frames.to(tl.int64) * height * width)
    rays += frame * (full_width + full_height + 1)
    # The footprint of a pixel of a strided frame is ``stride`` times as wide.
    prior2 = tl.load(rays + full_width + full_height) * (stride * stride)
    limits = (prior2, cap2, max_depth, min_valid)
    a2, rows = (), rays + full_width
    for j in tl.static_range(WINDOW):
        at = u + (j - K)
        a2 = a2 + (tl.load(rays + at * stride, mask=(at >= 0) & (at < width), other=0.0),)
    first = (tl.full(u.shape, _INF, tl.float32),) * (2 * K) + (tl.zeros(u.shape, tl.int32),)
    second, pairs = (first,) * K, (first,) * (K - 1)
    for i in range(-2 * K, tl.minimum(ROWS, height - top), 2):
        v = top + i
        below = _list(image, v + K, u, a2, _b2(rows, v + K, height, stride), WINDOW, MASKED)
        after = _list(image, v + K + 1, u, a2, _b2(rows, v + K + 1, height, stride), WINDOW, MASKED)
        pairs = pairs + (_merge(first, below, K),)
        if i >= 0:
            both = pairs[0]
            for j in tl.static_range(1, K):
                both = _merge(both, pairs[j], K)
            upper, lower = _merge(second[0], both, K), _merge(both, after, K)
            slant2 = a2[K] + _b2(rows, v, height, stride)
            _finish(image, upper, v, u, slant2, maps, limits, K, MASKED, COMPONENTS)
            slant2 = a2[K] + _b2(rows, v + 1, height, stride)
            _finish(image, lower, v + 1, u, slant2, maps, limits, K, MASKED, COMPONENTS)
        pairs, second, first = pairs[1:], second[1:] + (below,), after


@triton.jit
def _b2(rows, v, height, stride):
    """Return b² + 1 of row v."""
    return tl.load(rows + v * stride, mask=(v >= 0) & (v < height), other=1.0)


@triton.jit
def _rise(image, z, known, v, u, ACROSS: tl.constexpr, MASKED: tl.constexpr):
    """Return the difference of depth to the pixels ACROSS columns from u in row v; -1 where one is unknown."""
    other, other_known = _depth(image, v, u, ACROSS, MASKED)
    return tl.where(known & other_known, tl.abs(other - z), -1.0)


@triton.jit(do_not_specialize=_SIZES)
def difference(
    depth, valid, out, height, width, frame_step, row_step, column_step, mask_frame_step, mask_row_step,
    mask_column_step, max_depth, MASKED: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Fill ROWS × COLUMNS pixels of ``out`` by the estimator of the difference."""
    frame, top, u = _tile(height, width, ROWS, COLUMNS)
    v, u = (top + tl.arange(0, ROWS))[:, None], u[None, :]
    image = (
        depth + frame * frame_step, valid + frame * mask_frame_step, height, width, row_step, column_step,
        mask_row_step, mask_column_step,
    )  # fmt: skip
    z, known = _depth(image, v, u, 0, MASKED)
    across = tl.maximum(_rise(image, z, known, v, u, -1, MASKED), _rise(image, z, known, v, u, 1, MASKED))
    down = tl.maximum(_rise(image, z, known, v - 1, u, 0, MASKED), _rise(image, z, known, v + 1, u, 0, MASKED))
    usable = known & (z < _INF) & (z <= max_depth) & (tl.maximum(across, down) >= 0)
    across, down = tl.div_rn(tl.maximum(across, 0.0), z), tl.div_rn(tl.maximum(down, 0.0), z)
    x = tl.minimum(tl.maximum(0.25 * (across * across + down * down), _FLOOR), 1.0)
    at = out + frame * height * width + v.to(tl.int64) * width + u
    tl.store(at, tl.where(usable, z * z * x * _THIRD, _INF), mask=(v < height) & (u < width))
