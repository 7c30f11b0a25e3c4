"""What σ costs a Pi3-like data loader: from the cache, computed in the loader, or stored by hand. Prints JSON.

    python benchmarks/loader.py [--rounds 24] [--sizes 224x224,518x336] [--root FOLDER]

One sample: an RGB PNG by cv2.imread, depth by np.load, the crop, zoom and resize of dust3r_loader.py, colour jitter as
torchvision does it to a PIL image (brightness, contrast, saturation 0.5, hue 0.1), the image as a tensor in [-1, 1],
world points and their validity as Pi3's losses take them; depth beyond the maximum is set to 0. In this process, on one
thread.

A round takes eight frames at random, each with a zoom in [0.9, 1], and makes those samples one after the other without
σ, then with each kind of σ, in an order that rotates: like a worker that makes one kind only. Figures are medians over
samples of times, and over rounds of ratios of the eight's time. The files are in the page cache.

Data: the sample scene; and the Redwood frames of tests/data, repeated as .npy, with a photo of scikit-image as
pictures. By hand: the native σ² map, pushed through the crop of the depth. Needs the extra ``bench``.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import dust3r_loader
import numpy as np
import torch
from loader_data import Frame, Scene, Store, bytes_below, hospital, redwood
from machine import machine
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from depthvar.datasets import SigmaCache
from depthvar.precompute import sigma_z2

WITHOUT = "without"
IN_A_ROUND = 8
POSE = np.eye(4, dtype=np.float32)

Size = tuple[int, int]
View = dict[str, Any]
AddSigma = Callable[[Frame, View, float], Any]


def jitter(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Return the image with brightness, contrast and saturation times [0.5, 1.5], and hue turned by up to 0.1."""
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(random.uniform(0.5, 1.5))
    hue, saturation, value = image.convert("HSV").split()
    turned = np.asarray(hue) + np.uint8(round(random.uniform(-0.1, 0.1) * 255) % 256)
    return Image.merge("HSV", (Image.fromarray(turned), saturation, value)).convert("RGB")


def load(
    scene: Scene,
    frame: Frame,
    size: Size,
    zoom: float,
    random: np.random.Generator,
    lap: Callable[[str], None] = lambda part: None,
) -> View:
    """Return a sample without σ, and ``far`` (h, w) bool; ``lap`` is called after each part with its name."""
    pixels = cv2.imread(str(frame.image), cv2.IMREAD_COLOR_RGB)
    lap("read PNG")
    depth = np.load(frame.depth)
    lap("read depth")
    view = dust3r_loader.view(depth, scene.intrinsics, size, zoom=zoom, image=Image.fromarray(pixels))
    view["far"] = view["depthmap"] > scene.max_depth
    view["depthmap"][view["far"]] = 0
    lap("crop and resize")
    image = jitter(view["img"], random)
    lap("colour jitter")
    view["img"] = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div_(127.5).sub_(1)
    lap("tensor")
    view["pts3d"], view["valid_mask"] = world_points(view["depthmap"], view["camera_intrinsics"], POSE)
    lap("world points")
    return view


