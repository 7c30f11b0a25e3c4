"""Caches and data at gs:// and az://, on fake-gcs-server and Azurite: what tests of s3:// show in more detail."""

import logging
import os
import re
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import object_servers
import pytest
from children import Frames
from click.testing import CliRunner
from lock_holder import holder
from object_servers import SERVERS, Proxy, forget_clients
from remote_caches import live_as_on_disk, locks, put, run, take, upload
from store_credentials import ACCOUNT_KEY, TOKEN, azure_sas
from tiny_data import TinyData, make_depth
from torch.utils.data import DataLoader

from depthvar.datasets import SigmaCache, open_source
from depthvar.datasets.cache.remote_store import RemoteStore
from depthvar.datasets.errors import CacheError, StoreError
from depthvar.precompute import validate
from depthvar.precompute.cli.main import main
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.lock import writer_lock

both = pytest.mark.parametrize("server", ["gs", "az"], indirect=True)


@pytest.fixture(autouse=True)
def no_other_clients() -> Iterator[None]:
    """Leave no client to the tests of other files."""
    yield
    forget_clients()


@pytest.fixture
def tiny(tiny: TinyData) -> TinyData:
    tiny.age()
    return tiny


@pytest.fixture
def place(server: tuple[str, int], proxy: Proxy) -> str:
    """A place behind the proxy where nothing is yet."""
    return f"{server[0]}://bucket/{uuid.uuid4().hex}"


@pytest.fixture
def url(place: str) -> str:
    """A cache that is not there yet."""
    return f"{place}/sigma_Z2.zarr"


def typed(*words: str) -> Any:
    return CliRunner().invoke(main, [*words])


# --- bytes


@both
def test_parts_of_an_object_are_those_of_its_bytes(url: str) -> None:
    store = RemoteStore(url)
    for content in (b"0123456789", b""):
        store.put("a/b", content)
        assert store.get("a/b") == content
        for start, stop in ((0, 4), (2, 5), (5, 30), (3, None), (20, 30), (-4, None), (-40, None)):
            assert store.get("a/b", start, stop) == content[start:stop]
    assert store.get("a/c") is store.get("a/c", 1, 2) is store.get("a/c", -4) is None
    assert list(RemoteStore(f"{url}.lock").list()) == []
    assert RemoteStore(f"{url}.lock").is_empty()
    assert not store.is_empty()


@both
def test_a_bucket_that_is_not_there(place: str, tiny: TinyData) -> None:
    url = f"{place.partition('://')[0]}://no-such-bucket/x.zarr"
    assert list(RemoteStore(url).list()) == []
    assert RemoteStore(url).get("zarr.json") is None
    with pytest.raises(CacheError, match=rf"^{url}\.lock/probe-\w+: cannot be created: .*; fix that and try again$"):
        take(url)


# --- a cache


@both
def test_a_cache_is_written_grown_pruned_checked_and_overwritten(url: str, proxy: Proxy, tiny: TinyData) -> None:
    requests = live_as_on_disk(url, proxy, tiny)
    writes = [method for method, path in requests if method not in ("GET", "HEAD") and path != "/token"]
    assert len(writes) == 5  # the lock: two to try the server, one to create, and both removed


