"""A million frames: planning, a run with nothing to do, `info`, and a worker's first sample. Prints JSON.

    python benchmarks/million.py [--sequences 2000] [--frames 1000000] [--against PYTHON]

The source fabricates its listing, so what a file system needs to list and stat files is not in the figures (that is
what `groups.py` has). The cache is real: a run writes its root, metadata and bookkeeping, and each shard of maps is a
hard link to one of a few files. Every step is a process of its own, and its peak memory that of the whole process,
imports included. ``--against`` runs the same steps, on the same cache, with the Python of another environment.
"""

import argparse
import json
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine
from numpy.typing import NDArray

from depthvar.datasets import Frame, SigmaCache, Source
from depthvar.datasets.cache.codec import encode_map, pack_shard
from depthvar.datasets.cache.format import encode_keys, level_name, map_path
from depthvar.datasets.cache.store import open_store
from depthvar.datasets.errors import SourceError
from depthvar.datasets.source.source import SourceStat, frame_facts
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.job import Job, TaskResult
from depthvar.precompute.pipeline.shards import Task
from depthvar.precompute.pipeline.write import put_column
from depthvar.precompute.report.info import cache_info

HEIGHT, WIDTH = 480, 640
CAMERA = np.array([525.0, 525.0, 319.5, 239.5])


