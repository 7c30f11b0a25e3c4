"""The frames of a cache that a report looks at."""

from functools import partial
from itertools import compress
from typing import Any, NamedTuple

from depthvar.datasets.cache.bookkeeping import RowState, read_group
from depthvar.datasets.cache.store import Store
from depthvar.precompute.pictures.choose import spread


class Place(NamedTuple):
    """A frame, and the group of the cache that holds it."""

    key: str
    group: str


def looked_at(store: Store, attributes: dict[str, Any], count: int) -> list[Place]:
    """Return at most ``count`` frames that are done, spread over the groups of a cache and over each of them."""
    books = [book for book in store.each(partial(read_group, store), attributes["groups"]) if book is not None]
    done = {book.name: list(compress(book.keys, book.states == RowState.DONE)) for book in books}
    chosen = set(spread([keys for keys in done.values() if keys], count))
    return [Place(key, group) for group, keys in done.items() for key in keys if key in chosen]
