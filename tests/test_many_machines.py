"""The examples for clusters, run without a cluster: bash runs the scripts, and Slurm's commands are stand-ins."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from pages import ROOT, blocks
from ten_shards import Data, contents

from depthvar.precompute.validation.validate import validate

EXAMPLES = ROOT / "examples"
PAGE = (ROOT / "docs/many-machines.md").read_text()
COMMANDS = [line for block in blocks(PAGE, "sh") for line in block.splitlines()]
# The installed command; KILLED: it is killed where it would write its second shard.
PRECOMPUTE = """
import os, signal, sys, threading
from depthvar.precompute.pipeline import worker
if os.environ.get("KILLED"):
    write, written, writing = worker.write_shard, [], threading.Lock()
    def write_one(store, shard):
        with writing:
            if written:
                os.kill(os.getpid(), signal.SIGKILL)
            written.append(write(store, shard))
            return written[-1]
    worker.write_shard = write_one
from depthvar.precompute.cli.__main__ import main
main()
"""
# srun starts a task on each of two nodes, which are loopback addresses.
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
for node in 2 3; do "$@" --host 127.0.0.$node & done
wait
"""
DASK = """#!/bin/bash
[ "$1" = scheduler ] && set -- "$@" --host 127.0.0.1 $SCHEDULER_OPTIONS
exec {python} -m dask "$@"
"""
SBATCH = """#!/bin/bash
cp "$1" "$1.job"
setsid bash "$1.job" >> jobs.log 2>&1 &
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/bash
kill -- "-$1"
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return Data(tmp_path_factory.mktemp("many"))


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """The environment of a job: ours, with stand-ins of the commands first in the PATH."""
    (folder / "precompute.py").write_text(PRECOMPUTE)
    commands = {
        "precompute": f'#!/bin/bash\nexec {sys.executable} {folder / "precompute.py"} "$@"\n',
        "python": f'#!/bin/bash\nexec {sys.executable} "$@"\n',
        "dask": DASK.format(python=sys.executable),
        "srun": SRUN, "sbatch": SBATCH, "scancel": SCANCEL,
    }  # fmt: skip
    (folder / "bin").mkdir(exist_ok=True)
    for name, script in commands.items():
        if not (path := folder / "bin" / name).exists():  # another job may be running it
            path.write_text(script)
            path.chmod(stat.S_IRWXU)
    return os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"} | variables


def start(data: Data, script: str, cache: Path, **variables: str) -> subprocess.Popen[str]:
    options = ["--dataset", str(data.tiny.toml), "--strides", "1,2", "--out", str(cache)]
    return subprocess.Popen(
        ["bash", str(EXAMPLES / script), *options], env=environment(cache.parent, **variables), cwd=cache.parent,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def of_array(index: int, **variables: str) -> dict[str, str]:
    return {"SLURM_ARRAY_TASK_ID": str(index), "SLURM_ARRAY_TASK_COUNT": "3"} | variables


def test_an_array_with_a_job_that_is_killed_and_requeued_gives_the_cache_of_one_run(data: Data, tmp_path: Path) -> None:
    cache, script = tmp_path / "x.zarr", "slurm_array.sbatch"
    jobs = [
        start(data, script, cache, **of_array(index, **{"KILLED": "yes"} if index == 2 else {})) for index in (1, 2, 3)
    ]
    outputs = [job.communicate() for job in jobs]
    assert [job.returncode for job in jobs] == [0, -9, 0], outputs
    assert contents(cache) != contents(data.whole)
    data.check_nothing_half_written_counts(cache)
    requeued = start(data, script, cache, **of_array(2, SLURM_RESTART_COUNT="1"))
    stdout, stderr = requeued.communicate()
    assert requeued.returncode == 0, stderr
    assert "done   tiny, part 2/3: 6 frames computed, 3 unchanged, of its 9 (30 in all); " in stdout, stdout
    assert contents(cache) == contents(data.whole)


def test_outside_an_array_the_script_says_so(data: Data, tmp_path: Path) -> None:
    job = start(data, "slurm_array.sbatch", tmp_path / "x.zarr")
    assert "SLURM_ARRAY_TASK_ID: submit with sbatch" in job.communicate()[1]
    assert job.returncode != 0


def test_the_page_submits_scripts_that_exist() -> None:
    lines = [line.split() for line in COMMANDS if line.startswith("sbatch ")]
    assert len(lines) == 2
    for _, script, option, *_ in lines:
        assert (ROOT / script).read_text().startswith("#!/bin/bash\n")
        assert option == "--dataset"


@pytest.mark.slow
def test_the_commands_of_the_page_are_a_cluster(data: Data, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    scheduler, worker, run = (
        line.replace("head:", "127.0.0.1:").replace("8786", str(port)) for line in COMMANDS if "8786" in line
    )
    here: dict[str, Any] = {"env": environment(tmp_path), "cwd": tmp_path}
    with (tmp_path / "log").open("w") as log:
        jobs = [
            subprocess.Popen(line.split(), stderr=log, start_new_session=True, **here) for line in (scheduler, worker)
        ]
    try:
        wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
        cache = tmp_path / "x.zarr"
        given, ours = "--dataset hospital --root /data/tartanair/hospital", f"--dataset {data.tiny.toml} --strides 1,2"
        assert given in run
        words = [*run.replace(given, ours).split(), "--out", str(cache)]
        ran = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120, **here)
        assert ran.returncode == 0, ran.stderr
        assert contents(cache) == contents(data.whole)
    finally:
        for job in jobs:
            os.killpg(job.pid, signal.SIGKILL)
            job.wait()


def wait_until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def end(job: subprocess.Popen[str]) -> tuple[str, str]:
    """Wait for a script, and end all that it has started, as Slurm does; return stdout and stderr."""
    job.wait(timeout=120)
    with suppress(ProcessLookupError):
        os.killpg(job.pid, signal.SIGKILL)
    return job.communicate()


@pytest.mark.slow
def test_a_job_of_scheduler_workers_and_run(data: Data, tmp_path: Path) -> None:
    cache = tmp_path / "x.zarr"
    job = start(data, "slurm_dask.sbatch", cache, SLURM_JOB_ID="7", SLURM_CPUS_PER_TASK="1")
    stdout, stderr = end(job)
    assert job.returncode == 0, stderr
    assert "done   tiny: 30 frames computed" in stdout, stdout
    workers = set(re.findall(r"Start worker at: +tcp://([\d.]+):", stderr))
    assert workers == {"127.0.0.2", "127.0.0.3"}, stderr
    assert contents(cache) == contents(data.whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "precompute.py", "x.zarr"]


@pytest.mark.slow
def test_a_job_whose_scheduler_fails_ends(data: Data, tmp_path: Path) -> None:
    one = {"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "1", "SCHEDULER_OPTIONS": "--no-such-option"}
    job = start(data, "slurm_dask.sbatch", tmp_path / "x.zarr", **one)
    _, stderr = end(job)
    assert job.returncode != 0
    assert "--no-such-option" in stderr
    assert not (tmp_path / "x.zarr").exists()


@pytest.mark.slow
def test_jobqueue_submits_workers_and_ends_them(data: Data, tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue", reason="pip install dask-jobqueue")
    command = [sys.executable, EXAMPLES / "jobqueue.py", "--dataset", data.tiny.toml, "--jobs", "2", "--cpus", "1"]
    process = subprocess.run(
        command, env=environment(tmp_path, DASK_JOBQUEUE__SLURM__INTERFACE="lo"), cwd=tmp_path,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    cache = data.tiny.root / "sigma_Z2.zarr"
    assert process.stdout == f"30 frames computed, 0 unchanged, 0 failed, of 30: {cache}\n"
    assert validate(str(cache), data.tiny.source(), full=True).findings == []
    assert (tmp_path / "jobs.log").read_text().count("Start worker at") == 2
    wait_until(lambda: running_in(tmp_path) == [])


def running_in(folder: Path) -> list[str]:
    """The names of the processes whose folder this is."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd() == str(folder):
                found.append(process.name())
    return found
