"""What a cache knows of the frames of one group: which row each has, and whether it is done."""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import DamagedError

from . import metadata
from .codec import decode_rows
from .format import COLUMNS, GroupLayout, column_path, column_width, decode_keys
from .store import Store
from .stored_maps import StoredMaps


class RowState(IntEnum):
    """What became of the frame of a row.

    A row keeps its key for ever: that of a frame which ``--prune`` removed, too.
    """

    UNUSED = 0
    REMOVED = 1
    NOT_DONE = 2
    FAILED = 3
    DONE = 4


@dataclass(frozen=True, eq=False)
class Bookkeeping:
    """The rows of a group, N of them.

    Attributes:
        name: of the group.
        sequence: its folders below the root of the data set.
        layout: of its arrays.
        keys: N, empty for a row that no frame has yet.
        digest: (N, 32) uint8: SHA-256 of what σ² was computed from; zeros: not done; 0xFF: could not be read.
        intrinsics: (N, 4) float64: fx, fy, cx, cy in pixels; zeros where there is no frame.
        stat: (N, 2) int64: total size and hash of (path, size, time) of the frame's files; zeros: not to be trusted.
        damaged: (column, first row) of the chunks that are damaged, which read as zeros.
        uneven: whether arrays have more rows than the digests: a run died while the group grew.
    """

    name: str
    sequence: str
    layout: GroupLayout
    keys: list[str]
    digest: NDArray[np.uint8]
    intrinsics: NDArray[np.float64]
    stat: NDArray[np.int64]
    damaged: tuple[tuple[str, int], ...] = ()
    uneven: bool = False

    @property
    def rows(self) -> int:
        """N."""
        return len(self.keys)

    @cached_property
    def states(self) -> NDArray[np.uint8]:
        """(N,) ``RowState`` of every row."""
        has_key = np.fromiter(map(bool, self.keys), np.bool_, len(self.keys))
        words = self.digest.view(np.uint64)  # four numbers a row, not 32: FAILED has all bits set
        set_, failed = words.any(1), (words == np.iinfo(np.uint64).max).all(1)
        states = np.select(
            [failed, set_, has_key & self.intrinsics.any(1), has_key],
            [RowState.FAILED, RowState.DONE, RowState.NOT_DONE, RowState.REMOVED],
            RowState.UNUSED,
        )
        return states.astype(np.uint8)

    def count(self, state: RowState) -> int:
        """Return how many rows are in a state."""
        return int((self.states == state).sum())

    def frames(self) -> int:
        """Return how many frames there are: done, failed, not done, or in a shard that no run has reached."""
        return int((self.states >= RowState.NOT_DONE).sum()) + sum(map(len, self.unreached()))

    def unreached(self) -> list[range]:
        """Return the rows of the shards that no run has reached: it writes the keys of all of their frames."""
        used = self.states != RowState.UNUSED
        return [rows for rows in self.shards() if not used[rows.start : rows.stop].any()]

    def is_done(self, row: int) -> bool:
        """Return whether a row holds a computed frame."""
        return bool(self.states[row] == RowState.DONE)

    def first_row(self, row: int) -> int:
        """Return the first row of the shard that holds a row."""
        return row - row % self.layout.shard_frames

    def shards(self) -> Iterator[range]:
        """Yield the rows of each shard."""
        step = self.layout.shard_frames
        return (range(start, min(start + step, self.rows)) for start in range(0, self.rows, step))


