"""Pictures of the sample scene: analytic depth, and shaded colour."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from depthvar.datasets.frame import as_intrinsics

from .furniture import COLOURS, MATERIALS, OUTDOORS
from .raycast import Scene, cast
from .scene import CEILING, CORRIDOR_LAMPS, GROUND, HALF, OUTER, ROOMS

Image32 = NDArray[np.float32]

SAMPLE_INTRINSICS = (320.0, 320.0, 320.0, 240.0)
SAMPLE_SIZE = (480, 640)
SKY_DEPTH = 10000.0  # metres; large and finite, as in TartanAir V1


def render(
    scene: Scene, pose: ArrayLike, intrinsics: ArrayLike = SAMPLE_INTRINSICS, size: tuple[int, int] = SAMPLE_SIZE
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return depth and picture of the hospital, by one ray through the centre of each pixel.

    Args:
        scene: what :func:`scene` returns.
        pose: (4, 4) camera to world, as :func:`camera_poses` gives it.
        intrinsics: (4,) fx, fy, cx, cy in pixels, or (3, 3); integer coordinates are pixel centres.
        size: height and width in pixels.

    Returns:
        depth (H, W) float32, planar (along the optical axis) in metres, ``SKY_DEPTH`` where nothing is hit; the picture
        (H, W, 3) uint8, sRGB.
    """
    fx, fy, cx, cy = as_intrinsics(intrinsics)
    camera = np.asarray(pose, dtype=np.float64)
    v, u = np.indices(size, dtype=np.float64)
    rays = np.stack(((u - cx) / fx, (v - cy) / fy, np.ones(size)), axis=-1) @ camera[:3, :3].T
    t, surface, normal = cast(scene, camera[:3, 3], rays)
    hit = surface >= 0
    rgb = _sky(rays.astype(np.float32))
    rgb[hit] = _shade(scene, camera[:3, 3] + t[hit][:, None] * rays[hit], normal[hit], scene.material[surface[hit]])
    return np.where(hit, t, SKY_DEPTH).astype(np.float32), (255 * np.clip(rgb, 0, 1) + 0.5).astype(np.uint8)


def _sky(rays: Image32) -> Image32:
    """Return a gradient with soft clouds, (H, W, 3)."""
    up = np.clip(-rays[..., 2] / np.sqrt((rays**2).sum(-1)), 0.02, 1)
    x, y = (rays[..., k] / np.maximum(-rays[..., 2], 0.02) for k in (0, 1))
    cloud = np.sin(0.9 * x + 1.7 * np.sin(0.53 * y)) + np.sin(1.3 * y + 1.1 * np.sin(0.71 * x + 1))
    cloud = np.clip(0.5 * cloud, 0, 1) * np.clip(3 * up, 0, 0.6)
    blue = np.array((0.86, 0.92, 0.98), np.float32) - np.sqrt(up)[..., None] * np.array((0.5, 0.34, 0.1), np.float32)
    return np.asarray(blue + cloud[..., None] * (0.98 - blue), np.float32)


def _shade(
    scene: Scene, points: NDArray[np.float64], normals: NDArray[np.float64], materials: NDArray[np.int64]
) -> Image32:
    """Return (N, 3) colours: Lambert with a shadow ray, to the nearest lamp indoors and to the sun outdoors."""
    outdoors = np.isin(materials, [MATERIALS.index(name) for name in OUTDOORS]) | (points[:, 2] > 0.5)
    to_light = np.where(outdoors[:, None], np.array((-90.0, 60.0, -120.0)), _nearest_lamp(points) - points)
    distance = np.sqrt((to_light**2).sum(-1))
    slope = np.clip((to_light * normals).sum(-1) / distance, 0, None).astype(np.float32)
    slope[~outdoors & (normals[:, 2] > 0.5)] = 0  # a lamp is too close to the ceiling to light it
    faces = np.flatnonzero(slope)
    _, between, _ = cast(scene, points[faces] + 1e-4 * normals[faces], to_light[faces], limit=1)
    slope[faces[between >= 0]] = 0
    p, n = (points * (1, 1, -1)).astype(np.float32), normals.astype(np.float32)
    falloff = np.where(outdoors, 1.0, 1 / (0.55 + (distance / 2.6) ** 2)).astype(np.float32)
    # Light from all around: more from above outdoors, less into the edges of the floor and the ceiling indoors.
    around = np.where(
        outdoors,
        0.42 - 0.12 * n[:, 2],
        _open(p) * (0.60 + 0.05 * n[:, 0] - 0.06 * n[:, 1] + 0.24 * np.clip(n[:, 2], 0, 1)),
    )
    light = around + slope * falloff * np.where(outdoors, 0.62, 0.5).astype(np.float32)
    light[materials == MATERIALS.index("lamp")] = 1.0
    warm = np.where(outdoors[:, None], (1.0, 0.98, 0.93), (1.0, 0.99, 0.97)).astype(np.float32)
    return np.asarray(_paint(p, n, materials) * light[:, None].astype(np.float32) * warm, np.float32)