def world_points(
    depth: NDArray[np.float32], intrinsics: NDArray[np.float32], pose: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return world points (h, w, 3) float32 in metres and validity (h, w): what the losses of Pi3 take.

    Args:
        depth: (h, w) in metres, 0 where unknown.
        intrinsics: (3, 3).
        pose: (4, 4), camera to world.
    """
    (fx, _, cx), (_, fy, cy) = intrinsics[:2]
    height, width = depth.shape
    rays = np.empty((height, width, 3), dtype=np.float32)
    rays[..., 0] = (np.arange(width, dtype=np.float32) - cx) / fx
    rays[..., 1] = ((np.arange(height, dtype=np.float32) - cy) / fy)[:, None]
    rays[..., 2] = 1
    rays *= depth[..., None]
    return rays @ pose[:3, :3].T + pose[:3, 3], depth > 0


def kinds(scene: Scene, size: Size) -> dict[str, AddSigma]:
    """Return what adds σ² to a view, by name; the first adds none."""
    cache = SigmaCache(scene.cache)

    def annotate(frame: Frame, view: View, zoom: float) -> None:
        cache.annotate(view, frame.key)

    def in_loader(frame: Frame, view: View, zoom: float) -> None:
        depth = np.where(view["far"], np.float32(np.inf), view["depthmap"])
        view["sigma_Z2"] = sigma_z2(depth, view["camera_intrinsics"], max_depth=scene.max_depth)

    def stored(store: Store) -> AddSigma:
        def add(frame: Frame, view: View, zoom: float) -> None:
            view["sigma_Z2"] = dust3r_loader.take(store.read(frame.index), scene.intrinsics, size, zoom=zoom)

        return add

    by_hand = {name: stored(store) for name, store in scene.by_hand.items()}
    return {
        WITHOUT: lambda frame, view, zoom: None,
        "annotate": annotate,
        "sigma_z2 in the loader": in_loader,
    } | by_hand


def measure(scene: Scene, size: Size, rounds: int) -> dict[str, Any]:
    """Return times and ratios of every kind of σ for one output size."""
    adders = kinds(scene, size)
    names = list(adders)
    total, sigma, ratio = ({name: [] for name in names} for _ in range(3))
    random = np.random.default_rng(0)
    for turn in range(-1, rounds):  # the first is not counted
        samples = _samples(scene, IN_A_ROUND, random)
        spent = {}
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            times = [_time(scene, frame, size, zoom, random, name, adders[name]) for frame, zoom in samples]
            spent[name] = sum(whole for whole, _ in times)
            if turn >= 0:
                total[name] += [whole for whole, _ in times]
                sigma[name] += [added for _, added in times]
        if turn >= 0:
            for name in names:
                ratio[name].append(spent[WITHOUT] / spent[name])
    return {
        WITHOUT: {**_rate(total[WITHOUT]), "parts_ms": _parts(scene, size, rounds * IN_A_ROUND)},
        "with": {
            name: {
                "sigma_ms": _ms(sigma[name]),
                **_rate(total[name]),
                "ratio": round(statistics.median(ratio[name]), 3),
            }
            for name in names[1:]
        },
    }


def _time(
    scene: Scene, frame: Frame, size: Size, zoom: float, random: np.random.Generator, name: str, add_sigma: AddSigma
) -> tuple[float, float]:
    """Return the seconds of a whole sample, and of its σ."""
    start = time.perf_counter()
    view = load(scene, frame, size, zoom, random)
    loaded = time.perf_counter()
    add_sigma(frame, view, zoom)
    end = time.perf_counter()
    if name != WITHOUT and not np.isfinite(view["sigma_Z2"][view["depthmap"] > 0]).all():
        raise ValueError(f"{name}: expected a finite σ² wherever there is depth, got none in {frame.key}")
    return end - start, end - loaded


def _parts(scene: Scene, size: Size, rounds: int) -> dict[str, float]:
    """Return the median milliseconds of each part of a sample without σ."""
    seconds: dict[str, list[float]] = defaultdict(list)
    random = np.random.default_rng(1)
    for frame, zoom in _samples(scene, rounds, random):
        last = time.perf_counter()

        def lap(part: str) -> None:
            nonlocal last
            seconds[part].append(time.perf_counter() - last)
            last = time.perf_counter()

        load(scene, frame, size, zoom, random, lap)
    return {part: _ms(times) for part, times in seconds.items()}


def _samples(scene: Scene, count: int, random: np.random.Generator) -> Iterable[tuple[Frame, float]]:
    return [(scene.frames[random.integers(len(scene.frames))], random.uniform(0.9, 1)) for _ in range(count)]


def _ms(seconds: list[float]) -> float:
    return round(statistics.median(seconds) * 1e3, 3)


def _rate(seconds: list[float]) -> dict[str, float]:
    median = statistics.median(seconds)
    return {"ms": round(median * 1e3, 3), "samples_per_s": round(1 / median, 1)}


def _size(text: str) -> Size:
    width, height = map(int, text.split("x"))
    return height, width


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--sizes", default="224x224,518x336", help="width x height of the outputs")
    parser.add_argument("--root", type=Path, help="where data is written, and found again; else a temporary folder")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    data: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = options.root or Path(folder)
        for name, make in (("hospital", hospital), ("redwood", redwood)):
            scene = make(root / name)
            print(f"{name}: {len(scene.frames)} frames", file=sys.stderr)
            data[name] = {
                "frames": len(scene.frames),
                "bytes_per_native_pixel": {"annotate (all strides)": bytes_below(scene.cache) / scene.pixels}
                | {key: bytes_below(store.path) / scene.pixels for key, store in scene.by_hand.items()},
                "outputs": {text: measure(scene, _size(text), options.rounds) for text in options.sizes.split(",")},
            }
    libraries = {name: version(name) for name in ("opencv-python-headless", "pillow", "h5py", "lmdb")}
    report = {"benchmark": "loader", "machine": machine(), "libraries": libraries, "rounds": options.rounds}
    print(json.dumps(report | {"page_cache": "warm", "data": data}, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
