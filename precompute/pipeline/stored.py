"""What a cache says of itself: the bookkeeping of its groups, read for planning and for validation."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.sync import sync

from depthvar.datasets.cache.arrays import checked_array, failure, find_node
from depthvar.datasets.cache.attributes import check_key
from depthvar.datasets.cache.format import GroupLayout, array_names, decode_keys
from depthvar.datasets.errors import REPAIR, CacheError, DepthVarError

from .plan import StoredGroup


@contextmanager
def understood(where: str) -> Iterator[None]:
    """Turn what Zarr raises on metadata that are damaged or gone into one line that says how to go on."""
    try:
        yield
    except DepthVarError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CacheError(
            f"{where}: metadata are damaged or lost ({type(error).__name__}: {error}); {REPAIR}"
        ) from error


def stored_groups(root: zarr.Group, attributes: Mapping[str, Any]) -> list[StoredGroup]:
    """Read the bookkeeping of the groups of a cache; one that is not there, or not in full, is left out.

    Args:
        root: the cache.
        attributes: of the root, checked.

    Raises:
        CacheError: the metadata or the bookkeeping of a group is damaged.
    """
    groups = []
    for name in attributes["groups"]:
        with understood(f"{root.store_path}/{name}"):
            if not missing(root, name, attributes["parameters"]):
                groups.append(read_group(find_node(root, name), name))
    return groups


def missing(root: zarr.Group, name: str, parameters: Mapping[str, Any]) -> list[str]:
    """Return what of a group is not there: its own name, and its arrays' without it.

    Raises:
        CacheError: the machine cannot tell.
    """
    names = array_names(parameters["strides"], parameters["with_depth"])
    paths = {name: name} | {array: f"{name}/{array}" for array in names}

    async def lost() -> list[str]:  # a look at the name alone: opening each takes milliseconds a group
        return [each for each, path in paths.items() if not await (root.store_path / path / "zarr.json").exists()]

    try:
        return sync(lost())
    except OSError as error:
        raise failure(f"{root.store_path}/{name}", error) from error


def read_group(group: zarr.Group | zarr.Array[Any], name: str, *, tolerant: bool = False) -> StoredGroup:
    """Read the bookkeeping of one group. The digests decide how many rows there are: they are created last.

    Args:
        group: the node of the group.
        name: its name.
        tolerant: return zeros for what is damaged, and list it, where a run has to stop.

    Raises:
        CacheError: the group's attributes are damaged, or a bookkeeping chunk is and ``tolerant`` is False.
    """
    if not isinstance(group, zarr.Group):
        raise CacheError(f"group {name}: expected a Zarr group, got an array; {REPAIR}")
    sequence, layout = GroupLayout.from_attributes(group.attrs.asdict(), f"group {name}")
    rows = checked_array(group, "digest", layout).shape[0] if find_node(group, "digest") is not None else 0
    damaged: list[tuple[str, int]] = []
    columns = {}
    for column in ("key", "digest", "intrinsics", "source_stat"):
        columns[column], starts = _read_column(group, column, rows, layout)
        damaged += [(column, start) for start in starts]
    if damaged and not tolerant:
        raise CacheError(
            f"{group.store_path}: {damaged[0][0]} of rows from {damaged[0][1]} is damaged; find and clear such shards "
            "with `precompute validate --clear`, then run again"
        )
    try:
        keys = [check_key(key, f"group {name}") for key in decode_keys(columns["key"])]
    except UnicodeDecodeError as error:
        raise CacheError(f"group {name}: a key is no UTF-8 ({error}); {REPAIR}") from None
    return StoredGroup(
        name,
        sequence,
        layout,
        keys,
        digest=columns["digest"],
        intrinsics=columns["intrinsics"],
        stat=columns["source_stat"],
        damaged=tuple(damaged),
    )


def _read_column(group: zarr.Group, column: str, rows: int, layout: GroupLayout) -> tuple[NDArray[Any], list[int]]:
    """Return a bookkeeping array and the first rows of the chunks that cannot be decoded, which read as zeros."""
    if rows == 0:
        return np.zeros((0, 1), np.uint8), []
    array, step = checked_array(group, column, layout), layout.shard_frames
    if array.shape[0] < rows:
        raise CacheError(
            f"{group.store_path}/{column} is damaged: expected {rows} rows or more, got {array.shape[0]}; {REPAIR}"
        )
    try:
        return np.asarray(array[:rows]), []
    except (ValueError, RuntimeError):
        pass
    values, damaged = np.zeros((rows, *array.shape[1:]), array.dtype), []
    for start in range(0, rows, step):
        try:
            values[start : start + step] = array[start : min(start + step, rows)]
        except (ValueError, RuntimeError):
            damaged.append(start)
    return values, damaged
