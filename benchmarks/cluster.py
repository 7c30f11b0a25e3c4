"""A run on 1, 2 and 4 Dask workers, each on a loopback address, against as many threads of one process. Prints JSON.

    python benchmarks/cluster.py [--frames 256] [--rounds 3]

Workers have one thread each and are started beforehand, as `dask worker` starts them on many machines; no more of them
than there are cores. Runs of workers and threads alternate; figures are medians, and the median of their ratios. CPU
time is that of all processes; it says more than frames/s where others use the same cores. What goes over a network
between machines is not measured: depth and cache do not pass through Dask, a shard is a few kB of keys.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distributed import Client
from machine import machine

from depthvar.datasets import Source, open_source
from depthvar.precompute import run

REAL = Path(__file__).parents[1] / "tests" / "data" / "redwood_rgbd" / "depth"
CAMERA = (525.0, 525.0, 319.5, 239.5)


def make_source(root: Path, frames: int) -> Source:
    """Link real frames, 16-bit PNG of 640×480, again and again."""
    (root / "depth").mkdir()
    files = sorted(REAL.glob("*.png"))
    for index in range(frames):
        (root / "depth" / f"{index:06}.png").symlink_to(files[index % len(files)])
    return open_source("folder", root, intrinsics=CAMERA)


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[Client]:
    """A client of a scheduler with workers on 127.0.0.2, 127.0.0.3, …"""
    file = folder / f"scheduler-{workers}.json"
    commands = [["scheduler", "--host", "127.0.0.1", "--port", "0"]]
    commands += [["worker", "--host", f"127.0.0.{2 + index}", "--nthreads", "1"] for index in range(workers)]
    dask = [sys.executable, "-m", "dask"]
    common = ["--no-dashboard", "--scheduler-file", str(file)]
    processes = [subprocess.Popen([*dask, *each, *common], stderr=subprocess.DEVNULL) for each in commands]
    try:
        with Client(scheduler_file=str(file)) as client:
            client.wait_for_workers(workers)
            yield client
    finally:
        for process in reversed(processes):  # the workers first
            process.terminate()
            process.wait()


def measure(source: Source, folder: Path, workers: int, rounds: int) -> dict[str, float]:
    """Return frames/s and CPU time of so many workers, and of so many threads."""
    with cluster(folder, workers) as client:
        ways: dict[str, dict[str, Any]] = {
            "workers": {"scheduler": client.scheduler.address},
            "threads": {"threads": workers},
        }
        rates: dict[str, list[float]] = {name: [] for name in ways}
        cpu: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds + 1):
            for name, way in ways.items():
                began = cpu_seconds(client)
                result = run(source, folder / f"{name}.zarr", overwrite=True, **way)
                if number:  # the first one imports and compiles
                    rates[name].append(result.frames_per_second)
                    cpu[name].append(1000 * (cpu_seconds(client) - began) / result.computed)
    ratios = [a / b for a, b in zip(rates["workers"], rates["threads"], strict=True)]
    return {
        "frames_per_second": round(statistics.median(rates["workers"]), 1),
        "frames_per_second_of_threads": round(statistics.median(rates["threads"]), 1),
        "of_threads": round(statistics.median(ratios), 2),
        "cpu_ms_per_frame": round(statistics.median(cpu["workers"]), 2),
        "cpu_ms_per_frame_of_threads": round(statistics.median(cpu["threads"]), 2),
    }


def cpu_seconds(client: Client) -> float:
    """Return the CPU time of this process, the scheduler and the workers until now."""
    others = [client.run_on_scheduler(time.process_time), *client.run(time.process_time).values()]
    return time.process_time() + sum(others)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    about = machine()
    with tempfile.TemporaryDirectory() as name:
        source = make_source(Path(name), options.frames)
        counts = [count for count in (1, 2, 4) if count <= about["cores"]]
        workers = {str(count): measure(source, Path(name), count, options.rounds) for count in counts}
    facts = {"benchmark": "cluster", "machine": about, "frames": options.frames, "rounds": options.rounds}
    print(json.dumps(facts | {"workers": workers}, indent=1))


if __name__ == "__main__":
    main()
