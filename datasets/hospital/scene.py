"""The sample's hospital: a corridor with rooms, furniture and windows, and the town outside.

Modelled in ``(x, y, height)`` in metres, x along the corridor, y to the right, the floor at height 0.
"""

import numpy as np

from .furniture import MATERIALS, Place, Span, bed, chair, drip_stand, plant, span, spread, trolley, wheelchair
from .raycast import Scene, build_scene

HALF, OUTER, CEILING, END = 1.5, 6.5, 2.8, 40.0  # half width of the corridor, outer walls, height, far end
ROOMS = {-1: (0.0, 6.0, 12.0, 18.0, 24.0, 30.0), 1: (0.0, 6.0, 20.0, 26.0)}  # x where each 6 m room begins, by side
GROUND = -7.0  # the corridor is on the second floor
CORRIDOR_LAMPS = tuple(1.5 + 3.0 * k for k in range(13))


def scene() -> Scene:
    """Return the hospital in TartanAir's world; ``material`` indexes ``MATERIALS``."""
    p = Place()
    _building(p)
    for side, starts in ROOMS.items():
        for number, start in enumerate(starts):
            _room(p, side, start, number)
    _corridor(p)
    _outside(p)
    flip = np.array([1.0, 1.0, -1.0])  # height up to z down
    shapes, centres, axes, names = zip(*p.parts, strict=True)
    return build_scene(
        shapes, np.array(centres) * flip, np.array(axes) * flip[:, None], [MATERIALS.index(name) for name in names]
    )


def _wall(p: Place, x: Span, thickness: Span, openings: list[tuple[Span, Span]], top: float = CEILING) -> None:
    """Add a wall along x with openings (x span, height span), in order of x."""
    at = x[0]
    for (left, right), (sill, lintel) in openings:
        p.box("wall", (at, left), thickness, (0, top))
        if sill > 0:
            p.box("wall", (left, right), thickness, (0, sill))
        p.box("wall", (left, right), thickness, (lintel, top))
        at = right
    p.box("wall", (at, x[1]), thickness, (0, top))


def _window(p: Place, x: Span, height: Span, panes: int, depth: float = 0.04) -> None:
    """Add a window frame in the plane y = 0: a border, mullions and a transom, without glass."""
    half, bar = depth / 2, 0.025
    for k, at in enumerate(np.linspace(x[0] + bar, x[1] - bar, panes + 1)):
        width = bar if k in (0, panes) else 0.018
        p.box("frame", (at - width, at + width), (-half, half), height)
    for level in (height[0] + bar, height[1] - 0.5, height[1] - bar):
        p.box("frame", x, (-half + 0.002, half - 0.002), (level - 0.018, level + 0.018))


def _building(p: Place) -> None:
    """Floors, ceilings, walls with their openings, lamps, and the windows of the corridor."""
    slabs = [((-2.0, END + 0.1), (-HALF - 0.12, HALF + 0.12))]
    slabs += [((-0.1, 36.1), (-OUTER - 0.2, -HALF - 0.12))]
    slabs += [((a - 0.1, b + 0.1), (HALF + 0.12, OUTER + 0.2)) for a, b in ((0.0, 12.0), (20.0, 32.0))]
    for along, across in slabs:
        p.box("floor", along, across, (-0.3, 0))
        p.box("ceiling", along, across, (CEILING, CEILING + 0.3))
    galleries = [(12.3, 19.7), (32.3, 39.7)]
    for side, starts in ROOMS.items():
        doors = [((start + 1.0, start + 2.2), (0.0, 2.1)) for start in starts]
        windows = [(gallery, (0.75, 2.5)) for gallery in galleries] if side > 0 else []
        inner, outer = span(side * HALF, side * (HALF + 0.12)), span(side * OUTER, side * (OUTER + 0.2))
        _wall(p, (-2, END), inner, sorted(doors + windows))
        for start in starts:
            _wall(p, (start, start + 6), outer, [((start + 0.8, start + 5.2), (0.85, 2.45))])
            _window(p.at(start + 0.8, side * (OUTER + 0.05)), (0, 4.4), (0.85, 2.45), panes=4)
        for at in sorted({at for start in starts for at in (start, start + 6.0)}):
            along = span(side * (HALF + 0.12), side * OUTER)
            p.box("wall", (at - 0.06, at + 0.06), along, (0, CEILING))
    for left, right in galleries:
        _window(p.at(left, HALF + 0.06), (0, right - left), (0.75, 2.5), panes=6, depth=0.08)
    for x in (12.08, 19.92, 32.08):  # the outside of the rooms next to a gallery
        p.box("facade", (x - 0.02, x + 0.02), (HALF + 0.13, OUTER + 0.21), (-0.3, CEILING + 0.3))
    p.box("facade", (-2, END), (-OUTER - 0.1, HALF + 0.1), (GROUND, -0.31))
    for low, high in ((0.0, 12.0), (20.0, 32.0)):
        p.box("facade", (low, high), (HALF + 0.1, OUTER + 0.1), (GROUND, -0.31))
    p.box("wall", (-2.12, -2), (-HALF, HALF), (0, CEILING))
    end = p.at(END, 0, degrees=90)
    _wall(end, (-HALF, HALF), (-0.1, 0.02), [((-1.3, 1.3), (0.1, 2.6))])
    _window(end, (-1.3, 1.3), (0.1, 2.6), panes=3)
    for x in CORRIDOR_LAMPS:
        p.box("lamp", (x - 0.6, x + 0.6), (-0.15, 0.15), (CEILING - 0.05, CEILING))
    for side, starts in ROOMS.items():
        for start in starts:
            p.box("lamp", (start + 2.4, start + 3.6), (side * 4 - 0.3, side * 4 + 0.3), (CEILING - 0.05, CEILING))


