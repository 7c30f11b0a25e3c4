"""The furniture of the sample's hospital, and how solids are placed. Lengths in metres; z is the height."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .raycast import BOX, CYLINDER, ELLIPSOID

Span = tuple[float, float]
Point = tuple[float, float, float]

# Colour by name; the paints that draw on some of them are at _paint.
COLOURS = {
    "floor": (0.74, 0.77, 0.75),
    "ceiling": (0.93, 0.93, 0.91),
    "wall": (0.93, 0.91, 0.85),
    "frame": (0.55, 0.60, 0.63),
    "door": (0.76, 0.60, 0.42),
    "lamp": (1.0, 1.0, 0.97),
    "rail": (0.62, 0.45, 0.30),
    "steel": (0.78, 0.80, 0.83),
    "dark": (0.20, 0.21, 0.23),
    "white": (0.92, 0.93, 0.95),
    "sheet": (0.66, 0.80, 0.90),
    "mattress": (0.36, 0.56, 0.68),
    "curtain": (0.52, 0.72, 0.68),
    "seat": (0.22, 0.44, 0.58),
    "red": (0.80, 0.14, 0.12),
    "sign": (0.10, 0.35, 0.62),
    "cross": (0.93, 0.94, 0.94),
    "bag": (0.85, 0.90, 0.78),
    "leaf": (0.25, 0.48, 0.20),
    "bark": (0.36, 0.28, 0.21),
    "facade": (0.78, 0.70, 0.62),
    "brick": (0.66, 0.42, 0.34),
    "grass": (0.42, 0.56, 0.28),
    "hill": (0.36, 0.50, 0.36),
}
MATERIALS = tuple(COLOURS)
OUTDOORS = ("bark", "facade", "brick", "grass", "hill")
THIN = ("rail", "steel", "frame")
"""Materials of objects that are a few centimetres wide: hand rails, drip stands, bed rails, mullions."""


@dataclass(frozen=True)
class Place:
    """A list of primitives, and the coordinate frame of the next ones (rotated about the vertical axis)."""

    parts: list[tuple[int, NDArray[np.float64], NDArray[np.float64], str]] = field(default_factory=list)
    origin: Point = (0.0, 0.0, 0.0)
    yaw: float = 0.0

    @property
    def turn(self) -> NDArray[np.float64]:
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])

    def at(self, x: float, y: float, height: float = 0.0, degrees: float = 0.0) -> "Place":
        """Return the frame at a point of this one, turned by an angle from x towards y."""
        moved = self.turn @ (x, y, height) + self.origin
        return replace(self, origin=tuple(moved.tolist()), yaw=self.yaw + np.deg2rad(degrees))

    def add(self, shape: int, material: str, centre: ArrayLike, axes: ArrayLike) -> None:
        self.parts.append((shape, self.turn @ np.asarray(centre) + self.origin, self.turn @ np.asarray(axes), material))

    def box(self, material: str, x: Span, y: Span, height: Span, tilt: float = 0.0) -> None:
        """Add a box; ``tilt`` in degrees lifts its +x end, about its centre."""
        low, high = np.array((x, y, height)).T
        c, s = np.cos(np.deg2rad(tilt)), np.sin(np.deg2rad(tilt))
        self.add(BOX, material, (low + high) / 2, np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]]) * (high - low) / 2)

    def rod(self, material: str, start: Point, end: Point, radius: float) -> None:
        """Add a round rod between two points."""
        centre, along = np.add(start, end) / 2, np.subtract(end, start) / 2
        across = np.cross(along, np.eye(3)[np.abs(along).argmin()])
        across *= radius / np.linalg.norm(across)
        third = np.cross(along, across) / np.linalg.norm(along)
        self.add(CYLINDER, material, centre, np.stack((across, third, along), axis=-1))

    def ball(self, material: str, centre: Point, radii: Point) -> None:
        """Add an ellipsoid."""
        self.add(ELLIPSOID, material, centre, np.diag(radii))


def span(a: float, b: float) -> Span:
    return (min(a, b), max(a, b))


def spread(k: int, low: float, high: float, salt: float = 0.0) -> float:
    """Return the k-th of a low-discrepancy sequence over an interval (golden ratio), for things strewn about."""
    return low + (high - low) * ((k * 0.6180339887498949 + salt) % 1.0)


def bed(p: Place, raised: float) -> None:
    """A bed 2.1 m long along x from its head at the origin, the backrest raised by an angle in degrees."""
    p.box("white", (0.1, 2.05), (-0.42, 0.42), (0.42, 0.5))
    p.box("mattress", (0.75, 2.04), (-0.41, 0.41), (0.5, 0.64))
    p.box("sheet", (0.95, 2.06), (-0.43, 0.43), (0.52, 0.66))
    rise, lean = np.sin(np.deg2rad(raised)), np.cos(np.deg2rad(raised))
    back = p.at(0.78 - 0.36 * lean, 0, 0.57 + 0.36 * rise)
    back.box("mattress", (-0.36, 0.36), (-0.41, 0.41), (-0.065, 0.065), tilt=-raised)
    pillow = p.at(0.78 - 0.5 * lean - 0.1 * rise, 0, 0.57 + 0.5 * rise + 0.1 * lean)
    pillow.ball("white", (0, 0, 0), (0.16, 0.3, 0.09))
    for x, top in ((0.05, 1.05), (2.1, 0.92)):  # head and foot
        for y in (-0.42, 0.42):
            p.rod("steel", (x, y, 0.12), (x, y, top), 0.016)
            p.ball("dark", (x, y, 0.06), (0.06, 0.03, 0.06))
        for level in (top, top - 0.22):
            p.rod("steel", (x, -0.42, level), (x, 0.42, level), 0.013)
        p.box("white", (x - 0.01, x + 0.01), (-0.36, 0.36), (0.5, top - 0.26))
    for y in (-0.45, 0.45):  # side rails
        for level in (0.72, 0.82, 0.92):
            p.rod("steel", (0.5, y, level), (1.55, y, level), 0.009)
        for x in (0.5, 0.85, 1.2, 1.55):
            p.rod("steel", (x, y, 0.46), (x, y, 0.92), 0.009)


def drip_stand(p: Place) -> None:
    """A drip stand: a pole of 2.4 cm, five legs, a cross of hooks with two bags, a pump."""
    p.rod("steel", (0, 0, 0.1), (0, 0, 1.25), 0.012)
    p.rod("steel", (0, 0, 1.25), (0, 0, 2.05), 0.007)
    for k in range(5):
        leg = p.at(0, 0, degrees=72 * k)
        leg.rod("steel", (0, 0, 0.12), (0.28, 0, 0.06), 0.01)
        leg.ball("dark", (0.28, 0, 0.03), (0.03, 0.02, 0.03))
    for y in (-0.14, 0.14):
        p.rod("steel", (0, 0, 2.03), (0, y, 2.05), 0.005)
        p.ball("bag", (0, y, 1.87), (0.03, 0.06, 0.12))
        p.rod("bag", (0, y, 1.76), (0.02, 0.03, 1.3), 0.003)
    p.box("white", (0.0, 0.12), (-0.08, 0.08), (1.15, 1.35))
    p.box("sign", (0.12, 0.122), (-0.06, 0.06), (1.24, 1.32))


def chair(p: Place) -> None:
    """A waiting-room chair that faces +x."""
    p.box("seat", (-0.22, 0.22), (-0.23, 0.23), (0.42, 0.46))
    p.at(-0.24, 0, 0.68).box("seat", (-0.2, 0.2), (-0.23, 0.23), (-0.02, 0.02), tilt=-78)
    for x in (-0.2, 0.2):
        for y in (-0.2, 0.2):
            p.rod("steel", (x, y, 0), (x, y, 0.42), 0.011)


def wheelchair(p: Place) -> None:
    """A wheelchair that faces +x."""
    p.box("dark", (-0.2, 0.22), (-0.2, 0.2), (0.48, 0.52))
    p.box("dark", (-0.24, -0.2), (-0.2, 0.2), (0.5, 0.95))
    for y in (-0.28, 0.28):
        p.rod("dark", (-0.1, y - 0.012, 0.3), (-0.1, y + 0.012, 0.3), 0.3)
        p.rod("steel", (-0.1, y - 0.016, 0.3), (-0.1, y + 0.016, 0.3), 0.24)
        p.rod("dark", (0.33, y - 0.015, 0.09), (0.33, y + 0.015, 0.09), 0.09)
        inner = y * 0.82
        p.rod("steel", (-0.22, inner, 0.1), (-0.22, inner, 1.0), 0.011)
        p.rod("steel", (-0.22, inner, 0.98), (-0.36, inner, 0.98), 0.012)
        p.rod("steel", (-0.22, inner, 0.72), (0.2, inner, 0.72), 0.011)
        p.rod("steel", (0.2, inner, 0.72), (0.38, inner, 0.12), 0.011)
        p.box("dark", (0.32, 0.5), (inner - 0.08, inner + 0.08), (0.1, 0.12))


def trolley(p: Place) -> None:
    """An instrument trolley: three trays on four thin posts, with bottles and boxes."""
    for x in (-0.38, 0.38):
        for y in (-0.22, 0.22):
            p.rod("steel", (x, y, 0.08), (x, y, 1.05), 0.01)
            p.ball("dark", (x, y, 0.05), (0.05, 0.03, 0.05))
        p.rod("steel", (x, -0.22, 1.03), (x, 0.22, 1.03), 0.01)
    for level in (0.25, 0.6, 0.92):
        p.box("white", (-0.38, 0.38), (-0.22, 0.22), (level, level + 0.025))
    for k in range(5):
        x = -0.28 + 0.13 * k
        p.rod(("bag", "sign", "white")[k % 3], (x, 0.08, 0.945), (x, 0.08, 1.06 + 0.03 * (k % 3)), 0.032)
    p.box("red", (-0.2, 0.12), (-0.14, 0.1), (0.625, 0.76))
    p.box("sheet", (-0.3, 0.26), (-0.16, 0.14), (0.275, 0.45))


def plant(p: Place) -> None:
    """A potted plant."""
    p.rod("brick", (0, 0, 0), (0, 0, 0.38), 0.17)
    p.rod("bark", (0, 0, 0.38), (0, 0, 0.95), 0.015)
    for k in range(9):
        branch = p.at(0, 0, 0.72 + 0.07 * k, degrees=137.5 * k)
        branch.ball("leaf", (0.11, 0, 0), (0.13, 0.055, 0.09))
