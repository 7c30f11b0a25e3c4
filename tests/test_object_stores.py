"""Caches in real object stores on loopback: the lock, runs, readers in workers, faults, credentials."""

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from children import Frames
from click.testing import CliRunner
from lock_holder import holder
from object_servers import Fault, Proxy, forget_clients
from remote_caches import live_as_on_disk, locks, run, same, take
from store_credentials import KEY, SECRET
from tiny_data import TinyData, make_depth
from torch.utils.data import DataLoader

from depthvar.datasets.cache.codec import with_crc
from depthvar.datasets.cache.remote_store import RemoteStore
from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import CacheError, FrameNotFoundError, ParameterError
from depthvar.datasets.remote import CONNECTIONS
from depthvar.precompute import validate
from depthvar.precompute.cli.main import main
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.lock import writer_lock


@pytest.fixture
def tiny(tiny: TinyData) -> TinyData:
    tiny.age()
    return tiny


@pytest.fixture
def url(proxy: Proxy) -> str:
    """A cache that is not there yet, behind the proxy."""
    return f"s3://bucket/{uuid.uuid4().hex}/sigma_Z2.zarr"


both = pytest.mark.parametrize("server", ["moto", pytest.param("seaweedfs", marks=pytest.mark.slow)], indirect=True)


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


@pytest.mark.parametrize("part", [None, pytest.param((1, 2), marks=pytest.mark.slow)])
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


@pytest.mark.slow
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


@pytest.mark.parametrize("server", [pytest.param("rclone", marks=pytest.mark.slow)], indirect=True)
def test_a_server_that_ignores_conditional_puts_is_refused(url: str, tiny: TinyData) -> None:
    with pytest.raises(CacheError, match=rf"{url}: this server ignores conditional puts .* pass --only-writer"):
        list(pipeline.run(tiny.job(cache=url), execute.serial))
    assert RemoteStore(url).is_empty()
    list(pipeline.run(tiny.job(cache=url), execute.serial, only_writer=True))
    assert next(iter(pipeline.run(tiny.job(cache=url), execute.serial, only_writer=True))).compute == 0  # type: ignore[union-attr]
    assert locks(url) == []


def test_clear_goes_on_after_a_killed_run(url: str, tiny: TinyData) -> None:
    run(tiny.job(cache=url))
    RemoteStore(url).delete("b/sigma_Z2/c.0.0.0")
    with holder(url) as process:  # type: ignore[arg-type]
        process.kill()
        process.wait()
    with pytest.raises(CacheError, match="the same command with --only-writer removes its lock"):
        validate(url, tiny.root, clear=True)
    answer = CliRunner().invoke(main, ["validate", url, "--root", str(tiny.root), "--clear", "--only-writer"])
    assert answer.exit_code == 3, answer.output
    assert locks(url) == []
    assert run(tiny.job(cache=url)).compute == 3
    assert validate(url, tiny.root, full=True).findings == []


def test_only_writer_without_clear_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"^only_writer: expected clear with it, as only that writes, got True"):
        validate(tmp_path, only_writer=True)


def test_a_folder_needs_no_only_writer(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="only_writer: expected a cache behind a URL, got"):
        take(str(tmp_path / "x.zarr"), only_writer=True)


def test_errors_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adlfs", None)
    with pytest.raises(CacheError, match=re.escape("pip install 'depthvar[azure]'")):
        RemoteStore("abfs://container/x.zarr")


