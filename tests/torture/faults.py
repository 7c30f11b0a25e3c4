"""Faults of the machine and of Dask under real runs, more of them than the tests have time for. Prints JSON.

python tests/torture/faults.py [--seconds 60] [--kills 20] > tests/torture/results/faults.json
"""

import argparse
import json
import random
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import _paths  # noqa: F401
import psutil
from machine import machine
from reading import make_states, read_during_runs
from ten_shards import IN_A_SMALL_DISK, Data, contents, limited

from depthvar.datasets.cache.sigma_cache import SigmaCache

READERS = 8


def reads(folder: Path, seconds: float) -> dict[str, Any]:
    """Read with several processes while runs rewrite the cache; every value must be of one state of the source."""
    make_states(folder)
    runs, came = read_during_runs(folder, seconds, READERS)
    whole = came.pop("A") + came.pop("B")
    refused = came.pop("not done")
    return {"seconds": seconds, "readers": READERS, "runs": runs, "whole": whole, "not_done": refused, "other": came}


def workers_of(run: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the worker processes of a run: its children, but the one that tracks shared resources."""
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(run.pid).children(recursive=True)
        return [child for child in children if "multiprocessing.spawn" in " ".join(child.cmdline())]
    return []


def start(data: Data, cache: Path, *options: str) -> subprocess.Popen[str]:
    """Start a run in two worker processes, and return once a first shard is done."""
    command = data.command(cache, "--workers", "2", "--json", *options)
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not any(cache.glob("*/digest/c.0.0")) and run.poll() is None:
        time.sleep(0.005)
    return run


def signalled_workers(data: Data, folder: Path, times: int, sign: signal.Signals, *options: str) -> dict[str, Any]:
    """Send a signal to both workers of a run: exit 0 or 4, all that is not done is listed, a second run does it."""
    dice, codes, sent, listed, seconds = random.Random(0), Counter[int](), 0, 0, 0.0
    keys = set(data.tiny.source().keys())
    while sent < times:
        cache = folder / f"{sign.name}{sum(codes.values())}.zarr"
        run = start(data, cache, *options)
        for worker in workers_of(run):
            time.sleep(dice.uniform(0, 0.3))
            with suppress(psutil.NoSuchProcess):
                worker.send_signal(sign)
                sent += 1
        began = time.monotonic()
        stdout, stderr = run.communicate(timeout=300)
        seconds = max(seconds, time.monotonic() - began)
        codes[run.returncode] += 1
        assert run.returncode in (0, 4), stderr
        failed = {failure["key"] for failure in json.loads(stdout)["failed"]}
        assert keys - set(SigmaCache(cache).keys()) <= failed, "a frame is missing that is not listed"
        assert bool(failed) == (run.returncode == 4)
        listed += len(failed)
        data.check_nothing_half_written_counts(cache)
        data.check_goes_on(cache)
        shutil.rmtree(cache)
    return {
        "signals": sent,
        "exit_codes": {str(code): count for code, count in sorted(codes.items())},
        "frames_listed": listed,
        "longest_seconds_from_signal_to_end": round(seconds, 1),
    }


def orphans(data: Data, folder: Path, times: int) -> dict[str, Any]:
    """SIGKILL a run that has worker processes: how long these live on, and write."""
    lived, wrote = 0.0, 0.0
    for index in range(times):
        cache = folder / f"orphan{index}.zarr"
        run = start(data, cache)
        workers = workers_of(run)
        run.kill()
        began, killed = time.monotonic(), time.time()
        _, alive = psutil.wait_procs(workers, timeout=60)
        assert not alive
        lived = max(lived, time.monotonic() - began)
        wrote = max(wrote, *(path.stat().st_mtime - killed for path in cache.rglob("*")))
        run.communicate()
        data.check_nothing_half_written_counts(cache)
        data.check_goes_on(cache)
        shutil.rmtree(cache)
    return {
        "runs_killed": times,
        "longest_seconds_that_a_worker_lived_on": round(lived, 3),
        "latest_write_after_the_kill_in_seconds": round(wrote, 3),
    }


def full_disks(data: Data, folder: Path, times: int) -> dict[str, Any]:
    """Runs on a tmpfs that is too small by more and less, and that grows then."""
    whole = sum(-(-path.stat().st_size // 4096) * 4096 for path in data.whole.rglob("*") if path.is_file())
    outcomes: Counter[str] = Counter()
    for index in range(times):
        size = int(0.9 * whole * (index + 0.5) / times) // 1024
        out, kept = folder / f"out{index}", folder / f"kept{index}"
        out.mkdir()
        kept.mkdir()
        inner = data.command(out / "x.zarr")
        command = ["unshare", "-rm", "sh", "-c", IN_A_SMALL_DISK, "sh", f"{size}k", str(out), str(kept), *inner]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        first, second = ((kept / name).read_text().strip() for name in ("first", "second"))
        errors = [line for line in process.stderr.splitlines() if line.startswith("error: ")]
        assert (first, second, len(errors)) == ("1", "0", 1), process.stderr
        assert "No space left on device" in errors[0]
        if (kept / "broken.zarr").exists():
            data.check_nothing_half_written_counts(kept / "broken.zarr")
            outcomes["frames done before"] += len(SigmaCache(kept / "broken.zarr").keys())
        assert contents(kept / "x.zarr") == contents(data.whole)
    return {"disks": times, "resumed_to_the_same_bytes": times, **outcomes}


def few_handles(data: Data, folder: Path) -> dict[str, Any]:
    """Runs with a limit of open files from 5 on, until three in a row end well."""
    refused, row, limit = 0, 0, 5
    while row < 3:
        cache = folder / f"handles{limit}.zarr"
        process = data.run(cache, spoil=lambda limit=limit: limited(resource.RLIMIT_NOFILE, limit))
        row = row + 1 if process.returncode == 0 else 0
        if process.returncode:
            refused += 1
            assert process.returncode == 1
            assert sum("Too many open files" in line for line in process.stderr.splitlines() if "error: " in line) == 1
        data.check_nothing_half_written_counts(cache)
        data.check_goes_on(cache)
        limit += 1
    return {"limits_tried": limit - 5, "refused": refused, "enough": limit - 3}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60, help="of reading during runs")
    parser.add_argument("--kills", type=int, default=20, help="of worker processes")
    options = parser.parse_args()
    report: dict[str, Any] = {"machine": machine()}
    report["machine"]["versions"]["distributed"] = version("distributed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "reads").mkdir()
        report["reads_during_runs"] = reads(folder / "reads", options.seconds)
        (folder / "large").mkdir()
        large = Data(folder / "large", frames=24, height=480, width=640)  # so that a shard takes some time
        report["workers_killed"] = signalled_workers(large, folder, options.kills, signal.SIGKILL)
        report["workers_stopped"] = signalled_workers(
            large, folder, max(1, options.kills // 5), signal.SIGSTOP, "--timeout", "10"
        )
        report["runs_with_workers_killed"] = orphans(large, folder, max(1, options.kills // 2))
        data = Data(folder)
        report["full_disks"] = full_disks(data, folder, max(2, options.kills // 2))
        report["few_file_handles"] = few_handles(data, folder)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