def _room(p: Place, side: int, start: float, number: int) -> None:
    """A patient room: a door leaf left ajar, two beds with drip stands, cabinets, a curtain on its rail."""
    inner = side * (HALF + 0.06)
    for x in (start + 0.97, start + 2.23):  # door frame
        p.box("frame", (x - 0.04, x + 0.04), (inner - 0.09, inner + 0.09), (0, 2.14))
    p.box("frame", (start + 1.01, start + 2.19), (inner - 0.09, inner + 0.09), (2.06, 2.14))
    angle = (84.0, 97.0, 35.0, 102.0, 14.0, 76.0)[(number + 3 * (side > 0)) % 6]
    leaf = p.at(start + 1.02, inner, degrees=side * angle)
    leaf.box("door", (0.0, 1.14), (-0.022, 0.022), (0.01, 2.05))
    leaf.box("steel", (0.03, 1.11), (-0.025, 0.025), (0.02, 0.32))  # kick plate
    for y in (-0.06, 0.06):
        leaf.rod("steel", (0.92, y, 1.02), (1.08, y, 1.02), 0.011)
        leaf.rod("steel", (1.06, 0, 1.02), (1.06, y, 1.02), 0.009)
    p.box("sign", (start + 2.45, start + 2.75), span(side * HALF, side * (HALF - 0.012)), (1.5, 1.65))
    for k, y in enumerate((side * 2.95, side * 5.25)):
        bed(p.at(start + 5.85, y, degrees=180), raised=35.0 if (number + k) % 2 else 12.0)
        drip_stand(p.at(start + 5.5, y - side * 0.75, degrees=40 * number))
        p.box("white", (start + 5.45, start + 5.9), span(y + side * 0.6, y + side * 1.0), (0.08, 0.75))
    p.rod("steel", (start + 3.4, side * 4.1, 2.3), (start + 5.94, side * 4.1, 2.3), 0.012)
    for x in (start + 3.5, start + 4.7):
        p.rod("steel", (x, side * 4.1, 2.3), (x, side * 4.1, CEILING), 0.008)
    for k in range(9):  # the folds of a drawn curtain
        fold = p.at(start + 4.9 + 0.115 * k, side * 4.1, degrees=35 if k % 2 else -35)
        fold.box("curtain", (-0.075, 0.075), (-0.012, 0.012), (0.35, 2.27))


