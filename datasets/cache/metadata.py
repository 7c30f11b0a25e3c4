"""What ``zarr.json`` holds for every group and array of a cache, to be written and to be compared."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from depthvar.datasets.errors import CacheError, DamagedError

from .attributes import seal
from .format import COLUMNS, EDGE, GroupLayout, MapLayout, column_width
from .store import Store
from .stored_maps import StoredMaps

NAME = "zarr.json"
BOOKKEEPING_ALONE = StoredMaps()

_SIGMA: dict[str, Any] = {"quantity": "sigma_Z2", "units": "m2"}
_EDGE: dict[str, Any] = {
    "quantity": "edge",
    "units": "1",
    "long_name": "half the range of distances in the window, divided by the distance",
}
_DEPTH: dict[str, Any] = {"quantity": "depth", "units": "m"}


def metadata_path(node: str) -> str:
    """Return where the metadata of a group or array are stored; the root is the empty path."""
    return f"{node}/{NAME}".lstrip("/")


def to_bytes(metadata: Mapping[str, Any]) -> bytes:
    """Return the text of a ``zarr.json``."""
    return json.dumps(metadata, ensure_ascii=False).encode()  # an indent would make it ten times as slow


def from_bytes(data: bytes, where: str) -> dict[str, Any]:
    """Return the content of a ``zarr.json``; DamagedError where it is not a JSON object.

    Consolidated metadata, which a user may have added, are not part of the format: nothing keeps them up to date.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DamagedError(where, f"expected JSON: {error}") from error
    if not isinstance(content, dict):
        raise DamagedError(where, f"expected a JSON object, got {type(content).__name__}")
    content.pop("consolidated_metadata", None)
    return content


def read(store: Store, node: str) -> dict[str, Any] | None:
    """Return the content of a node's ``zarr.json``, None where there is none; DamagedError where it is not one."""
    path = metadata_path(node)
    data = store.get(path)
    return None if data is None else from_bytes(data, f"{store.url}/{path}")


def read_root(store: Store) -> object | None:
    """Return the root's attributes, unchecked (``attributes.check_root``); None where there is nothing.

    Raises:
        CacheError: its ``zarr.json`` cannot be understood.
    """
    try:
        root = read(store, "")
    except DamagedError as error:
        raise CacheError(
            f"{error.where}: unreadable ({error.reason}); restore it from a copy, or remove the cache by hand"
        ) from error
    return None if root is None else root.get("attributes")


def check_same(stored: Mapping[str, Any], expected: Mapping[str, Any], where: str) -> None:
    """Raise DamagedError where stored metadata are not exactly the expected ones: the field, expected, got."""
    if stored != expected:
        fields = dict.fromkeys((*expected, *stored))
        field = next(field for field in fields if stored.get(field) != expected.get(field))
        want, got = (str(each.get(field, "nothing"))[:200] for each in (expected, stored))
        raise DamagedError(where, f"{field}: expected {want}, got {got}")


def rows_of(data: bytes, where: str, layout: GroupLayout, maps: StoredMaps = BOOKKEEPING_ALONE, least: int = 0) -> int:
    """Return how many rows an array of a group has, from its ``zarr.json``.

    Raises:
        DamagedError: it is not that of such an array, of at least so many rows.
    """
    try:
        return _rows_of(data, where.rpartition("/")[2], layout, maps, least)
    except DamagedError as error:
        raise DamagedError(where, error.reason) from error


@lru_cache(maxsize=64)  # the arrays of thousands of groups mostly have the same few texts
def _rows_of(data: bytes, array: str, layout: GroupLayout, maps: StoredMaps, least: int) -> int:
    stored = from_bytes(data, array)
    shape = stored.get("shape")
    if not (isinstance(shape, list) and shape and type(shape[0]) is int and shape[0] >= 0):
        raise DamagedError(array, f"expected a shape, got {str(shape)[:200]}")
    layout.check(shape[0], array)
    rows = max(shape[0], least)
    check_same(stored, array_metadata(layout, rows, maps)[array], array)
    return rows


def array_names(maps: StoredMaps) -> list[str]:
    """Return the arrays of every group, in the order in which they are written: without digests none is complete."""
    return [*maps.arrays, "intrinsics", "key", "source_stat", "digest"]


def group_metadata(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``zarr.json`` of a group."""
    return {"attributes": dict(attributes), "zarr_format": 3, "node_type": "group"}


def array_metadata(layout: GroupLayout, rows: int, maps: StoredMaps) -> dict[str, dict[str, Any]]:
    """Return the ``zarr.json`` of every array of a group by name, in the order of ``array_names``."""
    arrays = _without_rows(layout, maps)
    return {name: content | {"shape": [rows, *content["shape"][1:]]} for name, content in arrays.items()}


@lru_cache(maxsize=64)
def _without_rows(layout: GroupLayout, maps: StoredMaps) -> dict[str, dict[str, Any]]:
    arrays = {}
    for name, stride in maps.arrays.items():
        cut = layout.maps(stride)
        suffix = "" if stride == 1 else f"_s{stride}"
        attributes = _DEPTH if name == "depth" else _EDGE if name.startswith(EDGE) else _SIGMA
        arrays[name] = _array(
            shape=(0, cut.height, cut.width),
            chunk=(layout.shard_frames, cut.bands * cut.band_rows, cut.width),
            dtype="float32",
            fill_value="NaN",
            codecs=[_sharding(cut)],
            dimensions=("frame", f"y{suffix}", f"x{suffix}"),
            attributes=attributes | {"stride": stride},
        )
    for name, dimension, others in (
        ("intrinsics", "fx_fy_cx_cy", {"units": "px"}),
        ("key", "byte", {"encoding": "utf-8"}),
        ("source_stat", "size_hash", {}),
        ("digest", "sha256", {}),
    ):
        width = column_width(name, layout)
        arrays[name] = _array(
            shape=(0, width),
            chunk=(layout.shard_frames, width),
            dtype=COLUMNS[name].name,
            fill_value=0,
            codecs=[_bytes(COLUMNS[name].itemsize), {"name": "crc32c"}],
            dimensions=("frame", dimension),
            attributes={"quantity": name} | others,
        )
    return arrays


def _array(
    shape: tuple[int, ...],
    chunk: tuple[int, ...],
    dtype: str,
    fill_value: object,
    codecs: list[dict[str, Any]],
    dimensions: tuple[str, ...],
    attributes: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "shape": list(shape),
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": fill_value,
        "codecs": codecs,
        "attributes": seal(attributes),
        "dimension_names": list(dimensions),
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }


def _bytes(itemsize: int) -> dict[str, Any]:
    return {"name": "bytes"} | ({"configuration": {"endian": "little"}} if itemsize > 1 else {})


def _sharding(maps: MapLayout) -> dict[str, Any]:
    name, level, block = maps.compressor
    blosc = {"typesize": 4, "cname": name, "clevel": level, "shuffle": "bitshuffle", "blocksize": block}
    return {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": [1, maps.band_rows, maps.width],
            "codecs": [_bytes(4), {"name": "blosc", "configuration": blosc}, {"name": "crc32c"}],
            "index_codecs": [_bytes(8), {"name": "crc32c"}],
            "index_location": "end",
        },
    }
