"""A second kind of scene, which shares no code of shapes, cameras or light with :mod:`rooms`: cards under water.

Each view is a slanted ground and wall, and 6 to 20 slanted cards in front, cut out as ellipses, rectangles, combs of
bars or wavy strips. A surface is a plane, so its inverse depth is linear in the picture, and the nearest surface wins.
Water swallows red light before blue, so the ratio of the channels shows the distance, and nothing else does: every
surface is grey, of any brightness, with stripes.
"""

import math

import numpy as np
from numpy.typing import NDArray
from rooms import HEIGHT, INTRINSICS, NATIVE_INTRINSICS, VIEWS, WIDTH, Views, picture_of, rays_of, summary

Float = NDArray[np.float64]

ABSORBED = np.array((0.16, 0.08, 0.03))  # of red, green and blue light, per metre
TINT = 0.02  # standard deviation of the colour of a surface: the ratio of channels is a hint, not the answer
FARTHEST = 35.0  # metres


class Card:
    """A slanted plane, cut to a shape; coordinates are those of the picture, x and y of a ray with z = 1."""

    def __init__(self, rng: np.random.Generator, inverse: tuple[float, float, float], kind: int) -> None:
        self.inverse = inverse  # 1/Z = a + b x + c y
        self.kind = kind
        self.middle = rng.uniform((-0.9, -0.6), (0.9, 0.6))
        self.half = rng.uniform(0.05, 0.35, 2)
        self.turn = rng.uniform(0, math.pi)
        self.period = rng.uniform(0.03, 0.12)
        self.grey = rng.uniform(0.2, 1.0) * np.exp(rng.normal(0, TINT, 3))
        self.contrast, self.stripe, self.phase = rng.uniform(0.0, 0.5), rng.uniform(4, 20), rng.uniform(0, 6.3, 2)

    def one_over_z(self, x: Float, y: Float) -> Float:
        """Return 1/Z of rays, 0 where the card is not."""
        a, b, c = self.inverse
        return np.where(self.covers(x, y), np.maximum(a + b * x + c * y, 1 / FARTHEST), 0.0)

    def covers(self, x: Float, y: Float) -> NDArray[np.bool_]:
        if self.kind == 0:  # the ground and the wall are everywhere
            return np.ones_like(x, bool)
        cos, sin = math.cos(self.turn), math.sin(self.turn)
        u = (cos * (x - self.middle[0]) + sin * (y - self.middle[1])) / self.half[0]
        v = (-sin * (x - self.middle[0]) + cos * (y - self.middle[1])) / self.half[1]
        inside: NDArray[np.bool_] = np.hypot(u, v) < 1 if self.kind == 1 else np.maximum(np.abs(u), np.abs(v)) < 1
        if self.kind == 3:  # a comb: thin bars with gaps
            inside &= (self.half[0] * u / self.period) % 1 < 0.4
        if self.kind == 4:  # a wavy strip
            inside &= np.abs(v - 0.5 * np.sin(4 * u)) < 0.25
        return inside

    def light(self, x: Float, y: Float, z: Float) -> Float:
        """Return what it reflects of white light, (..., 3): stripes of a fixed size in metres."""
        wave = np.sin(self.stripe * x * z + self.phase[0]) * np.sin(self.stripe * y * z + self.phase[1])
        return (1 - self.contrast * (0.5 + 0.5 * wave))[..., None] * self.grey


def make_cards(rng: np.random.Generator) -> list[Card]:
    """Return the surfaces of a view."""
    down, wall = rng.uniform(0.8, 2.5), rng.uniform(6, 30)  # metres below the camera, and ahead
    cards = [
        Card(rng, (rng.uniform(-0.05, 0.05), 0.0, 1 / down), 0),
        Card(rng, (1 / wall, rng.normal(0, 0.3) / wall, 0.0), 0),
    ]
    for _ in range(rng.integers(6, 21)):
        depth = math.exp(rng.uniform(math.log(1.0), math.log(0.9 * wall)))
        slant = rng.normal(0, 0.4, 2) / depth
        cards.append(Card(rng, (1 / depth, slant[0], slant[1]), int(rng.integers(1, 5))))
    return cards


def cast(cards: list[Card], rays: Float) -> tuple[Float, NDArray[np.int64]]:
    """Return the depth of rays (..., 3) and the number of the surface they meet."""
    inverse = np.stack([card.one_over_z(rays[..., 0], rays[..., 1]) for card in cards])
    surface = inverse.argmax(0)
    return 1 / np.take_along_axis(inverse, surface[None], 0)[0], surface


def view(cards: list[Card], rng: np.random.Generator) -> Views:
    """Return one view; see :func:`rooms.load` for its arrays."""
    rays = rays_of(INTRINSICS, (HEIGHT, WIDTH), (np.arange(4) - 1.5) / 4)
    t, surface = cast(cards, rays)
    light = np.empty((*t.shape, 3))
    for number, card in enumerate(cards):
        here = surface == number
        light[here] = card.light(rays[here][:, 0], rays[here][:, 1], t[here])
    light = light * np.exp(-ABSORBED * t[..., None])
    return {
        "picture": picture_of(light.clip(0, 1).mean(2), rng),
        "centre": cast(cards, rays_of(INTRINSICS, (HEIGHT, WIDTH), np.zeros(1))[:, :, 0])[0].astype(np.float32),
        "native": cast(cards, rays_of(NATIVE_INTRINSICS, (2 * HEIGHT, 2 * WIDTH), np.zeros(1))[:, :, 0])[0].astype(
            np.float32
        ),
    } | summary(t, surface)


def render_scene(seed: int, number: int) -> list[Views]:
    """Return as many views as of a room, each with its own cards; another number or seed is another scene."""
    rng = np.random.default_rng((seed, number, 1))
    return [view(make_cards(rng), rng) for _ in range(VIEWS)]
