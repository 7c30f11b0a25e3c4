"""What a cache holds, for ``precompute info``."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from depthvar.datasets.cache.bookkeeping import Bookkeeping, RowState, read_group
from depthvar.datasets.cache.format import level_name
from depthvar.datasets.cache.index import OpenGroup, read_root
from depthvar.datasets.cache.store import Store, open_store
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
    found = [read_group(store, name, attributes["parameters"]) for name in attributes["groups"]]
    books = [book for book in found if book is not None]
    groups = [
        {
            "group": book.name,
            "height": book.layout.height,
            "width": book.layout.width,
            "frames": book.frames(),
            "done": book.count(RowState.DONE),
            "failed": book.count(RowState.FAILED),
            "shard_frames": book.layout.shard_frames,
        }
        for book in books
    ]
    sizes = _sizes(cache, groups, attributes["parameters"]["strides"])
    return {"cache": cache} | attributes | {"groups": groups} | sizes | _values(store, books)


def _values(store: Store, books: Sequence[Bookkeeping]) -> dict[str, Any]:
    """Return the range of σ in a few frames, evenly spread, and how many of those cannot be read."""
    sigma, unreadable = SigmaSummary(), 0
    done = [(book, row) for book in books for row in np.flatnonzero(book.states == RowState.DONE).tolist()]
    for index in np.linspace(0, len(done) - 1, min(LOOKED_AT, len(done)), dtype=np.intp):
        book, row = done[index]
        try:
            sigma += SigmaSummary.of(OpenGroup(store, book).read(row, 1, book.keys[row]))
        except CacheError:
            unreadable += 1
    return {"sigma": sigma.to_json(), "unreadable": unreadable}


def _sizes(cache: str, groups: Sequence[Mapping[str, Any]], strides: Sequence[int]) -> dict[str, Any]:
    """Return stored bytes: of the whole cache, and per native pixel, of stride 1 and of all strides together."""
    if "://" in cache:
        return {"bytes": None}
    sizes, pixels = {"bytes": _disk_bytes(cache)}, sum(each["done"] * each["height"] * each["width"] for each in groups)
    if not pixels:
        return sizes
    folders = [os.path.join(cache, each["group"]) for each in groups]
    levels = {s: sum(_disk_bytes(os.path.join(folder, level_name(s))) for folder in folders) / pixels for s in strides}
    return sizes | {
        "bytes_per_pixel_stride_1": round(levels[1], 3),
        "bytes_per_pixel": round(sum(levels.values()), 3),
    }


def _disk_bytes(folder: str) -> int:
    size = 0
    for inner, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # a run that goes on renames its files
                size += os.lstat(os.path.join(inner, name)).st_size
    return size
