"""What a cache holds, for ``precompute info``."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from depthvar.datasets.cache.format import FAILED, NOT_DONE, level_name
from depthvar.datasets.cache.index import OpenCache
from depthvar.datasets.errors import CacheError
from depthvar.precompute.pipeline import store
from depthvar.precompute.pipeline.fingerprint import kernel_params
from depthvar.precompute.pipeline.stored import stored_groups
from depthvar.precompute.pipeline.summary import SigmaSummary

LOOKED_AT = 8  # frames, for the range of σ


def cache_info(cache: str) -> dict[str, Any]:
    """Return what a cache holds: its attributes, per group size, frames and how many are done, and the range of σ."""
    opened = OpenCache(cache, None)  # no SigmaCache: that loads what only `sample` needs
    attributes = opened.attributes
    root = store.open_existing(cache)
    if root is None:
        raise CacheError(f"{cache}: no cache is there; write one with `precompute run`, or check the path")
    groups, done_keys = [], []
    for group in stored_groups(root, attributes):
        digests = [row.tobytes() for row, key in zip(group.digest, group.keys, strict=True) if key]
        done_keys += [
            key
            for key, digest in zip(filter(None, group.keys), digests, strict=True)
            if digest not in (FAILED, NOT_DONE)
        ]
        failed = sum(digest == FAILED for digest in digests)
        gone = sum(digest == NOT_DONE for digest in digests)
        groups.append(
            {
                "group": group.name,
                "height": group.layout.height,
                "width": group.layout.width,
                "rows": len(group.keys),
                "done": len(digests) - failed - gone,
                "failed": failed,
                "shard_frames": group.layout.shard_frames,
            }
        )
    return (
        {"cache": cache}
        | attributes
        | {"estimator": kernel_params(attributes["parameters"]).estimator}
        | {"groups": groups, "bytes": _disk_bytes(cache)}
        | _per_pixel(groups, attributes, cache)
        | _values(opened, done_keys)
    )


def _values(opened: OpenCache, keys: Sequence[str]) -> dict[str, Any]:
    """Return the range of σ in a few frames, evenly spread, and how many of those cannot be read."""
    sigma, unreadable = SigmaSummary(), 0
    count = min(LOOKED_AT, len(keys))
    for index in range(count):
        key = keys[index * (len(keys) - 1) // max(count - 1, 1)]
        try:
            group, row = opened.find(key)
            sigma += SigmaSummary.of(group.read(row, 1, key))
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
