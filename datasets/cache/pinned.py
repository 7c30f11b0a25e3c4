"""A shard behind a URL, read as one object whatever runs write meanwhile."""

from depthvar.datasets.errors import CacheError

from .remote_store import RemoteStore


class ChangedError(CacheError):
    """What is stored is not what it was when the group was opened; never seen outside of the reader."""


class PinnedShard:
    """One state of a shard of maps behind a URL: its index is read once, and every part must have the same ETag.

    While the ETag is that of the index, index and parts are of one object, whatever runs write meanwhile.

    Args:
        store: of the cache.
        path: of the shard.
        index_bytes: of its index.
    """

    def __init__(self, store: RemoteStore, path: str, index_bytes: int) -> None:
        self._store, self._path, self._index_bytes = store, path, index_bytes
        self._index, self._tag = store.get_tagged(path, -index_bytes)

    def get(self, start: int, stop: int | None) -> bytes | None:
        """Return the index or another part, as ``Store.get`` does; ChangedError where that is of another object."""
        if start == -self._index_bytes and stop is None:
            return self._index
        part, tag = self._store.get_tagged(self._path, start, stop)
        if part != b"" and tag != self._tag:  # nothing lies there: damage, which the reader finds
            raise ChangedError(f"{self._store.url}/{self._path}: written again")
        return part
