"""Random furnished rooms as primitives. Coordinates are metres, z up, the floor at 0."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.hospital.raycast import BOX, CYLINDER, ELLIPSOID, Scene, build_scene

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
