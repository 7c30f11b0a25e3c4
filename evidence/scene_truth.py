"""The true spread of depth inside a pixel of an analytic scene, by many rays; what kind of place each pixel is."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from depthvar.datasets.frame import as_intrinsics
from depthvar.datasets.hospital.raycast import Scene, cast

Bool = NDArray[np.bool_]
Float = NDArray[np.float64]

GAP = 1.03  # two surfaces are apart where the farther is at least 3 % deeper
MAX_DEPTH, FAR = 80.0, 20.0  # metres


class Truth(NamedTuple):
    """What the rays say, each of shape (H, W).

    Attributes:
        depth: planar depth of the ray through the pixel's centre, metres; +inf for the sky.
        std: standard deviation of the depth over the footprint, metres; NaN where a ray goes beyond MAX_DEPTH.
        mixed: the footprint holds two surfaces with a gap between them; the sky counts as a surface.
        crease: it holds several surfaces that touch: no gap.
        near: depth of the nearest ray of the footprint, metres; +inf if all see the sky.
        slant: |n_xy| / |n · r|, how fast depth grows, in depths per unit of image plane; 0 for a fronto-parallel wall.
    """

    depth: Float
    std: Float
    mixed: Bool
    crease: Bool
    near: Float
    slant: Float


def footprint_truth(
    scene: Scene, pose: ArrayLike, intrinsics: ArrayLike, size: tuple[int, int], rays: int = 16
) -> Truth:
    """Cast rays² rays through the cells of a regular grid over the footprint, ±0.5 pixel, of every pixel.

    Args:
        scene: what to see.
        pose: (4, 4) camera to world, OpenCV axes.
        intrinsics: (4,) fx, fy, cx, cy in pixels, or (3, 3); integer coordinates are pixel centres.
        size: height and width in pixels.
        rays: to a side of the grid.
    """
    fx, fy, cx, cy = as_intrinsics(intrinsics)
    camera = np.asarray(pose, np.float64)
    height, width = size
    offset = (np.arange(rays) + 0.5) / rays - 0.5

    def see(u: Float, v: Float) -> tuple[Float, NDArray[np.int64], Float]:
        u, v = np.broadcast_arrays((u - cx) / fx, (v - cy) / fy)
        return cast(scene, camera[:3, 3], np.stack((u, v, np.ones_like(u)), axis=-1) @ camera[:3, :3].T)

    def row(v: int) -> tuple[Float | Bool, ...]:
        columns = np.arange(width, dtype=np.float64)
        depth, _, normal = see(columns, np.float64(v))
        toward = normal @ camera[:3, :3]
        along = (toward * np.stack(((columns - cx) / fx, np.full(width, (v - cy) / fy), np.ones(width)), -1)).sum(-1)
        slant = np.hypot(toward[:, 0], toward[:, 1]) / np.maximum(np.abs(along), 1e-12)
        z, surface, _ = see(columns[:, None, None] + offset, v + offset[:, None])
        return depth, _spread(z), _gap(z, surface), _several(surface), z.min((1, 2)), slant

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        depth, std, mixed, several, near, slant = (
            np.stack(rows) for rows in zip(*pool.map(row, range(height)), strict=True)
        )
    return Truth(depth, std, mixed, several & ~mixed, near, slant)


def _spread(z: Float) -> Float:
    """Return the standard deviation over the last two axes, NaN where one is beyond MAX_DEPTH."""
    known = (z <= MAX_DEPTH).all((1, 2))
    return np.where(known, np.where(known[:, None, None], z, 0.0).std((1, 2)), np.nan)


def _gap(z: Float, surface: NDArray[np.int64]) -> Bool:
    """Say which pixels hold two neighbouring rays on two surfaces with a gap: a slope or a crease has none."""
    found = np.zeros(len(z), np.bool_)
    for axis in (1, 2):
        first, second = (np.take(z, range(a, z.shape[axis] - 1 + a), axis) for a in (0, 1))
        apart = np.maximum(first, second) > GAP * np.minimum(first, second)
        found |= (apart & (np.diff(surface, axis=axis) != 0)).any((1, 2))
    return found


def _several(surface: NDArray[np.int64]) -> Bool:
    return surface.min((1, 2)) != surface.max((1, 2))


def regions(truth: Truth) -> dict[str, Bool]:
    """Name kinds of places, (H, W) masks that overlap; only pixels whose own depth is known (MAX_DEPTH at most).

    ``all``; ``flat`` and ``slope``: one surface, no mixed neighbour, slant up to and above 1; ``crease``: surfaces that
    touch, no mixed neighbour; ``edge``: mixed, or one of the 8 neighbours is; ``thin``: mixed, and what is nearest
    there is gone 2 pixels to both sides, in the row or the column; ``far``: beyond FAR.
    """
    known = truth.depth <= MAX_DEPTH
    edge = _grown(truth.mixed)
    smooth = known & ~edge & ~truth.crease
    return {
        "all": known,
        "flat": smooth & (truth.slant <= 1),
        "slope": smooth & (truth.slant > 1),
        "crease": known & ~edge & truth.crease,
        "edge": known & edge,
        "thin": known & truth.mixed & (_gone(truth, 0) | _gone(truth, 1)),
        "far": known & (truth.depth > FAR),
    }


def _grown(mask: Bool) -> Bool:
    padded = np.pad(mask, 1)
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).any((2, 3))


def _gone(truth: Truth, axis: int) -> Bool:
    """Say where both pixels 2 steps away along an axis lie behind the nearest surface of this one."""
    pad = [(0, 0), (0, 0)]
    pad[axis] = (2, 2)
    centre = np.pad(truth.depth, pad, constant_values=0)  # outside the image: not seen to be gone
    before, after = (np.take(centre, range(a, a + truth.depth.shape[axis]), axis) for a in (0, 4))
    return (np.minimum(before, after) > GAP * truth.near) & np.isfinite(truth.near)
