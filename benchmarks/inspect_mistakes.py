"""Does `precompute inspect` see mistakes, and is it silent without one? On real depth and on the rendered sample.

python benchmarks/inspect_mistakes.py [--real FOLDER] > benchmarks/results/others_data/inspect_mistakes.json

FOLDER holds real frames in some of the folders redwood_rgbd, tum_rgbd, nyu and kitti (each: depth/*.png, and color/ or
rgb/). Without it those of tests/data. The rendered hospital and scikit-image's Motorcycle are always used.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import skimage
from machine import machine
from motorcycle import BASELINE, CX, CY, DOFFS, FOCAL
from numpy.typing import NDArray
from PIL import Image

from depthvar.datasets.hospital.write import write_sample
from depthvar.precompute.inspection.inspect import check
from depthvar.precompute.inspection.look import Colour, Look, Rule, read_colour

DATA = Path(__file__).parents[1] / "tests/data"
REAL = {  # camera, stored units in a metre, folder of the images
    "redwood_rgbd": ((525.0, 525.0, 319.5, 239.5), 1000, "color"),
    "tum_rgbd": ((525.0, 525.0, 319.5, 239.5), 5000, ""),
    "nyu": ((518.8579, 519.46961, 325.58245, 253.73617), 1000, "rgb"),
    "kitti": ((707.0493, 707.0493, 604.0814, 180.5066), 256, "rgb"),
}
HOSPITAL, HOSPITAL_FAR = (320.0, 320.0, 320.0, 240.0), 80


@dataclass(frozen=True, eq=False)
class Scene:
    """A frame whose depth is known: (H, W) metres, 0 where unknown, and what is far."""

    name: str
    z: NDArray[np.float64]
    far: NDArray[np.bool_]
    camera: tuple[float, float, float, float]
    units: int  # stored units in a metre; 1: stored as floats
    colour: Colour | None


@dataclass(frozen=True)
class Mistake:
    """A mistake, the checks that may find it, and how it is made on the frames of one data set."""

    name: str
    checks: tuple[str, ...]
    make: Callable[[Scene], tuple[Look, Rule] | None]


def real_scenes(folder: Path) -> dict[str, list[Scene]]:
    """Return the real frames by data set, of those data sets that are there."""
    found = {}
    for name, (camera, units, images) in REAL.items():
        if not (folder / name).is_dir():
            continue
        scenes = []
        for path in sorted((folder / name).rglob("*epth*.png")) or sorted((folder / name / "depth").glob("*.png")):
            stored = np.array(Image.open(path))
            images_of = [each for each in (folder / name / images).glob("*") if each.stem in (path.stem, "TUM_color")]
            colour = read_colour(str(images_of[0])) if images_of else None
            z = stored / float(units)
            scenes.append(Scene(f"{name}/{path.stem}", z, np.zeros(z.shape, bool), camera, units, colour))
        found[name] = scenes
    return found


def packaged_scenes(folder: Path, frames: int) -> dict[str, list[Scene]]:
    """Return the rendered hospital, written to ``folder``, and the Motorcycle."""
    write_sample(folder, frames=frames)
    hospital = []
    for path in sorted(folder.rglob("*_depth.npy")):
        z = np.load(path).astype(np.float64)
        colour = read_colour(str(path).replace("depth_left/", "image_left/").replace("_depth.npy", ".png"))
        name = f"{path.parents[2].name}/{path.name[:6]}"
        hospital.append(Scene(name, np.where(z <= HOSPITAL_FAR, z, 0), z > HOSPITAL_FAR, HOSPITAL, 1, colour))
    data = Path(skimage.__file__).parent / "data"
    disparity = np.load(data / "motorcycle_disp.npz")["arr_0"].astype(np.float64)
    z = np.where(np.isfinite(disparity), FOCAL * BASELINE / (disparity + DOFFS), 0)
    colour = read_colour(str(data / "motorcycle_left.png"))
    motorcycle = Scene("motorcycle", z, z < 0, (FOCAL, FOCAL, CX, CY), 1, colour)
    return {"hospital": hospital, "motorcycle": [motorcycle]}


def stretch(scene: Scene) -> NDArray[np.float64]:
    """Return (H, W) distance / z."""
    fx, fy, cx, cy = scene.camera
    height, width = scene.z.shape
    x, y = (np.arange(width) - cx) / fx, (np.arange(height) - cy) / fy
    return np.sqrt(1 + x * x + (y * y)[:, None])


def read(scene: Scene, stored: NDArray[Any], units: float, **rule: Any) -> tuple[Look, Rule]:
    """Return the look at stored numbers, read with a unit and a kind as `to_depth` does; 0 is unknown."""
    value = stored.astype(np.float64) / units
    if rule.get("kind") == "ray":
        value = value / stretch(scene)
    is_integer = stored.dtype.kind == "u"
    far = scene.far if "far" not in rule else rule.pop("far")
    default_unknown = rule.pop("default_unknown", True)  # of a description with uint16
    unknown = (stored == 0) | ((stored == 65535) if is_integer and default_unknown else False)
    depth = np.where(unknown & ~far, 0, np.where(far, np.inf, value)).astype(np.float32)
    height, width = depth.shape
    look = Look(
        key=scene.name,
        size=(height, width),
        camera=np.array(rule.pop("camera", scene.camera)),
        stride=1,
        depth=depth,
        valid=(depth > 0) & ~far,
        far=far,
        stored=stored,
        colour=scene.colour,
        image_path=scene.name if scene.colour is not None else None,
    )
    return look, Rule(units_per_metre=units, step=1 / units if is_integer else None, **rule)


def store(scene: Scene, values: NDArray[np.float64]) -> NDArray[Any]:
    """Return values in metres as a data set of this kind would store them."""
    if scene.units == 1:
        return values.astype(np.float32)
    return np.clip(np.round(values * scene.units), 0, 65534).astype(np.uint16)


def right(scene: Scene) -> tuple[Look, Rule]:
    """Return the frame read as it should be."""
    return read(scene, store(scene, scene.z), scene.units)


def millimetres(scene: Scene) -> NDArray[np.uint16]:
    return np.clip(np.round(scene.z * 1000), 0, 65534).astype(np.uint16)


def disparity(scene: Scene) -> tuple[Look, Rule]:
    with np.errstate(divide="ignore"):
        return read(scene, np.where(scene.z > 0, 0.1 * scene.camera[0] / scene.z, 0).astype(np.float32), 1)


def log_code(scene: Scene) -> tuple[Look, Rule]:
    known = scene.z > 0
    near, far = scene.z[known].min(), scene.z[known].max()
    part = np.log(np.where(known, scene.z, near) / near) / np.log(far / near)
    return read(scene, np.where(known, 1 + np.round(65533 * part), 0).astype(np.uint16), 1000)


def rotated(scene: Scene) -> tuple[Look, Rule] | None:
    """Of frames that a sensor of SUN RGB-D can have taken: nine tenths nearer than 8.192 m."""
    if np.quantile(scene.z[scene.z > 0], 0.9) > 8.192:
        return None
    return read(scene, np.left_shift(millimetres(scene), 3) | np.right_shift(millimetres(scene), 13), 1000)


def sky(scene: Scene) -> tuple[Look, Rule]:
    """The upper 15 % of the rows are sky at 10000 m (655.35 m where cm are stored), and not declared far."""
    values = scene.z.copy()
    values[: round(0.15 * len(values))] = 10000 if scene.units == 1 else 65534 / scene.units
    return read(scene, store(scene, values), scene.units, far=np.zeros(values.shape, bool))


def holes(value: int | None) -> Callable[[Scene], tuple[Look, Rule]]:
    """The unknown pixels, or where there are hardly any some discs, have one value that is not declared."""

    def make(scene: Scene) -> tuple[Look, Rule]:
        pixels = (scene.z == 0) & ~scene.far
        if pixels.mean() < 0.01:
            rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
            pixels = (rows % 97 - 48) ** 2 + (columns % 89 - 44) ** 2 < 150
        if scene.units == 1:
            stored = store(scene, scene.z)
            stored[pixels] = 65504.0 if value is None else 0.001 * value
        else:
            stored = store(scene, scene.z)
            stored[pixels] = 65535 if value is None else value
        return read(scene, stored, scene.units, default_unknown=False)

    return make


def scaled_camera(factor: float) -> Callable[[Scene], tuple[Look, Rule]]:
    def make(scene: Scene) -> tuple[Look, Rule]:
        fx, fy, cx, cy = scene.camera
        camera = (fx * factor, fy * factor, (cx + 0.5) * factor - 0.5, (cy + 0.5) * factor - 0.5)
        return read(scene, store(scene, scene.z), scene.units, camera=camera)

    return make


def swapped_camera(scene: Scene) -> tuple[Look, Rule]:
    fx, fy, cx, cy = scene.camera
    return read(scene, store(scene, scene.z), scene.units, camera=(fy, fx, cy, cx))


def with_colour(change: Callable[[Colour], Colour]) -> Callable[[Scene], tuple[Look, Rule] | None]:
    def make(scene: Scene) -> tuple[Look, Rule] | None:
        return None if scene.colour is None else right(replace(scene, colour=change(scene.colour)))

    return make


def moved(colour: Colour, columns: int) -> Colour:
    pixels = np.roll(colour.pixels, columns * colour.pixels.shape[1] // colour.size[1], 1)
    return Colour(pixels, colour.size)


MISTAKES = [
    Mistake("distance taken for depth", ("distance",), lambda s: read(s, store(s, s.z * stretch(s)), s.units)),
    Mistake("depth taken for distance", ("distance",), lambda s: read(s, store(s, s.z), s.units, kind="ray")),
    Mistake("disparity taken for depth", ("disparity",), disparity),
    Mistake("millimetres taken for metres", ("unit",), lambda s: read(s, millimetres(s), 1)),
    Mistake("metres taken for millimetres", ("unit",), lambda s: read(s, store(s, s.z), s.units * 1000)),
    Mistake("rotated bits", ("code",), rotated),
    Mistake("log code", ("code",), log_code),
    Mistake("float16 bits", ("code",), lambda s: read(s, s.z.astype(np.float16).view(np.uint16), 1000)),
    Mistake("wrong byte order", ("code",), lambda s: read(s, millimetres(s).byteswap(), 1000)),
    Mistake("intrinsics of 1.5 times the resolution", ("principal point",), scaled_camera(1.5)),
    Mistake("intrinsics of half the resolution", ("principal point",), scaled_camera(0.5)),
    Mistake("cx and cy swapped", ("principal point",), swapped_camera),
    Mistake("sky that is a wall", ("sky", "repeated value"), sky),
    Mistake("holes coded as 65535 or 65504", ("repeated value", "sky"), holes(None)),
    Mistake("holes coded as 1", ("repeated value",), holes(1)),
    Mistake("one constant map", ("constant map",), lambda s: read(s, np.ones_like(store(s, s.z)), s.units)),
    Mistake(
        "image of another shape",
        ("image size",),
        with_colour(lambda c: Colour(c.pixels[: len(c.pixels) * 3 // 4], (c.size[0] * 3 // 4, c.size[1]))),
    ),
    Mistake("image mirrored", ("image",), with_colour(lambda c: Colour(c.pixels[:, ::-1], c.size))),
    Mistake("image moved by 24 columns", ("image",), with_colour(lambda c: moved(c, 24))),
]


def variants(scene: Scene) -> Iterator[Scene]:
    """Yield the frame, and right ones that are made from it: mirrored, reduced, the centre, the unit of a float."""
    yield scene
    fx, fy, cx, cy = scene.camera
    height, width = scene.z.shape
    yield replace(scene, z=scene.z[:, ::-1], far=scene.far[:, ::-1], camera=(fx, fy, width - 1 - cx, cy), colour=None)
    for stride in (2, 3):
        small = scene.z[::stride, ::stride]
        yield replace(
            scene,
            z=small,
            far=scene.far[::stride, ::stride],
            camera=(fx / stride, fy / stride, cx / stride, cy / stride),
            colour=None,
        )
    top, left = height // 6, width // 6
    cut = np.s_[top : height - top, left : width - left]
    yield replace(scene, z=scene.z[cut], far=scene.far[cut], camera=(fx, fy, cx - left, cy - top), colour=None)
    yield replace(scene, units=1000 if scene.units == 1 else 1)


def shifted(scenes: Sequence[Scene], by: int) -> list[Scene]:
    """Return scenes with the image of the scene that is ``by`` later."""
    return [replace(scene, colour=scenes[(place + by) % len(scenes)].colour) for place, scene in enumerate(scenes)]


def warned(pairs: Sequence[tuple[Look, Rule]]) -> tuple[set[str], set[str]]:
    """Return the checks that warn about these frames of one data set, and those that cannot tell."""
    verdicts = check([look for look, _ in pairs], pairs[0][1])
    return {each.check for each in verdicts if each.state == "warning"}, {
        each.check for each in verdicts if each.state == "untold"
    }


def tally(pairs: Sequence[Sequence[tuple[Look, Rule]]], checks: Sequence[str]) -> dict[str, int]:
    """Count the groups of frames in which a mistake was found, missed, or could not be told."""
    counts = Counter[str]()
    for group in pairs:
        warns, cannot = warned(group)
        counts["found" if warns & set(checks) else "untold" if cannot & set(checks) else "missed"] += 1
    return {name: counts[name] for name in ("found", "missed", "untold")}


def spread(scenes: Sequence[Scene], count: int = 8) -> list[Scene]:
    """Return the frames that `inspect` would look at."""
    return (
        [scenes[int((part + 0.5) * len(scenes) / count)] for part in range(count)]
        if len(scenes) > count
        else list(scenes)
    )


def measure(sets: dict[str, list[Scene]]) -> dict[str, Any]:
    """Return for each mistake what was found: each frame alone, and the frames of a data set together."""
    every = [scene for scenes in sets.values() for scene in scenes]
    singles = [variant for scene in every for variant in variants(scene)]
    alarms = Counter[str]()
    for scene in singles:
        warns, _ = warned([right(scene)])
        alarms.update(warns)
        if warns:
            print(scene.name, scene.z.shape, warns, file=sys.stderr)
    together = {name: warned([right(scene) for scene in spread(scenes)])[0] for name, scenes in sets.items()}
    table = {}
    for mistake in MISTAKES:
        made = {scene.name: pair for scene in every if (pair := mistake.make(scene)) is not None}
        groups = [[made[scene.name] for scene in spread(scenes) if scene.name in made] for scenes in sets.values()]
        table[mistake.name] = {
            "frames alone": tally([[pair] for pair in made.values()], mistake.checks),
            "data sets": tally([group for group in groups if group], mistake.checks),
        }
    for by in (1, 3, 7):
        groups = [
            [right(scene) for scene in spread(shifted(scenes, by))] for scenes in sets.values() if len(scenes) > by
        ]
        table[f"images of {by} frame{'' if by == 1 else 's'} later"] = {"data sets": tally(groups, ("image",))}
    return {
        "frames": {name: len(scenes) for name, scenes in sets.items()},
        "right": {
            "frames and variants": len(singles),
            "false alarms": sum(alarms.values()),
            "data sets": len(sets),
            "false alarms of data sets": sum(map(len, together.values())),
        },
        "mistakes": table,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, default=DATA, metavar="FOLDER", help="of real frames")
    parser.add_argument("--frames", type=int, default=12, help="of each of the two sequences of the hospital")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sets = packaged_scenes(Path(folder), options.frames) | real_scenes(options.real)
        print(json.dumps(machine() | measure(sets), indent=1))


if __name__ == "__main__":
    main()
