"""The whole run against the same run with the kernel replaced: by a copy, and by unfold+sort. Prints JSON.

    python benchmarks/pipeline.py [--frames 480] [--rounds 5]
    python benchmarks/pipeline.py --device cuda [--threads 2]

Frames: the Redwood frames of tests/data, repeated as 16-bit PNG files, and as .npy in metres as TartanAir has it. The
runs alternate; figures are medians of their ratios. Peak memory is that of a process of its own per case. With
``--device`` the run there is compared with that on the CPU, stage by stage (pipeline_device.py).
"""

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pipeline_device
from baseline import unfold_sort_sigma_z2
from machine import machine
from numpy.typing import NDArray
from PIL import Image

from depthvar.datasets import open_source
from depthvar.precompute import KernelParams
from depthvar.precompute.pipeline import execute, levels
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.job import Job

REAL = Path(__file__).parents[1] / "tests" / "data" / "redwood_rgbd" / "depth"
CAMERA = pipeline_device.CAMERA


def make_frames(root: Path, count: int, size: tuple[int, int] | None = None, npy: bool = False) -> None:
    """Write ``count`` depth files, real ones repeated, enlarged to ``size`` (H, W) if given; PNG, or .npy in metres."""
    (root / "depth").mkdir(parents=True)
    files = sorted(REAL.glob("*.png"))
    enlarged = root / "enlarged.png"
    if size is not None:
        with Image.open(files[0]) as image:
            image.resize((size[1], size[0]), Image.Resampling.NEAREST).save(enlarged)
        files = [enlarged]
    if npy:
        depths = [np.asarray(Image.open(file)).astype(np.float32) / np.float32(1000) for file in files]
        for index in range(count):
            np.save(root / "depth" / f"{index:06}.npy", depths[index % len(depths)])
        return
    for index in range(count):
        shutil.copy(files[index % len(files)], root / "depth" / f"{index:06}.png")


def run_once(root: Path, kernel: Callable[..., Any] | None = None, limit: int | None = None) -> float:
    """Return the frames per second of one fresh run in threads."""
    pattern = "depth/{frame}.npy" if any((root / "depth").glob("*.npy")) else None
    job = Job(str(root / "sigma_Z2.zarr"), open_source("folder", root, intrinsics=CAMERA, pattern=pattern))
    original = levels.sigma_z2_frame
    if kernel is not None:
        levels.sigma_z2_frame = kernel
    try:
        began = time.perf_counter()
        results = list(pipeline.run(job, execute.in_threads(2), overwrite=True, limit=limit))[1:]
        return sum(result.computed for result in results) / (time.perf_counter() - began)  # type: ignore[union-attr]
    finally:
        levels.sigma_z2_frame = original


def copy_kernel(
    depth: NDArray[np.float32],
    intrinsics: NDArray[np.float64],
    params: KernelParams,
    max_depth: float | None,
    out: NDArray[np.float32],
) -> None:
    """Copy the depth: a kernel that needs next to no time."""
    out[...] = depth


class Recorded:
    """Gives back the σ² that the real kernel computed for these frames: a free kernel of equally compressible maps."""

    def __init__(self) -> None:
        self.maps: dict[bytes, NDArray[np.float32]] = {}

    def __call__(
        self,
        depth: NDArray[np.float32],
        intrinsics: NDArray[np.float64],
        params: KernelParams,
        max_depth: float | None,
        out: NDArray[np.float32],
    ) -> None:
        key = depth[:: max(1, depth.shape[0] // 4)].tobytes()[:4096] + str(depth.shape).encode()
        if key not in self.maps:
            self.maps[key] = real_kernel(depth, intrinsics, params, max_depth).copy()
        out[...] = self.maps[key]


real_kernel = levels.sigma_z2_frame


def unfold_sort_kernel(
    depth: NDArray[np.float32],
    intrinsics: NDArray[np.float64],
    params: KernelParams,
    max_depth: float | None,
    out: NDArray[np.float32],
) -> None:
    """Compute σ² as people do today, in the pipeline's own threads."""
    out[...] = unfold_sort_sigma_z2(depth, intrinsics, params)


def peak_memory(frames: int, size: tuple[int, int] | None) -> float:
    """Return the peak resident memory in MiB of a process that runs ``frames`` frames."""
    command = [sys.executable, __file__, "--memory", str(frames), *map(str, size or ())]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def memory_of_this_process(frames: int, size: tuple[int, int] | None) -> None:
    """Run ``frames`` frames and print the peak resident memory in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        make_frames(Path(folder), frames, size)
        run_once(Path(folder))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=220)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", help="cuda; or cpu:0, what a GPU does, on torch's CPU device")
    parser.add_argument("--threads", type=int, help="with --device; default: the CPUs that this process may use")
    parser.add_argument("--memory", type=int, nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        frames, *size = options.memory
        memory_of_this_process(frames, (size[0], size[1]) if size else None)
        return
    if options.device:
        with tempfile.TemporaryDirectory() as folder:
            given = (options.device, options.frames, options.rounds, options.threads)
            print(json.dumps(pipeline_device.report(Path(folder), make_frames, *given), indent=2))
        return
    rates: dict[str, list[float]] = {"run": [], "copy": [], "recorded": []}
    recorded = Recorded()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_frames(root, options.frames)
        run_once(root, recorded)
        for _ in range(options.rounds):
            rates["run"].append(run_once(root))
            rates["copy"].append(run_once(root, copy_kernel))
            rates["recorded"].append(run_once(root, recorded))
        make_frames(root / "few", 8)
        make_frames(root / "few_npy", 8, npy=True)
        make_frames(root / "npy", options.frames, npy=True)
        run_once(root / "npy")
        npy = statistics.median(run_once(root / "npy") for _ in range(options.rounds))
        unfold = run_once(root / "few", unfold_sort_kernel)
        unfold_npy = run_once(root / "few_npy", unfold_sort_kernel)
    result = {
        "benchmark": "pipeline",
        "machine": machine(),
        "frames": options.frames,
        "threads": 2,
        "frames_per_second": {name: round(statistics.median(values), 1) for name, values in rates.items()},
        "of_a_run_that_copies_depth": _median_ratio(rates["run"], rates["copy"]),
        "of_a_run_with_a_free_kernel": _median_ratio(rates["run"], rates["recorded"]),
        "unfold_sort_frames_per_second": round(unfold, 3),
        "npy": {
            "frames_per_second": round(npy, 1),
            "unfold_sort_frames_per_second": round(unfold_npy, 3),
            "times_a_run_with_unfold_sort": round(npy / unfold_npy, 1),
        },
        "times_a_run_with_unfold_sort": round(statistics.median(rates["run"]) / unfold, 1),
        "peak_memory_mib": {
            "110 frames of 640×480": round(peak_memory(110, None)),
            "440 frames of 640×480": round(peak_memory(440, None)),
            "4 frames of 3840×2160": round(peak_memory(4, (2160, 3840))),
            "12 frames of 3840×2160": round(peak_memory(12, (2160, 3840))),
        },
    }
    print(json.dumps(result, indent=1, ensure_ascii=False))


def _median_ratio(ours: list[float], theirs: list[float]) -> float:
    return round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 3)


if __name__ == "__main__":
    main()
