"""Bytes a pixel of the cache, and how far rounding moves σ. Prints JSON.

    python benchmarks/cache.py [--frames NAME=FOLDER:UNITS_PER_METRE:FX,FY,CX,CY:PATTERN …]

Without --frames: the Redwood and TUM frames of tests/data, and the Motorcycle ground truth of scikit-image.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine
from motorcycle import write_motorcycle

from depthvar.datasets import DepthSource, open_source
from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.precompute.kernel.api import sigma_z2
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.worker import Job
from depthvar.precompute.report.info import cache_info

DATA = Path(__file__).parents[1] / "tests" / "data"
CAMERA = (525.0, 525.0, 319.5, 239.5)


def measure(source: DepthSource, cache: Path) -> dict[str, Any]:
    """Run a source into a cache, and return its size and its largest error of σ."""
    for _ in pipeline.run(Job(str(cache), source), execute.in_threads(2)):
        pass
    info = cache_info(str(cache))
    reader = SigmaCache(cache)
    worst = 0.0
    for key in reader.keys():
        frame = source.read(key)
        for stride in reader.strides:
            exact = sigma_z2(frame.depth[::stride, ::stride], frame.intrinsics / stride, max_depth=frame.max_depth)
            finite = np.isfinite(exact)
            ratio = np.sqrt(reader.read(key, stride)[finite].astype(np.float64) / exact[finite])
            worst = max(worst, float(np.abs(ratio - 1).max()))
    return {
        "frames": len(reader.keys()),
        "bytes_per_pixel_stride_1": info["bytes_per_pixel_stride_1"],
        "bytes_per_pixel_all_strides": info["bytes_per_pixel"],
        "largest_relative_error_of_sigma": round(worst, 6),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", nargs="*", default=[], help="NAME=FOLDER:UNITS:FX,FY,CX,CY:PATTERN")
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_motorcycle(work / "motorcycle")
        sources = {
            "redwood_rgbd": open_source("folder", _copy(DATA / "redwood_rgbd", work), intrinsics=CAMERA),
            "tum_rgbd": open_source("folder", _copy(DATA / "tum_rgbd", work), intrinsics=CAMERA, units_per_metre=5000),
            "motorcycle": open_source(str(work / "motorcycle" / "motorcycle.toml")),
        }
        for entry in parser.parse_args().frames:
            name, _, rest = entry.partition("=")
            root, units, camera, pattern = rest.split(":")
            sources[name] = open_source(
                "folder",
                root,
                units_per_metre=float(units),
                intrinsics=[float(number) for number in camera.split(",")],
                pattern=pattern,
            )
        for name, source in sources.items():
            results[name] = measure(source, work / f"{name}.zarr")
    print(json.dumps({"benchmark": "cache", "machine": machine(), "data": results}, indent=1))


def _copy(folder: Path, work: Path) -> Path:
    return Path(shutil.copytree(folder, work / folder.name))


if __name__ == "__main__":
    main()
