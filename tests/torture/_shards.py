"""What the files of a cache say of its shards after a kill: which are done, or half written, and what they hold."""

from pathlib import Path
from typing import Any

import numpy as np
import zarr

from depthvar.datasets.cache.format import decode_keys

Shard = tuple[str, int]  # group, number in it


def digest_chunks(cache: Path) -> dict[Shard, bytes]:
    """Return the stored digests of every shard that has some."""
    return {
        (str(path.relative_to(cache)).partition("/digest/")[0], _number(path)): chunk
        for path in cache.glob("**/digest/c.*.0")
        if any(chunk := path.read_bytes()[:-4])  # without CRC32C
    }


def has_new_digest(before: bytes | None, after: bytes) -> bool:
    """Return whether a row got a digest: a run that only cleared some, next to a frame that is gone, ended nothing."""
    rows = np.frombuffer(after, np.uint8).reshape(-1, 32)
    old = np.zeros_like(rows) if before is None else np.frombuffer(before, np.uint8).reshape(-1, 32)
    return len(rows) != len(old) or bool((rows.any(axis=1) & (rows != old).any(axis=1)).any())


def _number(chunk: Path) -> int:
    return int(chunk.name.split(".")[1])


def half_written(cache: Path) -> set[Shard]:
    """Return the shards that have values but no digest: those in a write, but for one that has only begun."""
    level = {
        (str(path.relative_to(cache)).partition("/sigma_Z2/")[0], _number(path))
        for path in cache.glob("**/sigma_Z2/c.*.0.0")
    }
    return level - digest_chunks(cache).keys()


def contents(cache: Path) -> dict[str, bytes]:
    """Return every file of a cache."""
    return {str(path.relative_to(cache)): path.read_bytes() for path in cache.rglob("*") if path.is_file()}


def shard_keys(cache: Path) -> dict[Shard, list[str]]:
    """Return the keys that every shard holds."""
    keys: dict[Shard, list[str]] = {}
    if (cache / "zarr.json").exists():
        root: Any = zarr.open_group(cache, mode="r")
        for name in root.attrs["groups"]:
            if f"{name}/digest" in root:  # created last
                frames = root[name].attrs["shard_frames"]
                for row, key in enumerate(decode_keys(root[name]["key"][:], name)):
                    keys.setdefault((name, row // frames), []).extend([key] * bool(key))
    return keys
