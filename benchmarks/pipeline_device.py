"""A whole run on a device and the same on the CPU, and where the time of each goes (``pipeline.py --device`` calls it).

Stages are milliseconds per frame, summed over threads: medians of fresh runs, which alternate. ``at_most_times`` says
how many times as fast a run would be whose kernel needs no time, everything else equal: what a GPU can bring at most,
as long as the CPU does the rest.
"""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from machine import machine

from depthvar.datasets import open_source
from depthvar.precompute import RunResult, run

CAMERA = (525.0, 525.0, 319.5, 239.5)


def report(
    folder: Path, make_frames: Callable[..., None], device: str, frames: int, rounds: int, threads: int | None
) -> dict[str, Any]:
    """Return the figures of both devices for PNG and .npy, or why there are none."""
    found: dict[str, Any] = {
        "benchmark": "pipeline on a device",
        "machine": machine(device),
        "frames": frames,
        "rounds": rounds,
        "threads": threads,
    }
    for kind in ("png", "npy"):
        make_frames(folder / kind, frames, npy=kind == "npy")
        source = open_source("folder", folder / kind, intrinsics=CAMERA, pattern=f"depth/{{frame}}.{kind}")
        results: dict[str, list[RunResult]] = {"cpu": [], device: []}
        failed: dict[str, Any] = {}
        for _ in range(rounds + 1):
            for where in [name for name in results if name not in failed]:
                try:
                    out = folder / f"{kind}.zarr"
                    results[where].append(run(source, out, device=where, threads=threads, overwrite=True))
                except Exception as error:  # no such device, or whatever fails on it
                    failed[where] = {"not_measured": f"{type(error).__name__}: {error}".partition("\n")[0]}
        found[kind] = {where: summary(each[1:]) for where, each in results.items() if where not in failed} | failed
    return found


def summary(results: list[RunResult]) -> dict[str, Any]:
    """Return frames per second, milliseconds of each stage of a frame, and what a free kernel would bring."""
    stages = {
        name: statistics.median(1e3 * result.stages[name] / result.computed for result in results)
        for name in results[0].stages
    }
    busy = sum(ms for name, ms in stages.items() if name != "idle")
    return {
        "frames_per_second": statistics.median(result.frames_per_second for result in results),
        "stages_ms": {name: round(ms, 3) for name, ms in stages.items()},
        "kernel_share": round(stages["kernel"] / busy, 3),
        "at_most_times": round(busy / (busy - stages["kernel"]), 3),
    }
