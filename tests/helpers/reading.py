"""Readers of a cache while runs write it again and again, for a test of seconds and a torture of minutes.

The source is a link that points to one of two states of the same frames, A and B. Every value that a reader gets
must be the one of A or the one of B.
"""

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tiny_data import TinyData, make_depth

from depthvar.datasets import open_source
from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import CacheError, FrameNotFoundError
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.worker import Job

STATES = ("A", "B")
STRIDES = (1, 2, 3)
VIEW: dict[str, Any] = {"intrinsics": [16.5, 16.5, 20.0, 15.0], "size": (30, 40)}  # between strides 2 and 3
Read = Callable[[SigmaCache, str], NDArray[np.float32]]
READS: dict[str, Read] = {f"stride {s}": (lambda cache, key, s=s: cache.read(key, s)) for s in STRIDES} | {
    "sample": lambda cache, key: cache.sample(key, **VIEW),
    "other λ": lambda cache, key: cache.read(key, 2, lambda_prior=2.0),
}


def make_states(folder: Path, sequences: int = 3, frames: int = 4) -> None:
    """Write the two states, and a cache of each that nobody touches again. They differ in depth and in intrinsics."""
    for seed, state in enumerate(STATES):
        tiny = TinyData(folder / state)
        for sequence in range(sequences):
            for index in range(frames):
                depth = make_depth(96, 128, 10 * seed + index)
                tiny.write(f"P{sequence}", f"{index:03}", depth, fx=40.0 + 3 * seed)
        for path in tiny.root.rglob("*"):  # old enough for their stat to be trusted, and not of one time
            os.utime(path, (time.time() - 100 - seed,) * 2)
        write_state(folder, state, folder / f"{state}.zarr")


def write_state(folder: Path, state: str, cache: Path) -> int:
    """Point the source to a state, bring a cache up to date, and return the number of frames computed."""
    with suppress(FileNotFoundError):
        (folder / "data").unlink()
    (folder / "data").symlink_to(folder / state)
    job = Job(str(cache), open_source(str(folder / "data/tiny.toml")), strides=STRIDES, shard_frames=2, keep=("edge",))
    _, *results = pipeline.run(job, execute.in_threads(2))
    return sum(result.computed for result in results)  # type: ignore[union-attr]


def read_until(folder: Path, ready: Any, stop: Any, seen: dict[str, Any], counts: Any) -> None:
    """Read all frames in every way until ``stop`` is set, and put a Counter of what came.

    ``seen``: an event for each state, set once a reader has met it.
    """
    caches = {state: SigmaCache(folder / f"{state}.zarr") for state in STATES}
    expected = {
        (key, name): {state: read(cache, key).tobytes() for state, cache in caches.items()}
        for key in caches["A"].keys()
        for name, read in READS.items()
    }
    came: Counter[str] = Counter()
    ready.wait()
    while not stop.is_set():
        live = SigmaCache(folder / "live.zarr")
        for _ in range(5):  # one that is opened now, and goes on while the cache changes
            for (key, name), values in expected.items():
                outcome = _outcome(live, key, name, values)
                came[outcome] += 1
                if outcome in seen:
                    seen[outcome].set()
    counts.put(came)


def _outcome(live: SigmaCache, key: str, name: str, values: dict[str, bytes]) -> str:
    try:
        value = READS[name](live, key).tobytes()
    except FrameNotFoundError:
        return "not done"
    except CacheError as error:
        return f"CacheError: {error}"
    return next((state for state in STATES if value == values[state]), f"torn: {name}")


def read_during_runs(folder: Path, seconds: float, readers: int) -> tuple[int, Counter[str]]:
    """Return the number of runs that wrote the cache, and what all readers got.

    That lasts ``seconds``, and longer where no reader has met both states by then.
    """
    context = multiprocessing.get_context("spawn")
    ready, stop, counts = context.Barrier(readers + 1), context.Event(), context.Queue()
    seen = {state: context.Event() for state in STATES}
    write_state(folder, "A", folder / "live.zarr")
    processes = [context.Process(target=read_until, args=(folder, ready, stop, seen, counts)) for _ in range(readers)]
    for process in processes:
        process.start()
    ready.wait(timeout=120)
    began, runs = time.monotonic(), 0
    while time.monotonic() - began < seconds or not all(event.is_set() for event in seen.values()):
        runs += 1
        assert write_state(folder, STATES[runs % 2], folder / "live.zarr") > 0
    stop.set()
    came = sum((counts.get(timeout=60) for _ in processes), Counter())
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * readers
    return runs, came
