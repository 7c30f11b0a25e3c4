"""What SECURITY.md promises: credentials of a URL are neither shown nor stored, and Dask listens on localhost."""

import io
import logging
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import psutil
import pytest
from click.testing import CliRunner
from tiny_data import TinyData

from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import CacheError, DepthVarError, FrameNotFoundError, SourceError, hide_credentials
from depthvar.precompute import KernelParams
from depthvar.precompute.cli.main import main
from depthvar.precompute.pipeline import cluster, execute
from depthvar.precompute.pipeline import run as pipeline

ROOT = Path(__file__).parents[1]
SECRETS = ("AKIAEXAMPLE", "se/cr+et", "se%2Fcret", "t0ken")
URLS = {
    "s3://AKIAEXAMPLE:se/cr+et@bucket/c.zarr": "s3://***@bucket/c.zarr",
    "https://AKIAEXAMPLE:se%2Fcret@host:1/c.zarr?sig=t0ken&x=1": "https://***@host:1/c.zarr?***",
    "simplecache::s3://AKIAEXAMPLE@bucket/c": "simplecache::s3://***@bucket/c",
    "az://container/c.zarr?sv=1&sig=t0ken": "az://container/c.zarr?***",
    "AccountName=a;AccountKey=se/cr+et==;x=y": "AccountName=a;AccountKey=***;x=y",
    "BlobEndpoint=http://h/a;SharedAccessSignature=sv=1&sig=t0ken": "BlobEndpoint=http://h/a;SharedAccessSignature=***",
    "/tokeninfo?access_token=t0ken": "/tokeninfo?access_token=***",
    "GET /bucket/c?sv=1&sig=se%2Fcret": "GET /bucket/c?sv=1&sig=***",
}


@pytest.mark.parametrize(("url", "shown"), URLS.items())
def test_credentials_are_hidden(url: str, shown: str) -> None:
    for before, after in (("", ""), ("x ", ": y"), ("'", "', 'z'"), ('{"cache": "', '"}')):
        assert hide_credentials(f"{before}{url}{after}") == f"{before}{shown}{after}"
    for kind in (DepthVarError, CacheError, SourceError, FrameNotFoundError):
        error = kind(f"{url}: no cache")
        for text in (str(error), repr(error), str(error.args), str(pickle.loads(pickle.dumps(error)))):
            assert shown in text
            assert not any(secret in text for secret in SECRETS)


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/a/P000@480x752",
        "/data/a@b: c?d",
        "tcp://127.0.0.1:8786",
        "memory://x",
        "file:///data/a",
        "σ² @ 3?",
        "a/sig=0.5/0.npy",
    ],
)
def test_what_holds_no_credentials_is_left_alone(text: str) -> None:
    assert hide_credentials(text) == text


@pytest.mark.parametrize("kind", [DepthVarError, CacheError, SourceError, FrameNotFoundError])
def test_an_error_is_one_line_that_steers_no_terminal(kind: type[DepthVarError]) -> None:
    error = kind("a\nb\x1b[2J\x9bm\u2028\ud800: σ")
    assert str(error) == r"a\nb\x1b[2J\x9bm\u2028\ud800: σ"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    str(error).encode()


@pytest.fixture
def url() -> Iterator[str]:
    """A cache in fsspec's memory, behind a URL with a user and a password."""
    fsspec.filesystem("memory").store.clear()  # what other tests have left
    yield "memory://AKIAEXAMPLE:se/cr+et@bucket/cache.zarr"
    fsspec.filesystem("memory").store.clear()


def assert_no_secret(text: str) -> None:
    assert text
    for secret in SECRETS:
        assert secret not in text


def test_no_command_shows_or_stores_the_credentials_of_the_cache(tiny: TinyData, url: str) -> None:
    run = ["run", "--dataset", str(tiny.toml), "--root", str(tiny.root), "--out", url, "--strides", "1,2"]
    commands = {
        0: [run, [*run, "--json"], [*run, "--dry-run"], [*run, "--dry-run", "--json"], ["info", url],
            ["info", url, "--json"], ["validate", url, "--root", str(tiny.root), "--full"], ["validate", url],
            ["validate", url, "--json", "--recompute", "0"]],
        1: [[*run, "--window", "3"], ["info", f"{url}x"], ["validate", f"{url}x", "--recompute", "0"],
            ["info", "s3://AKIAEXAMPLE:se/cr+et@bucket/c"], ["info", "https://AKIAEXAMPLE:se/cr+et@[::1]:1/c?t0ken=t0ken"]],
    }  # fmt: skip
    for code, typed in commands.items():
        for words in typed:
            result = CliRunner().invoke(main, words)
            assert result.exit_code == code, (words, result.output, result.exception)
            assert_no_secret(result.output)
            assert "://***@" in result.output
    stored = fsspec.filesystem("memory").store
    objects = {path: file.getvalue() for path, file in stored.items()}
    assert any(path.endswith("digest/zarr.json") for path in objects)
    for path, content in objects.items():
        assert path.startswith("/AKIAEXAMPLE")  # memory takes what is before the @ for a folder; a bucket does not
        for secret in SECRETS:
            assert secret.encode() not in content, path
    assert not list(Path.cwd().glob("*.lock"))
    assert not list(tiny.root.rglob("*.lock*"))


def test_the_reader_and_the_job_do_not_show_them(
    tiny: TinyData, url: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    job = tiny.job(cache=url)
    assert_no_secret(repr(job))  # Dask logs the arguments of a task that fails
    list(pipeline.run(job, execute.serial))
    reader = SigmaCache(url)
    assert_no_secret(repr(reader))
    assert_no_secret(str(reader.attributes))
    for act in (
        lambda: reader.read("b/depth/9.npy"),
        lambda: list(pipeline.run(tiny.job(cache=url, params=KernelParams(window=3)), execute.serial)),
    ):
        with pytest.raises(CacheError) as caught:
            act()
        assert_no_secret(str(caught.value))
    assert not any(secret in caplog.text + "".join(capsys.readouterr()) for secret in SECRETS)


def test_the_log_of_the_command_line_hides_them(tiny: TinyData, url: str) -> None:
    CliRunner().invoke(main, ["info", url])  # sets the logger up
    (handler,) = logging.getLogger("depthvar").handlers
    assert isinstance(handler, logging.StreamHandler)
    stream = io.StringIO()
    handler.setStream(stream)
    logging.getLogger("depthvar").warning("%s was begun", url)
    assert stream.getvalue() == "memory://***@bucket/cache.zarr was begun\n"


def test_dask_of_our_own_listens_on_this_machine_only() -> None:
    me = psutil.Process()
    before = {connection.laddr for connection in me.net_connections() if connection.status == psutil.CONN_LISTEN}
    with cluster.connected(2, None) as client:
        client.wait_for_workers(2)
        listening: list[Any] = []
        for process in (me, *me.children(recursive=True)):
            listening += [c.laddr for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
        ours = [address for address in listening if address not in before]
        assert len(ours) >= 4  # scheduler, its dashboard, two workers
        assert {address.ip for address in ours} <= {"127.0.0.1", "::1"}


def test_no_code_of_ours_unpickles_or_evaluates() -> None:
    """Numba's own index of compiled kernels next to this package is a pickle; data sets and caches hold none."""
    banned = re.compile(r"\b(np\.load|allow_pickle|pickle\.loads?|eval|exec|yaml|marshal|shelve)\s*[(=.]")
    files = [path for folder in ("datasets", "precompute", "loss") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 40
    assert [path.name for path in files if banned.search(path.read_text())] == []