def _nearest_lamp(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the nearest lamp of the corridor or of the side's rooms for each point, just below its panel."""
    lamps = np.full_like(points, -(CEILING - 0.08))
    side = np.sign(points[:, 1]) * (np.abs(points[:, 1]) > HALF + 0.06)
    for which in (-1, 0, 1):
        along = np.array(CORRIDOR_LAMPS if which == 0 else [start + 3.0 for start in ROOMS[which]])
        here = side == which
        lamps[here, 0] = along[np.searchsorted((along[1:] + along[:-1]) / 2, points[here, 0])]
        lamps[here, 1] = 4.0 * which
    return lamps


def _open(p: Image32) -> Image32:
    """Return how open the surroundings of (N, 3) indoor points are: below 1 near floor, ceiling and walls."""
    across = np.minimum(np.abs(np.abs(p[:, 1]) - HALF), np.abs(OUTER - np.abs(p[:, 1])))
    share = np.ones(len(p), np.float32)
    for gap, weight in ((p[:, 2], 0.22), (CEILING - p[:, 2], 0.12), (across, 0.16)):
        share *= 1 - weight * np.exp(-np.abs(gap) / 0.22)
    return share


def _grain(*cells: NDArray[np.float32]) -> Image32:
    """Return a repeatable value in [0, 1) for integer cells."""
    mixed = np.zeros(cells[0].shape, np.int64)
    for cell, prime in zip(cells, (73856093, 19349663, 83492791), strict=False):
        mixed ^= np.floor(cell).astype(np.int64) * prime
    return np.asarray(((mixed * 2654435761) >> 8) % 1024 / 1024, np.float32)


def _paint(p: Image32, n: Image32, materials: NDArray[np.int64]) -> Image32:
    """Return the surface colours of (N, 3) points given as x, y, height."""
    colours = np.array([COLOURS[name] for name in MATERIALS], np.float32)[materials]

    def on(name: str) -> NDArray[np.int64]:
        return np.flatnonzero(materials == MATERIALS.index(name))

    at = on("floor")
    x, y = p[at, 0] / 0.5, p[at, 1] / 0.5
    colours[at] *= (0.97 - 0.15 * ((np.floor(x) + np.floor(y)) % 2) + 0.05 * (_grain(x, y) - 0.5))[:, None]
    band = np.abs(np.abs(p[at, 1]) - 1.1) < 0.06
    colours[at[band]] = (0.34, 0.55, 0.60)
    at = on("ceiling")
    x, y = p[at, 0] / 0.6 % 1, p[at, 1] / 0.6 % 1
    colours[at] *= np.where((x < 0.03) | (y < 0.03), 0.8, 1.0).astype(np.float32)[:, None]
    at = on("wall")
    height, corridor = p[at, 2], np.abs(p[at, 1]) < HALF + 0.02
    colours[at[height < 1.0]] = (0.70, 0.82, 0.80)
    colours[at[(height > 1.0) & (height < 1.07) & corridor]] = (0.16, 0.48, 0.58)
    colours[at[height < 0.1]] = (0.36, 0.42, 0.45)
    at = on("door")
    colours[at] *= (0.94 + 0.08 * _grain(p[at, 0] / 0.03, p[at, 1] / 0.03))[:, None]
    at = on("sign")  # white bars for a text
    y, height = (p[at, 1] + p[at, 0] * (np.abs(n[at, 0]) < 0.5)) / 0.05, p[at, 2] / 0.075
    text = (height % 1 > 0.3) & (height % 1 < 0.75) & (_grain(y, height) > 0.3) & (p[at, 2] > 1.4)
    colours[at[text]] = (0.93, 0.95, 0.97)
    at = on("cross")  # a red cross on white
    y, height = np.abs(p[at, 1]), np.abs(p[at, 2] - 2.33)
    colours[at[((y < 0.035) & (height < 0.11)) | ((y < 0.11) & (height < 0.035))]] = (0.82, 0.12, 0.12)
    for name in ("facade", "brick"):
        at = on(name)
        along = np.where(np.abs(n[at, 0]) > np.abs(n[at, 1]), p[at, 1], p[at, 0]) / 3.4
        level = (p[at, 2] - GROUND) / 3.3
        pane = (along % 1 > 0.3) & (level % 1 > 0.35) & (level % 1 < 0.85) & (np.abs(n[at, 2]) < 0.5) & (level > 0)
        colours[at[pane]] = (0.25, 0.33, 0.42) + 0.25 * _grain(along[pane], level[pane])[:, None] ** 2
    for name, cell, depth in (("grass", 0.7, 0.18), ("leaf", 0.06, 0.35), ("hill", 6.0, 0.22), ("sheet", 0.12, 0.05)):
        at = on(name)
        colours[at] *= (1 - depth * _grain(*(p[at] / cell).T))[:, None]
    return colours
