"""Has a cache what its format implies, and nothing else? Names, metadata and files, without a look at the chunks."""

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import zarr
from zarr.abc.metadata import Metadata
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync  # asyncio.run would fail in a notebook, and with a store bound to Zarr's own loop

from depthvar.datasets.format import expected_metadata, group_name

from .finding import OVERWRITE, RUN_AGAIN, Finding, is_done, text_of
from .fingerprint import fingerprint
from .plan import GroupPlan, StoredGroup
from .store import check_arrays
from .stored import read_group


def check_folders(root: zarr.Group, attributes: Mapping[str, Any], cache: str) -> Iterator[Finding]:
    """Structure: root and folders between it and the groups have no foreign field; the fingerprint fits."""
    if attributes["fingerprint"] != (expected := fingerprint(attributes["parameters"])):
        got = f"{attributes['fingerprint']}, which is not that of its parameters"
        yield Finding("structure", cache, f"fingerprint {expected}", got, OVERWRITE)
    folders = {part for name in attributes["groups"] for part in _parents(name)}
    for name in ("", *sorted(folders)):
        try:
            node: Any = root[name] if name else root
            yield from _foreign_fields(node, name or "the root")
        except Exception as error:  # whatever Zarr raises on damaged metadata
            yield Finding("structure", name, "intact metadata", text_of(error), OVERWRITE)


def check_unique(groups: Iterable[StoredGroup]) -> Iterator[Finding]:
    """Structure: no two rows claim to be the same frame."""
    done = Counter(key for group in groups for row, key in enumerate(group.keys) if key and is_done(group, row))
    for key in sorted(key for key, count in done.items() if count > 1):
        yield Finding("structure", key, "one row", f"{done[key]} rows that are done", OVERWRITE)


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
    except Exception as error:  # whatever Zarr raises on damaged metadata
        return None, [Finding("structure", name, "intact metadata", text_of(error), OVERWRITE)]
    expected = expected_metadata(group.layout, len(group.keys), strides, with_depth)
    findings = []
    shape = group.layout.height, group.layout.width
    if name not in (group_name(group.sequence, shape, shape), group_name(group.sequence, shape, (0, 0))):
        got = f"the group of {group.sequence or 'the root'}, {shape[0]}×{shape[1]}"
        findings.append(Finding("structure", name, "the group of its name", got, OVERWRITE))
    for array in ("", *expected):
        findings += _foreign_fields(node[array] if array else node, f"{name}/{array}".rstrip("/"))
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


def list_files(root: zarr.Group) -> list[str]:
    """Return the path of every file of a cache, relative to its root."""
    store, path = root.store_path.store, root.store_path.path
    prefix = f"{path}/" if path else ""

    async def listed() -> list[str]:
        return [key.removeprefix(prefix) async for key in store.list_prefix(prefix)]

    return sync(listed())


def check_strays(
    files: Iterable[str], cache: str, names: Iterable[str], groups: Iterable[StoredGroup], parameters: Mapping[str, Any]
) -> tuple[list[Finding], list[Finding]]:
    """Structure: no group, array or file is there but those that the groups imply.

    Returns:
        The findings; and, as warnings, the temporary files that a killed run has left, which nothing reads.
    """
    strides, with_depth = tuple(parameters["strides"]), bool(parameters["with_depth"])
    unread = set(names)
    known = {"zarr.json"} | {f"{folder}/zarr.json" for name in unread for folder in (*_parents(name), name)}
    for group in groups:
        unread.discard(group.name)
        shards = range(-(-len(group.keys) // group.layout.shard_frames))
        for array, metadata in expected_metadata(group.layout, len(group.keys), strides, with_depth).items():
            tail = "/0" * (len(metadata["shape"]) - 1)
            known.add(f"{group.name}/{array}/zarr.json")
            known |= {f"{group.name}/{array}/c/{shard}{tail}" for shard in shards}
    folders = {folder for file in known for folder in _parents(file)}
    findings, warnings, seen = [], [], set()
    for file in sorted(set(files) - known):
        if any(file.startswith(f"{name}/") for name in unread):
            continue  # a finding already, and what belongs to it is not known
        top = next(part for part in (*_parents(file), file) if part not in folders)
        if top in seen:
            continue
        seen.add(top)
        repair = f"remove {top}" if "://" in cache else f"`rm -r {shlex.quote(f'{cache}/{top}')}`"
        if top.endswith(".partial"):
            warnings.append(Finding("structure", top, "no such file", "what a killed run left behind", repair))
        else:
            findings.append(Finding("structure", top, "nothing of this name", "what is no part of a cache", repair))
    return findings, warnings
