"""Data and caches at a URL, as tests write and compare them."""

from pathlib import Path
from typing import Any

import fsspec

from depthvar.datasets.cache.remote_store import RemoteStore
from depthvar.datasets.cache.store import LocalStore
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.job import Job
from depthvar.precompute.pipeline.lock import writer_lock
from depthvar.precompute.pipeline.plan import Plan


def run(job: Job, **options: Any) -> Plan:
    """Run a job in two threads, and return its plan."""
    events = pipeline.run(job, options.pop("execute", execute.in_threads(2)), **options)
    plan = next(events)
    assert isinstance(plan, Plan)
    list(events)
    return plan


def same(url: str, local: str) -> None:
    """The objects of the cache at a URL are the files of a local one, byte for byte, but for the root."""
    remote, here = RemoteStore(url), LocalStore(local)
    assert sorted(remote.list()) == sorted(here.list())
    assert [path for path in here.list() if path != "zarr.json" and remote.get(path) != here.get(path)] == []


def take(url: str, part: tuple[int, int] | None = None, plan: str = "p", only_writer: bool = False) -> None:
    """Hold the lock of a cache for a moment."""
    with writer_lock(url, part, only_writer) as claim:
        claim(plan)


def locks(url: str) -> list[str]:
    """The locks of a cache that are there."""
    return sorted(RemoteStore(f"{url}.lock").list())


def upload(root: Path, url: str) -> None:
    """Put every file below a folder; not its caches, and not the description."""
    for path in root.rglob("*.*"):
        if path.is_file() and ".zarr" not in str(path) and path.suffix != ".toml":
            put(url, path.relative_to(root).as_posix(), path.read_bytes())


def put(url: str, path: str, content: bytes) -> None:
    """Put one object below a URL."""
    fs, root = fsspec.core.url_to_fs(url)
    fs.pipe_file(f"{root}/{path}", content)
