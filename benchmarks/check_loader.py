"""Does check_loader find the wrong loaders, and those only, and name what is wrong? Prints JSON.

    python benchmarks/check_loader.py [--loaders 1] [--right 5] [--views 3] [--kinds "right;focal 1.1;…"]
        [--extra NAME=FOLDER:UNITS_PER_METRE:FX,FY,CX,CY …]

Loaders are drawn from a seed: random crops, zooms, sizes, resizes, rounded sizes and flips of the sample scene, of the
Kinect frames in tests/data, and of any folder of 16-bit PNG depth (``--extra``). Each kind of error is made in each.
A row counts the loaders in which something was found, in which the error made was named, and in which another was.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from machine import machine
from numpy.typing import NDArray

from depthvar.datasets import DepthSource, SigmaCache, open_source
from depthvar.datasets.errors import ParameterError
from depthvar.datasets.hospital.write import write_sample
from depthvar.precompute import Difference, KernelParams, check_loader, sigma_z2
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.worker import Job

DATA = Path(__file__).resolve().parents[1] / "tests" / "data"
SIZES = [(224, 224), (112, 112), (224, 160), (168, 224), (336, 518), (384, 512), (60, 80), (96, 128), (240, 320)]
ZOOMS = [(0.9, 1.0), (0.5, 1.0), (0.7, 0.7), (1.0, 1.0), (0.3, 0.6)]

Resize = Literal["nearest", "linear"]
View = dict[str, Any]
Map = NDArray[np.float32]
Spoil = Callable[[View, SigmaCache, int], None]


class Loader(NamedTuple):
    """What a loader does to each frame: crop, zoom, resize, flip.

    Attributes:
        size: (h, w) of the views.
        resize: of depth.
        zoom: the range that the crop's part of the largest one is drawn from.
        random_crop: a random crop, else the middle one.
        rounded: intrinsics are scaled by a size that is up to 0.6 pixels from the view's.
        flips: every other view.
    """

    size: tuple[int, int] = (224, 224)
    resize: Resize = "nearest"
    zoom: tuple[float, float] = (0.8, 1.0)
    random_crop: bool = True
    rounded: bool = False
    flips: bool = False


def draw(seed: int) -> Loader:
    """Return a loader drawn by a seed; every zoom comes equally often."""
    random = np.random.default_rng(seed)
    coins = [bool(coin) for coin in random.integers(2, size=4)]
    resize: Resize = "nearest" if coins[0] else "linear"
    return Loader(SIZES[random.integers(len(SIZES))], resize, ZOOMS[seed % len(ZOOMS)], *coins[1:])


def make_views(source: DepthSource, loader: Loader, seed: int, count: int) -> list[View]:
    """Return right views as a DUSt3R-like loader makes them, without σ²; unknown and far depth is 0.

    Each is a dict with ``depthmap``, ``camera_intrinsics``, ``key``; and of how it was made, ``resize``, ``flip`` and
    ``zoom``, the native pixels per pixel in x and y.
    """
    random = np.random.default_rng(seed)
    keys = source.keys()
    keys = ([keys[i] for i in random.permutation(len(keys))] * count)[:count]
    return [_view(source, key, loader, random, flip=loader.flips and index % 2 == 1) for index, key in enumerate(keys)]


def _view(source: DepthSource, key: str, loader: Loader, random: np.random.Generator, flip: bool) -> View:
    frame = source.read(key)
    (height, width), (h, w) = frame.depth.shape, loader.size
    part = random.uniform(*loader.zoom) * min(height / h, width / w)
    rows, columns = min(round(h * part), height), min(round(w * part), width)
    free = height - rows, width - columns
    top, left = (int(random.integers(rest + 1)) if loader.random_crop else rest // 2 for rest in free)
    crop = np.where(frame.valid, frame.depth, np.float32(0))[top : top + rows, left : left + columns]
    wrong = random.uniform(-0.6, 0.6, 2) if loader.rounded else (0.0, 0.0)
    x, y = columns / (w + wrong[0]), rows / (h + wrong[1])
    fx, fy, cx, cy = frame.intrinsics
    matrix = [[fx / x, 0, (cx - left + 0.5) / x - 0.5], [0, fy / y, (cy - top + 0.5) / y - 0.5], [0, 0, 1]]
    view = {
        "depthmap": resized(crop, loader.size, loader.resize), "camera_intrinsics": np.array(matrix, np.float32),
        "key": key, "resize": loader.resize, "flip": flip, "zoom": (x, y),
    }  # fmt: skip
    if flip:
        mirror(view)
    return view


def resized(depth: Map, size: tuple[int, int], resize: Resize) -> Map:
    """Resize (H, W) depth as cv2 does; 0 where linear interpolation would use an unknown pixel."""
    if resize == "linear":
        both = torch.from_numpy(np.stack([depth, depth > 0]))[None]
        linear, known = torch.nn.functional.interpolate(both, size, mode="bilinear", align_corners=False)[0].numpy()
        return np.where(known > 0.999, linear, np.float32(0))
    rows, columns = (np.arange(out) * full // out for out, full in zip(size, depth.shape, strict=True))
    return depth[np.ix_(rows, columns)]


def mirror(view: View) -> None:
    """Flip a view left to right, its principal point along."""
    view["depthmap"] = np.ascontiguousarray(view["depthmap"][:, ::-1])
    view["camera_intrinsics"][0, 2] = view["depthmap"].shape[1] - 1 - view["camera_intrinsics"][0, 2]


def annotate(view: View, cache: SigmaCache, **changes: Any) -> None:
    """Add σ² as ``SigmaCache.annotate`` does, with key, intrinsics, resize or flip in place of the view's."""
    asked = {
        "key": view["key"],
        "resize": view["resize"],
        "flip": view["flip"],
        "intrinsics": view["camera_intrinsics"],
    }
    view["sigma_Z2"] = cache.sample(size=view["depthmap"].shape, valid=view["depthmap"] > 0, **(asked | changes))


