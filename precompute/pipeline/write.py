"""The write side of the cache. The order of writes is what makes a cache trustworthy:

the digests of the rows that change are zeroed first, then the maps are written, and the digests last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.cache import metadata
from depthvar.datasets.cache.attributes import seal
from depthvar.datasets.cache.codec import Chunk, encode_rows, pack_shard
from depthvar.datasets.cache.format import MapLayout, column_path, encode_keys, folders_of, map_path
from depthvar.datasets.cache.store import Store
from depthvar.datasets.cache.stored_maps import StoredMaps
from depthvar.datasets.errors import CacheError

from .shards import GroupPlan, Task


@dataclass(frozen=True, eq=False)
class Shard:
    """What is to be written of a shard, row by row."""

    task: Task
    kept: Sequence[bool]  # rows whose maps and digests are the stored ones: they count as done all the time
    maps: dict[str, tuple[MapLayout, list[Sequence[Chunk]]]]  # array -> how it is cut up, and the chunks of every row
    columns: dict[str, NDArray[Any]]  # digest, intrinsics and source_stat, (rows, width)


def existing_root(store: Store) -> Any | None:
    """Return the attributes of a cache's root, unchecked; None where nothing is there; CacheError for anything else."""
    root = metadata.read_root(store)
    if root is None and not store.is_empty():
        raise CacheError(f"{store.url}: exists and is not a depthvar cache; pass another --out, or remove it by hand")
    return root


def write_root(store: Store, attributes: Mapping[str, Any]) -> None:
    """Write the root with sealed attributes: it makes a folder a cache."""
    _put_metadata(store, "", metadata.group_metadata(seal(attributes)))


def prepare(store: Store, groups: Sequence[GroupPlan], maps: StoredMaps, is_new: bool = False) -> None:
    """Write the metadata of groups that are not there, or have another number of rows than planned.

    A group that is not there in full loses its digests first, and whatever else a dead run left of it: its frames are
    computed again. In one that grows, the digests' metadata are last, as they decide how many rows there are; in one
    that shrinks, first. ``is_new``: nothing was there, so no run can have left anything.
    DamagedError where no cache can have such a group.
    """

    def put_folder(folder: str) -> None:
        if is_new or metadata.read(store, folder) is None:
            _put_metadata(store, folder, metadata.group_metadata({}))

    def clear(name: str) -> None:
        store.delete_folders(name, reversed(metadata.array_names(maps)))

    changed = [plan for plan in groups if plan.change != "none"]
    first: dict[str, dict[str, Any]] = {}
    middle, last = first.copy(), first.copy()
    for plan in changed:
        plan.layout.check(plan.rows, f"{store.url}/{plan.name}")
        if plan.change == "new":
            middle[plan.name] = metadata.group_metadata(plan.layout.attributes(plan.sequence))
        for name, content in metadata.array_metadata(plan.layout, plan.rows, maps).items():
            when = middle if name != "digest" else first if plan.change == "shrink" else last
            when[f"{plan.name}/{name}"] = content
    store.each(put_folder, sorted({folder for plan in groups for folder in folders_of(plan.name)}))
    if not is_new:
        store.each(clear, [plan.name for plan in changed if plan.change == "new"])
    for nodes in (first, middle, last):
        store.each(lambda node: _put_metadata(store, *node), nodes.items())


def _put_metadata(store: Store, node: str, content: Mapping[str, Any]) -> None:
    store.put(metadata.metadata_path(node), metadata.to_bytes(content))


def put_column(store: Store, task: Task, column: str, values: NDArray[Any]) -> None:
    """Write one column of the bookkeeping of a shard, (rows of the shard, width)."""
    data = encode_rows(values, task.layout.shard_frames)
    store.put(column_path(task.group, column, task.start, task.layout), data)


def write_shard(store: Store, shard: Shard) -> None:
    """Write a whole shard of every array of a group: maps and bookkeeping, and the digests last.

    Where objects are far away, all between the first and the last put are written at once.
    """
    task, columns = shard.task, shard.columns

    def put(array: str) -> None:
        if array in shard.maps:
            layout, frames = shard.maps[array]
            store.put(map_path(task.group, array, task.start, task.layout), pack_shard(frames, layout))
        else:
            values = encode_keys(task.keys, task.layout.key_bytes) if array == "key" else columns[array]
            put_column(store, task, array, values)

    put_column(store, task, "digest", np.where(np.asarray(shard.kept)[:, None], columns["digest"], np.uint8(0)))
    store.each(put, [*shard.maps, "key", "intrinsics", "source_stat"])
    put("digest")
