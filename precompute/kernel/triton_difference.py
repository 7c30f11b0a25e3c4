"""The estimator of the difference in the language Triton: what one program does on a GPU."""

import triton
import triton.language as tl

from .triton_image import FLOOR, INF, SIZES, THIRD, depth_of, load, tile


@triton.jit
def _rise(a, a_known, b, b_known):
    """Return the difference of two depths; -1 where one is unknown."""
    return tl.where(a_known & b_known, tl.abs(b - a), -1.0)


@triton.jit
def _row(loaded, MASKED: tl.constexpr):
    """Return depth, what is known, and the larger difference along the row, of two columns."""
    before, before_known = depth_of(loaded, 0, MASKED)
    left, left_known = depth_of(loaded, 1, MASKED)
    right, right_known = depth_of(loaded, 2, MASKED)
    after, after_known = depth_of(loaded, 3, MASKED)
    inner = _rise(left, left_known, right, right_known)
    outer = tl.join(_rise(before, before_known, left, left_known), _rise(right, right_known, after, after_known))
    return tl.join(left, right), tl.join(left_known, right_known), tl.maximum(outer, inner[:, None])


@triton.jit(do_not_specialize=SIZES)
def difference(
    depth, valid, out, height, width, frame_step, row_step, column_step, mask_frame_step, mask_row_step,
    mask_column_step, max_depth, step, rows, MASKED: tl.constexpr, QUANTISED: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Fill rows × COLUMNS pixels of ``out`` by the estimator of the difference; ``rows`` is even."""
    frame, top, u = tile(height, width, rows, COLUMNS)
    image = (
        depth + frame * frame_step, valid + frame * mask_frame_step, height, width, row_step, column_step,
        mask_row_step, mask_column_step,
    )  # fmt: skip
    out += frame * height * width
    columns = u[:, None] + tl.arange(0, 2)[None, :]
    z, known, across = _row(load(image, top, u, -1, 4, MASKED), MASKED)
    above, above_known, _ = _row(load(image, top - 1, u, -1, 4, MASKED), MASKED)
    up = _rise(above, above_known, z, known)
    loaded = load(image, top + 1, u, -1, 4, MASKED)
    for i in range(0, tl.minimum(rows, height - top), 2):
        for j in tl.static_range(2):  # so many are written out, and no row moves
            v = top + i + j
            next_loaded = load(image, v + 2, u, -1, 4, MASKED)  # now, for the next row
            below, below_known, below_across = _row(loaded, MASKED)
            down = _rise(z, known, below, below_known)
            along, rise = tl.maximum(across, 0.0), tl.maximum(tl.maximum(up, down), 0.0)
            usable = known & (z < INF) & (z <= max_depth) & (tl.maximum(across, tl.maximum(up, down)) >= 0)
            per_depth = tl.rsqrt(z * z)
            along, rise = along * per_depth, rise * per_depth
            x = along * along + rise * rise
            if QUANTISED:
                rounding = step * per_depth
                x += rounding * rounding
            x = tl.minimum(tl.maximum(0.25 * x, FLOOR), 1.0)
            inside = columns < tl.where(v < height, width, 0)
            tl.store(out + v.to(tl.int64) * width + columns, tl.where(usable, z * z * x * THIRD, INF), mask=inside)
            z, known, across, up, loaded = below, below_known, below_across, down, next_loaded
