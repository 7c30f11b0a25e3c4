"""A run in a process group of its own, to be killed: forked from this process, where everything is imported, or the
real command line; as it is, or mutated."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
from _changing_data import ChangingData
from _mutants import Mutant

from depthvar.datasets import DepthSource
from depthvar.datasets.errors import DepthVarError
from depthvar.precompute import KernelParams
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.worker import TaskResult

SHARD_FRAMES = 4  # of a new cache, where the run is forked from here
SLOW_READ = 0.02  # seconds between a frame's bytes and the next step, where files are edited during the run
COMMAND = Path(sys.executable).with_name("precompute")
FORKED = {"serial": execute.serial, "threads": execute.in_threads(4)}
WORKERS = {"serial": 1, "threads": 4, "command line": os.cpu_count() or 1, "worker processes": 2}


def start(log: Path, work: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Start ``work`` in a forked process that leads a process group of its own; what it prints goes to ``log``."""

    def child() -> None:
        os.setsid()
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.stdout = sys.stderr = os.fdopen(1, "w", buffering=1, closefd=False)  # pytest's are others
        work(*arguments)

    process = get_context("fork").Process(target=child)
    process.start()
    return process


def forked_run(
    data: ChangingData, mode: str, mutant: Mutant | None, slow: bool, die_at: int, options: dict[str, Any]
) -> None:
    """Run in this process, and print a line per shard. ``die_at``: SIGKILL before that change to the file system."""
    if mutant is not None:
        mutant()
    if slow:
        real = DepthSource.read

        def read(self: DepthSource, key: str) -> Any:
            frame = real(self, key)
            os.write(1, f"reading {key}\n".encode())
            time.sleep(SLOW_READ)
            return frame

        DepthSource.read = read  # type: ignore[method-assign]
    if die_at:
        sys.addaudithook(_killer(data.cache, die_at))
    try:
        job = data.job(shard_frames=SHARD_FRAMES, params=options.get("params", KernelParams()))
        for event in pipeline.run(job, FORKED[mode], overwrite=options.get("overwrite", False)):
            if isinstance(event, TaskResult):
                print(json.dumps({"group": event.group, "start": event.start, "n": event.computed}))
    except DepthVarError as error:
        print(f"error: {error}")
        sys.exit(1)


def command_run(data: ChangingData, mode: str) -> None:
    """Become the command line."""
    options = ["--dataset", str(data.toml), "--strides", "1,2,3", "--json"]
    os.execv(COMMAND, [str(COMMAND), "run", *options, *(["--workers", "2"] if mode == "worker processes" else [])])


def _killer(cache: Path, die_at: int) -> Callable[[str, tuple[Any, ...]], None]:
    """Return an audit hook that kills this process just before the n-th change below the folder that holds a cache."""
    changes, where = 0, str(cache)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal changes
        if event == "open":
            relevant = isinstance(arguments[2], int) and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))
        else:
            relevant = event in ("os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir", "os.truncate")
        if relevant and isinstance(arguments[0], str | os.PathLike) and os.fspath(arguments[0]).startswith(where):
            changes += 1
            if changes == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    return hook


def wait(process: BaseProcess, until: float) -> None:
    """Wait until a run ends, or ``time.perf_counter()`` says ``until`` (``join`` does not see what was exec'ed)."""
    while process.is_alive() and (left := until - time.perf_counter()) > 0:
        time.sleep(min(left, 0.001))


def kill(process: BaseProcess) -> bool:
    """Kill a run's process group, and wait until all of it is gone. Returns whether it was alive."""
    assert process.pid is not None
    alive = process.is_alive()
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # it does not lead a group yet, or has ended
        process.kill()
    process.join()
    while any(_in_group(other, process.pid) for other in psutil.process_iter()):
        time.sleep(0.005)
    return alive and process.exitcode == -signal.SIGKILL


def _in_group(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


def being_read(log: Path) -> str | None:
    """Return the frame that a slow run has read last."""
    lines = [line for line in log.read_text().splitlines() if line.startswith("reading ")] if log.exists() else []
    return lines[-1].removeprefix("reading ") if lines else None


def computed(log: Path, cache: Path) -> tuple[set[tuple[str, int]], int | None]:
    """Return the shards that a forked run computed, or the number of frames that a command says it computed."""
    shards, frames = set(), None
    for line in log.read_text().splitlines():
        event = json.loads(line) if line.startswith("{") else {}
        frames = event.get("computed", frames)
        if event.get("n"):
            attributes = json.loads((cache / event["group"] / "zarr.json").read_bytes())["attributes"]
            shards.add((event["group"], event["start"] // attributes["shard_frames"]))
    return shards, frames
