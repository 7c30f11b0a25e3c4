"""Is a cache whole? Its metadata, its bookkeeping and every chunk, without a look at the depth."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.metadata import Metadata
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync  # asyncio.run would fail in a notebook, and with a store bound to Zarr's own loop

from depthvar.datasets.errors import CacheError
from depthvar.datasets.format import FAILED, NOT_DONE, expected_metadata, level_name

from .plan import GroupPlan, StoredGroup
from .store import check_arrays
from .stored import read_group

RUN_AGAIN = "`precompute run` with the options of the cache"
CLEAR = f"`precompute validate --clear`, then {RUN_AGAIN}"
OVERWRITE = f"{RUN_AGAIN} and --overwrite"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        check: structure | integrity | completeness | staleness | recomputation.
        where: the frame's key, or the group or array.
        expected: what should be there.
        got: what is there.
        repair: what to type next.
        shard: (group, first row) of the shard that ``--clear`` makes the next run compute again.
    """

    check: str
    where: str
    expected: str
    got: str
    repair: str
    shard: tuple[str, int] | None = None


def check_folders(root: zarr.Group, names: list[str]) -> Iterator[Finding]:
    """Structure: the root, and the folders between it and the groups, have metadata without a foreign field."""
    folders = {part for name in names for part in _parents(name)}
    for name in ("", *sorted(folders)):
        try:
            node: Any = root[name] if name else root
            yield from _foreign_fields(node, name or "the root")
        except Exception as error:  # whatever Zarr raises on damaged metadata
            yield Finding("structure", name, "intact metadata", _text(error), OVERWRITE)


def _parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def check_group(root: zarr.Group, name: str, parameters: Mapping[str, Any]) -> tuple[StoredGroup | None, list[Finding]]:
    """Structure: the group is there, its attributes and arrays are what the parameters imply, and can be read."""
    strides, with_depth = tuple(parameters["strides"]), bool(parameters["with_depth"])
    try:
        if name not in root:
            return None, [Finding("structure", name, "the group that the cache lists", "nothing", RUN_AGAIN)]
        node: Any = root[name]
        group = read_group(node, name, tolerant=True)
        check_arrays(node, GroupPlan(name, group.sequence, group.layout, len(group.keys)), strides, with_depth)
        arrays = set(node.array_keys())
    except Exception as error:  # whatever Zarr raises on damaged metadata
        return None, [Finding("structure", name, "intact metadata", _text(error), OVERWRITE)]
    expected = expected_metadata(group.layout, len(group.keys), strides, with_depth)
    findings = [
        Finding("structure", f"{name}/{array}", "no such array", "an array", "remove it by hand")
        for array in sorted(arrays - set(expected))
    ]
    for array in ("", *expected):
        findings += _foreign_fields(node[array] if array else node, f"{name}/{array}".rstrip("/"))
    damaged = {*group.damaged, *_lost_chunks(group)}
    for column, start in sorted(damaged):
        where = f"{name}, {column}, rows from {start}"
        findings.append(Finding("integrity", where, "intact bookkeeping", "damaged or lost", CLEAR, (name, start)))
    return group, findings


def _foreign_fields(node: Any, where: str) -> Iterator[Finding]:
    """Find what Zarr reads over in a zarr.json: a field whose damaged name it does not know."""
    metadata: Metadata = node.metadata
    written = metadata.to_buffer_dict(default_buffer_prototype())["zarr.json"].to_bytes()  # type: ignore[attr-defined]
    stored = sync((node.store_path / "zarr.json").get())
    if stored is None or not _contains(json.loads(written), json.loads(stored.to_bytes())):
        yield Finding("structure", f"{where}/zarr.json", "intact metadata", "a field that Zarr ignores", OVERWRITE)


def _contains(known: Any, given: Any) -> bool:
    if isinstance(given, dict):
        return isinstance(known, dict) and all(name in known and _contains(known[name], given[name]) for name in given)
    if isinstance(given, list):
        return isinstance(known, list) and len(known) == len(given) and all(map(_contains, known, given))
    return bool(known == given)


def _lost_chunks(group: StoredGroup) -> Iterator[tuple[str, int]]:
    """Find bookkeeping that is gone though its rows are done: Zarr reads a chunk that is lost as zeros."""
    for row, key in enumerate(group.keys):
        digest, start = group.digest[row].tobytes(), row - row % group.layout.shard_frames
        if digest != NOT_DONE and not key:
            yield "key", start
        if digest not in (NOT_DONE, FAILED) and not (group.intrinsics[row, :2] > 0).all():
            yield "intrinsics", start


def check_maps(node: Any, group: StoredGroup, parameters: Mapping[str, Any]) -> Iterator[tuple[int, list[Finding]]]:
    """Integrity: decode every chunk (Blosc, CRC32C), and look for values that no run writes.

    Yields:
        Per shard and array, the number of chunks and the findings.
    """
    names = [level_name(stride) for stride in parameters["strides"]] + ["depth"] * bool(parameters["with_depth"])
    step = group.layout.shard_frames
    for name in names:
        for start in range(0, len(group.keys), step):
            count = min(step, len(group.keys) - start)
            findings = []
            for row, values in _rows(node[name], start, count):
                if group.digest[row].tobytes() in (NOT_DONE, FAILED):
                    continue
                if isinstance(values, Exception):
                    got = _text(values)
                elif np.isnan(values).any():
                    got = "missing values (NaN)"
                elif (values < 0).any():
                    got = f"the negative value {values.min()}"
                else:
                    continue
                where = f"{group.keys[row] or f'{group.name}, row {row}'}, {name}"
                findings.append(Finding("integrity", where, "values ≥ 0 or +inf", got, CLEAR, (group.name, start)))
            yield count, findings


def _rows(array: Any, start: int, count: int) -> Iterator[tuple[int, NDArray[np.float32] | Exception]]:
    """Yield the rows of a shard; where it cannot be decoded as a whole, one by one, to name the frames."""
    try:
        values = array[start : start + count]
    except Exception:
        for row in range(start, start + count):
            try:
                yield row, array[row]
            except Exception as error:  # whatever codecs raise on damaged bytes
                yield row, error
    else:
        yield from enumerate(values, start)


def check_done(group: StoredGroup) -> Iterator[Finding]:
    """Completeness: every row that has a key, and whose frame is not gone, is done."""
    for row, key in enumerate(group.keys):
        digest = group.digest[row].tobytes()
        if digest == FAILED:
            yield Finding("completeness", key, "a computed frame", "one whose file could not be read", RUN_AGAIN)
        elif digest == NOT_DONE and key and group.intrinsics[row].any():
            yield Finding("completeness", key, "a computed frame", "one that is not done", RUN_AGAIN)


def _text(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, CacheError) else f"{type(error).__name__}: {text}"