# ---- what is right, and what is wrong


def right(view: View, cache: SigmaCache, index: int) -> None:
    annotate(view, cache)


def focal(x: float, y: float | None = None) -> Spoil:
    def spoil(view: View, cache: SigmaCache, index: int) -> None:
        view["camera_intrinsics"][0, 0] *= x
        view["camera_intrinsics"][1, 1] *= x if y is None else y
        annotate(view, cache)

    return spoil


def principal_point(dx: float, dy: float) -> Spoil:
    """Off by native pixels, before a flip."""

    def spoil(view: View, cache: SigmaCache, index: int) -> None:
        view["camera_intrinsics"][:2, 2] += np.divide((-dx if view["flip"] else dx, dy), view["zoom"])
        annotate(view, cache)

    return spoil


def other_crop_in_each(view: View, cache: SigmaCache, index: int) -> None:
    view["camera_intrinsics"][:2, 2] += (
        np.random.default_rng(index).uniform(-0.1, 0.1, 2) * view["depthmap"].shape[::-1]
    )
    annotate(view, cache)


def not_scaled(factor: float) -> Spoil:
    """The view was made smaller, its intrinsics were not."""

    def spoil(view: View, cache: SigmaCache, index: int) -> None:
        view["camera_intrinsics"][:2] *= factor
        annotate(view, cache)

    return spoil


def of_another_resolution(factor: float) -> Spoil:
    """As if the cache had been computed with the intrinsics of frames ``factor`` times as large."""

    def spoil(view: View, cache: SigmaCache, index: int) -> None:
        native, matrix = cache.intrinsics(view["key"]), view["camera_intrinsics"]
        part = np.diag(matrix)[:2] / native[:2] * (-1 if view["flip"] else 1, 1)
        matrix[:2, 2] += part * native[2:] * (1 / factor - 1)
        matrix[[0, 1], [0, 1]] /= factor
        annotate(view, cache)

    return spoil


def without_half_pixel(view: View, cache: SigmaCache, index: int) -> None:
    x, y = view["zoom"]
    view["camera_intrinsics"][:2, 2] += (0.5 - 0.5 / x) * (-1 if view["flip"] else 1), 0.5 - 0.5 / y
    annotate(view, cache)


def other_resize(view: View, cache: SigmaCache, index: int) -> None:
    annotate(view, cache, resize="linear" if view["resize"] == "nearest" else "nearest")


def without_flip(view: View, cache: SigmaCache, index: int) -> None:
    if not view["flip"]:
        mirror(view)
    annotate(view, cache, flip=False)


def turned(view: View, cache: SigmaCache, index: int) -> None:
    annotate(view, cache)
    view["sigma_Z2"] = view["sigma_Z2"].T


def looked_up_elsewhere(view: View, cache: SigmaCache, index: int) -> None:
    matrix = view["camera_intrinsics"].copy()
    matrix[[0, 1], [0, 1]] *= 0.85
    annotate(view, cache, intrinsics=matrix)


