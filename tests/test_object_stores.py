"""Caches in real object stores on loopback: the lock, runs, readers in workers, faults, credentials."""

import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import s3fs
from lock_holder import holder
from object_servers import Proxy, environment, moto, rclone, seaweedfs
from tiny_data import TinyData

from depthvar.datasets.cache.remote_store import RemoteStore
from depthvar.datasets.errors import CacheError
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.lock import writer_lock

SERVERS = {"moto": moto, "seaweedfs": seaweedfs, "rclone": rclone}


@pytest.fixture(scope="module")
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server: moto's, where a test does not name another one."""
    name = getattr(request, "param", "moto")
    with SERVERS[name](tmp_path_factory.mktemp(name)) as port:
        yield port


@pytest.fixture
def proxy(port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with Proxy(port) as proxy:
        for name, value in environment(proxy.port).items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()  # a process keeps its clients, and they their endpoint
        yield proxy


@pytest.fixture
def url(proxy: Proxy) -> str:
    """A cache that is not there yet, behind the proxy."""
    return f"s3://bucket/{uuid.uuid4().hex}/sigma_Z2.zarr"


both = pytest.mark.parametrize("port", ["moto", pytest.param("seaweedfs", marks=pytest.mark.slow)], indirect=True)


def take(url: str, part: tuple[int, int] | None = None, plan: str = "p", only_writer: bool = False) -> None:
    with writer_lock(url, part, only_writer) as claim:
        claim(plan)


def locks(url: str) -> list[str]:
    return sorted(RemoteStore(f"{url}.lock").list())


@both
def test_a_second_writer_is_refused_and_told_whose_lock_it_is(url: str) -> None:
    with writer_lock(url):
        with pytest.raises(CacheError, match=rf"{url}: another run is writing it \(.*, process {os.getpid()}, since 2"):
            take(url)
        with pytest.raises(CacheError, match="another run is writing it"):
            take(url, (1, 2))
        assert locks(url) == ["run"]
    take(url)
    with writer_lock(url, (1, 2)) as claim:
        claim("p")
        take(url, (2, 2))
        with pytest.raises(CacheError, match="another run of --part 1/2 is writing it"):
            take(url, (1, 2))
        with pytest.raises(CacheError, match="another run is writing it"):
            take(url)
        with pytest.raises(CacheError, match="1-of-2 belongs to a run of other options or files; give every part"):
            take(url, (2, 2), "q")
        with pytest.raises(CacheError, match="of 2 parts, this one of 3, and of other options or files"):
            take(url, (2, 3), "q")
        assert locks(url) == ["1-of-2"]
    assert locks(url) == []


@pytest.mark.parametrize("part", [None, (1, 2)])
def test_a_killed_run_leaves_a_lock_that_only_writer_removes(url: str, part: tuple[int, int] | None) -> None:
    with holder(url, part, "old") as process:  # type: ignore[arg-type]
        process.send_signal(signal.SIGKILL)
        process.wait()
    with pytest.raises(CacheError, match=rf"process {process.pid}, since .*; if it is dead, .* --only-writer"):
        take(url)
    take(url, only_writer=True)
    assert locks(url) == []


def test_a_part_removes_the_locks_of_dead_parts_of_another_plan_only(url: str) -> None:
    store = RemoteStore(f"{url}.lock")
    store.put("3-of-4", b'{"parts": 4, "plan": "old", "who": "x", "since": "y"}')
    store.put("run", b"{}")
    with writer_lock(url, (1, 2), only_writer=True) as claim:
        claim("p")
        take(url, (2, 2), only_writer=True)
        assert locks(url) == ["1-of-2"]


def test_of_many_that_begin_at_once_one_writes(url: str) -> None:
    script = (
        "import sys; from depthvar.precompute.pipeline.lock import writer_lock\n"
        "with writer_lock(sys.argv[1]): print('mine', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(command, text=True, **pipes) for _ in range(3)]  # type: ignore[call-overload]
    said = [process.stdout.readline() for process in processes]
    assert said.count("mine\n") <= 1
    errors = [process.communicate()[1] for process in processes]
    assert sum("another run is writing it" in error for error in errors) == 3 - said.count("mine\n")
    assert locks(url) == []


def test_a_put_whose_answer_was_lost_is_ours(url: str, proxy: Proxy) -> None:
    lost = iter(["lost"])
    proxy.fault = lambda method, path, _: next(lost, None) if method == "PUT" and path.endswith("/run") else None
    take(url)
    assert next(lost, None) is None
    assert locks(url) == []


@pytest.mark.parametrize("port", [pytest.param("rclone", marks=pytest.mark.slow)], indirect=True)
def test_a_server_that_ignores_conditional_puts_is_refused(url: str, tiny: TinyData) -> None:
    with pytest.raises(CacheError, match=rf"{url}: this server ignores conditional puts .* pass --only-writer"):
        list(pipeline.run(tiny.job(cache=url), execute.serial))
    assert RemoteStore(url).is_empty()
    list(pipeline.run(tiny.job(cache=url), execute.serial, only_writer=True))
    assert next(iter(pipeline.run(tiny.job(cache=url), execute.serial, only_writer=True))).compute == 0  # type: ignore[union-attr]
    assert locks(url) == []


def test_a_folder_needs_no_only_writer(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="only_writer: expected a cache behind a URL, got"):
        take(str(tmp_path / "x.zarr"), only_writer=True)


def test_errors_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adlfs", None)
    with pytest.raises(CacheError, match=re.escape("install depthvar[azure]")):
        RemoteStore("az://container/x.zarr")
