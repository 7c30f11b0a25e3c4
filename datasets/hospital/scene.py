"""The objects of the sample's hospital: reads the text of ``parts`` and turns it into primitives."""

from collections.abc import Iterator

import numpy as np

from .parts import COLOURS, MODELS
from .raycast import BOX, CYLINDER, ELLIPSOID, Floats, Scene, build_scene

MATERIALS = tuple(COLOURS.split()[::2])
PALETTE = np.array([tuple(bytes.fromhex(colour)) for colour in COLOURS.split()[1::2]], np.float32) / 255  # sRGB
GOLDEN = 0.6180339887498949
Models = dict[str, list[str]]


def scene() -> Scene:
    """Return the hospital in TartanAir's world; ``material`` indexes ``MATERIALS``."""
    models = {name: lines for name, *lines in (text.splitlines() for text in MODELS.split("\n= ")[1:])}
    for raised in (8, 12, 35, 40):  # degrees of the backrest
        rise, lean = np.sin(np.deg2rad(raised)), np.cos(np.deg2rad(raised))
        pillow = f"ball white {0.78 - 0.5 * lean - 0.1 * rise} 0 {0.57 + 0.5 * rise + 0.1 * lean} .16 .3 .09"
        back = f"box mattress -.72 0 -.41 .41 -.065 .065 @ .78 0 .57 0 -{raised}"
        models[f"bed{raised}"] = ["bed", pillow, back]
    shapes, centres, axes, materials = zip(*_parts(models, "hospital", np.diag((1.0, 1, -1, 1))), strict=True)
    return build_scene(shapes, centres, axes, [MATERIALS.index(name) for name in materials])


def _parts(models: Models, name: str, frame: Floats) -> Iterator[tuple[int, Floats, Floats, str]]:
    """Yield shape, centre, axes and material of all primitives of a model in a frame, a (4, 4) matrix to the world."""
    for text in (text for line in models[name] for text in _one_by_one(line)):
        (kind, *words), *frames = (words.split() for words in text.split("@"))
        within = frame
        for numbers in reversed(frames):
            within = within @ _at(*map(float, numbers))
        if kind in models:
            yield from _parts(models, kind, within)
        else:
            shape, centre, axes = _primitive(kind, np.array(words[1:], np.float64))
            yield shape, within[:3, :3] @ centre + within[:3, 3], within[:3, :3] @ axes, words[0]


def _one_by_one(line: str) -> Iterator[str]:
    """Yield the lines that a line with lists stands for."""

    def items(entry: str) -> list[str]:
        first, *rest = entry.split(":")
        return [str(x) for x in np.linspace(float(first), float(rest[0]), int(rest[1])).tolist()] if rest else [entry]

    def value(item: str, k: int) -> str:
        if "~" not in item:
            return item
        low, high, start = map(float, item.split("~"))
        return str(low + (high - low) * ((k * GOLDEN + start) % 1))

    columns = [[item for entry in word.split("|") for item in items(entry)] for word in line.split()]
    for k in range(max(map(len, columns))):
        one = " ".join(value(column[k % len(column)], k) for column in columns)
        yield from dict.fromkeys((one.replace("±", ""), one.replace("±", "-")))


def _at(x: float, y: float, z: float = 0, yaw: float = 0, tilt: float = 0, size: float = 1, flip: float = 1) -> Floats:
    """Return a frame, a (4, 4) matrix."""
    (c, ct), (s, st) = np.cos(np.deg2rad((yaw, tilt))), np.sin(np.deg2rad((yaw, tilt)))
    frame = np.eye(4)
    frame[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[ct, 0, -st], [0, 1, 0], [st, 0, ct]])
    frame[:3, :3] *= size * np.array((1, flip, 1))
    frame[:3, 3] = x, y, z
    return frame


def _primitive(kind: str, numbers: Floats) -> tuple[int, Floats, Floats]:
    """Return shape, centre and half-axes of a box, rod or ball."""
    if kind == "box":
        low, high = numbers.reshape(3, 2).T
        return BOX, (low + high) / 2, np.diag((high - low) / 2)
    if kind == "ball":
        return ELLIPSOID, numbers[:3], np.diag(numbers[3:])
    start, end, radius = numbers[:3], numbers[3:6], numbers[6]
    along = (end - start) / 2
    across = np.cross(along, np.eye(3)[np.abs(along).argmin()])
    across *= radius / np.linalg.norm(across)
    third = np.cross(along, across) / np.linalg.norm(along)
    return CYLINDER, (start + end) / 2, np.stack((across, third, along), axis=-1)
