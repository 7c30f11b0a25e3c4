"""Mutants of the product, each with one thing in the wrong order. Called in a run's process, they mutate that alone."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from depthvar.datasets.source.depth_source import DepthSource
from depthvar.precompute.pipeline import store, worker

Mutant = Callable[[], None]


def no_zeroing() -> None:
    """Digests are not taken back before a shard's maps are written."""
    worker.zero_digests = lambda *_: None


def digest_first() -> None:
    """A shard's digests are written before its maps."""
    real = store.write_shard

    def write_shard(group: Any, start: int, maps: Any, keys: Any, intrinsics: Any, stat: Any, digests: Any) -> None:
        store._write_rows(group, "digest", start, np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32))
        real(group, start, maps, keys, intrinsics, stat, digests)

    worker.write_shard = write_shard


def stat_after_read() -> None:
    """A file's size and time are taken after it was read."""

    def read_steady(source: DepthSource, key: str) -> Any:
        frame = source.read(key)
        stat = source.stat(key)
        young = time.time_ns() - stat.newest_mtime_ns < worker.YOUNG_NS
        return frame, (0, 0) if young else (stat.total_size, stat.hash63)

    worker._read_steady = read_steady


MUTANTS: dict[str, Mutant] = {mutant.__name__: mutant for mutant in (no_zeroing, digest_first, stat_after_read)}
