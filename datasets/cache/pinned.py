"""A shard of maps, read as one object whatever runs write meanwhile."""

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from depthvar.datasets.errors import CacheError

from .format import CRC_BYTES
from .store import Store

if TYPE_CHECKING:
    from .read_cache import ReadCache


class ChangedError(CacheError):
    """What is stored is not what it was when the group was opened; never seen outside of the reader."""


class PinnedShard:
    """One state of a shard of maps: its index is read once, and every part must have the same tag.

    While the tag is that of the index, index and parts are of one object, whatever runs write meanwhile.

    Args:
        store: of the cache.
        path: of the shard.
        index_bytes: of its index.
        read_cache: where its chunks are kept on the local disk; None: nowhere.
    """

    def __init__(self, store: Store, path: str, index_bytes: int, read_cache: "ReadCache | None") -> None:
        self._store, self._path, self._index_bytes, self._read_cache = store, path, index_bytes, read_cache
        self._index, self._tag = store.get_tagged(path, -index_bytes)

    def get(self, start: int, stop: int | None) -> bytes | None:
        """Return the index or chunks, as ``Store.get`` does; ChangedError where they are of another object."""
        if start == -self._index_bytes and stop is None:
            return self._index
        if self._read_cache is None or stop is None:
            return self._fetch(start, stop)
        keys = [(self._store.url, self._path, self._tag, *span) for span in self._chunks(start, stop)]
        kept = [self._read_cache.get(*key) for key in keys]
        if None not in kept:
            return b"".join(filter(None, kept))
        data = self._fetch(start, stop) or b""
        for key, chunk in zip(keys, kept, strict=True):
            if chunk is None:
                self._read_cache.put(data[key[-2] - start : key[-1] - start], *key)
        return data

    def _fetch(self, start: int, stop: int | None) -> bytes | None:
        part, tag = self._store.get_tagged(self._path, start, stop)
        if part != b"" and tag != self._tag:  # nothing lies there: damage, which the reader finds
            raise ChangedError(f"{self._store.url}/{self._path}: written again")
        return part

    def _chunks(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return where the chunks between two places begin and end, by an index that the reader has checked."""
        assert self._index is not None
        begins = np.unique(np.frombuffer(self._index, "<u8", (len(self._index) - CRC_BYTES) // 8)[::2])
        inside = begins[(begins > start) & (begins < stop)].tolist()
        return list(pairwise((start, *inside, stop)))