@both
@pytest.mark.parametrize("way", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_of_a_loader_read_what_the_local_disk_gives(url: str, tiny: TinyData, way: str) -> None:
    for job in (tiny.job(), tiny.job(cache=url)):
        run(job)
    here, remote = SigmaCache(tiny.job().cache), SigmaCache(url)
    keys = remote.keys() * 2
    view = (20, 20, 8, 6), (12, 16)
    np.testing.assert_array_equal(remote.sample(keys[0], *view), here.sample(keys[0], *view))  # clients before the fork
    loader = DataLoader(Frames(remote, keys), batch_size=None, num_workers=2, multiprocessing_context=way)
    for key, values in zip(keys, loader, strict=True):
        np.testing.assert_array_equal(values.numpy(), here.read(key))


# --- data


@both
def test_the_cache_of_data_there_is_that_of_the_folder(place: str, proxy: Proxy, tiny: TinyData) -> None:
    upload(tiny.root, place)
    put(place, "tiny.toml", tiny.toml.read_bytes())
    assert open_source(str(tiny.toml), place).keys() == tiny.source().keys()
    words = ["run", "--strides", "1,2,3", "--dataset", f"{place}/tiny.toml"]
    assert "8 frames computed" in typed(*words).output
    proxy.seen.clear()
    assert "0 frames computed, 8 unchanged" in typed(*words).output
    assert not any(".npy" in path and "prefix=" not in path for _, path, _ in proxy.seen)  # listed, and not read
    report = validate(f"{place}/sigma_Z2.zarr", full=True)
    assert (report.findings, report.warnings, report.recomputed) == ([], [], 8)
    np.save(tiny.root / "b/depth/002.npy", make_depth(24, 32, 50))
    upload(tiny.root, place)
    assert "3 frames computed, 5 unchanged" in typed(*words).output  # a shard
    run(tiny.job())
    here, there = SigmaCache(tiny.job().cache), SigmaCache(f"{place}/sigma_Z2.zarr")
    for key in here.keys():
        np.testing.assert_array_equal(there.read(f"{place}/{key}"), here.read(key))


# --- the lock


@both
def test_a_second_writer_is_refused_and_told_whose_lock_it_is(url: str, tiny: TinyData) -> None:
    with writer_lock(url):
        with pytest.raises(CacheError, match=rf"{url}: another run is writing it \(.*, process {os.getpid()}, since 2"):
            list(pipeline.run(tiny.job(cache=url), execute.serial))
        assert locks(url) == ["run"]
    with writer_lock(url, (1, 2)) as claim:
        claim("p")
        take(url, (2, 2))
        with pytest.raises(CacheError, match="1-of-2 belongs to a run of other options or files; give every part"):
            take(url, (2, 2), "q")
    assert locks(url) == []


@both
def test_a_killed_run_leaves_a_lock_that_only_writer_removes(url: str, tiny: TinyData) -> None:
    with holder(url) as process:  # type: ignore[arg-type]
        process.send_signal(signal.SIGKILL)
        process.wait()
    answer = typed("run", "--dataset", str(tiny.toml), "--out", url)
    assert re.search(
        rf"^error: {url}: .*process {process.pid}, since .*; if it is dead, .* --only-writer", answer.output
    )
    assert "8 frames computed" in typed("run", "--dataset", str(tiny.toml), "--out", url, "--only-writer").output
    assert locks(url) == []


@both
def test_a_server_that_ignores_conditional_puts_is_refused(
    url: str, server: tuple[str, int], proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    if server[0] == "az":  # a key would sign the condition
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azure_sas(proxy.port))
        forget_clients()
    take(url)
    proxy.fault = lambda *_: "unconditional"
    with pytest.raises(CacheError, match=rf"{url}: this server ignores conditional puts .* pass --only-writer"):
        take(url)
    take(url, only_writer=True)
    assert locks(url) == []


@pytest.mark.parametrize("fault", ["lost", "drop", 503])
@pytest.mark.parametrize("server", ["gs", pytest.param("az", marks=pytest.mark.slow)], indirect=True)
def test_a_request_that_fails_is_made_again(url: str, server: tuple[str, int], proxy: Proxy, fault: int | str) -> None:
    left = [fault]
    proxy.fault = lambda method, path, _: left.pop() if left and method in ("PUT", "POST") else None
    store = RemoteStore(url)
    assert store.create("first", b"mine")  # the answer to our first attempt may have been lost
    assert left == []
    assert not store.create("first", b"yours")
    left.append("cut")
    proxy.fault = lambda method, path, _: left.pop() if left and method == "GET" and "first" in path else None
    assert store.get("first") == b"mine"
    assert left == []


# --- credentials


@pytest.fixture
def secrets(
    request: pytest.FixtureRequest, server: tuple[str, int], proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """What must be nowhere: the key of an account and what Google gives for it, or a signature for Azure."""
    if server[0] == "gs":
        return [TOKEN, Path(os.environ["GOOGLE_APPLICATION_CREDENTIALS"]).read_text().split("\\n")[1]]
    if request.param == "key":
        return [ACCOUNT_KEY]
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text := azure_sas(proxy.port))
    forget_clients()
    return [text.rpartition("sig=")[2]]


@pytest.mark.parametrize(("server", "secrets"), [("gs", "key"), ("az", "key"), ("az", "signature")], indirect=True)
def test_credentials_are_nowhere(
    place: str, url: str, proxy: Proxy, tiny: TinyData, secrets: list[str], capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    upload(tiny.root, place)
    words = ["run", "--dataset", str(tiny.toml), "--root", place, "--out", url, "--only-writer", "--json"]
    answers = [typed(*line) for line in (words, ["info", url], ["validate", url])]
    assert [answer.exit_code for answer in answers] == [0, 0, 0]
    for fault, message in ((403, "the store refuses access"), (400, "fix that and try again")):
        proxy.fault = lambda method, path, _, fault=fault: fault if path != "/token" else None  # type: ignore[misc]
        for name in ("azure", "gcsfs", "adlfs"):
            logging.getLogger(name).setLevel(logging.INFO)
        with pytest.raises(CacheError, match=rf"^{url}/zarr\.json: cannot be read: .*{message}") as caught:
            SigmaCache(url).keys()
        answers += [typed(*words)]
        assert answers[-1].exit_code == 1
        assert message in answers[-1].output
        answers.append(caught.value)  # type: ignore[arg-type]
    said = "".join(str(getattr(answer, "output", answer)) for answer in answers) + "".join(capfd.readouterr())
    said += caplog.text + repr(tiny.job(cache=url)) + repr(SigmaCache(url)) + repr(open_source(str(tiny.toml), place))
    proxy.fault = None
    store = RemoteStore(place)
    stored = b"".join(store.get(path) or b"" for path in store.list())
    assert store.get("sigma_Z2.zarr/zarr.json")
    for secret in secrets:
        assert len(secret) > 12
        assert secret not in said
        assert secret.encode() not in stored


@both
def test_without_credentials_the_message_says_where_they_come_from(
    url: str,
    server: tuple[str, int],
    proxy: Proxy,
    tiny: TinyData,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in [name for name in os.environ if name.startswith(("AZURE_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tiny.root))  # not those of the user who runs this
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    forget_clients()
    proxy.fault = lambda *_: 401
    answer = typed("run", "--dataset", str(tiny.toml), "--out", url)
    source = {"gs": "GOOGLE_APPLICATION_CREDENTIALS", "az": "AZURE_STORAGE_CONNECTION_STRING"}[server[0]]
    assert re.match(
        rf"error: {url}\S*: .*give (credentials that allow it|them) by {source}.*\(docs/object-stores\.md\)",
        answer.output,
    )
    assert answer.output.count("\n") == 1
    assert caplog.records == []  # a traceback on the user's screen
    with pytest.raises(StoreError, match=f"give (credentials that allow it|them) by {source}"):
        open_source(str(tiny.toml), url.rpartition("/")[0]).keys()


@pytest.mark.parametrize("server", ["az"], indirect=True)
def test_the_account_in_a_url_is_no_credential(proxy: Proxy) -> None:
    assert RemoteStore("abfss://bucket@depthvar.dfs.core.windows.net/x").url.endswith(
        "@depthvar.dfs.core.windows.net/x"
    )


# --- servers that are not there


@pytest.mark.parametrize("name", ["gs", "az"])
@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_without_a_server_the_tests_are_skipped_and_fail_in_ci(
    name: str, ci: str, outcome: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(object_servers, "BIN", tmp_path)
    monkeypatch.setattr(object_servers, "find_spec", lambda name: None)
    with pytest.raises(outcome, match=rf"{name}:// was not tried: it needs "):
        SERVERS[name](tmp_path)
