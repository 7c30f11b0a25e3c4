"""How long a run of many frames lasts, predicted from the stages of a small one; checked here. Prints JSON.

    python benchmarks/scaling.py [--shards 2 4 24] [--rounds 3]

A tiny, a small and a large run alternate, each a `precompute run --json` in two threads, over the Redwood frames of
tests/data as PNG files. The large run is predicted by the clock from the stages of the small one, and in CPU time from
the tiny and the small one. CPU time counts for the figures of other machines: it hardly changes where others use this
one. "extrapolated" is arithmetic over ``SETUPS``, whose numbers are assumptions: no GPU, no second node and no object
store was measured.
"""

import argparse
import json
import math
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import machine

from depthvar.datasets.cache.format import shard_frames

REAL = Path(__file__).parents[1] / "tests" / "data" / "redwood_rgbd" / "depth"
CAMERA = "525,525,319.5,239.5"
PRECOMPUTE = str(Path(sys.executable).with_name("precompute"))
THREADS = 2
SHARD = shard_frames(480, 640, (1, 2, 3, 4, 6, 8))
MILLION = 1_000_000
SEQUENCES = 2000
PLAN_RATE = 45e-6  # seconds of CPU to plan a new frame of a described data set (groups.py)
OBJECTS_PER_SEQUENCE = 11  # zarr.json of a group with six strides
TURNS_PER_SHARD = 3  # its 11 objects: digests, all others at once, digests again
AT_ONCE = 32  # requests to an object store, of a process
CPU_OF_REQUEST = 3e-3  # seconds of s3fs and botocore (object_store_groups.py)


@dataclass(frozen=True)
class Rates:
    """What a run needed.

    Attributes:
        stages: seconds of a core for each frame, by stage.
        fixed: seconds of a run beyond its stages: start, planning, the kernel's loading.
    """

    stages: dict[str, float]
    fixed: float

    @property
    def frame(self) -> float:
        """Seconds of a core for a frame."""
        return sum(self.stages.values())

    def on_quiet_cores(self, seconds: float) -> "Rates":
        """Return the same stages with so many seconds of CPU for a frame: others may use the machine meanwhile."""
        return Rates({stage: spent * seconds / self.frame for stage, spent in self.stages.items()}, self.fixed)


@dataclass(frozen=True)
class Setup:
    """Where a run takes place; all of it assumed.

    Attributes:
        nodes: each plans the whole data set, and does its part.
        cores: of a node, one thread on each.
        gpu: whether the kernel needs no time of a core, the most that any GPU can save.
        read_wait: seconds that a thread waits for the bytes of a frame.
        write_wait: seconds to write an object.
    """

    nodes: int
    cores: int
    gpu: bool = False
    read_wait: float = 0.0
    write_wait: float = 0.0


SETUPS = {
    "1 machine of 2 cores, local disk": Setup(1, 2),
    "1 machine of 32 cores, local disk": Setup(1, 32),
    "1 machine of 32 cores and 8 GPUs, local disk": Setup(1, 32, gpu=True),
    "64 nodes of 32 cores, shared file system": Setup(64, 32),
    "1 machine of 32 cores, object store": Setup(1, 32, read_wait=0.03, write_wait=0.06),
    "64 nodes of 32 cores, object store": Setup(64, 32, read_wait=0.03, write_wait=0.06),
}


def parts(frames: int, rates: Rates, setup: Setup, sequences: int) -> dict[str, float]:
    """Return the seconds of wall clock of a first run, by what they are spent on; one after the other."""
    shards = math.ceil(frames / SHARD)
    busy = rates.frame - (rates.stages.get("kernel", 0.0) if setup.gpu else 0.0)
    turns = math.ceil(shards / (setup.nodes * setup.cores))  # no shard is shared
    of_shard = min(frames, SHARD)
    of_request = max(setup.write_wait / AT_ONCE, CPU_OF_REQUEST)
    return {
        "start": rates.fixed,
        "plan": frames * PLAN_RATE,
        "metadata": sequences * OBJECTS_PER_SEQUENCE * of_request if setup.write_wait else 0.0,
        "work": turns * of_shard * busy,
        "wait for depth": turns * of_shard * setup.read_wait,
        "wait for the cache": turns * TURNS_PER_SHARD * setup.write_wait,
    }


