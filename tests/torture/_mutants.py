"""Mutants of the product, each with one thing in the wrong order. Called in a run's process, they mutate that alone."""

from collections.abc import Callable
from functools import partial
from typing import Any

from depthvar.datasets import DepthSource
from depthvar.precompute.pipeline import worker, write

Mutant = Callable[[], None]


def no_zeroing() -> None:
    """Digests are not cleared before a shard's maps are written."""
    real = write.put_column

    def put_column(store: Any, task: Any, column: str, values: Any) -> int:
        return real(store, task, column, values) if column != "digest" or values.any() else 0

    write.put_column = put_column


def digest_first() -> None:
    """A shard's digests are written before its maps."""
    real, put_column = write.write_shard, write.put_column

    def write_shard(store: Any, shard: Any) -> int:
        put_column(store, shard.task, "digest", shard.columns["digest"])
        return real(store, shard)

    no_zeroing()
    worker.write_shard = write_shard


def stat_after_read() -> None:
    """A file's size and time are taken after it was read."""
    real = DepthSource.stat

    class Late:
        """A stat that is taken whenever one of its numbers is asked for."""

        def __init__(self, source: DepthSource, key: str) -> None:
            self.take = partial(real, source, key)
            self.take()  # a missing file is an error now

        def __getattr__(self, name: str) -> Any:
            return getattr(self.take(), name)

    DepthSource.stat = lambda source, key: Late(source, key)


MUTANTS: dict[str, Mutant] = {mutant.__name__: mutant for mutant in (no_zeroing, digest_first, stat_after_read)}