def other_frame(off: int) -> Spoil:
    def spoil(view: View, cache: SigmaCache, index: int) -> None:
        keys = cache.keys()
        annotate(view, cache, key=keys[(keys.index(view["key"]) + off) % len(keys)])

    return spoil


def other_depth(view: View, cache: SigmaCache, index: int) -> None:
    """The key, and so σ, is that of the next frame."""
    keys = cache.keys()
    view["key"] = keys[(keys.index(view["key"]) + 1) % len(keys)]
    annotate(view, cache)


def depth_as(convert: Callable[[Map], Map]) -> Spoil:
    def spoil(view: View, cache: SigmaCache, index: int) -> None:
        annotate(view, cache)
        depth = view["depthmap"]
        with np.errstate(divide="ignore"):
            view["depthmap"] = np.where(depth > 0, convert(depth), 0).astype(np.float32)

    return spoil


def sigma_as(convert: Callable[[Map], Map]) -> Spoil:
    def spoil(view: View, cache: SigmaCache, index: int) -> None:
        annotate(view, cache)
        view["sigma_Z2"] = convert(view["sigma_Z2"]).astype(np.float32)

    return spoil


def by_kernel(params: KernelParams | Difference) -> Spoil:
    def spoil(view: View, cache: SigmaCache, index: int) -> None:
        view["sigma_Z2"] = sigma_z2(view["depthmap"], view["camera_intrinsics"], params)

    return spoil


def in_some(spoil: Spoil, every: int) -> Spoil:
    return lambda view, cache, index: (spoil if index % every == 2 % every else right)(view, cache, index)


INTRINSICS, HALF, SHIFT, FRAME = "camera_intrinsics", "half pixel", "sigma_Z2 displaced", "another frame's σ"
RIGHT: dict[str, Spoil] = {
    "right": right,
    "σ² in half precision": sigma_as(lambda values: values.astype(np.float16)),
    "σ² by the kernel in the loader": by_kernel(KernelParams()),
}
WRONG: dict[str, tuple[Spoil, str]] = {
    **{
        f"focal {x:g}": (focal(x), INTRINSICS) for x in (0.5, 0.67, 0.8, 0.9, 0.95, 0.98, 1.02, 1.05, 1.1, 1.25, 1.5, 2)
    },
    **{f"focal {x:g}, {y:g}": (focal(x, y), INTRINSICS) for x, y in ((1.1, 1), (1, 0.9), (1.4, 1))},
    **{
        f"principal point {shift}": (principal_point(*shift), INTRINSICS)
        for shift in ((1, 0), (0, 2), (-2, 2), (4, -4), (7.5, -2), (-12, 6), (0, 25), (60, 10))
    },
    "another crop in each view": (other_crop_in_each, INTRINSICS),
    "not scaled with the view": (not_scaled(1.6), INTRINSICS),
    "cache of another resolution": (of_another_resolution(1.5), INTRINSICS),
    "half pixel": (without_half_pixel, HALF),
    "other resize": (other_resize, HALF),
    "flip": (without_flip, "flip"),
    "flip in some": (in_some(without_flip, 3), "flip"),
    "transposed": (turned, "transposed"),
    "looked up elsewhere": (looked_up_elsewhere, SHIFT),
    "next frame": (other_frame(1), FRAME),
    "fifth frame": (other_frame(5), FRAME),
    "next frame in one": (in_some(other_frame(1), 99), FRAME),
    "depth of another frame": (other_depth, "another frame's depth"),
    "millimetres": (depth_as(lambda depth: depth * 1000), "other units"),
    "centimetres": (depth_as(lambda depth: depth * 100), "other units"),
    "normalised": (depth_as(lambda depth: depth / depth[depth > 0].mean()), "other units"),
    "log depth": (depth_as(np.log), "no depth"),
    "log(1 + depth)": (depth_as(np.log1p), "no depth"),
    "disparity": (depth_as(lambda depth: 1 / depth), "no depth"),
    "σ": (sigma_as(np.sqrt), "values"),
    "1/σ": (sigma_as(lambda values: values**-0.5), "values"),
    "1/σ²": (sigma_as(lambda values: 1 / values), "values"),
    "constant": (sigma_as(np.ones_like), "constant"),
    "no values": (sigma_as(lambda values: values + np.inf), "no values"),
    "window 3": (by_kernel(KernelParams(window=3)), "other parameters"),
    "window 7": (by_kernel(KernelParams(window=7)), "other parameters"),
    "λ 0.1": (by_kernel(KernelParams(lambda_prior=0.1)), "other parameters"),
    "λ 2": (by_kernel(KernelParams(lambda_prior=2.0)), "other parameters"),
    "difference": (by_kernel(Difference()), "other parameters"),
    "σ² clamped at its median": (sigma_as(lambda values: np.maximum(values, np.median(values))), "unexplained"),
    "σ² with noise": (
        sigma_as(lambda values: values * np.exp(np.random.default_rng(0).normal(0, 0.7, values.shape))),
        "unexplained",
    ),
    "depth with noise of 3 %": (
        depth_as(lambda depth: depth * np.exp(np.random.default_rng(0).normal(0, 0.03, depth.shape))),
        "unexplained",
    ),
    "σ² moved": (sigma_as(lambda values: np.roll(values, (2, 3), (0, 1))), SHIFT),
}


