"""The write side of the cache. The order of writes is what makes a cache trustworthy:

a shard's digests are zeroed first, then its maps are written, and its digests are written last.
"""

import asyncio
import os
import re
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import LocalStore, StorePath

from depthvar.datasets.cache.arrays import find_array, find_node
from depthvar.datasets.cache.format import (
    DIGEST_BYTES,
    array_arguments,
    array_metadata,
    array_names,
    encode_keys,
    expected_metadata,
    folders_of,
    seal,
)
from depthvar.datasets.errors import REPAIR, CacheError

from .plan import GroupPlan
from .stored import missing, understood


@contextmanager
def writing(where: str) -> Iterator[None]:
    """Turn what a file system refuses (no space, no permission, …) into one line that says how to go on."""
    try:
        yield
    except CacheError:
        raise
    except OSError as error:
        raise CacheError(
            f"{where}: cannot write: {error.strerror or error}; nothing half-written counts as done: "
            "mend that and run the same command again"
        ) from error


def refuse_links(path: StorePath) -> None:
    """Raise CacheError where a folder on the way from the root of a local cache to a stored object is a symlink."""
    if isinstance(path.store, LocalStore):
        folder = os.path.dirname(path.path)
        root = os.path.realpath(path.store.root)
        if os.path.realpath(os.path.join(root, folder)) != os.path.join(root, folder).rstrip("/"):
            raise CacheError(
                f"{path.store.root}/{folder}: expected folders, got a symlink among them, and nothing is written "
                "through one; put a folder in its place, or link the cache as a whole"
            )


def open_existing(url: str) -> zarr.Group | None:
    """Open a cache for writing, or return None where there is nothing yet.

    Raises:
        CacheError: something else than a Zarr group is there.
    """
    try:
        return zarr.open_group(url, mode="r+", zarr_format=3, use_consolidated=False)  # a copy that may be old
    except (FileNotFoundError, FileExistsError, NotADirectoryError):
        path = Path(url)
        if "://" not in url and path.exists() and not (path.is_dir() and all(map(is_partial, path.iterdir()))):
            raise CacheError(
                f"{url}: exists and is not a depthvar cache; pass another --out, or remove it by hand"
            ) from None
        return None
    except OSError:
        raise
    except Exception as error:  # whatever Zarr raises on damaged metadata, and fsspec on a URL
        if "://" in url:
            raise CacheError(f"{url}: cannot be opened as a cache ({error}); check the URL, or pass another") from error
        raise CacheError(
            f"{url}: zarr.json is unreadable ({error}); remove the cache by hand, or pass --out"
        ) from error


def create(url: str, attributes: Mapping[str, Any]) -> zarr.Group:
    """Create the root group with sealed attributes."""
    with writing(url):
        return zarr.create_group(url, zarr_format=3, attributes=seal(attributes))


def is_partial(path: Path) -> bool:
    """Say whether a file is one that Zarr was writing when its process died, before it gave it its name."""
    return re.fullmatch(r"(zarr|\d+)\.[0-9a-f]{32}\.partial", path.name) is not None


