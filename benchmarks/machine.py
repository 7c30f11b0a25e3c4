"""What a figure was measured on: the machine and the versions, and a clock for all benchmark scripts."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("depthvar", "numpy", "numba", "torch", "zarr")


def machine() -> dict[str, Any]:
    """Return machine, CPU, cores that this process may use, and versions; JSON-serialisable."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "machine": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": cores,
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def median_seconds(call: Callable[[], Any], repeats: int) -> float:
    """Return the median time of ``repeats`` calls, after one that is not timed."""
    call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)
