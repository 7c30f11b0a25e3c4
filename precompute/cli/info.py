"""What a cache holds, for ``precompute info``."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.cache.bookkeeping import Bookkeeping, RowState, read_group
from depthvar.datasets.cache.format import SIGMA_Z2, level_name
from depthvar.datasets.cache.index import OpenGroup, read_root
from depthvar.datasets.cache.store import Store, open_store
from depthvar.datasets.cache.stored_maps import StoredMaps
from depthvar.datasets.errors import CacheError
from depthvar.precompute.pipeline.summary import SigmaSummary

LOOKED_AT = 8  # frames, for the range of σ


def cache_info(cache: str) -> dict[str, Any]:
    """Return what a cache holds: its attributes, per group size, frames and how many are done, and the range of σ.

    Raises:
        CacheError: there is no cache, or it cannot be read.

    Example:
        >>> from depthvar.precompute import cache_info
        >>> facts = cache_info("data/hospital-sample/sigma_Z2.zarr")
        >>> facts["dataset"], facts["parameters"]["window"]
        ('hospital-sample', 5)
    """
    store = open_store(cache)  # no SigmaCache: that loads what only `sample` needs
    attributes = read_root(store, None)

    def look(name: str) -> tuple[dict[str, Any], NDArray[np.intp]] | None:
        book = read_group(store, name, attributes["parameters"], states_only=True)
        return None if book is None else (_facts(book), np.flatnonzero(book.states == RowState.DONE))

    found = [facts for facts in store.each(look, attributes["groups"]) if facts is not None]
    groups, done = [facts for facts, _ in found], {facts["group"]: rows for facts, rows in found}
    sizes = _sizes(cache, groups, StoredMaps.of(attributes["parameters"]))
    return {"cache": cache} | attributes | {"groups": groups} | sizes | _values(store, done)


def _facts(book: Bookkeeping) -> dict[str, Any]:
    """Return the size of a group's frames, and how many there are."""
    return {
        "group": book.name,
        "height": book.layout.height,
        "width": book.layout.width,
        "frames": book.frames(),
        "done": book.count(RowState.DONE),
        "failed": book.count(RowState.FAILED),
        "shard_frames": book.layout.shard_frames,
    }


def _values(store: Store, done: Mapping[str, NDArray[np.intp]]) -> dict[str, Any]:
    """Return the range of σ in a few frames of all that are done, evenly spread; and how many cannot be read.

    ``done`` has the rows of each group.
    """
    sigma, unreadable = SigmaSummary(), 0
    names, ends = list(done), np.cumsum([len(rows) for rows in done.values()], dtype=np.intp)
    frames = int(ends[-1]) if names else 0
    for index in np.linspace(0, frames - 1, min(LOOKED_AT, frames), dtype=np.intp).tolist():
        name = names[place := int(np.searchsorted(ends, index, "right"))]
        row = int(done[name][index - ends[place]])  # counted from the end
        try:
            if (book := read_group(store, name)) is None:
                raise CacheError(f"{store.url}/{name}: not there any more")
            sigma += SigmaSummary.by_numpy(OpenGroup(store, book).read(row, 1, book.keys[row]))
        except CacheError:
            unreadable += 1
    return {"sigma": sigma.to_json(), "unreadable": unreadable}


def _sizes(cache: str, groups: Sequence[Mapping[str, Any]], maps: StoredMaps) -> dict[str, Any]:
    """Return stored bytes: of the whole cache, and per native pixel, of stride 1 and of all strides together.

    For what is kept with σ² a number of its own, of all strides.
    """
    if "://" in cache:
        return {"bytes": None}
    folders = _folder_bytes(cache)
    sizes, pixels = {"bytes": folders.total()}, sum(each["done"] * each["height"] * each["width"] for each in groups)
    if not pixels:
        return sizes

    def stored(quantity: str, strides: Sequence[int]) -> float:
        per_pixel: float = sum(folders[level_name(stride, quantity)] for stride in strides) / pixels
        return round(per_pixel, 3)

    return sizes | {
        "bytes_per_pixel_stride_1": stored(SIGMA_Z2, (1,)),
        "bytes_per_pixel": stored(SIGMA_Z2, maps.strides),
        **{f"bytes_per_pixel_{quantity}": stored(quantity, maps.strides) for quantity in maps.keep},
    }


def _folder_bytes(root: str) -> Counter[str]:
    """Return the bytes of all files below a folder, by the name of the folder that each lies in.

    No sequence has the name of a level (``format.sequence_group``).
    """
    sizes, folders = Counter[str](), [root]
    while folders:
        folder, size = folders.pop(), 0
        with suppress(FileNotFoundError), os.scandir(folder) as entries:  # a run that goes on renames its files
            for entry in entries:
                try:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        size += entry.stat(follow_symlinks=False).st_size
                except FileNotFoundError:  # suppress() would need a third of the time
                    continue
        sizes[os.path.basename(folder)] += size
    return sizes
