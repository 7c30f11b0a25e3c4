"""What a figure was measured on: the machine and the versions, and a clock for all benchmark scripts."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("depthvar", "numpy", "numba", "torch", "zarr")


def machine(device: str | None = None) -> dict[str, Any]:
    """Return machine, CPU, cores that this process may use, versions, and a device of torch; JSON-serialisable."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "machine": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": cores,
        "versions": {"python": platform.python_version()} | versions(PACKAGES),
    } | ({} if device is None else {"device": _device(device)})


def _device(device: str) -> str:
    """Return the name of a card, or the device where it is none."""
    import torch

    return torch.cuda.get_device_name(device) if device.startswith("cuda") and torch.cuda.is_available() else device


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def versions(packages: Iterable[str]) -> dict[str, str | None]:
    """Return the versions of packages; None where one is not installed."""
    return {name: _version(name) for name in packages}


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


def rounds(calls: dict[str, Callable[[], None]], count: int) -> dict[str, Any]:
    """Return median milliseconds of each call, and median ratios to the first, after two rounds that don't count."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for turn in range(count + 2):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = time.perf_counter()
            calls[name]()
            seconds[name].append(time.perf_counter() - start)
    first = seconds[names[0]][2:]
    result = {}
    for name in names:
        times = seconds[name][2:]
        ratios = [mine / base for mine, base in zip(times, first, strict=True)]
        result[name] = {"ms": statistics.median(times) * 1e3, f"times_{names[0]}": statistics.median(ratios)}
    return result