def make_frames(root: Path, count: int) -> None:
    """Write PNG files of 640×480, real ones repeated, old enough for their times to be trusted."""
    (root / "depth").mkdir(parents=True)
    files = sorted(REAL.glob("*.png"))
    for index in range(count):
        path = root / "depth" / f"{index:06}.png"
        shutil.copyfile(files[index % len(files)], path)
        os.utime(path, (1e9, 1e9))


@dataclass(frozen=True)
class Run:
    """One run: its rates by the clock, and the seconds that it needed by the clock and of CPU."""

    rates: Rates
    seconds: float
    cpu: float


def measured(root: Path, frames: int) -> Run:
    """Run the first frames into a new cache."""
    with tempfile.TemporaryDirectory() as folder:
        typed = [PRECOMPUTE, "run", "--dataset", "folder", "--root", str(root), "--out", f"{folder}/s.zarr", "--json"]
        typed += ["--threads", str(THREADS), "--intrinsics", CAMERA, "--limit", str(frames)]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        facts = json.loads(subprocess.run(typed, check=True, stdout=-1, stderr=-3).stdout)
        after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    stages, idle = dict(facts["stages"]), facts["stages"]["idle"]
    del stages["idle"]
    fixed = seconds - (sum(stages.values()) + idle) / THREADS
    per_frame = {stage: spent / facts["computed"] for stage, spent in stages.items()}
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(Rates(per_frame, fixed), seconds, cpu)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, nargs=3, default=[2, 4, 24], help="of a tiny, a small and a large run")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    tiny, small, large = (shards * SHARD for shards in options.shards)
    here, clock, cpu, rates = SETUPS["1 machine of 2 cores, local disk"], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_frames(root, large)
        measured(root, tiny)
        for _ in range(options.rounds):
            runs = [measured(root, frames) for frames in (tiny, small, large)]
            of_frame = (runs[1].cpu - runs[0].cpu) / (small - tiny)
            clock.append((sum(parts(large, runs[1].rates, here, 0).values()), runs[2].seconds))
            cpu.append((runs[1].cpu + (large - small) * of_frame, runs[2].cpu))
            rates.append(runs[1].rates.on_quiet_cores(of_frame))
    middle = Rates(
        {stage: statistics.median(each.stages.get(stage, 0.0) for each in rates) for stage in rates[0].stages},
        statistics.median(each.fixed for each in rates),
    )
    result: dict[str, Any] = {
        "benchmark": "scaling",
        "machine": machine(),
        "frames": {"tiny": tiny, "small": small, "large": large},
        "cpu_milliseconds_per_frame": {stage: round(1e3 * spent, 2) for stage, spent in middle.stages.items()},
        "frames_per_second_of_a_core": round(1 / middle.frame, 1),
        "large_run_predicted_and_measured": {"seconds": rounded(clock), "cpu_seconds": rounded(cpu)},
        "median_error": {"seconds": error(clock), "cpu_seconds": error(cpu)},
        "extrapolated": {name: extrapolated(middle, setup) for name, setup in SETUPS.items()},
    }
    print(json.dumps(result, indent=1, ensure_ascii=False))


def rounded(pairs: list[tuple[float, float]]) -> list[list[float]]:
    """Return pairs of seconds to the hundredth."""
    return [[round(each, 2) for each in pair] for pair in pairs]


def error(pairs: list[tuple[float, float]]) -> float:
    """Return the median of (predicted / measured - 1)."""
    return round(statistics.median(predicted / found - 1 for predicted, found in pairs), 3)


def extrapolated(rates: Rates, setup: Setup) -> dict[str, Any]:
    """Return what a million frames in 2,000 sequences would need: minutes, core hours, and where the time goes."""
    seconds = parts(MILLION, rates, setup, SEQUENCES)
    total = sum(seconds.values())
    return {
        "minutes": round(total / 60, 1),
        "core_hours": round(total / 3600 * setup.nodes * setup.cores, 1),
        "bottleneck": max(seconds, key=lambda part: seconds[part]),
        "share": {part: round(each / total, 3) for part, each in seconds.items() if each > total / 200},
    }


if __name__ == "__main__":
    main()
