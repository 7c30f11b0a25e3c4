"""Data and caches at a URL, as tests write and compare them."""

from pathlib import Path
from typing import Any

import fsspec
from object_servers import Proxy
from tiny_data import TinyData, make_depth

from depthvar.datasets.cache.remote_store import RemoteStore
from depthvar.datasets.cache.store import LocalStore
from depthvar.precompute import KernelParams, cache_info, validate
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
    for path in root.rglob("*"):
        if path.is_file() and ".zarr" not in str(path) and path.suffix != ".toml":
            put(url, path.relative_to(root).as_posix(), path.read_bytes())


def put(url: str, path: str, content: bytes) -> None:
    """Put one object below a URL."""
    fs, root = fsspec.core.url_to_fs(url)
    fs.pipe_file(f"{root}/{path}", content)


def live_as_on_disk(url: str, proxy: Proxy, tiny: TinyData) -> list[tuple[str, str]]:
    """Write, keep, grow, prune, check and overwrite a cache as one on disk: equal after each step, and no lock left.

    Returns:
        (method, path) of the requests of a run with nothing to do.
    """
    tiny.shard_frames = 2
    local, there = tiny.job(), tiny.job(cache=url)
    run(local)
    assert run(there).compute == 8
    same(url, local.cache)
    proxy.seen.clear()
    assert run(there).shards == 0
    nothing_to_do = [(method, path) for method, path, _ in proxy.seen]
    tiny.write("b", "009", make_depth(24, 32, 9))
    tiny.age()
    (tiny.root / "a/P0/depth/001.npy").unlink()
    assert run(tiny.job(cache=url), prune=True).pruned == run(tiny.job(), prune=True).pruned == 1
    same(url, local.cache)
    report = validate(url, tiny.root, full=True)
    assert (report.frames, report.findings, report.warnings) == (8, [], [])
    assert cache_info(url)["groups"] == cache_info(local.cache)["groups"]
    for cache in (url, local.cache):
        run(tiny.job(cache=cache, params=KernelParams(window=3)), overwrite=True)
    same(url, local.cache)
    assert locks(url) == []
    return nothing_to_do