def test_without_credentials_the_message_says_where_they_come_from(
    url: str, tiny: TinyData, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    forget_clients()
    answer = CliRunner().invoke(main, ["run", "--dataset", str(tiny.toml), "--out", url])
    assert re.fullmatch(
        rf"error: {url}\.lock/probe-\w+: cannot be created: the store refuses access \(Unable to locate credentials\); "
        r"give credentials that allow it by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the machine's "
        r"role \(docs/object-stores\.md\)\n",
        answer.output,
    )


@both
def test_a_cache_is_written_grown_pruned_checked_and_overwritten(url: str, proxy: Proxy, tiny: TinyData) -> None:
    requests = live_as_on_disk(url, proxy, tiny)
    assert {method for method, path in requests if ".lock" not in path} == {"GET"}
    assert not any("x-amz-copy-source" in path for _, path, _ in proxy.seen)  # nothing is renamed


def watched_puts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """("begin" or "end", path) of every put to a cache, each of which lasts a while."""
    put, events = RemoteStore.put, []

    def slow(store: RemoteStore, path: str, data: bytes) -> None:
        if ".lock" not in store.url:
            events.append(("begin", path))
            time.sleep(random.uniform(0, 0.02))
        put(store, path, data)
        if ".lock" not in store.url:
            events.append(("end", path))

    monkeypatch.setattr(RemoteStore, "put", slow)
    return events


def at_once(events: list[tuple[str, str]]) -> int:
    """The most puts that were under way at one moment."""
    return max(np.cumsum([1 if kind == "begin" else -1 for kind, _ in events]))


def test_the_digests_of_a_shard_are_put_first_and_last_and_the_rest_at_once(
    url: str, tiny: TinyData, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tiny.job(cache=url))
    tiny.write("b", "000", make_depth(24, 32, 9))
    events = watched_puts(monkeypatch)
    run(tiny.job(cache=url), execute=execute.serial)
    digest = ("begin", "b/digest/c.0.0"), ("end", "b/digest/c.0.0")
    assert tuple(events[:2]) == tuple(events[-2:]) == digest
    arrays = {"sigma_Z2", "sigma_Z2_s2", "sigma_Z2_s3", "key", "intrinsics", "source_stat"}
    assert {path.split("/")[1] for _, path in events[2:-2]} == arrays
    assert 2 <= at_once(events) <= len(arrays)


def test_groups_are_made_at_once_and_their_digests_last(
    url: str, proxy: Proxy, tiny: TinyData, monkeypatch: pytest.MonkeyPatch
) -> None:
    for sequence in "cdefgh":
        tiny.write(sequence, "000", make_depth(24, 32, 1))
    events = watched_puts(monkeypatch)
    run(tiny.job(cache=url), limit=1)
    made = [event for event in events if event[1].endswith("/zarr.json")]
    last = [number for number, (_, path) in enumerate(made) if "/digest/" in path]
    assert last == list(range(last[0], len(made)))
    assert 2 <= at_once(made) <= CONNECTIONS
    assert lists(proxy) == []  # nothing was there


def lists(proxy: Proxy) -> list[str]:
    """The requests that list objects of a folder in a cache."""
    return [path for _, path, _ in proxy.seen if "list-type" in path and re.search(r"sigma_Z2\.zarr%2F[^&]", path)]


def test_what_a_dead_run_left_of_a_new_group_is_removed(url: str, proxy: Proxy, tiny: TinyData) -> None:
    run(tiny.job(cache=url))
    tiny.write("c", "000", make_depth(24, 32, 1))
    tiny.age()
    store = RemoteStore(url)
    for path in ("c/zarr.json", "c/sigma_Z2/c.0.0.0", "c/digest/c.0.0"):
        store.put(path, b"half")
    proxy.seen.clear()
    assert run(tiny.job(cache=url), limit=1).compute == 1
    assert len(lists(proxy)) == 1
    run(tiny.job())
    same(url, tiny.job().cache)


def test_the_groups_of_a_cache_are_read_at_once(url: str, proxy: Proxy, tiny: TinyData) -> None:
    run(tiny.job(cache=url))
    all_of_them = threading.Barrier(2)

    def wait(method: str, path: str, _: str) -> None:
        if method == "GET" and re.search(r"/(a/P0|b)/zarr.json", path):
            all_of_them.wait(timeout=20)

    proxy.fault = wait
    assert run(tiny.job(cache=url)).shards == 0
    assert len(SigmaCache(url).keys()) == 8


@pytest.mark.slow
@both
def test_parts_share_a_cache(url: str, tiny: TinyData) -> None:
    tiny.shard_frames = 2
    for index in (2, 1, 3):
        run(tiny.job(cache=url), part=(index, 3))
    run(tiny.job())
    assert run(tiny.job(cache=url)).compute == 0
    report = validate(url, tiny.root, full=True)
    assert (report.frames, report.findings) == (8, [])


KILLED = """
import sys, depthvar.precompute.pipeline.write as write
from depthvar.datasets import open_source
from depthvar.precompute.pipeline import execute, run
from depthvar.precompute.pipeline.job import Job
from depthvar.datasets.cache.remote_store import RemoteStore

put, puts = RemoteStore.put, []
def stop(self, path, data):
    if path.split("/")[-1] != "zarr.json":
        puts.append(path)
        if len(puts) == int(sys.argv[3]):
            print("now", flush=True)
            sys.stdin.read()
    put(self, path, data)
RemoteStore.put = stop
list(run.run(Job(sys.argv[1], open_source(sys.argv[2]), strides=(1, 2, 3), shard_frames=2), execute.serial))
"""


@pytest.mark.slow
@pytest.mark.parametrize("puts", [1, 12, 15])
def test_a_killed_run_goes_on_where_it_stopped(url: str, tiny: TinyData, puts: int) -> None:
    command = [sys.executable, "-c", KILLED, url, str(tiny.toml), str(puts)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"now\n"
        process.kill()
    with pytest.raises(CacheError, match="another run is writing it"):
        run(tiny.job(cache=url))
    tiny.shard_frames = 2
    run(tiny.job(cache=url), only_writer=True)
    run(tiny.job())
    report = validate(url, tiny.root, full=True)
    assert (report.frames, report.findings) == (8, [])
    same(url, tiny.job().cache)


ONE_RUN = """
import sys
from depthvar.datasets import open_source
from depthvar.precompute.pipeline import execute, run
from depthvar.precompute.pipeline.job import Job
list(run.run(Job(sys.argv[1], open_source(sys.argv[2]), strides=(1, 2, 3)), execute.serial))
"""


@both
@pytest.mark.parametrize(
    ("end", "number"), [("/b/sigma_Z2/c.0.0.0", 1), ("/b/digest/c.0.0", 2), ("/b/key/zarr.json", 1)]
)
def test_a_run_killed_in_the_middle_of_a_put_leaves_what_was_there(
    url: str, proxy: Proxy, tiny: TinyData, end: str, number: int
) -> None:
    if "zarr.json" not in end:
        run(tiny.job(cache=url))
        tiny.write("b", "000", make_depth(24, 32, 9))
        for each in (tiny.root / "b").rglob("000.*"):  # changed, and old: runs differ by the age of a file
            os.utime(each, (1.7e9, 1.7e9))
    path, puts = end[1:], 0
    before = RemoteStore(url).get(path)

    def stall(method: str, asked: str, _: str) -> str | None:
        nonlocal puts
        puts += method == "PUT" and asked.endswith(end)
        return "stall" if puts == number and asked.endswith(end) else None

    proxy.fault = stall
    with subprocess.Popen([sys.executable, "-c", ONE_RUN, url, str(tiny.toml)]) as process:
        assert proxy.stalled.wait(120)
        process.kill()
    proxy.fault = None
    time.sleep(0.5)  # for a server that would take the half for the whole
    now = RemoteStore(url).get(path)
    if number == 2:  # the digests were cleared before
        assert now is not None
        assert now == with_crc(bytes(len(now) - 4))
    else:
        assert now == before
    readable = SigmaCache(url).keys()
    assert "b/depth/000.npy" not in readable
    assert before is None or "a/P0/depth/001.npy" in readable
    run(tiny.job(cache=url), only_writer=True)
    run(tiny.job())
    assert validate(url, tiny.root, full=True).findings == []
    same(url, tiny.job().cache)


@pytest.mark.parametrize("way", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_of_a_loader_read_what_the_local_disk_gives(url: str, tiny: TinyData, way: str) -> None:
    for job in (tiny.job(), tiny.job(cache=url)):
        run(job)
    here, remote = SigmaCache(tiny.job().cache), SigmaCache(url)
    keys = remote.keys() * 3  # the parent has clients before it forks
    loader = DataLoader(Frames(remote, keys), batch_size=None, num_workers=2, multiprocessing_context=way)
    for key, values in zip(keys, loader, strict=True):
        np.testing.assert_array_equal(values.numpy(), here.read(key))


def test_credentials_are_nowhere(url: str, tiny: TinyData, capfd: pytest.CaptureFixture[str], proxy: Proxy) -> None:
    arguments = ["run", "--dataset", str(tiny.toml), "--out", url, "--only-writer", "--json"]
    answers = [CliRunner().invoke(main, args) for args in (arguments, ["info", url], ["validate", url])]
    assert [answer.exit_code for answer in answers] == [0, 0, 0]
    proxy.fault = lambda *_: 403
    with pytest.raises(CacheError, match=r"zarr\.json: cannot be read") as caught:
        SigmaCache(url).keys()
    answers.append(CliRunner().invoke(main, arguments))
    assert answers[-1].exit_code == 1
    said = "".join(answer.output for answer in answers)
    said += "".join((str(caught.value), *capfd.readouterr(), repr(tiny.job(cache=url)), repr(SigmaCache(url))))
    proxy.fault = None
    stored = b"".join(RemoteStore(url).get(path) or b"" for path in RemoteStore(url).list())
    for secret in (KEY, SECRET):
        assert secret not in said
        assert secret.encode() not in stored


def view(stride: float) -> tuple[list[float], tuple[int, int]]:
    """Intrinsics and size of a view of a whole frame of 24×32, at so many native pixels a pixel."""
    height, width = int(24 / stride), int(32 / stride)
    return [40 / stride, 40 / stride, width / 2 - 0.5, height / 2 - 0.5], (height, width)


def test_a_sample_is_one_request_or_two_and_the_rest_is_read_once(url: str, proxy: Proxy, tiny: TinyData) -> None:
    run(tiny.job(cache=url))
    cache, here = SigmaCache(url), SigmaCache(tiny.job().cache)
    run(tiny.job())
    keys = cache.keys()
    for stride, requests in ((1, 1), (2, 1), (1.45, 2)):
        for key in keys:
            cache.sample(key, *view(stride))
        proxy.seen.clear()
        for key in keys:
            np.testing.assert_array_equal(cache.sample(key, *view(stride)), here.sample(key, *view(stride)))
        assert len(proxy.seen) == requests * len(keys)
        assert all(method == "GET" and span for method, _, span in proxy.seen)
    proxy.seen.clear()
    SigmaCache(url).read(keys[0])
    assert len(proxy.seen) == 11  # the root twice, its group, the digests thrice, three columns, an index, a map


def test_the_two_levels_of_a_sample_are_asked_for_at_once(url: str, proxy: Proxy, tiny: TinyData) -> None:
    run(tiny.job(cache=url))
    cache = SigmaCache(url)
    both, met = threading.Barrier(2), []

    def wait(*_: str) -> None:
        met.append(both.wait(timeout=20))

    for key in cache.keys()[:2]:  # of one group: for the first one, indexes and digests are read, too
        proxy.fault = wait
        cache.sample(key, *view(1.45))
        proxy.fault = None
    assert len(met) == 8


def looked_at(reader: SigmaCache, key: str) -> list[Any]:
    """What a reader gives of a frame: a map, and a view of another stride, which needs the intrinsics, too."""
    return [reader.read(key), reader.sample(key, *view(2))]


def test_a_reader_sees_one_state_of_a_frame_after_every_put_of_a_run(
    url: str, tiny: TinyData, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tiny.job(cache=url))
    changed, kept = (f"a/P0/depth/{frame}.npy" for frame in ("001", "003"))
    reader = SigmaCache(url)
    before = {key: looked_at(reader, key) for key in (changed, kept)}
    pinned = {key: SigmaCache(url) for key in before}  # one that has read the frame, for each: none opens for another
    for key, each in pinned.items():
        looked_at(each, key)
    opened = [SigmaCache(url) for _ in range(20)]  # others that know only where the frames are
    for each in opened:
        each.keys()
    tiny.write("a/P0", "001", np.full((24, 32), 3, np.float32), fx=50.0)  # packs smaller: what follows it moves
    tiny.write("a/P0", "005", make_depth(24, 32, 9))
    (tiny.root / kept).unlink()  # its row is kept
    seen: list[tuple[str, list[Any]]] = []
    put = RemoteStore.put

    def watched(store: RemoteStore, path: str, data: bytes) -> None:
        put(store, path, data)
        if ".lock" not in store.url:
            for key, each in (*pinned.items(), (changed, opened.pop())):
                with contextlib.suppress(FrameNotFoundError):  # computed just now
                    seen.append((key, looked_at(each, key)))

    monkeypatch.setattr(RemoteStore, "put", watched)
    run(tiny.job(cache=url), execute=execute.serial)
    monkeypatch.undo()
    after = {key: looked_at(SigmaCache(url), key) for key in before}
    for key, values in seen:
        for now, old, new in zip(values, before[key], after[key], strict=True):
            assert np.array_equal(now, old) or np.array_equal(now, new)
    last = dict(seen)
    for key in before:
        assert all(map(np.array_equal, last[key], after[key]))
    assert not any(map(np.array_equal, before[changed], after[changed]))
    assert all(map(np.array_equal, before[kept], after[kept]))


def faults(kinds: list[int | str]) -> Fault:
    """Each kind once, at the next request that is about an object."""
    left = list(kinds)

    def fault(method: str, path: str, span: str) -> int | str | None:
        if not left or "list-type" in path or (left[0] == "cut" and method != "GET"):
            return None
        return left.pop(0)

    return fault


def test_requests_that_fail_are_made_again(url: str, proxy: Proxy, tiny: TinyData) -> None:
    run(tiny.job())
    proxy.fault = faults([500, "drop", 503, "lost"])
    run(tiny.job(cache=url))
    proxy.fault = faults(["cut", 503, "drop", "cut"])
    same(url, tiny.job().cache)
    assert proxy.fault("GET", "x", "") is None  # all of them were met
    assert locks(url) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@both
def test_a_server_that_fails_often_costs_only_time(url: str, proxy: Proxy, tiny: TinyData, seed: int) -> None:
    tiny.shard_frames = 2
    run(tiny.job())
    luck = random.Random(seed)
    proxy.fault = lambda method, *_: (
        luck.choice([500, 503, "drop", "lost", "cut" if method == "GET" else 500]) if (luck.random() < 0.1) else None
    )
    run(tiny.job(cache=url))
    same(url, tiny.job().cache)
    assert validate(url, tiny.root, full=True).findings == []


@pytest.mark.slow
@pytest.mark.parametrize("fault", [503, "drop"])
def test_a_server_that_stays_away_is_one_clear_error(url: str, proxy: Proxy, tiny: TinyData, fault: int | str) -> None:
    tiny.shard_frames = 2
    puts = 0

    def fail(method: str, path: str, _: str) -> int | str | None:
        nonlocal puts
        puts += method == "PUT" and "/c." in path
        return fault if puts > 12 else None

    proxy.fault = fail
    with pytest.raises(CacheError, match=rf"^{url}/\S+: cannot be \w+: .*; fix that and try again$"):
        run(tiny.job(cache=url), execute=execute.serial)
    proxy.fault = None
    run(tiny.job(cache=url), only_writer=True)
    assert validate(url, tiny.root, full=True).findings == []
