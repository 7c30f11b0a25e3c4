"""Random furnished rooms, ray-cast: pictures with super-sampled depth, for the training study.

    python evidence/rooms.py

writes ``evidence/.cache/rooms-*.npz``; a second call reads it. Every room depends on the seed and its own number alone.
The air is hazy and colours are saturated: the least colour channel of a pixel hints at its distance, so that a small
network can learn depth in minutes. The camera looks along its own +z with y down.
"""

import inspect
import math
import os
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import numpy as np
from furniture import Span, make_room
from numpy.typing import NDArray

from depthvar.datasets.hospital.raycast import Scene, cast

HEIGHT, WIDTH = 64, 96
FOCAL = WIDTH / 2 / math.tan(math.radians(40))  # a field of view of 80°
INTRINSICS = (FOCAL, FOCAL, (WIDTH - 1) / 2, (HEIGHT - 1) / 2)
NATIVE_INTRINSICS = (2 * FOCAL, 2 * FOCAL, WIDTH - 0.5, HEIGHT - 0.5)  # of twice the resolution
MAX_DEPTH = 40.0  # metres; what lies behind is sky
HAZE, HAZE_COLOUR = 5.0, np.array((0.8, 0.85, 0.9), np.float32)  # metres over which light falls to 1/e
GAP = 0.03  # a pixel is mixed where two surfaces in it are farther apart than this part of the depth
CACHE = Path(__file__).with_name(".cache")
SPLITS = {"train": 200, "validation": 20, "test": 30}  # rooms, of VIEWS views each
VIEWS = 4

Views = dict[str, NDArray[Any]]
Render = Callable[[int, int], list[Views]]


