"""Pictures of the sample scene: analytic depth, and shaded colour."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from depthvar.datasets.frame import as_intrinsics

from .raycast import Floats, Ints, Scene, cast
from .scene import MATERIALS, PALETTE

SAMPLE_INTRINSICS = (320.0, 320.0, 320.0, 240.0)
SAMPLE_SIZE = (480, 640)
SKY_DEPTH = 10000.0  # metres; large and finite, as in TartanAir V1

# What is drawn on materials, in this order: a darker shade or another material, where a rule of x, y, height holds.
_PAINTS: list[tuple[str, str | float, Callable[[Floats, Floats, Floats], Any]]] = [
    ("floor", 0.82, lambda x, y, z: np.floor(x / 0.5) % 2 == np.floor(y / 0.5) % 2),
    ("floor", "stripe", lambda x, y, z: np.abs(np.abs(y) - 1.1) < 0.06),
    ("ceiling", 0.8, lambda x, y, z: (x / 0.6 % 1 < 0.03) | (y / 0.6 % 1 < 0.03)),
    ("wall", "dado", lambda x, y, z: z < 1),
    ("wall", "stripe", lambda x, y, z: (z > 1) & (z < 1.07) & (np.abs(y) < 1.52)),
    ("wall", "frame", lambda x, y, z: z < 0.1),
    ("sign", "white", lambda x, y, z: (z > 1.4) & (z / 0.075 % 1 > 0.6) & (np.sin(70 * (x + y + z // 0.075)) > -0.8)),
    ("cross", "red", lambda x, y, z: (np.sort((np.abs(y), np.abs(z - 2.33)), 0).T < (0.035, 0.11)).all(-1)),
    (
        "facade brick",
        "pane",
        lambda x, y, z: ((0.35 * x - 0.2 * y) % 1 > 0.35) & (np.abs((z + 7) / 3.3 % 1 - 0.6) < 0.25),
    ),
    ("grass leaf hill", 0.88, lambda x, y, z: np.sin(9 * x + 5 * z + 2 * np.sin(6 * y)) + np.sin(8 * y - 6 * z) > 0.4),
]


def render(
    scene: Scene, pose: ArrayLike, intrinsics: ArrayLike = SAMPLE_INTRINSICS, size: tuple[int, int] = SAMPLE_SIZE
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return depth (H, W) float32 and picture (H, W, 3) uint8 of the hospital, by a ray through each pixel's centre.

    The depth is planar, in metres, ``SKY_DEPTH`` where nothing is hit. The pose is (4, 4) camera to world; intrinsics
    are fx, fy, cx, cy or (3, 3) in pixels, with integer pixel centres; the size is (H, W).
    """
    fx, fy, cx, cy = as_intrinsics(intrinsics)
    camera = np.asarray(pose, dtype=np.float64)
    v, u = np.indices(size, dtype=np.float64)
    rays = np.stack(((u - cx) / fx, (v - cy) / fy, np.ones(size)), axis=-1) @ camera[:3, :3].T
    t, surface, normal = cast(scene, camera[:3, 3], rays)
    hit = surface >= 0
    rgb = np.empty((*size, 3))
    up = np.clip(-rays[~hit][:, 2:] / np.linalg.norm(rays[~hit], axis=-1, keepdims=True), 0, 1)
    rgb[~hit] = (0.86, 0.92, 0.98) - np.sqrt(up) * (0.5, 0.34, 0.1)  # the sky
    rgb[hit] = _shade(scene, camera[:3, 3] + t[hit][:, None] * rays[hit], normal[hit], scene.material[surface[hit]])
    return np.where(hit, t, SKY_DEPTH).astype(np.float32), (255 * np.clip(rgb, 0, 1) + 0.5).astype(np.uint8)


def _shade(scene: Scene, points: Floats, normals: Floats, materials: Ints) -> Floats:
    """Return (N, 3) colours: Lambert with a shadow ray, to a lamp of the room indoors and to the sun outdoors."""
    x, y, z = points.T
    side = np.sign(y) * (np.abs(y) > 1.56)  # of the corridor
    lamp = np.stack((3 * np.floor(x / 3) + 1.5, 4 * side, np.full(len(x), -2.72)), -1)
    outdoors = z > 0.5
    to_light = np.where(outdoors[:, None], (-90.0, 60.0, -120.0), lamp - points)
    distance = np.sqrt(np.einsum("ni,ni->n", to_light, to_light))
    slope = np.clip(np.einsum("ni,ni->n", to_light, normals) / distance, 0, None)
    slope[~outdoors & (normals[:, 2] > 0.5)] = 0  # a lamp is too close to the ceiling to light it
    faces = np.flatnonzero(slope)
    between = cast(scene, points[faces] + 1e-4 * normals[faces], to_light[faces], limit=1)[1] >= 0
    slope[faces[between]] = 0
    around = 0.58 + 0.05 * normals[:, 0] - 0.06 * normals[:, 1] + 0.12 * np.abs(normals[:, 2])
    light = np.where(outdoors, 0.42 - 0.12 * normals[:, 2] + 0.62 * slope, around + slope / (1.1 + distance**2 / 3.4))
    light[materials == MATERIALS.index("lamp")] = 1
    return np.asarray(_paint(points * (1, 1, -1), materials) * light[:, None])


def _paint(points: Floats, materials: Ints) -> NDArray[np.float32]:
    """Return the surface colours of (N, 3) points given as x, y, height."""
    colours = PALETTE[materials]
    for names, colour, where in _PAINTS:
        at = np.flatnonzero(np.isin(materials, [MATERIALS.index(name) for name in names.split()]))
        at = at[where(*points[at].T)]
        colours[at] = PALETTE[MATERIALS.index(colour)] if isinstance(colour, str) else colours[at] * colour
    return np.asarray(colours, np.float32)
