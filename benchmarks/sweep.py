"""What ``precompute run --keep edge`` costs, and what σ² of another λ or α costs a reader. Prints JSON.

    python benchmarks/sweep.py [--rounds 5] [--reads 200]

Frames: the sample scene, and real ones: the Redwood and TUM frames of tests/data, and scikit-image's Motorcycle. For
each data set: bytes a pixel of all strides, of σ² and of what is kept with it, and the largest error of σ² of other
parameters, relative to the kernel (docs/sweeps.md states the law). Of the sample scene also the time of a run with
--keep edge relative to one without, in turn, on one thread; and milliseconds of reads, in turn. Medians.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from cache import CAMERA, DATA, _copy
from machine import machine
from motorcycle import write_motorcycle

from depthvar.datasets import DepthSource, SigmaCache, open_source
from depthvar.datasets.hospital.write import write_sample
from depthvar.precompute import KernelParams, cache_info, run, sigma_z2

LAMBDAS, ALPHAS = (0.0, 0.1, 2.0, 20.0), (0.02, 0.1, 1.0)
VIEW = {"intrinsics": (160, 160, 111.75, 111.75), "size": (224, 224)}  # of the sample scene, at stride 2
OTHER = {"lambda_prior": 2.0, "alpha_clamp": 0.1}


def measure(source: DepthSource, out: Path) -> dict[str, Any]:
    """Return the sizes of a cache of a source, and the largest error of what is read of it."""
    run(source, out, keep=("edge",))
    info, reader = cache_info(str(out)), SigmaCache(out)
    worst = 0.0
    for key, stride in product(reader.keys()[:4], reader.strides):
        frame = source.read(key)
        depth, camera = frame.depth[::stride, ::stride], frame.intrinsics / stride
        for lambda_prior, alpha_clamp in product(LAMBDAS, ALPHAS):
            other = {"lambda_prior": lambda_prior, "alpha_clamp": alpha_clamp}
            exact = sigma_z2(depth, camera, KernelParams(**other), max_depth=frame.max_depth).astype(np.float64)
            finite = np.isfinite(exact)
            ratio = reader.read(key, stride, **other)[finite] / exact[finite]
            worst = max(worst, float(np.abs(ratio - 1).max()))
    return {
        "frames": len(reader.keys()),
        "bytes_per_pixel": info["bytes_per_pixel"],
        "bytes_per_pixel_edge": info["bytes_per_pixel_edge"],
        "largest_relative_error_of_sigma_Z2": round(worst, 6),
    }


def milliseconds(reads: dict[str, Callable[[str], Any]], keys: list[str], count: int) -> dict[str, float]:
    """Return the median time of each read, taken in turn."""
    times: dict[str, list[float]] = {name: [] for name in reads}
    for number in range(count + 10):
        for name, read in reads.items():
            began = time.perf_counter()
            read(keys[number % len(keys)])
            times[name].append(1e3 * (time.perf_counter() - began))
    return {name: round(statistics.median(each[10:]), 3) for name, each in times.items()}


def run_ratio(source: DepthSource, folder: Path, rounds: int) -> float:
    """Return the time of a run that keeps the half range, relative to one that does not."""
    seconds: dict[tuple[str, ...], list[float]] = {(): [], ("edge",): []}
    for _ in range(rounds):
        for keep, times in seconds.items():
            result = run(source, folder / f"run{len(keep)}.zarr", keep=keep, threads=1, overwrite=True)  # type: ignore[arg-type]
            times.append(1 / result.frames_per_second)
    return round(statistics.median(seconds["edge",]) / statistics.median(seconds[()]), 2)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--reads", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        write_sample(work / "sample")
        write_motorcycle(work / "motorcycle")
        sample = open_source("hospital-sample", work / "sample")
        sources = {
            "sample": sample,
            "redwood_rgbd": open_source("folder", _copy(DATA / "redwood_rgbd", work), intrinsics=CAMERA),
            "tum_rgbd": open_source("folder", _copy(DATA / "tum_rgbd", work), intrinsics=CAMERA, units_per_metre=5000),
            "motorcycle": open_source(str(work / "motorcycle" / "motorcycle.toml")),
        }
        data = {name: measure(source, work / f"{name}.zarr") for name, source in sources.items()}
        reader = SigmaCache(work / "sample.zarr")
        reads: dict[str, Callable[[str], Any]] = {
            "read stride 1": lambda key: reader.read(key),
            "read stride 1, other": lambda key: reader.read(key, **OTHER),
            "read stride 2": lambda key: reader.read(key, 2),
            "read stride 2, other": lambda key: reader.read(key, 2, **OTHER),
            "sample 224×224": lambda key: reader.sample(key, **VIEW),  # type: ignore[arg-type]
            "sample 224×224, other": lambda key: reader.sample(key, **VIEW, **OTHER),  # type: ignore[arg-type]
        }
        result = {
            "benchmark": "sweep",
            "machine": machine(),
            "data": data,
            "run_time_relative": run_ratio(sample, work, options.rounds),
            "ms": milliseconds(reads, reader.keys(), options.reads),
        }
    print(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
