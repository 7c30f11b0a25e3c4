"""What ``SigmaCache.annotate`` takes for a view of 224×224, in a loader. Prints JSON.

    python benchmarks/annotate.py [--views 400] [--rounds 3] [--against ENVIRONMENT]

Frames: the sample scene (640×480), by key and by absolute path, and Middlebury's Motorcycle (741×500, with holes). A
DUSt3R-like loader (dust3r_loader.py) crops and resizes them with zooms from 0.9 to 1. Before each call 16 MiB are
written, since a loader's other work leaves nothing in the CPU's caches. ``--against`` is the folder of another virtual
environment: its version writes caches of its own, and the two are timed in turn. Percentiles over all rounds.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import dust3r_loader
import numpy as np
from machine import machine

SIZE = 224, 224
FAR = 80.0  # metres, of the sample scene


def write_views(root: Path, intrinsics: list[float], count: int) -> None:
    """Write views of a data set's frames, as annotate gets them."""
    random = np.random.default_rng(0)
    files = sorted(root.rglob("*depth*/*.npy"))
    keys, depths, cameras = [], [], []
    for _ in range(count):
        path = files[random.integers(len(files))]
        depth = np.load(path)
        depth[~(depth < FAR)] = 0
        view = dust3r_loader.view(depth, intrinsics, SIZE, zoom=random.uniform(0.9, 1))
        keys.append(path.relative_to(root).as_posix())
        depths.append(view["depthmap"])
        cameras.append(view["camera_intrinsics"])
    np.savez(root / "views.npz", keys=keys, depths=depths, cameras=cameras)


def time_views(root: Path, cache: str, absolute: bool) -> list[float]:
    """Return the milliseconds of annotate for each view."""
    from depthvar.datasets import SigmaCache

    reader = SigmaCache(cache, root=root)
    views, evicted = np.load(root / "views.npz"), np.zeros(4 << 20, np.float32)
    depths, cameras, milliseconds = views["depths"], views["cameras"], []
    for key, depth, camera in zip(views["keys"].tolist(), depths, cameras, strict=True):
        view = {"depthmap": depth.copy(), "camera_intrinsics": camera.copy()}
        evicted += 1
        began = time.perf_counter()
        reader.annotate(view, str(root / key) if absolute else key)
        milliseconds.append(1e3 * (time.perf_counter() - began))
    return milliseconds[len(milliseconds) // 10 :]  # the first ones open the groups


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--time", nargs=3, metavar=("ROOT", "CACHE", "HOW"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.time:
        root, cache, how = options.time
        print(json.dumps(time_views(Path(root), cache, how == "path")))
        return
    environments = {"depthvar": Path(sys.executable).parents[1]} | (
        {"against": options.against} if options.against else {}
    )
    spent: dict[str, dict[str, list[float]]] = {who: {} for who in environments}
    with tempfile.TemporaryDirectory() as folder:
        roots = {name: Path(folder) / name for name in ("sample", "motorcycle")}
        write_data(roots, options.views)
        for who, environment in environments.items():
            for name, root in roots.items():
                dataset = "hospital-sample" if name == "sample" else str(root / "motorcycle.toml")
                typed = ["run", "--dataset", dataset, "--root", root, "--out", root / f"{who}.zarr", "--json"]
                subprocess.run([environment / "bin" / "precompute", *typed], check=True, capture_output=True)
        for _ in range(options.rounds):
            for name, how in (("sample", "key"), ("sample", "path"), ("motorcycle", "key")):
                for who, environment in environments.items():
                    root = roots[name]
                    command = [environment / "bin" / "python", __file__, "--time", root, root / f"{who}.zarr", how]
                    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
                    spent[who].setdefault(f"{name}, by {how}", []).extend(json.loads(done.stdout))
    result: dict[str, Any] = {"benchmark": "annotate", "machine": machine(), "views": options.views, "ms": {}}
    for who, cases in spent.items():
        result["ms"][who] = {
            case: dict(zip(("p10", "median", "p90"), np.percentile(times, (10, 50, 90)).round(3).tolist(), strict=True))
            for case, times in cases.items()
        }
    print(json.dumps(result, indent=1, ensure_ascii=False))


def write_data(roots: dict[str, Path], views: int) -> None:
    """Write the frames and views of both data sets."""
    from motorcycle import CX, CY, FOCAL, write_motorcycle

    from depthvar.datasets.hospital.write import write_sample

    write_sample(roots["sample"])
    write_motorcycle(roots["motorcycle"])
    write_views(roots["sample"], [320, 320, 320, 240], views)
    write_views(roots["motorcycle"], [FOCAL, FOCAL, CX, CY], views)


if __name__ == "__main__":
    cv2.setNumThreads(1)
    main()