def read_group(
    store: Store,
    name: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    tolerant: bool = False,
    states_only: bool = False,
) -> Bookkeeping | None:
    """Read the bookkeeping of a group. None where it is not there in full: the digests are created last.

    Args:
        store: of the cache.
        name: of the group.
        parameters: of the cache, for a look at the metadata of all arrays; None: at those alone that are read.
        tolerant: return zeros for damaged chunks of bookkeeping, and list those.
        states_only: of shards in which every row has a digest, read only those: no keys, and zeros for the rest.

    Raises:
        DamagedError: the metadata are not those of such a group, or bookkeeping is damaged and ``tolerant`` is False.
        CacheError: the machine cannot read it.
    """
    where = f"{store.url}/{name}"
    group, digests = metadata.read(store, name), store.get(metadata.metadata_path(f"{name}/digest"))
    if group is None or digests is None:
        return None
    sequence, layout = GroupLayout.from_attributes(group.get("attributes"), where)
    metadata.check_same(group, metadata.group_metadata(layout.attributes(sequence)), where)
    rows, uneven = metadata.rows_of(digests, f"{where}/digest", layout), False
    if parameters:
        maps = StoredMaps.of(parameters)
        arrays = metadata.array_names(maps)[:-1]  # all but the digests
        found = store.each(store.get, [metadata.metadata_path(f"{name}/{array}") for array in arrays])
        if None in found:
            return None
        for array, stored in zip(arrays, filter(None, found), strict=True):
            uneven |= metadata.rows_of(stored, f"{where}/{array}", layout, maps, rows) > rows
    columns, damaged = {}, []
    left_out: frozenset[int] = frozenset()
    for column in ("digest", "key", "intrinsics", "source_stat"):  # what a run changes, it clears the digest of first
        columns[column], starts = read_column(store, name, column, range(rows), layout, left_out, tolerant=tolerant)
        damaged += [(column, start) for start in starts]
        if states_only and column == "digest":
            left_out = _full_shards(columns["digest"], layout)
    keys: list[str] = []
    for start in range(0, rows, layout.shard_frames):
        part = columns["key"][start : start + layout.shard_frames]
        if start in left_out:
            keys += [""] * len(part)
            continue
        try:
            keys += decode_keys(part, where)
        except DamagedError:
            if not tolerant:
                raise
            keys += [""] * len(part)
            damaged.append(("key", start))
    return Bookkeeping(
        name,
        sequence,
        layout,
        keys,
        columns["digest"],
        columns["intrinsics"],
        columns["source_stat"],
        tuple(damaged),
        uneven,
    )


def _full_shards(digest: NDArray[np.uint8], layout: GroupLayout) -> frozenset[int]:
    """Return the first rows of the shards in which every row has a digest."""
    starts = np.arange(0, len(digest), layout.shard_frames)
    full = np.logical_and.reduceat(digest.view(np.uint64).any(1), starts) if len(starts) else starts
    return frozenset(starts[full].tolist())


def missing_nodes(store: Store, name: str, parameters: Mapping[str, Any]) -> list[str]:
    """Return what of a group is not there: its own name, and its arrays' without it."""
    arrays = metadata.array_names(StoredMaps.of(parameters))
    nodes = {name: name} | {array: f"{name}/{array}" for array in arrays}
    found = store.each(store.get, map(metadata.metadata_path, nodes.values()))
    return [node for node, data in zip(nodes, found, strict=True) if data is None]


def read_digest(store: Store, group: str, row: int, layout: GroupLayout) -> bytes:
    """Return the digest of a row as it is stored now; zeros where it was never written."""
    width = column_width("digest", layout)
    start = row % layout.shard_frames * width
    return store.get(column_path(group, "digest", row, layout), start, start + width) or bytes(width)


def read_column(
    store: Store,
    group: str,
    column: str,
    rows: range,
    layout: GroupLayout,
    left_out: Container[int] = (),
    *,
    tolerant: bool = False,
) -> tuple[NDArray[Any], list[int]]:
    """Read one column of some whole shards.

    Args:
        store: of the cache.
        group: its name.
        column: one of ``COLUMNS``.
        rows: from the first row of a shard on.
        layout: of the group.
        left_out: first rows of shards that are not read: zeros.
        tolerant: return zeros for a damaged chunk.

    Returns:
        (rows, width) values, zeros where nothing is stored; and the first rows of the chunks that are damaged.

    Raises:
        DamagedError: a chunk is damaged and ``tolerant`` is False.
    """
    step, dtype = layout.shard_frames, COLUMNS[column]
    values: NDArray[Any] = np.zeros((len(rows), column_width(column, layout)), dtype)
    damaged = []
    firsts = [first for first in range(0, len(rows), step) if rows[first] not in left_out]
    paths = [column_path(group, column, rows[first], layout) for first in firsts]
    for first, path, data in zip(firsts, paths, store.each(store.get, paths), strict=True):
        if data is None:
            continue
        try:
            chunk = decode_rows(data, (step, values.shape[1]), dtype, f"{store.url}/{path}")
        except DamagedError:
            if not tolerant:
                raise
            damaged.append(rows[first])
        else:
            values[first : first + step] = chunk[: len(rows) - first]
    return values, damaged
