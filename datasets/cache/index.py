"""An open cache: its root and groups as they were when they were opened, and where each frame is."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import CacheError, DamagedError, FrameNotFoundError
from depthvar.datasets.params import params_from_json
from depthvar.datasets.paths import composed
from depthvar.datasets.remote import CONNECTIONS
from depthvar.datasets.source.templates import key_template, path_pattern, sequence_of

from . import metadata
from .attributes import check_root, differences
from .bookkeeping import Bookkeeping, RowState, read_column, read_digest, read_group
from .format import SIGMA_Z2, folders_of, level_name, map_path, sequence_group, without_size
from .maps import Get, read_rows
from .pinned import ChangedError, PinnedShard
from .remote_store import RemoteStore
from .store import Store, open_store
from .stored_maps import StoredMaps

if TYPE_CHECKING:
    from depthvar.datasets.lookup.levels import Each

    from .read_cache import ReadCache

PINNED = 8192  # indexes of shards that a reader keeps, each of some 16 bytes a chunk: 6 KB for 64 frames of 640×480


class OpenGroup:
    """One group: where each of its frames is, and how to read it.

    Args:
        store: of the cache.
        book: the bookkeeping of the group.
        read_cache: for what pinned shards give; None: none.

    Raises:
        DamagedError: the keys or intrinsics of frames that are done are missing.
    """

    def __init__(self, store: Store, book: Bookkeeping, read_cache: "ReadCache | None" = None) -> None:
        self._store, self.book, self.layout, self._read_cache = store, book, book.layout, read_cache
        done = book.states == RowState.DONE
        cameras = book.intrinsics[done]
        if not (np.isfinite(cameras).all() and (cameras[:, :2] > 0).all() and all(compress(book.keys, done))):
            raise DamagedError(f"{store.url}/{book.name}", "the intrinsics or keys of frames that are done are missing")
        self.intrinsics = book.intrinsics
        tried = np.flatnonzero(book.states >= RowState.FAILED).tolist()
        self.rows = {book.keys[row]: row for row in tried}
        self.failed = frozenset(np.flatnonzero(book.states == RowState.FAILED).tolist())
        self.pins = store.has_tags
        self.has_etags = self.pins and isinstance(store, RemoteStore)
        self._pinned: dict[tuple[str, int], tuple[PinnedShard, NDArray[np.bool_]]] = {}  # by array and first row

    def read(
        self, row: int, stride: int, where: str, rows: slice = slice(None), quantity: str = SIGMA_Z2
    ) -> NDArray[np.float32]:
        """Return some rows of a map, not none: (rows, ceil(W / stride)) float32; DamagedError where it is damaged."""
        cut, place, array = self.layout.maps(stride), row % self.layout.shard_frames, level_name(stride, quantity)
        where = f"{where}, stride {stride}" if quantity == SIGMA_Z2 else f"{where}, {array}"
        get = self._pin(stride, array, row, place) if self.pins else partial(self._store.get, self._path(array, row))
        try:
            values = read_rows(get, cut, place, rows, where)
            if not values.min() >= 0:  # a NaN is the smallest
                raise DamagedError(where, "stored values are missing, or negative")
        except CacheError:
            self._pinned.pop((array, row - place), None)  # it may be repaired
            raise
        return values

    def _path(self, array: str, row: int) -> str:
        return map_path(self.book.name, array, row, self.layout)

    def _pin(self, stride: int, array: str, row: int, place: int) -> Get:
        """Return what reads parts of a shard, all of the state in which the group was opened; else ChangedError.

        A run clears the digests of what it changes before it writes maps: a digest that stands after the index was read
        says that the index, and all that has its tag, are of that state.
        """
        first = row - place
        if (pinned := self._pinned.get((array, first))) is None:
            index_bytes = self.layout.maps(stride).index_bytes
            shard = PinnedShard(self._store, self._path(array, row), index_bytes, self._read_cache)
            then = self.book.digest[first : first + self.layout.shard_frames]
            now, _ = read_column(self._store, self.book.name, "digest", range(first, first + len(then)), self.layout)
            while len(self._pinned) >= PINNED:
                self._pinned.pop(next(iter(list(self._pinned))), None)  # another thread may read another level
            pinned = self._pinned[array, first] = shard, (now == then).all(1)
        shard, stands = pinned
        if not stands[place]:
            raise ChangedError(f"{self._store.url}/{self._path(array, row)}: written again")
        return shard.get

    def is_current(self, row: int) -> bool:
        """Return whether the digest of a row still is what it was when the group was opened.

        A run that computes a frame again clears its digest first: while it stands, all that was read is one state.
        """
        then: bytes = self.book.digest[row].tobytes()
        return read_digest(self._store, self.book.name, row, self.layout) == then


class OpenCache:
    """The root of a cache as it was at one moment, and its groups, each opened when first asked for.

    Args:
        location: of the cache.
        parameters: those that it must have, or None.
        read_cache: folder and bytes, as for ``ReadCache``; None: none.

    Attributes:
        each: reads two levels of a frame: ``map``; in parallel where the cache is behind a URL.

    Raises:
        CacheError: there is no cache, it cannot be read, or its parameters are others than those given.
    """

    def __init__(
        self, location: str, parameters: dict[str, Any] | None, read_cache: tuple[str, int] | None = None
    ) -> None:
        self.pid = os.getpid()
        self._store = open_store(location)
        self.each: Each = ThreadPoolExecutor(CONNECTIONS).map if isinstance(self._store, RemoteStore) else map
        self._read_cache = read_cache and _read_cache(*read_cache)
        self.path = self._store.url
        self._groups: dict[str, OpenGroup] = {}
        self._nearest: dict[str, OpenGroup] = {}  # by folder of a key, the group of the frame that was found there last
        self._spellings: dict[str, list[str]] = {}  # of keys that are not ASCII, by their composed form
        self._read_root(parameters)
        self.parameters: dict[str, Any] = self.attributes["parameters"]
        self.estimator = params_from_json(self.parameters)
        maps = StoredMaps.of(self.parameters)
        self.strides, self.keep = maps.strides, maps.keep

    def _read_root(self, parameters: dict[str, Any] | None) -> None:
        self.attributes = read_root(self._store, parameters)
        by_sequence: dict[str, list[str]] = {}
        for name in self.attributes["groups"]:
            by_sequence.setdefault(without_size(name), []).append(name)
        self._by_sequence = by_sequence

    def keys(self) -> list[str]:
        """Return the keys of all frames that can be read, by group and row."""
        names, known = self.attributes["groups"], dict(self._groups)
        known |= self._open_groups(name for name in names if name not in known)
        books = (group.book for group in map(known.get, names) if group is not None)
        return [key for book in books for key in compress(book.keys, book.states == RowState.DONE)]

    def find(self, key: str) -> tuple[str, OpenGroup, int]:
        """Return a key as it is listed, its group and its row; FrameNotFoundError where the cache has no σ² of it."""
        found = self._look_up(listed := self._listed(key))
        if found is None or found[1] in found[0].failed:  # a run may have added or repaired it meanwhile
            self._read_root(self.parameters)
            for name in self.groups_near(key) or list(self._groups):
                self._groups.pop(name, None)
            self._nearest.clear()
            self._spellings.clear()
            found = self._look_up(listed := self._listed(key))
        if found is None:
            raise FrameNotFoundError(
                f"{self.path}: frame {key!r} is not in the cache, or not computed yet; keys look like "
                f"{next(iter(self.keys()), '(the cache is empty)')!r}; `precompute run` adds what is missing"
            )
        if found[1] in found[0].failed:
            raise FrameNotFoundError(
                f"{self.path}: {key} could not be read when the cache was written; fix the file and run "
                "`precompute run` again"
            )
        return listed, *found

    def _listed(self, key: str) -> str:
        """Return the one listed key that has the same characters in another Unicode normalisation, else the key.

        macOS writes names decomposed (NFD), and most people type them composed (NFC).
        """
        if key.isascii() or (not self._spellings and self._look_up(key) is not None):
            return key
        if not self._spellings:
            for listed in self.keys():
                if not listed.isascii():
                    self._spellings.setdefault(composed(listed), []).append(listed)
        same = self._spellings.get(composed(key), [])
        return same[0] if len(same) == 1 else key

    def _look_up(self, key: str) -> tuple[OpenGroup, int] | None:
        folder = key.rpartition("/")[0]
        if (group := self._nearest.get(folder)) is not None and (row := group.rows.get(key)) is not None:
            return group, row
        for name in self._candidates(key):
            group = self._group(name)
            if group is not None and (row := group.rows.get(key)) is not None:
                self._nearest[folder] = group
                return group, row
        return None

    def _candidates(self, key: str) -> Iterator[str]:
        """Yield all groups; first those of the key's sequence, so that a worker opens few of them.

        A source that describes no layout mostly has its sequences in the folders of its keys, as Source.sequence does.
        """
        near = self.groups_near(key)
        for folder in reversed(["", *folders_of(key)]):
            near = near + self._by_sequence.get(sequence_group(folder, self.keep), [])
        yield from dict.fromkeys([*near, *self.attributes["groups"]])

    def groups_near(self, key: str) -> list[str]:
        """Return the groups that hold frames of the sequence that a key names by the layout of the data set."""
        template = self.attributes["source"].get("files", {}).get("depth", "")
        match = path_pattern(key_template(template)).fullmatch(key) if isinstance(template, str) else None
        if match is None:  # of an earlier run with another layout
            return []
        return self._by_sequence.get(sequence_group(sequence_of(match.groupdict()), self.keep), [])

    def _group(self, name: str) -> OpenGroup | None:
        """Return a group, or None where a run has listed but not yet created it."""
        return self._groups.get(name) or self._open_groups([name]).get(name)

    def _open_groups(self, names: Iterable[str]) -> dict[str, OpenGroup]:
        """Open groups, of those that are there."""
        names = list(names)
        found = zip(names, self._store.each(self._open_group, names), strict=True)
        groups = {name: group for name, group in found if group is not None}
        if groups:
            # A group does not know its parameters. A cache that is computed again gets its root before its groups: if
            # the root is of these parameters still, so are they.
            read_root(self._store, self.parameters)
            self._groups.update(groups)
        return groups

    def _open_group(self, name: str) -> OpenGroup | None:
        def read() -> OpenGroup | None:
            book = read_group(self._store, name)
            return None if book is None else OpenGroup(self._store, book, self._read_cache)

        try:
            return read()
        except DamagedError:  # perhaps of a run that writes just now; what is damaged is so the second time, too
            return read()


def _read_cache(folder: str, limit: int) -> "ReadCache":
    from .read_cache import ReadCache

    return ReadCache(folder, limit)


def read_root(store: Store, parameters: dict[str, Any] | None) -> dict[str, Any]:
    """Return the checked attributes of the root.

    Raises:
        CacheError: there is no cache, it is damaged or cannot be read, or its parameters are others than those given.
    """
    root = metadata.read_root(store)
    if root is None:
        raise CacheError(f"{store.url}: no cache is there; write one with `precompute run`, or check the path")
    attributes = check_root(root, store.url)
    got = attributes["parameters"]
    if parameters is not None and parameters != got:
        changes = "; ".join(f"{name} was {old!r} and is {new!r}" for name, old, new in differences(parameters, got))
        raise CacheError(
            f"{store.url}: computed again with other parameters since it was opened ({changes}); open it again with "
            "SigmaCache(…)"
        )
    return attributes
