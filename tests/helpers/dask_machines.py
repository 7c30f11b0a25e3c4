"""A Dask cluster of real processes as people start it: a scheduler, and workers under nannies on loopback addresses."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from distributed import Client

from depthvar.precompute.kernel.numba_engine import warm_up

HELPERS = Path(__file__).parent  # workers import the sources of the tests from here


class Machines:
    """A scheduler on 127.0.0.1, and a worker of one thread on each "machine", a loopback address."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._file = folder, folder / "scheduler.json"
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self.scheduler = self._start("scheduler", "127.0.0.1", "--port", "0")
        while not (self._file.exists() and self._file.read_text().endswith("}")):
            time.sleep(0.05)
        self.address: str = json.loads(self._file.read_text())["address"]

    def _start(self, what: str, host: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--scheduler-file", str(self._file)]
        command += ["--host", host, "--no-dashboard", *options]
        environment = os.environ | {"PYTHONPATH": str(HELPERS)}
        with (self._folder / "cluster.log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=self._folder)

    def join(self, host: str, *options: str) -> None:
        """Start a worker on a machine."""
        self._workers[host] = self._start("worker", host, "--nthreads", "1", "--memory-limit", "0", *options)

    def wait(self) -> None:
        """Wait until all workers are there and have compiled the kernel, so that a short timeout is one of the work."""
        with Client(self.address) as client:
            client.wait_for_workers(len(self._workers))
            client.run(warm_up)

    def kill(self, host: str) -> None:
        """Let a machine fail: its worker and the nanny are gone at once."""
        _kill(self._workers.pop(host))

    def log(self) -> str:
        """Return what all processes have printed."""
        return (self._folder / "cluster.log").read_text()

    def close(self) -> None:
        """End all processes."""
        for process in (self.scheduler, *self._workers.values()):
            _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    for each in (process, *children):
        each.kill()
    process.wait()


@contextmanager
def machines(folder: Path, *hosts: str, options: tuple[str, ...] = ()) -> Iterator[Machines]:
    """A scheduler and a worker on each host, ready."""
    cluster = Machines(folder)
    try:
        for host in hosts:
            cluster.join(host, *options)
        cluster.wait()
        yield cluster
    finally:
        cluster.close()
