"""What removes from a cache: all of it, a group, some rows. Digests go first, so that nothing half removed counts."""

from collections.abc import Iterable, Mapping
from typing import Any

from depthvar.datasets.cache import metadata
from depthvar.datasets.cache.attributes import FORMAT
from depthvar.datasets.cache.bookkeeping import read_group
from depthvar.datasets.cache.codec import encode_rows
from depthvar.datasets.cache.format import column_path
from depthvar.datasets.cache.store import LocalStore, Store, is_partial
from depthvar.datasets.cache.stored_maps import StoredMaps
from depthvar.datasets.errors import CacheError


def remove(store: Store, attributes: object) -> None:
    """Remove a cache for ``--overwrite``; CacheError where the root's attributes are not those of one.

    Every digest goes first, the root's metadata last: whatever remains after a kill holds no frame that counts as done,
    and is still known as a cache.
    """
    if not isinstance(attributes, Mapping) or attributes.get("format") != FORMAT:
        raise CacheError(f"{store.url}: not a depthvar cache: --overwrite refuses to remove it; pass another --out")
    store.each(store.delete, [path for path in store.list() if "/digest/" in path])
    store.delete_all(but=metadata.NAME)
    store.delete(metadata.NAME)


def remove_partial(store: Store) -> None:
    """Remove what dead runs were writing from a local cache that nobody else writes; servers keep no such objects."""
    if not isinstance(store, LocalStore):
        return
    for path in list(store.list()):
        if is_partial(path):
            store.delete(path)


def clear_group(store: Store, name: str, parameters: Mapping[str, Any]) -> None:
    """Make the next run compute a group again: its digests go first. Of a folder of groups its metadata alone goes."""
    store.delete_folders(name, reversed(metadata.array_names(StoredMaps.of(parameters))))
    store.delete(metadata.metadata_path(name))


def clear_rows(store: Store, name: str, rows: Iterable[int]) -> int:
    """Make the next run compute the shards of some rows again, and return how many: the digests of those rows go.

    Where bookkeeping is damaged, its chunk goes. Without intrinsics the keys go too: a row with a key and nothing else
    is one whose frame was removed.
    """
    book = read_group(store, name, tolerant=True)
    if book is None:
        return 0
    rows = set(rows)
    starts = sorted({book.first_row(row) for row in rows})
    for start in starts:
        digests = book.digest[start : start + book.layout.shard_frames].copy()
        digests[[row - start for row in rows if book.first_row(row) == start]] = 0
        columns = {column for column, first in book.damaged if first == start}
        if columns:
            digests[:] = 0
        store.put(column_path(name, "digest", start, book.layout), encode_rows(digests, book.layout.shard_frames))
        for column in columns - {"digest"} | ({"key"} if "intrinsics" in columns else set()):
            store.delete(column_path(name, column, start, book.layout))
    return len(starts)