def _corridor(p: Place) -> None:
    """Hand rails, what is parked along the walls, signs from the ceiling, a fire door that stands open."""
    for side, starts in ROOMS.items():
        at = -1.8
        for door in (*starts, END - 1.2):
            p.rod("rail", (at, side * 1.42, 0.9), (door + 0.9, side * 1.42, 0.9), 0.02)
            for x in np.arange(at + 0.2, door + 0.9, 1.2):
                p.rod("steel", (x, side * 1.42, 0.88), (x, side * 1.5, 0.85), 0.008)
            at = door + 2.3
    bed(p.at(8.9, 0.93), raised=40.0)
    bed(p.at(28.7, 0.95), raised=8.0)
    drip_stand(p.at(4.6, 1.12, degrees=70))
    drip_stand(p.at(11.35, 0.95))
    drip_stand(p.at(16.4, -1.1, degrees=200))
    drip_stand(p.at(31.6, 1.0, degrees=120))
    trolley(p.at(5.2, -1.13))
    trolley(p.at(29.0, -1.13))
    wheelchair(p.at(11.0, -1.08, degrees=20))
    wheelchair(p.at(34.2, -1.05, degrees=-25))
    for x in (13.6, 14.2, 14.8, 17.0, 17.6, 34.4, 35.0, 35.6):
        chair(p.at(x, 1.15, degrees=-90))
    for x in (12.7, 19.4, 33.2, 38.6):
        plant(p.at(x, 1.15))
    for x in (3.4, 26.6):  # bin, extinguisher
        p.rod("steel", (x, 1.22, 0), (x, 1.22, 0.62), 0.16)
        p.rod("red", (x + 0.6, -1.4, 0.55), (x + 0.6, -1.4, 0.98), 0.075)
        p.ball("red", (x + 0.6, -1.4, 0.98), (0.075, 0.075, 0.06))
        p.rod("dark", (x + 0.6, -1.4, 1.0), (x + 0.6, -1.34, 1.08), 0.018)
    for x in (6.0, 18.0, 30.0):
        p.box("cross" if x == 18.0 else "sign", (x - 0.02, x + 0.02), (-0.7, 0.7), (2.18, 2.48))
        for y in (-0.6, 0.6):
            p.rod("steel", (x, y, 2.48), (x, y, CEILING), 0.007)
    for side in (-1, 1):
        p.box("frame", (23.94, 24.06), span(side * 1.1, side * 1.5), (0, CEILING))
        leaf = p.at(24.1, side * 1.06, degrees=side * 9)
        leaf.box("door", (0, 1.02), (-0.022, 0.022), (0.01, 2.28))
        leaf.rod("steel", (0.9, side * -0.05, 0.8), (0.9, side * -0.05, 1.3), 0.012)
    p.box("frame", (23.94, 24.06), (-1.1, 1.1), (2.3, CEILING))
    p.rod("white", (13.0, -1.5, 2.2), (13.0, -1.46, 2.2), 0.17)  # a clock
    p.rod("dark", (13.0, -1.455, 2.2), (13.08, -1.455, 2.28), 0.008)
    p.rod("dark", (13.0, -1.455, 2.2), (13.0, -1.455, 2.33), 0.006)


def _outside(p: Place) -> None:
    """Lawn with trees and lamp posts, a town from 80 m on, hills behind it."""
    middle = p.at(18, 0, GROUND)
    middle.rod("grass", (0, 0, -1), (0, 0, 0), 430.0)
    for k in range(44):
        tree = middle.at(0, 0, degrees=spread(k, -180, 180)).at(spread(k, 30, 75, 0.37), 0)
        size = spread(k, 0.7, 1.25, 0.71)
        tree.rod("bark", (0, 0, 0), (0, 0, 5 * size), 0.16 * size)
        for x, y, z, r in ((0, 0, 7, 2.4), (1.2, 0.5, 5.6, 1.8), (-1, 0.8, 5.8, 1.7), (0.2, -1.3, 5.4, 1.8)):
            tree.ball("leaf", (x * size, y * size, z * size), (r * size, r * size, 0.85 * r * size))
    for k in range(10):
        post = middle.at(-20 + 6 * k, 14 if k % 2 else -15)
        post.rod("steel", (0, 0, 0), (0, 0, 9.5), 0.06)
        post.rod("steel", (0, 0, 9.5), (0, -1.2 if k % 2 else 1.2, 9.6), 0.04)
    for k in range(46):
        place = middle.at(0, 0, degrees=spread(k, -180, 180, 0.2)).at(spread(k, 125, 290, 0.55), 0)
        wide, deep, tall = (
            spread(k, 6, 18, 0.13),
            spread(k, 6, 14, 0.83),
            spread(k, 7, 24, 0.45) * (1 + 1.2 * (k % 6 == 0)),
        )
        house = place.at(0, 0, degrees=spread(k, -35, 35, 0.9))
        house.box("brick" if k % 3 == 0 else "facade", (-deep, deep), (-wide, wide), (0, tall))
    for k in range(18):
        hill = middle.at(0, 0, degrees=20 * k + spread(k, -6, 6)).at(345, 0)
        hill.ball("hill", (0, 0, 0), (70, spread(k, 75, 120, 0.3), spread(k, 14, 50, 0.6)))
