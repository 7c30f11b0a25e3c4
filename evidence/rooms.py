"""Random furnished rooms, ray-cast: pictures with super-sampled depth, for the training study.

    python evidence/rooms.py

writes ``evidence/.cache/rooms-*.npz``; a second call reads it. Every room depends on the seed and its own number alone.
The air is hazy and colours are saturated: the least colour channel of a pixel hints at its distance, so that a small
network can learn depth in minutes. Coordinates are metres, z up, the floor at 0; the camera looks along its own +z with
y down.
"""

import math
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.raycast import BOX, CYLINDER, ELLIPSOID, Scene, build_scene, cast

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
Span = tuple[float, float]


@dataclass
class Room:
    """Primitives as they are placed; ``scene`` makes them one."""

    parts: list[tuple[int, NDArray[np.float64], NDArray[np.float64]]] = field(default_factory=list)

    def add(self, shape: int, centre: tuple[float, ...], half: tuple[float, ...], turn: float = 0.0) -> None:
        """Add a primitive with half-axes ``half`` in metres, turned about the vertical by ``turn`` radians."""
        c, s = math.cos(turn), math.sin(turn)
        axes = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) * np.array(half)
        self.parts.append((shape, np.array(centre, np.float64), axes))

    def slab(self, x: Span, y: Span, z: Span) -> None:
        """Add an upright box by its spans."""
        low, high = np.array((x, y, z)).T
        self.add(BOX, tuple((low + high) / 2), tuple((high - low) / 2))

    def wall(self, at: float, along: Span, top: float, opening: tuple[Span, Span] | None, axis: int) -> None:
        """Add a wall 0.1 m thick across ``axis`` at ``at``, with an opening (spans along the wall, in height)."""
        pieces = [(along, (0.0, top))]
        if opening:
            (left, right), (sill, lintel) = opening
            pieces = [((along[0], left), (0.0, top)), ((right, along[1]), (0.0, top))]
            pieces += [((left, right), (lintel, top))] + ([((left, right), (0.0, sill))] if sill > 0 else [])
        for span, height in pieces:
            across = (at - 0.05, at + 0.05)
            self.slab(*((across, span) if axis == 0 else (span, across)), height)

    def scene(self) -> Scene:
        shape, centre, axes = zip(*self.parts, strict=True)
        return build_scene(shape, np.array(centre), np.array(axes), np.arange(len(shape)))


def furnish(room: Room, rng: np.random.Generator, x: Span, y: Span, top: float) -> None:
    """Add 8 to 25 things that stand, lean or hang in the spans."""
    for _ in range(rng.integers(8, 26)):
        px, py, turn = rng.uniform(*x), rng.uniform(*y), rng.uniform(0, math.pi)
        kind, size = rng.integers(8), rng.uniform(0.15, 0.5)
        c, s = math.cos(turn), math.sin(turn)

        def place(
            shape: int, local: Span, half: tuple[float, ...], z: float, at: tuple[float, ...] = (px, py, c, s, turn)
        ) -> None:
            ax, ay, cos, sin, angle = at
            room.add(
                shape, (ax + cos * local[0] - sin * local[1], ay + sin * local[0] + cos * local[1], z), half, angle
            )

        if kind == 0:  # a crate, some with another on top
            tall = rng.uniform(0.15, 0.6)
            place(BOX, (0, 0), (size, rng.uniform(0.15, 0.5), tall), tall)
            if rng.random() < 0.4:
                place(ELLIPSOID, (0, 0), (0.15, 0.15, 0.15), 2 * tall + 0.15)
        elif kind == 1:
            tall = rng.uniform(0.2, 0.6)
            place(CYLINDER, (0, 0), (size / 1.5, size / 1.5, tall), tall)
        elif kind == 2:
            tall = rng.uniform(0.15, 0.5)
            place(ELLIPSOID, (0, 0), (size, size, tall), tall)
        elif kind in (3, 4):  # a thin pole, to the ceiling or with a foot
            radius, tall = rng.uniform(0.012, 0.04), top / 2 if rng.random() < 0.4 else rng.uniform(0.5, 1.0)
            place(CYLINDER, (0, 0), (radius, radius, tall), tall)
            place(CYLINDER, (0, 0), (0.2, 0.2, 0.02), 0.02)
        elif kind == 5:  # a table
            half, deep, tall = rng.uniform(0.4, 0.9), rng.uniform(0.3, 0.5), rng.uniform(0.5, 0.8)
            place(BOX, (0, 0), (half, deep, 0.02), tall)
            for dx in (-1, 1):
                for dy in (-1, 1):
                    leg = (dx * (half - 0.05), dy * (deep - 0.05))
                    place(CYLINDER, leg, (0.025, 0.025, tall / 2), tall / 2)
        elif kind == 6:  # a shelf
            half, tall = rng.uniform(0.3, 0.7), rng.uniform(0.6, 1.0)
            for dx in (-half, half):
                place(BOX, (dx, 0), (0.015, 0.18, tall), tall)
            for z in np.linspace(0.1, 2 * tall, 4):
                place(BOX, (0, 0), (half, 0.18, 0.012), z)
        else:  # a lamp that hangs
            drop = rng.uniform(0.3, 0.9)
            place(CYLINDER, (0, 0), (0.01, 0.01, drop / 2), top - drop / 2)
            place(ELLIPSOID, (0, 0), (0.2, 0.2, 0.12), top - drop)


