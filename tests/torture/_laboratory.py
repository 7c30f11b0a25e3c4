"""A small but complete cache to be damaged, and all that is known of it while nothing is wrong."""

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray
from tiny_data import TinyData, make_depth

from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import DepthVarError
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.shards import Task
from depthvar.precompute.pipeline.worker import Job
from depthvar.precompute.validation.finding import Finding
from depthvar.precompute.validation.validate import validate

SHARD_FRAMES = 2
INDEX_BYTES = 16 * SHARD_FRAMES + 4
BOOKKEEPING = ("key", "digest", "intrinsics", "source_stat")
GONE = "b/key/c.1.0"  # its second row is of the frame that was removed

Shard = tuple[str, int]  # group, first row


class Laboratory:
    """A tiny data set, its cache, and the bytes and values that this cache has while nothing is wrong.

    Three groups, one of another frame size, six shards, and a row whose frame was removed.
    """

    def __init__(self, folder: Path) -> None:
        self.data = TinyData(folder / "data", SHARD_FRAMES)
        for sequence, count in (("a/P0", 5), ("b", 3)):
            for index in range(count):
                self.data.write(sequence, f"{index:03}", make_depth(24, 32, index), fx=40.0 + index)
        self.data.write("b", "wide", make_depth(16, 48, 9))
        gone = self.data.root / self.data.write("b", "gone", make_depth(24, 32, 8))
        self.age()
        self.cache = Path(self.job().cache)
        self.run()
        gone.unlink()
        self.run(prune=True)
        self.whole = self.contents()
        self.forgotten = {GONE: _forget(self.whole[GONE])}
        self.keys = self.data.source().keys()
        self.values = read_all(SigmaCache(self.cache), self.keys)
        assert not self.validate(source=True, full=True)  # so whatever has these bytes is right
        self.fresh = self.other("fresh").contents()

    def other(self, name: str, **changes: Any) -> "OtherCache":
        """Write a second cache of the same source."""
        cache = OtherCache(self.data.root.parent / f"{name}.zarr")
        self.run(cache=str(cache.path), **changes)
        return cache

    def age(self) -> None:
        """Make all files old enough for their stat to be trusted."""
        for path in self.data.root.rglob("*"):
            if path.is_file() and ".zarr" not in str(path):
                os.utime(path, (1e9, 1e9))

    def job(self, **changes: Any) -> Job:
        return self.data.job(**({"with_depth": True} | changes))

    def run(self, overwrite: bool = False, prune: bool = False, **changes: Any) -> list[Task]:
        """Run to the end; return the shards that were worked on."""
        seen: list[Task] = []

        def noted(job: Job, tasks: Iterable[Task]) -> Iterator[Any]:
            seen.extend(tasks)
            return execute.serial(job, seen)

        list(pipeline.run(self.job(**changes), noted, overwrite=overwrite, prune=prune))
        return seen

    def validate(self, source: bool = False, **options: Any) -> list[Finding]:
        if not source:
            options["recompute"] = 0
        return validate(self.cache, self.data.source() if source else None, **options).findings

    def contents(self) -> dict[str, bytes]:
        return OtherCache(self.cache).contents()

    def is_whole(self) -> bool:
        """Return whether all bytes are back; the key of the frame that was removed may be lost, which nothing needs."""
        return self.contents() in (self.whole, self.whole | self.forgotten)

    def with_fresh(self, group: str | None) -> dict[str, bytes]:
        """Return the bytes of the cache with one group as a newly made cache has it."""
        others = {name: content for name, content in self.whole.items() if group_of(name) != group}
        return others | {name: content for name, content in self.fresh.items() if group_of(name) == group}

    def restore(self) -> None:
        """Bring back the bytes of the cache."""
        if self.contents() != self.whole:
            shutil.rmtree(self.cache, ignore_errors=True)
            for name, content in self.whole.items():
                (self.cache / name).parent.mkdir(parents=True, exist_ok=True)
                (self.cache / name).write_bytes(content)

    def written(self) -> dict[str, tuple[int, int]]:
        """Return what tells of every file whether it was written again."""
        return {
            str(path.relative_to(self.cache)): (path.stat().st_ino, path.stat().st_mtime_ns)
            for path in self.cache.rglob("*")
            if path.is_file()
        }


def _forget(chunk: bytes) -> bytes:
    """Return a chunk of keys without that of its second row."""
    keys = chunk[: (len(chunk) - 4) // 2].ljust(len(chunk) - 4, b"\0")
    return keys + google_crc32c.value(keys).to_bytes(4, "little")


@dataclass
class OtherCache:
    path: Path

    def contents(self) -> dict[str, bytes]:
        files = (path for path in self.path.rglob("*") if path.is_file())
        return {str(path.relative_to(self.path)): path.read_bytes() for path in files}


def kind_of(name: str) -> str:
    """Return the kind of a file: one of KINDS, where "map" stands for "shard index" too."""
    folder, _, last = name.rpartition("/")
    if last != "zarr.json":
        array = name.partition("/c.")[0].rpartition("/")[2]
        return array if array in BOOKKEEPING else "map"
    if folder in ("", "a"):
        return "zarr.json: folder" if folder else "zarr.json: root"
    return "zarr.json: group" if folder in ("a/P0", "b", "b@16x48") else "zarr.json: array"


def group_of(name: str) -> str | None:
    """Return the group that a file belongs to, None for the root's and a folder's metadata."""
    return next((group for group in ("a/P0", "b", "b@16x48") if name.startswith(f"{group}/")), None)


def shard_of(name: str) -> Shard | None:
    """Return the shard that a file belongs to, None for metadata."""
    array, is_chunk, chunk = name.partition("/c.")
    return (array.rpartition("/")[0], int(chunk.partition(".")[0]) * SHARD_FRAMES) if is_chunk else None


def read_all(reader: SigmaCache, keys: Iterable[str]) -> dict[tuple[str, int], NDArray[np.float32] | str]:
    """Return every frame at every stride, and (stride 0) its intrinsics; the name of the error where it is one."""
    found: dict[tuple[str, int], NDArray[Any] | str] = {}
    for key in keys:
        for stride in (0, 1, 2, 3):
            try:
                found[key, stride] = reader.read(key, stride) if stride else reader.intrinsics(key)
            except DepthVarError as error:
                found[key, stride] = type(error).__name__
    return found
