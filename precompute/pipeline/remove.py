"""What takes away from a cache: all of it, a group, a shard. Digests go first, so that nothing half removed counts."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zarr
from zarr.abc.store import Store
from zarr.storage import LocalStore

from depthvar.datasets.cache.arrays import find_array
from depthvar.datasets.cache.format import FORMAT, array_names
from depthvar.datasets.errors import CacheError

from .store import delete_chunk, is_partial, refuse_links, wait, writing
from .stored import read_group


def remove(root: zarr.Group) -> None:
    """Remove a cache for ``--overwrite``: every digest first, the root's metadata last.

    So whatever remains after a kill holds no frame that counts as done, and is still known as ours.

    Raises:
        CacheError: the group is not a depthvar cache.
    """
    if root.attrs.get("format") != FORMAT:
        raise CacheError(
            f"{root.store_path}: not a depthvar cache: --overwrite refuses to remove it; pass another --out"
        )

    async def remove_all(store: Store, prefix: str) -> None:
        metadata = f"{prefix}zarr.json"
        keys = [key async for key in store.list_prefix(prefix) if key != metadata]
        for key in sorted(keys, key=lambda key: "/digest/" not in key):
            await store.delete(key)
        if isinstance(store, LocalStore):  # empty folders are left
            for folder in store.root.iterdir():
                if folder.is_symlink():
                    folder.unlink()  # what it leads to is not ours
                elif folder.is_dir():
                    shutil.rmtree(folder)
        await store.delete(metadata)

    store, path = root.store_path.store, root.store_path.path
    with writing(str(root.store_path)):
        wait(remove_all(store, f"{path}/" if path else ""))


def remove_partial(cache: str) -> None:
    """Remove what dead runs were writing from a cache of ours that nobody else writes."""
    with writing(cache):
        for folder, _, names in os.walk(cache):  # of a URL: nothing, such stores leave nothing either
            for path in (Path(folder, name) for name in names):
                if is_partial(path):
                    path.unlink()


def clear_group(root: zarr.Group, name: str, parameters: Mapping[str, Any]) -> None:
    """Make the next run compute a group anew: its digests go first. Of a folder of groups its metadata alone goes."""
    path = root.store_path / name
    for array in reversed(array_names(parameters["strides"], parameters["with_depth"])):
        refuse_links(path / array / "zarr.json")
        with writing(str(path)):
            wait((path / array).delete_dir())
    with writing(str(path)):
        wait((path / "zarr.json").delete())


def clear_shard(root: zarr.Group, name: str, start: int) -> None:
    """Make the next run compute a shard again: its digests go, and its bookkeeping where that is damaged.

    Without intrinsics the keys go too: a row with a key and nothing else is one whose frame is gone.
    """
    group = root[name]
    columns = {column for column, first in read_group(group, name, tolerant=True).damaged if first == start}
    if "intrinsics" in columns:
        columns.add("key")
    for column in ("digest", *sorted(columns - {"digest"})):
        delete_chunk(find_array(group, column), start)
