"""The frames of a cache that a report looks at, and where their depth comes from."""

import os
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import compress
from typing import Any, NamedTuple

import numpy as np

from depthvar.datasets.cache.bookkeeping import Bookkeeping, RowState, read_group
from depthvar.datasets.cache.described import described_source
from depthvar.datasets.cache.format import map_path
from depthvar.datasets.cache.maps import read_rows
from depthvar.datasets.cache.store import Store
from depthvar.datasets.errors import CacheError, SourceError, StoreError
from depthvar.datasets.frame import Frame
from depthvar.datasets.paths import folder_above
from depthvar.datasets.source.source import Source, read_frame
from depthvar.precompute.pictures.choose import spread

CURE = "pass the folder of the depth as --root"
TRIED = 3  # frames, before depth counts as not reachable


class Place(NamedTuple):
    """A frame, and where the cache has it."""

    key: str
    book: Bookkeeping
    row: int


def looked_at(store: Store, attributes: dict[str, Any], count: int) -> list[Place]:
    """Return at most ``count`` frames that are done, spread over the groups of a cache and over each of them."""
    read = partial(read_group, store)
    books = {book.name: book for book in store.each(read, attributes["groups"]) if book is not None}
    done = [list(compress(book.keys, book.states == RowState.DONE)) for book in books.values()]
    chosen = set(spread([keys for keys in done if keys], count))
    return [
        Place(book.keys[row], book, row)
        for book in books.values()
        for row in np.flatnonzero(book.states == RowState.DONE).tolist()
        if book.keys[row] in chosen
    ]


class StoredDepth(Source):
    """The depth that a cache holds next to its σ² (``precompute run --with-depth``), of some frames."""

    def __init__(self, store: Store, attributes: dict[str, Any], places: Sequence[Place]) -> None:
        self.name, self.max_depth = attributes["dataset"], attributes["parameters"]["max_depth"]
        self._store, self._places = store, {place.key: place for place in places}

    def keys(self) -> list[str]:
        return list(self._places)

    def read(self, key: str) -> Frame:
        _, book, row = self._places[key]
        get = partial(self._store.get, map_path(book.name, "depth", row, book.layout))
        depth = read_rows(get, book.layout.maps(1), row % book.layout.shard_frames, slice(None), key)
        if np.isnan(depth).any():
            raise SourceError(f"{self._store.url}: {key}: the stored depth is missing")
        return Frame(key, depth, book.intrinsics[row], self.max_depth)


def depth_of(
    store: Store,
    attributes: dict[str, Any],
    places: Sequence[Place],
    location: str,
    given: Source | str | os.PathLike[str] | None,
) -> Source | str:
    """Return what reads the depth of these frames; or, where nothing can, one line that says why and what to do.

    Args:
        store, attributes: of the cache.
        places: the frames.
        location: of the cache, as ``cache_path`` returns it.
        given: a source, or the folder of the depth; None: the folder that holds the cache, or the cache itself.

    Raises:
        CacheError: nothing of the cache is in the folder or source that is given.
        DescriptionError: the cache's description of its source is damaged, or of a newer version.
    """
    root = folder_above(location) if given is None else given
    source, why = None, "the depth files are not where the cache is"
    if isinstance(root, Source):
        source = root
    elif not attributes["source"]:
        why = "only its own Source class reads this data set: pass source= in Python, an object of that class"
        if given is not None:
            raise CacheError(f"{store.url}: computed by a Source class, got a folder; {why}")
    elif root is not None:
        with suppress(SourceError):  # a folder that is not there
            source = described_source(attributes, root, store.url)
    if source is not None and (not places or _reads_any(source, places)):
        return source
    if given is not None:
        raise CacheError(f"{given}: no frame of the cache is there: expected files such as {places[0].key}; {CURE}")
    if attributes["parameters"]["with_depth"]:
        return StoredDepth(store, attributes, places)
    return why if "source=" in why else f"{why}: {CURE}"


def _reads_any(source: Source, places: Sequence[Place]) -> bool:
    for place in places[:TRIED]:
        try:
            read_frame(source, place.key)
        except (SourceError, StoreError):
            continue
        return True
    return False
