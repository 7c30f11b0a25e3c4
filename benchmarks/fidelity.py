"""How near the cache's σ is to the online kernel's at the resolution of a training view. Prints JSON.

    python benchmarks/fidelity.py [--sizes 336x518,…] [--extra NAME=FILE.png:UNITS_PER_METRE:FX,FY,CX,CY …]

A DUSt3R-like loader (dust3r_loader.py) crops, zooms and resizes a frame; the online method runs the kernel on what it
makes. Compared with that, by Spearman's rank correlation and mean |w₁ − w₂| of mean-normalised weights 1/σ:

- ``nearest``, ``linear``: ``SigmaCache``'s lookup, against online on nearest- and on linear-resized depth;
- ``native``: the native map pushed through the same crop, against online on nearest-resized depth;
- ``online``: the online method against itself, nearest- against linear-resized: what the choice of a resize does.

Windows that hold a hole, and the border, are left out; a frame without any whole window (KITTI's sparse points) is
compared at all its valid pixels, and left out of the means. Zooms 0.9, 0.95 and 1.

``holes``: the pixels with depth whose neighbours in the levels are all holes, which get the nearest sample of a level;
median |log σ² / online σ²| there, and of what the nearest native pixel would give (docs/decisions/0007).
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import dust3r_loader
import numpy as np
from machine import machine
from motorcycle import CX, CY, FOCAL, write_motorcycle
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import minimum_filter
from scipy.stats import spearmanr

from depthvar.datasets.hospital.write import write_sample
from depthvar.datasets.lookup import levels as lookup_levels
from depthvar.datasets.lookup.sample import sample
from depthvar.precompute import KernelParams, sigma_z2

Map = NDArray[np.float32]
DATA = Path(__file__).resolve().parents[1] / "tests" / "data"
STRIDES = (1, 2, 3, 4, 6, 8)
SIZES = "336x518,384x512,336x448,294x392,224x224,240x320,120x160"
ZOOMS = (0.9, 0.95, 1.0)
FAR = 80.0  # metres, of the sample scene; the others have nothing so far away
ENOUGH_PIXELS = 200


class Frame(NamedTuple):
    """Depth (H, W) float32 in metres, 0 where unknown; intrinsics (4,)."""

    depth: Map
    intrinsics: NDArray[np.float64]


def frames(extra: list[str]) -> dict[str, Frame]:
    """Return all frames by name."""
    kinect = np.array([525, 525, 319.5, 239.5])
    found = {
        f"redwood {path.stem}": Frame(_png(path, 1000), kinect)
        for path in sorted((DATA / "redwood_rgbd" / "depth").glob("*.png"))
    }
    found["tum"] = Frame(_png(DATA / "tum_rgbd" / "depth" / "TUM_depth.png", 5000), kinect)
    with tempfile.TemporaryDirectory() as folder:
        write_motorcycle(Path(folder) / "motorcycle")
        motorcycle = np.load(Path(folder) / "motorcycle" / "depth" / "motorcycle.npy")
        found["motorcycle"] = Frame(motorcycle, np.array([FOCAL, FOCAL, CX, CY]))
        write_sample(Path(folder) / "sample")
        rendered = sorted((Path(folder) / "sample").rglob("*_depth.npy"))
        for number in (0, 16, 32):
            found[f"sample {number}"] = Frame(np.load(rendered[number]), np.array([320, 320, 320, 240.0]))
    for text in extra:
        name, _, rest = text.partition("=")
        path, units, numbers = rest.rsplit(":", 2)
        found[name] = Frame(_png(Path(path), float(units)), np.array(numbers.split(","), dtype=np.float64))
    return found


def _png(path: Path, units_per_metre: float) -> Map:
    with Image.open(path) as image:
        return np.asarray(image).astype(np.float32) / np.float32(units_per_metre)


def compare(one: Map, other: Map, compared: NDArray[np.bool_]) -> tuple[float, float]:
    """Return rank correlation and weight error of two σ² maps at the pixels compared."""
    weights = [1 / np.sqrt(values[compared], dtype=np.float64) for values in (one, other)]
    first, second = (each / each.mean() for each in weights)
    return float(spearmanr(first, second).statistic), float(np.abs(first - second).mean())


def frame_agreement(frame: Frame, size: tuple[int, int], window: int) -> tuple[dict[str, tuple[float, float]], bool]:
    """Return agreement by name, the mean over zooms, and whether whole windows were compared."""
    params = KernelParams(window=window)
    depth, intrinsics = frame
    levels = {s: sigma_z2(np.ascontiguousarray(depth[::s, ::s]), intrinsics / s, params) for s in STRIDES}

    def read(stride: int, rows: slice) -> Map:
        return levels[stride][rows]

    tried: list[dict[str, tuple[float, float]]] = []
    whole_windows = True
    for zoom in ZOOMS:
        views = {
            resize: dust3r_loader.view(depth, intrinsics, size, zoom=zoom, resize=resize)  # type: ignore[arg-type]
            for resize in ("nearest", "linear")
        }
        matrix = views["nearest"]["camera_intrinsics"]
        online = {resize: sigma_z2(view["depthmap"], matrix, params) for resize, view in views.items()}
        looked_up = {
            resize: sample(read, STRIDES, intrinsics, depth.shape, matrix, size, resize, window=window)  # type: ignore[arg-type]
            for resize in views
        }
        valid = np.all([(view["depthmap"] > 0) & (view["depthmap"] <= FAR) for view in views.values()], axis=0)
        known = np.all([view["depthmap"] > 0 for view in views.values()], axis=0)
        compared = valid & (minimum_filter(known, window, mode="constant", cval=False))
        if compared.sum() < ENOUGH_PIXELS:
            whole_windows, compared = False, valid
        compared = compared & np.isfinite(looked_up["nearest"]) & np.isfinite(looked_up["linear"])
        native = dust3r_loader.take(levels[1], intrinsics, size, zoom=zoom)
        tried.append(
            {
                "nearest": compare(looked_up["nearest"], online["nearest"], compared),
                "linear": compare(looked_up["linear"], online["linear"], compared),
                "native": compare(native, online["nearest"], compared & np.isfinite(native)),
                "online": compare(online["linear"], online["nearest"], compared),
            }
        )
    means = {name: np.mean([each[name] for each in tried], axis=0).tolist() for name in tried[0]}
    return {name: (values[0], values[1]) for name, values in means.items()}, whole_windows


def holes(frame: Frame, size: tuple[int, int], window: int) -> dict[str, float]:
    """Return how many pixels get the nearest sample of a level, over all zooms, and how near that is to online."""
    params, (depth, intrinsics) = KernelParams(window=window), frame
    levels = {s: sigma_z2(np.ascontiguousarray(depth[::s, ::s]), intrinsics / s, params) for s in STRIDES}
    errors: list[NDArray[np.float64]] = []
    for zoom in ZOOMS:
        view = dust3r_loader.view(depth, intrinsics, size, zoom=zoom)
        matrix = view["camera_intrinsics"]
        online = sigma_z2(view["depthmap"], matrix, params)
        found = []
        for near in (lookup_levels.NEAR, 0):
            with mock.patch.object(lookup_levels, "NEAR", near):
                found.append(
                    sample(
                        lambda s, rows: levels[s][rows], STRIDES, intrinsics, depth.shape, matrix, size, window=window
                    )
                )
        filled = np.isfinite(online) & np.isfinite(found[1]) & (found[0] != found[1])
        errors.append(np.abs(np.log(np.stack(found)[:, filled].astype(np.float64) / online[filled])))
    sample_error, native_error = np.concatenate(errors, axis=1)
    if not sample_error.size:
        return {"pixels": 0}
    medians = {"sample": np.median(sample_error), "native_pixel": np.median(native_error)}
    return {"pixels": sample_error.size} | {name: round(float(value), 2) for name, value in medians.items()}


def report(found: dict[str, Frame], size: tuple[int, int], window: int) -> dict[str, Any]:
    """Return the agreement of an output size: mean over frames, ratios to ``online``, and every frame."""
    each = {name: frame_agreement(frame, size, window) for name, frame in found.items()}
    dense = [agreement for agreement, whole_windows in each.values() if whole_windows]
    mean = {name: np.mean([agreement[name] for agreement in dense], axis=0).tolist() for name in dense[0]}

    def rounded(agreement: dict[str, Any]) -> dict[str, Any]:
        return {name: {"rank": round(a, 4), "weight_error": round(b, 4)} for name, (a, b) in agreement.items()}

    return {
        "mean": rounded(mean),
        "part_of_online": {name: round(error / mean["online"][1], 3) for name, (_, error) in mean.items()},
        "frames": {name: rounded(agreement) | {"whole_windows": whole} for name, (agreement, whole) in each.items()},
        "holes": {name: pixels for name, frame in found.items() if (pixels := holes(frame, size, window))["pixels"]},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=SIZES, help="height x width of the outputs")
    parser.add_argument("--window", type=int, default=5)
    parser.add_argument("--extra", nargs="*", default=[], metavar="NAME=FILE:UNITS:FX,FY,CX,CY")
    options = parser.parse_args()
    found = frames(options.extra)
    sizes = {text: tuple(int(number) for number in text.split("x")) for text in options.sizes.split(",")}
    outputs = {name: report(found, size, options.window) for name, size in sizes.items()}  # type: ignore[arg-type]
    done = {"benchmark": "fidelity", "machine": machine(), "window": options.window, "outputs": outputs}
    print(json.dumps(done, indent=2))


if __name__ == "__main__":
    main()
