"""What the programs of both estimators share in the language Triton: their tiles, and how they read depth.

A program goes down a block of columns of one frame; a thread has two columns that are next to each other, the second
axis of its tensors. A depth comes once from memory, and then from the cache.
"""

import triton
import triton.language as tl

from depthvar.datasets.frame import SMALLEST_DEPTH

INF = tl.constexpr(float("inf"))
SMALLEST = tl.constexpr(SMALLEST_DEPTH)
FLOOR = tl.constexpr(1e-8)  # (1e-4)²: method, step 5
THIRD = tl.constexpr(1 / 3)

# Arguments whose values need no compilation of their own. (Of the others, a step of 1 between columns does.)
SIZES = ["height", "stride", "frame_step", "row_step", "mask_frame_step", "mask_row_step", "mask_column_step", "frames"]
SIZES += ["min_valid", "rows"]


@triton.jit
def tile(height, width, rows, COLUMNS: tl.constexpr):
    """Return the frame, the first row and every second column of a program; programs go along the rows first."""
    across, down = tl.cdiv(width, COLUMNS), tl.cdiv(height, rows)
    program = tl.program_id(0)
    u = program % across * COLUMNS + 2 * tl.arange(0, COLUMNS // 2)
    return (program // (across * down)).to(tl.int64), program // across % down * rows, u


@triton.jit
def load(image, v, u, FIRST: tl.constexpr, COUNT: tl.constexpr, MASKED: tl.constexpr):
    """Return the depth of COUNT columns of row v from FIRST columns behind u, and the masks; beyond the image 0."""
    depth, valid, height, width, row_step, column_step, mask_row_step, mask_column_step = image
    end = tl.where((v >= 0) & (v < height), width, 0).to(tl.uint32)
    v, at = v.to(tl.int64), u.to(tl.int64)
    z, masks = (), ()
    for i in tl.static_range(FIRST, FIRST + COUNT):
        inside = (u + i).to(tl.uint32) < end  # and not below 0
        # A pointer to u, and from there a constant: one address serves all columns.
        z = z + (tl.load(depth + v * row_step + at * column_step + i * column_step, mask=inside, other=0.0),)
        if MASKED:
            mask = valid + v * mask_row_step + at * mask_column_step + i * mask_column_step
            masks = masks + (tl.load(mask, mask=inside, other=0),)
    return z, masks


@triton.jit
def depth_of(loaded, i: tl.constexpr, MASKED: tl.constexpr):
    """Return the depth of column i of those loaded, and whether it is known."""
    z = loaded[0][i].to(tl.float32)
    known = z >= SMALLEST
    if MASKED:
        known = known & (loaded[1][i] != 0)
    return z, known