def make_room(rng: np.random.Generator) -> tuple[Room, Span, Span, float, Span]:
    """Return a furnished room, its spans in x and y, its height, and the (x, y) of its far wall or corridor."""
    room, width, top = Room(), rng.uniform(3, 7), rng.uniform(2.4, 3.2)
    length = rng.uniform(12, 25) if rng.random() < 0.35 else rng.uniform(4, 10)  # some are halls
    end = length + (rng.uniform(8, 26) if rng.random() < 0.75 else 0.0)  # of the corridor
    room.slab((-60, 60), (-60, 60), (-0.2, 0))
    room.slab((-0.05, end + 0.05), (-0.05, width + 0.05), (top, top + 0.2))
    door = None
    if end > length:
        left = rng.uniform(0.2, width - 1.6)
        right = left + rng.uniform(1.2, 1.4)
        door = ((left, right), (0.0, rng.uniform(2.0, top - 0.1)))
        for y in (left, right):
            room.wall(y, (length, end), top, None, axis=1)
        room.wall(end, (left, right), top, None, axis=0)
        for x in np.arange(length + 1.5, end - 1, rng.uniform(2.5, 5)):  # what stands along the corridor
            room.add(CYLINDER, (x, left + 0.25 if rng.random() < 0.5 else right - 0.25, 0.5), (0.12, 0.12, 0.5))
    sides: list[tuple[Span, Span] | None] = [None, None, None]
    if rng.random() < 0.35:
        k = rng.integers(3)
        middle = (length if k else width) / 2
        sides[k] = ((middle - 0.8, middle + 0.8), (rng.uniform(0.6, 1.0), top - 0.3))
    room.wall(0.0, (0, width), top, sides[0], axis=0)
    room.wall(length, (0, width), top, door, axis=0)
    room.wall(0.0, (0, length), top, sides[1], axis=1)
    room.wall(width, (0, length), top, sides[2], axis=1)
    furnish(room, rng, (0.3, length - 0.3), (0.3, width - 0.3), top)
    return room, (0, length), (0, width), top, (length, (door[0][0] + door[0][1]) / 2 if door else width / 2)


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
    picture = rgb.clip(0, 1).mean(2) ** (1 / 2.2) + rng.normal(0, 0.003, (HEIGHT, WIDTH, 3))
    # (H, W, 2, 2, 2, 2) is row and column of the native pixel, then of the ray in it.
    blocks = t.reshape(HEIGHT, WIDTH, 2, 2, 2, 2).transpose(0, 2, 1, 4, 3, 5).reshape(2 * HEIGHT, 2 * WIDTH, 4)
    labels = surface.reshape(HEIGHT, WIDTH, 2, 2, 2, 2).transpose(0, 2, 1, 4, 3, 5).reshape(blocks.shape)
    inside = rays_of(INTRINSICS, (HEIGHT, WIDTH), np.zeros(1))[:, :, 0] @ rotation.T
    native = rays_of(NATIVE_INTRINSICS, (2 * HEIGHT, 2 * WIDTH), np.zeros(1))[:, :, 0] @ rotation.T
    return {
        "picture": (255 * picture.clip(0, 1) + 0.5).astype(np.uint8),
        "centre": cast(scene, at, inside, MAX_DEPTH)[0].astype(np.float32),
        "mean": _finite_mean(t),
        "mixed": _is_mixed(t, surface),
        "near": t.min(-1).astype(np.float32),
        "far": t.max(-1).astype(np.float32),
        "truth": np.sort(t, axis=-1)[..., 7].astype(np.float32),  # a depth that is there, not a mean of two
        "native": cast(scene, at, native, MAX_DEPTH)[0].astype(np.float32),
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


def generate(seed: int, rooms: dict[str, int], jobs: int = 2) -> dict[str, Views]:
    """Return the views of each split, stacked; rooms are numbered through, so no room is in two splits."""
    numbers = iter(range(sum(rooms.values())))
    with ThreadPoolExecutor(jobs) as pool:  # the caster and most of NumPy release the GIL
        waiting = {
            split: [pool.submit(render_room, seed, next(numbers)) for _ in range(k)] for split, k in rooms.items()
        }
        made = {split: [each for room in some for each in room.result()] for split, some in waiting.items()}
    return {split: {name: np.stack([v[name] for v in views]) for name in views[0]} for split, views in made.items()}


def load(rooms: dict[str, int] | None = None, seed: int = 0, cache: Path | None = None) -> dict[str, Views]:
    """Return the views of each split, rendered once and kept under ``cache``.

    Args:
        rooms: rooms of each split; None: ``SPLITS``.
        seed: of all rooms.
        cache: a folder; it is made, and ignored by Git. None: ``CACHE``.

    Returns:
        Split → name → (N, ...). Depth is planar, in metres, float32, +inf for sky. ``picture`` (N, H, W, 3) uint8;
        ``centre``, the depth of the central ray; over 16 rays a pixel ``mean`` (of those that hit), ``near``, ``far``,
        ``truth`` (the eighth smallest, a median that is always a surface) and ``mixed`` (bool: two surfaces, farther
        apart than ``GAP``); ``native``, ``native_mean`` and ``native_mixed`` (N, 2H, 2W), the same at twice the
        resolution, with 4 rays a pixel.
    """
    rooms, cache = rooms or SPLITS, cache or CACHE
    program = zlib.crc32(Path(__file__).read_bytes())  # another program makes other rooms
    path = cache / f"rooms-{seed}-{'-'.join(str(k) for k in rooms.values())}-{program:08x}.npz"
    if not path.exists():
        views = generate(seed, rooms)
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