def rays_of(intrinsics: tuple[float, ...], shape: tuple[int, int], offsets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rays with z = 1 in camera axes, (H, W, n·n, 3), through a grid of offsets in pixels from the centre."""
    fx, fy, cx, cy = intrinsics
    v, u = np.indices(shape, np.float64)
    dv, du = (each.ravel() for each in np.meshgrid(offsets, offsets, indexing="ij"))
    x, y = (u[..., None] + du - cx) / fx, (v[..., None] + dv - cy) / fy
    return np.stack((x, y, np.ones_like(x)), -1)


def find_camera(
    scene: Scene, rng: np.random.Generator, x: Span, y: Span, way_out: Span
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the place (3,) and the rotation (3, 3), camera to world, of a free view, often to ``way_out``."""
    coarse = rays_of((6.0, 6.0, 5.5, 3.5), (8, 12), np.zeros(1))[:, :, 0]
    while True:
        at = np.array([rng.uniform(x[0] + 0.3, x[1] - 0.3), rng.uniform(y[0] + 0.3, y[1] - 0.3), rng.uniform(1.0, 1.8)])
        aim = np.array(way_out) if rng.random() < 0.7 else np.array([rng.uniform(*x), rng.uniform(*y)])
        yaw = math.atan2(aim[1] - at[1], aim[0] - at[0]) + rng.normal(0, 0.2)
        pitch = rng.uniform(-0.3, 0.1)
        ahead = np.array([math.cos(yaw) * math.cos(pitch), math.sin(yaw) * math.cos(pitch), math.sin(pitch)])
        right = np.array([math.sin(yaw), -math.cos(yaw), 0.0])
        rotation = np.stack((right, np.cross(ahead, right), ahead), axis=1)
        depth = cast(scene, at, coarse @ rotation.T, MAX_DEPTH)[0]
        if depth.min() > 0.5 and np.median(depth) > 1.5:
            return at, rotation


def shade(
    points: NDArray[np.float64], rays: NDArray[np.float64], surface: NDArray[np.int64], normal: NDArray[np.float64],
    paint: Views, lights: NDArray[np.float64],
) -> NDArray[np.float32]:  # fmt: skip
    """Return linear colours (N, 3) of hit points: checkers or stripes of fixed size, Lambert, two lamps."""
    p, n = points.astype(np.float32), normal.astype(np.float32)
    n = n * -np.sign((n * rays.astype(np.float32)).sum(-1, keepdims=True))  # towards the camera
    cells = np.floor((p + paint["phase"][surface]) / paint["cell"][surface])
    odd = (cells * paint["pattern"][surface]).sum(-1) % 2
    light = np.full(len(p), 0.35, np.float32) + 0.08 * n[:, 2] + 0.05 * n[:, 0]
    for lamp in lights.astype(np.float32):
        to = lamp - p
        distance2 = (to**2).sum(-1)
        light += 0.8 * np.clip((to * n).sum(-1) / np.sqrt(distance2), 0, None) / (1 + distance2 / 6)
    tone = (1 - paint["contrast"][surface] * odd) * light
    return np.asarray(paint["colour"][surface] * tone[:, None], np.float32)


def view(
    scene: Scene, camera: tuple[NDArray[np.float64], NDArray[np.float64]], paint: Views, lights: NDArray[np.float64],
    rng: np.random.Generator,
) -> Views:  # fmt: skip
    """Return one view; see :func:`load` for its arrays."""
    at, rotation = camera
    rays = rays_of(INTRINSICS, (HEIGHT, WIDTH), (np.arange(4) - 1.5) / 4) @ rotation.T
    t, surface, normal = cast(scene, at, rays, MAX_DEPTH)
    rgb = np.empty((*t.shape, 3), np.float32)
    rgb[:] = HAZE_COLOUR
    hit = surface >= 0
    rgb[hit] = shade(at + t[hit][:, None] * rays[hit], rays[hit], surface[hit], normal[hit], paint, lights)
    clear = np.exp(-np.where(hit, t, np.inf) / HAZE).astype(np.float32)[..., None]
    rgb = clear * rgb + (1 - clear) * HAZE_COLOUR
    inside = rays_of(INTRINSICS, (HEIGHT, WIDTH), np.zeros(1))[:, :, 0] @ rotation.T
    native = rays_of(NATIVE_INTRINSICS, (2 * HEIGHT, 2 * WIDTH), np.zeros(1))[:, :, 0] @ rotation.T
    return {
        "picture": picture_of(rgb.clip(0, 1).mean(2), rng),
        "centre": cast(scene, at, inside, MAX_DEPTH)[0].astype(np.float32),
        "native": cast(scene, at, native, MAX_DEPTH)[0].astype(np.float32),
    } | summary(t, surface)


def picture_of(light: NDArray[Any], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the picture (H, W, 3) of linear light in [0, 1], with a display's curve and noise."""
    picture = light ** (1 / 2.2) + rng.normal(0, 0.003, light.shape)
    return (255 * picture.clip(0, 1) + 0.5).astype(np.uint8)


def summary(t: NDArray[np.float64], surface: NDArray[np.int64]) -> Views:
    """Return what :func:`load` says of the 16 rays of each pixel, from their depth and surface, (H, W, 16) each."""
    # (H, W, 2, 2, 2, 2) is row and column of the native pixel, then of the ray in it.
    blocks = t.reshape(HEIGHT, WIDTH, 2, 2, 2, 2).transpose(0, 2, 1, 4, 3, 5).reshape(2 * HEIGHT, 2 * WIDTH, 4)
    labels = surface.reshape(HEIGHT, WIDTH, 2, 2, 2, 2).transpose(0, 2, 1, 4, 3, 5).reshape(blocks.shape)
    return {
        "mean": _finite_mean(t),
        "mixed": _is_mixed(t, surface),
        "near": t.min(-1).astype(np.float32),
        "far": t.max(-1).astype(np.float32),
        "truth": np.sort(t, axis=-1)[..., 7].astype(np.float32),  # a depth that is there, not a mean of two
        "native_mean": _finite_mean(blocks),
        "native_mixed": _is_mixed(blocks, labels),
    }


def _is_mixed(t: NDArray[np.float64], surface: NDArray[np.int64]) -> NDArray[np.bool_]:
    return (surface != surface[..., :1]).any(-1) & (t.max(-1) > (1 + GAP) * t.min(-1))


def _finite_mean(t: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the mean of the depths that are not sky, +inf where all are."""
    hit = np.isfinite(t)
    total = np.where(hit, t, 0).sum(-1)
    return np.where(hit.any(-1), total / hit.sum(-1).clip(1), np.inf).astype(np.float32)


def render_room(seed: int, number: int) -> list[Views]:
    """Return the views of one room; another number or seed is another room."""
    rng = np.random.default_rng((seed, number))
    room, x, y, top, way_out = make_room(rng)
    scene, count = room.scene(), len(room.parts)
    colour = rng.uniform(0.15, 1.0, (count, 3))
    colour[np.arange(count), rng.integers(3, size=count)] = rng.uniform(0, 0.01, count)
    stripes = np.eye(3)[rng.integers(3, size=count)]
    paint = {
        "colour": colour.astype(np.float32),
        "contrast": rng.uniform(0.1, 0.5, count).astype(np.float32),
        "phase": rng.uniform(0, 1, (count, 3)).astype(np.float32),
        "cell": rng.choice([0.1, 0.25, 0.5], (count, 1)).astype(np.float32),
        "pattern": np.where(rng.random((count, 1)) < 0.5, 1.0, stripes).astype(np.float32),
    }
    lights = np.array([[rng.uniform(*x), rng.uniform(*y), top - 0.2] for _ in range(2)])
    return [view(scene, find_camera(scene, rng, x, y, way_out), paint, lights, rng) for _ in range(VIEWS)]


def generate(seed: int, rooms: dict[str, int], render: Render = render_room) -> dict[str, Views]:
    """Return the views of each split, stacked; rooms are numbered through, so no room is in two splits."""
    numbers = iter(range(sum(rooms.values())))
    jobs = len(os.sched_getaffinity(0)) if sum(rooms.values()) > 20 else 1  # a process costs a second
    with ProcessPoolExecutor(jobs, get_context("spawn")) if jobs > 1 else ThreadPoolExecutor(1) as pool:
        waiting = {split: [pool.submit(render, seed, next(numbers)) for _ in range(k)] for split, k in rooms.items()}
        made = {split: [each for room in some for each in room.result()] for split, some in waiting.items()}
    return {split: {name: np.stack([v[name] for v in views]) for name in views[0]} for split, views in made.items()}


def load(
    rooms: dict[str, int] | None = None, seed: int = 0, cache: Path | None = None, render: Render = render_room
) -> dict[str, Views]:
    """Return the views of each split, rendered once and kept under ``cache``.

    Args:
        rooms: rooms of each split; None: ``SPLITS``.
        seed: of all rooms.
        cache: a folder; it is made, and ignored by Git. None: ``CACHE``.
        render: the generator, (seed, number) to the views of a room, or of another kind of scene.

    Returns:
        Split → name → (N, ...). Depth is planar, in metres, float32, +inf for sky. ``picture`` (N, H, W, 3) uint8;
        ``centre``, the depth of the central ray; over 16 rays a pixel ``mean`` (of those that hit), ``near``, ``far``,
        ``truth`` (the eighth smallest, a median that is always a surface) and ``mixed`` (bool: two surfaces, farther
        apart than ``GAP``); ``native``, ``native_mean`` and ``native_mixed`` (N, 2H, 2W), the same at twice the
        resolution, with 4 rays a pixel.
    """
    rooms, cache = rooms or SPLITS, cache or CACHE
    generator = Path(inspect.getfile(render))
    sources = (Path(__file__), Path(__file__).with_name("furniture.py"), generator)
    program = zlib.crc32(b"".join(each.read_bytes() for each in sources))  # another program makes other rooms
    path = cache / f"{generator.stem}-{seed}-{'-'.join(str(k) for k in rooms.values())}-{program:08x}.npz"
    if not path.exists():
        views = generate(seed, rooms, render)
        cache.mkdir(parents=True, exist_ok=True)
        (cache / ".gitignore").write_text("*\n")
        part = path.with_suffix(".part.npz")  # an interrupted run leaves no cache that looks whole
        np.savez(part, **{f"{split}/{name}": each for split, some in views.items() for name, each in some.items()})
        part.replace(path)
    with np.load(path) as stored:
        return {
            split: {key.partition("/")[2]: stored[key] for key in stored.files if key.startswith(f"{split}/")}
            for split in rooms
        }


@click.command()
def main() -> None:
    """Render the rooms of the study, unless they are there."""
    start = time.perf_counter()
    counts = ", ".join(f"{split} {len(views['picture'])}" for split, views in load().items())
    click.echo(f"{CACHE}: {counts} views in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
