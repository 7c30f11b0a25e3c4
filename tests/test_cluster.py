"""Workers that die, that hang, and a scheduler that is lost: the run ends in a bounded time, and lists what it lost."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import resource_tracker
from pathlib import Path

import psutil
import pytest
from distributed import Client
from faulty_source import FaultySource
from tiny_data import TinyData, make_depth

from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import FrameNotFoundError
from depthvar.precompute.kernel.numba_engine import warm_up
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.worker import Job, TaskResult
from depthvar.precompute.validation.validate import validate

HELPERS = Path(__file__).parent / "helpers"
pytestmark = pytest.mark.slow  # tests/test_dispatcher.py plays the same without processes


def faulty(tiny: TinyData, *names: str) -> Job:
    """A job over the tiny data and one more sequence, so one more shard, for each name of a fault."""
    for index, name in enumerate(names):
        tiny.write(f"c{index}", name, make_depth(24, 32, index))
    source = tiny.source()
    return tiny.job(source=FaultySource(source.name, source.description, source.root))


def run(job: Job, executor: execute.Execute) -> tuple[dict[str, str], int]:
    """Return the message of every frame that failed, and the number of frames computed."""
    _, *results = pipeline.run(job, executor)
    failed = {key: message for result in results for key, message in result.failed}  # type: ignore[union-attr]
    return failed, sum(result.computed for result in results if isinstance(result, TaskResult))


def is_mended_by_a_second_run(tiny: TinyData, job: Job, lost: set[str], tmp_path: Path) -> None:
    """What was lost is not done; a run without the fault computes it, and the bytes are those of one run."""
    attempts = Counter((tiny.root / "attempts").read_text().split())
    assert attempts == Counter(key for key in job.source.keys() if attempts[key])  # nobody tried anything twice
    cache = SigmaCache(job.cache)
    assert {key for key in job.source.keys() if key not in cache.keys()} == lost
    for key in lost:
        with pytest.raises(FrameNotFoundError, match="not computed yet"):
            cache.read(key)
    (tiny.root / "mended").mkdir()
    run(job, execute.serial)
    assert validate(job.cache, tiny.source(), full=True).findings == []
    whole = tmp_path / "whole.zarr"
    run(replace(job, cache=str(whole)), execute.serial)
    for path in whole.rglob("*"):
        if path.is_file() and "source_stat" not in str(path):
            assert (Path(job.cache) / path.relative_to(whole)).read_bytes() == path.read_bytes()


@contextmanager
def cluster(folder: Path, workers: int = 2) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The address and process of a scheduler, with worker processes under nannies."""
    file = folder / "scheduler.json"
    environment = os.environ | {"PYTHONPATH": str(HELPERS)}
    commands = [["dask_scheduler", "--port", "0"]] + [
        ["dask_worker", "--nthreads", "1", "--memory-limit", "0"]
    ] * workers
    processes = []
    try:
        for name, *options in commands:
            command = [sys.executable, "-m", f"distributed.cli.{name}", *options, "--scheduler-file", str(file)]
            command += ["--host", "127.0.0.1", "--no-dashboard"]
            with (folder / "cluster.log").open("ab") as log:
                processes.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder))
        while not (file.exists() and file.read_text().endswith("}")):
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        with Client(address) as client:
            client.wait_for_workers(workers)
            client.run(warm_up)  # so that a short timeout is one of the work
        yield address, processes[0]
    finally:
        for process in processes:
            children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            for each in (process, *children):
                each.kill()
            process.wait()


def test_a_killed_worker_costs_its_shard_only(tiny: TinyData, tmp_path: Path) -> None:
    job = faulty(tiny, "kill", "kill")
    failed, computed = run(job, execute.on_dask(workers=2))
    assert computed == 8
    assert failed == dict.fromkeys(
        ("c0/depth/kill.npy", "c1/depth/kill.npy"),
        "its worker process was lost: killed, or out of memory; run the same command again",
    )
    is_mended_by_a_second_run(tiny, job, set(failed), tmp_path)


def test_a_hanging_worker_is_killed_and_its_shard_given_up(tiny: TinyData, tmp_path: Path) -> None:
    """The only worker hangs, and its successor goes on."""
    job = faulty(tiny, "stop")
    tiny.write("d", "last", make_depth(24, 32, 9))
    resource_tracker.ensure_running()  # multiprocessing's own, which stays
    before = worker_processes()
    failed, computed = run(job, execute.on_dask(workers=1, timeout=30))
    assert failed == {"c0/depth/stop.npy": "not ended after 30 s (--timeout); run the same command again"}
    assert computed == 9
    assert worker_processes() == before  # nobody is left who could write
    is_mended_by_a_second_run(tiny, job, set(failed), tmp_path)


def worker_processes() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def test_a_cluster_loses_a_worker_and_one_hangs(tiny: TinyData, tmp_path: Path) -> None:
    job = faulty(tiny, "hang", "kill")
    with cluster(tmp_path) as (address, _):
        failed, computed = run(job, execute.on_dask(scheduler=address, timeout=20))
    end = r"; when tcp://127\.0\.0\.1:\d+ has ended, run the same command again"
    assert re.fullmatch(rf"not ended after 20 s \(--timeout\){end}", failed.pop("c0/depth/hang.npy"))
    assert re.fullmatch(rf"its worker process was lost: .*{end}", failed.pop("c1/depth/kill.npy"))
    assert failed == {}
    assert computed == 8
    is_mended_by_a_second_run(tiny, job, {"c0/depth/hang.npy", "c1/depth/kill.npy"}, tmp_path)


@pytest.mark.parametrize(
    ("sign", "reason"),
    [
        (signal.SIGKILL, "the Dask scheduler was lost"),
        (signal.SIGTERM, "the Dask scheduler was lost"),
        (signal.SIGSTOP, "the Dask scheduler has not answered for 15 s"),
    ],
)
def test_a_lost_scheduler_ends_the_run_with_the_list(
    tiny: TinyData, tmp_path: Path, sign: signal.Signals, reason: str
) -> None:
    job = faulty(tiny, "slow", "hang")
    failed = {}
    with cluster(tmp_path, workers=1) as (address, scheduler):
        for event in pipeline.run(job, execute.on_dask(scheduler=address, patience=15)):
            if isinstance(event, TaskResult):
                failed |= dict(event.failed)
                if event.group == "b":
                    scheduler.send_signal(sign)
    assert {message.split(";")[0] for message in failed.values()} == {reason}
    is_mended_by_a_second_run(tiny, job, {"c0/depth/slow.npy", "c1/depth/hang.npy"}, tmp_path)
