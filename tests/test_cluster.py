"""Workers that die, that hang, and a scheduler that is lost: the run ends in a bounded time, and lists what it lost."""

import re
import signal
from collections import Counter
from dataclasses import replace
from multiprocessing import resource_tracker
from pathlib import Path

import psutil
import pytest
from dask_machines import machines
from faulty_source import FaultySource
from tiny_data import TinyData, make_depth

from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import FrameNotFoundError
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.worker import Job, TaskResult
from depthvar.precompute.validation.validate import validate

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
    assert run(job, execute.serial) == ({}, len(lost))
    assert validate(job.cache, tiny.source(), full=True).findings == []
    whole = tmp_path / "whole.zarr"
    run(replace(job, cache=str(whole)), execute.serial)
    for path in whole.rglob("*"):
        if path.is_file() and "source_stat" not in str(path):
            assert (Path(job.cache) / path.relative_to(whole)).read_bytes() == path.read_bytes()


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


NOT_ENDED = r"not ended after 10 s \(--timeout\); "
LOST = "its worker process was lost: killed, or out of memory; "
WHEN = r"when tcp://127\.0\.0\.[23]:\d+ has ended, "
AGAIN = "run the same command again"


@pytest.mark.parametrize(
    ("fault", "options", "end"),
    [
        ("hang", (), NOT_ENDED + AGAIN),  # it ended itself
        ("busy", (), NOT_ENDED + AGAIN),
        ("stop", (), NOT_ENDED + WHEN + AGAIN),
        ("hang", ("--no-nanny",), NOT_ENDED + WHEN + AGAIN),  # nobody would start it again
        ("kill", (), LOST + WHEN + AGAIN),
    ],
    ids=["hang", "busy", "stop", "no nanny", "kill"],
)
def test_a_worker_of_another_cluster_that_hangs_ends_itself_where_it_can(
    tiny: TinyData, tmp_path: Path, fault: str, options: tuple[str, ...], end: str
) -> None:
    """The only worker fails; where it has ended, its successor computes the rest."""
    nobody = "no Dask worker was there for 20 s; when its workers have ended, run the same command again"
    job = faulty(tiny, fault)
    tiny.write("d", "last", make_depth(24, 32, 9))
    lost = {f"c0/depth/{fault}.npy"}
    with machines(tmp_path, "127.0.0.2", options=options) as cluster:
        failed, computed = run(job, execute.on_dask(scheduler=cluster.address, timeout=10, patience=20))
        assert re.fullmatch(end, failed.pop(*lost))
        if fault == "stop" or "--no-nanny" in options:
            assert (failed, computed) == ({"d/depth/last.npy": nobody}, 8)
        else:
            assert (failed, computed) == ({}, 9)
        if end == NOT_ENDED + AGAIN:
            assert "\nTimeout (0:00:" in cluster.log()
            assert 'faulty_source.py", line' in cluster.log()  # where it hung
    is_mended_by_a_second_run(tiny, job, lost | failed.keys(), tmp_path)


def test_machines_fail_and_join_during_a_run(tiny: TinyData, tmp_path: Path) -> None:
    """Both machines fail, one at work and one that gets its next shard then; one that joins computes the rest."""
    job = faulty(tiny, "slow", "slow")
    for index in range(6):
        tiny.write(f"d{index}", "later", make_depth(24, 32, index))
    results = []
    with machines(tmp_path, "127.0.0.2", "127.0.0.3") as cluster:
        for event in pipeline.run(job, execute.on_dask(scheduler=cluster.address)):
            if isinstance(event, TaskResult):
                results.append(event)
                if len(results) == 2:
                    cluster.kill("127.0.0.2")
                    cluster.kill("127.0.0.3")
                    cluster.join("127.0.0.4")
    failed = {key: message for result in results for key, message in result.failed}
    assert failed.keys() == {"c0/depth/slow.npy", "c1/depth/slow.npy"}
    assert all(re.fullmatch(LOST + WHEN + AGAIN, message) for message in failed.values())
    assert len(set(failed.values())) == 2  # one of each machine
    assert sum(result.computed for result in results) == 14
    is_mended_by_a_second_run(tiny, job, set(failed), tmp_path)


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
    with machines(tmp_path, "127.0.0.1") as cluster:
        for event in pipeline.run(job, execute.on_dask(scheduler=cluster.address, patience=15)):
            if isinstance(event, TaskResult):
                failed |= dict(event.failed)
                if event.group == "b":
                    cluster.scheduler.send_signal(sign)
    assert {message.split(";")[0] for message in failed.values()} == {reason}
    is_mended_by_a_second_run(tiny, job, {"c0/depth/slow.npy", "c1/depth/hang.npy"}, tmp_path)