class Fabricated(Source):
    """Frames that are on no disk: their names, sizes, cameras and times, but no depth."""

    name = "fabricated"

    def __init__(self, sequences: int, frames: int) -> None:
        self.sequences, self.frames = sequences, frames

    def keys(self) -> Sequence[str]:
        each = -(-self.frames // self.sequences)
        return [f"scene{number // each:05}/depth/{number % each:06}.png" for number in range(self.frames)]

    def read(self, key: str) -> Frame:
        raise SourceError(f"{key}: there is no such file")

    def shape(self, key: str) -> tuple[int, int]:
        return HEIGHT, WIDTH

    def intrinsics(self, key: str) -> NDArray[np.float64]:
        return CAMERA

    def stat(self, key: str) -> SourceStat:
        return SourceStat(100_000, int.from_bytes(sha256(key.encode()).digest()[:8]) >> 1, 10**18)


def write_shards(job: Job, tasks: Iterable[Task]) -> Iterator[TaskResult]:
    """Write the real bookkeeping of shards, as if σ² were computed; the maps are links to those of one shard each."""
    store, templates = open_store(job.cache), {}
    for task in tasks:
        count = len(task.keys)
        for stride in job.strides:
            path = Path(job.cache, map_path(task.group, level_name(stride), task.start, task.layout))
            if (stride, count) not in templates:
                cut = task.layout.maps(stride)
                chunks = encode_map(np.full((cut.height, cut.width), 1e-4, np.float32), cut)
                store.put(str(path.relative_to(job.cache)), pack_shard([chunks] * count, cut))
                templates[stride, count] = path
            elif not path.exists():
                os.link(templates[stride, count], path)
        facts = [frame_facts(job.source, key) for key in task.keys]
        stats = [(stat.total_size, stat.hash63) for stat, _ in facts]
        digests = b"".join(sha256(key.encode()).digest() for key in task.keys)
        put_column(store, task, "key", encode_keys(task.keys, task.layout.key_bytes))
        put_column(store, task, "intrinsics", np.array([camera for _, camera in facts]))
        put_column(store, task, "source_stat", np.array(stats, np.int64))
        put_column(store, task, "digest", np.frombuffer(digests, np.uint8).reshape(count, -1))
        yield TaskResult(task.group, task.start, computed=task.frames)


def write(job: Job) -> int:
    """Write the cache, and return how many frames it has."""
    _, *results = pipeline.run(job, write_shards)
    return sum(result.computed for result in results)  # type: ignore[union-attr]


def plan(job: Job) -> int:
    """Plan a first run."""
    return pipeline.plan_run(job).compute


def resume(job: Job) -> int:
    """Run with nothing to do."""
    planned, *results = pipeline.run(job, execute.serial)
    assert not results
    return planned.done  # type: ignore[union-attr]


def info(job: Job) -> int:
    """What `precompute info` prints."""
    return sum(group["done"] for group in cache_info(job.cache)["groups"])


def keys(job: Job) -> int:
    """List the keys of the cache, as a data set does once."""
    return len(SigmaCache(job.cache).keys())


def sample(cache: SigmaCache, key: str) -> None:
    """Look up a view of 224×224 in a frame."""
    assert cache.sample(key, (525.0, 525.0, 112.0, 112.0), (224, 224)).shape == (224, 224)


STEPS: dict[str, Callable[[Job], int]] = {"plan": plan, "write": write, "resume": resume, "info": info, "keys": keys}
WORKERS = ("worker_forked", "worker_spawned")


def first_sample(job: Job, forked: bool) -> dict[str, float]:
    """Return what the first sample of a worker needs, forked or spawned: seconds, MiB, and files opened."""
    key = f"scene{job.source.sequences - 1:05}/depth/{0:06}.png"  # type: ignore[attr-defined]
    cache = SigmaCache(job.cache)
    if not forked:
        return _sampled(pickle.loads(pickle.dumps(cache)), key)
    reader, writer = os.pipe()
    if not (worker := os.fork()):
        os.write(writer, json.dumps(_sampled(cache, key)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        result: dict[str, float] = json.load(answer)
    os.waitpid(worker, 0)
    return result


def _sampled(cache: SigmaCache, key: str) -> dict[str, float]:
    opened = 0

    def count(event: str, arguments: object) -> None:
        nonlocal opened
        opened += event == "open"

    sys.addaudithook(count)  # nothing removes it: this process ends soon
    memory, began, before = _memory_mib("VmRSS"), time.perf_counter(), time.process_time()
    sample(cache, key)
    seconds, cpu = time.perf_counter() - began, time.process_time() - before
    return {"seconds": seconds, "cpu_seconds": cpu, "mib": _memory_mib("VmHWM") - memory, "files": opened}


def _memory_mib(what: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{what}:")[2].split()[0]) / 1024


def do(step: str, job: Job) -> dict[str, float]:
    """Do a step in this process, and return its result."""
    if step in WORKERS:
        return first_sample(job, step == "worker_forked")
    loaded, began, before = _memory_mib("VmHWM"), time.perf_counter(), time.process_time()
    frames = STEPS[step](job)
    seconds, cpu = time.perf_counter() - began, time.process_time() - before
    memory = {"mib": _memory_mib("VmHWM"), "mib_of_imports": loaded}
    return {"frames": frames, "seconds": seconds, "cpu_seconds": cpu} | memory


def measured(python: str, step: str, folder: Path, options: argparse.Namespace, rounds: int) -> dict[str, float]:
    """Return the medians of some processes that do a step."""
    typed = [python, __file__, "--step", step, "--folder", str(folder)]
    typed += ["--sequences", str(options.sequences), "--frames", str(options.frames)]
    results = [json.loads(subprocess.run(typed, check=True, stdout=subprocess.PIPE).stdout) for _ in range(rounds)]
    return {name: round(statistics.median(each[name] for each in results), 3) for name in results[0]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=2000)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--against", metavar="PYTHON", help="of another environment")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the cache is, or is written and kept; else a temporary one")
    parser.add_argument("--step", choices=[*STEPS, *WORKERS], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        job = Job(str(options.folder / "sigma_Z2.zarr"), Fabricated(options.sequences, options.frames))
        print(json.dumps(do(options.step, job)))
        return
    result = {"benchmark": "million", "machine": machine(), "sequences": options.sequences}
    pythons = {"depthvar": sys.executable} | ({"against": options.against} if options.against else {})
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        results: dict[str, dict[str, Any]] = {who: {} for who in pythons}
        for step in (*STEPS, *WORKERS):
            for who, python in pythons.items():
                if step != "write" or who == "depthvar":
                    rounds = 1 if step == "write" else options.rounds
                    where = folder / "new" if step == "plan" else folder
                    results[who][step] = measured(python, step, where, options, rounds)
    print(json.dumps(result | results, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
