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
    return (
        {"cache": cache}
        | attributes
        | {"groups": groups, "bytes": _disk_bytes(cache)}
        | _per_pixel(groups, attributes, cache)
        | _values(store, books)
    )


def _values(store: Store, books: Sequence[Bookkeeping]) -> dict[str, Any]:
    """Return the range of σ in a few frames, evenly spread, and how many of those cannot be read."""
    sigma, unreadable = SigmaSummary(), 0
    done = [(book, row) for book in books for row in np.flatnonzero(book.states == RowState.DONE).tolist()]
    count = min(LOOKED_AT, len(done))
    for index in range(count):
        book, row = done[index * (len(done) - 1) // max(count - 1, 1)]
        try:
            sigma += SigmaSummary.of(OpenGroup(store, book).read(row, 1, book.keys[row]))
        except CacheError:
            unreadable += 1
    return {"sigma": sigma.to_json(), "unreadable": unreadable}


def _disk_bytes(cache: str) -> int | None:
    if "://" in cache:
        return None
    sizes = 0
    for folder, _, names in os.walk(cache):
        for name in names:
            with suppress(FileNotFoundError):  # a run that goes on renames its files
                sizes += os.lstat(os.path.join(folder, name)).st_size
    return sizes


def _per_pixel(groups: list[dict[str, Any]], attributes: Mapping[str, Any], cache: str) -> dict[str, Any]:
    """Return stored bytes per native pixel, of stride 1 and of all strides together."""
    pixels = sum(group["done"] * group["height"] * group["width"] for group in groups)
    if "://" in cache or pixels == 0:
        return {}
    sizes = {
        stride: sum(_disk_bytes(os.path.join(cache, group["group"], level_name(stride))) or 0 for group in groups)
        for stride in attributes["parameters"]["strides"]
    }
    return {
        "bytes_per_pixel_stride_1": round(sizes[1] / pixels, 3),
        "bytes_per_pixel": round(sum(sizes.values()) / pixels, 3),
    }