def sources(folder: Path, extra: list[str]) -> Iterator[tuple[str, DepthSource, SigmaCache]]:
    """Yield the data sets by name, each with its cache."""
    write_sample(folder / "sample")
    found = {"sample": open_source("hospital-sample", folder / "sample")}
    kinect = (525, 525, 319.5, 239.5)
    named = {"redwood_rgbd": (DATA / "redwood_rgbd", 1000.0, kinect), "tum_rgbd": (DATA / "tum_rgbd", 5000.0, kinect)}
    for text in extra:
        name, _, rest = text.partition("=")
        path, units, numbers = rest.rsplit(":", 2)
        named[name] = Path(path), float(units), tuple(map(float, numbers.split(",")))
    for name, (path, units, camera) in named.items():
        shutil.copytree(path, folder / name)
        found[name] = open_source("folder", folder / name, intrinsics=camera, units_per_metre=units)
    for name, source in found.items():
        job = Job(cache=str(source.root / "sigma_Z2.zarr"), source=source)
        list(pipeline.run(job, execute.serial))
        yield name, source, SigmaCache(job.cache)


def rows(
    source: DepthSource, cache: SigmaCache, kinds: dict[str, tuple[Spoil, str]], loaders: int, count: int
) -> dict[str, dict[str, Any]]:
    """Return a row for each kind: how many loaders, and in how many of them what was found."""
    table = {}
    for kind, (spoil, expected) in kinds.items():
        if "frame" in expected and len(source.keys()) < 2:
            continue
        counts: Counter[str] = Counter(loaders=loaders)
        unseen: list[float] = []
        for seed in range(loaders):
            views = make_views(source, draw(seed), seed, count)
            for index, view in enumerate(views):
                spoil(view, cache, index)
            try:
                report = check_loader(views, cache)
            except ParameterError:  # too sparse
                counts["refused"] += 1
                continue
            as_made = [finding for finding in report.findings if finding.kind == expected]
            others = [finding for finding in report.findings if finding.kind not in (expected, "unexplained")]
            counts["found"] += not report.right
            counts["named"] += bool(as_made)
            counts["named, certain"] += any(finding.sure for finding in as_made)
            counts["misnamed"] += bool(others)
            counts["misnamed, certain"] += any(finding.sure for finding in others)
            if report.right:
                unseen.append(round(report.agreement.weight_error / report.limit, 2))
        print(kind, dict(counts), file=sys.stderr, flush=True)
        table[kind] = {**counts, "largest error / limit where nothing was found": max(unseen, default=None)}
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loaders", type=int, default=1, help="loaders with each error")
    parser.add_argument("--right", type=int, default=5, help="right loaders")
    parser.add_argument("--views", type=int, default=3, help="of each loader")
    parser.add_argument("--kinds", default="", help="separated by semicolons; all by default")
    parser.add_argument("--extra", nargs="*", default=[], metavar="NAME=FOLDER:UNITS:FX,FY,CX,CY")
    options = parser.parse_args()
    chosen = set(options.kinds.split(";")) if options.kinds else {*RIGHT, *WRONG}
    tables = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, source, cache in sources(Path(folder), options.extra):
            right_ones = {kind: (spoil, "") for kind, spoil in RIGHT.items() if kind in chosen}
            wrong_ones = {kind: spoil for kind, spoil in WRONG.items() if kind in chosen}
            tables[name] = rows(source, cache, right_ones, options.right, options.views)
            tables[name] |= rows(source, cache, wrong_ones, options.loaders, options.views)
    print(json.dumps({"benchmark": "check_loader", "machine": machine(), "tables": tables}, indent=1))


if __name__ == "__main__":
    main()