def wait(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine of a store to its end, also where a loop is running already (a notebook)."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, coroutine).result()


def _require_group(root: zarr.Group, plan: GroupPlan) -> zarr.Group:
    """Return a sequence's group, created with its attributes in one write unless it is there.

    One without digests gets them anew: Zarr made it, as the folder of another sequence, or a run died before it was
    complete, and the frames may be others by now.
    """
    attributes = plan.layout.attributes(plan.sequence)
    for folder in folders_of(plan.name):
        if find_node(root, folder) is None:
            root.create_group(folder)
    group = find_node(root, plan.name)
    if group is None:
        return root.create_group(plan.name, attributes=attributes)
    if isinstance(group, zarr.Group):
        if "digest" not in group and group.attrs.asdict() != attributes:
            group.attrs.put(attributes)
        return group
    raise CacheError(f"{root.store_path}/{plan.name}: expected a group, got an array; {REPAIR}")


def prepare(root: zarr.Group, groups: Sequence[GroupPlan], strides: tuple[int, ...], with_depth: bool) -> None:
    """Create the groups and arrays that are absent, and let those grow that have more rows than before.

    Digests come last: without them a group is not complete, and arrays of another layout are made anew; where they
    have fewer rows than other arrays, a run died while the group grew, and the plan's number of rows stands. Where
    anything else of a group is gone, its digests go first.

    Raises:
        CacheError: an existing group or array is not what the format implies.
    """
    for plan in groups:
        where = f"{root.store_path}/{plan.name}"
        plan.layout.check(plan.rows, where)
        arguments = array_arguments(plan.layout, plan.rows, strides, with_depth)
        for name in arguments:
            refuse_links(root.store_path / plan.name / name / "zarr.json")
        with writing(where), understood(where):
            complete = not missing(root, plan.name, {"strides": strides, "with_depth": with_depth})
            if not complete:  # chunks too, which a killed deletion may have left
                wait((root.store_path / plan.name / "digest").delete_dir())
            group = _require_group(root, plan)
            expected = expected_metadata(plan.layout, plan.rows, strides, with_depth)
            for name in array_names(strides, with_depth):
                there = find_node(group, name) is not None
                if there and not complete and array_metadata(find_array(group, name)) != expected[name]:
                    del group[name]
                    there = False
                if not there:
                    group.create_array(name, **arguments[name])
                elif (array := find_array(group, name)).shape[0] != plan.rows:
                    array.resize((plan.rows, *array.shape[1:]))
        check_arrays(group, plan, strides, with_depth)


def check_arrays(group: zarr.Group, plan: GroupPlan, strides: tuple[int, ...], with_depth: bool) -> None:
    """Compare the metadata of a group's arrays with what the format implies.

    Raises:
        CacheError: naming the array, the field, what was expected and what is there.
    """
    for name, expected in expected_metadata(plan.layout, plan.rows, strides, with_depth).items():
        got = array_metadata(find_array(group, name))
        for field in expected:
            if got.get(field) != expected[field]:
                raise CacheError(
                    f"{group.store_path}/{name}: {field} is damaged or foreign: expected {expected[field]}, "
                    f"got {got.get(field)}; {REPAIR}"
                )


def delete_chunk(array: zarr.Array[Any], start: int) -> None:
    """Delete the stored object (a chunk, or a shard) that holds the row ``start``."""
    path = _chunk_path(array, start)
    refuse_links(path)
    with writing(str(path)):
        wait(path.delete())


def _chunk_path(array: zarr.Array[Any], start: int) -> StorePath:
    """Return where the object that holds the row ``start`` is stored."""
    rows = (array.shards or array.chunks)[0]
    return array.store_path / array.metadata.encode_chunk_key((start // rows, *[0] * (array.ndim - 1)))


def _write_rows(group: zarr.Group, name: str, start: int, values: NDArray[Any]) -> None:
    """Write the rows of a whole shard."""
    array = find_array(group, name)
    refuse_links(_chunk_path(array, start))
    try:
        array[start : start + len(values)] = values
    except OSError:
        raise
    except Exception:  # the last shard is read before it is written, being longer than the array, and is damaged
        delete_chunk(array, start)
        array[start : start + len(values)] = values


def zero_digests(group: zarr.Group, start: int, count: int) -> None:
    """Take back a shard's claim to be done."""
    with writing(f"{group.store_path}/digest"):
        _write_rows(group, "digest", start, np.zeros((count, DIGEST_BYTES), np.uint8))


def write_shard(
    group: zarr.Group,
    start: int,
    maps: Mapping[str, NDArray[np.float32]],
    keys: Sequence[str],
    intrinsics: NDArray[np.float64],
    stat: NDArray[np.int64],
    digests: Sequence[bytes],
) -> None:
    """Write whole shards of every array of a group: maps, then bookkeeping, and the digests last."""
    columns: dict[str, NDArray[Any]] = {
        "key": encode_keys(keys, find_array(group, "key").shape[1]),
        "intrinsics": intrinsics,
        "source_stat": stat,
        "digest": np.frombuffer(b"".join(digests), np.uint8).reshape(len(keys), DIGEST_BYTES),
    }
    with writing(f"{group.store_path}, rows {start} to {start + len(keys) - 1}"):
        for name, values in (*maps.items(), *columns.items()):
            _write_rows(group, name, start, values)


def write_unchanged(group: zarr.Group, start: int, intrinsics: NDArray[np.float64], stat: NDArray[np.int64]) -> None:
    """Write the bookkeeping of a shard whose content was found unchanged."""
    with writing(f"{group.store_path}/source_stat"):
        _write_rows(group, "intrinsics", start, intrinsics)
        _write_rows(group, "source_stat", start, stat)
