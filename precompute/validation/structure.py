"""Has a cache what its format implies, and nothing else? Names, metadata and files, without a look at the chunks."""

import json
import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import zarr
from zarr.abc.metadata import Metadata
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync  # asyncio.run would fail in a notebook, and with a store bound to Zarr's own loop

from depthvar.datasets.cache.arrays import find_node
from depthvar.datasets.cache.format import expected_metadata, folders_of, group_name
from depthvar.precompute.pipeline.fingerprint import fingerprint
from depthvar.precompute.pipeline.plan import GroupPlan, StoredGroup
from depthvar.precompute.pipeline.store import check_arrays
from depthvar.precompute.pipeline.stored import missing, read_group

from .finding import CLEAR, OVERWRITE, RUN_AGAIN, Finding, is_done, refuse_machine_fault, text_of

IGNORED = "a field that Zarr ignores"


def check_folders(root: zarr.Group, attributes: Mapping[str, Any], cache: str) -> Iterator[Finding]:
    """Structure: root and folders between it and the groups have no foreign field; the fingerprint fits."""
    if attributes["fingerprint"] != (expected := fingerprint(attributes["parameters"])):
        got = f"{attributes['fingerprint']}, which is not that of its parameters"
        yield Finding("structure", cache, f"fingerprint {expected}", got, OVERWRITE)
    if not _is_known(root):
        yield Finding("structure", "zarr.json of the root", "intact metadata", IGNORED, OVERWRITE)
    for folder in sorted({folder for name in attributes["groups"] for folder in folders_of(name)}):
        where = f"{folder}/zarr.json"
        try:
            node = find_node(root, folder)
            if node is None:
                yield Finding("structure", where, "the folder of a group", "nothing", RUN_AGAIN)
            elif not _is_known(node):
                yield Finding("structure", where, "intact metadata", IGNORED, CLEAR, (folder, None))
        except Exception as error:  # whatever Zarr raises on damaged metadata
            refuse_machine_fault(error, f"{cache}/{folder}")
            yield Finding("structure", where, "intact metadata", text_of(error), CLEAR, (folder, None))


def check_unique(groups: Iterable[StoredGroup]) -> Iterator[Finding]:
    """Structure: no two rows claim to be the same frame. In two groups, a run clears the one that has become wrong."""
    rows = defaultdict(list)
    for group in groups:
        for row, key in enumerate(group.keys):
            if key and is_done(group, row):
                rows[key].append(group.name)
    for key, names in sorted(rows.items()):
        twice = next((name for name in names if names.count(name) > 1), None)
        if len(names) > 1:
            repair, shard = (CLEAR, (twice, None)) if twice else (RUN_AGAIN, None)
            yield Finding("structure", key, "one row", f"{len(names)} rows that are done", repair, shard)


def check_group(root: zarr.Group, name: str, parameters: Mapping[str, Any]) -> tuple[StoredGroup | None, list[Finding]]:
    """Structure: the group is there, its attributes and arrays are what the parameters imply, and can be read."""
    strides, with_depth = tuple(parameters["strides"]), bool(parameters["with_depth"])
    try:
        if absent := missing(root, name, parameters):
            what = "the group that the cache lists" if name in absent else f"its arrays, {', '.join(absent)} too"
            return None, [Finding("structure", name, what, "nothing", RUN_AGAIN)]
        node: Any = root[name]
        group = read_group(node, name, tolerant=True)
        check_arrays(node, GroupPlan(name, group.sequence, group.layout, len(group.keys)), strides, with_depth)
    except Exception as error:  # whatever Zarr raises on damaged metadata
        refuse_machine_fault(error, str(root.store_path / name))
        return None, [Finding("structure", name, "intact metadata", text_of(error), CLEAR, (name, None))]
    expected = expected_metadata(group.layout, len(group.keys), strides, with_depth)
    findings = []
    shape = group.layout.height, group.layout.width
    if name not in (group_name(group.sequence, shape, shape), group_name(group.sequence, shape, (0, 0))):
        got = f"the group of {group.sequence or 'the root'}, {shape[0]}×{shape[1]}"
        findings.append(Finding("structure", name, "the group of its name", got, CLEAR, (name, None)))
    for array in ("", *expected):
        if not _is_known(node[array] if array else node):
            where = f"{name}/{array}/zarr.json".replace("//", "/")
            findings.append(Finding("structure", where, "intact metadata", IGNORED, CLEAR, (name, None)))
    return group, findings


def _is_known(node: Any) -> bool:
    """Return whether Zarr knows every field of a zarr.json: it reads over one whose name is damaged.

    Consolidated metadata, which a user may have added to the root, are never read by depthvar.
    """
    metadata: Metadata = node.metadata
    written = metadata.to_buffer_dict(default_buffer_prototype())["zarr.json"].to_bytes()  # type: ignore[attr-defined]
    stored = sync((node.store_path / "zarr.json").get())
    if stored is None:
        return False
    given = json.loads(stored.to_bytes())
    given.pop("consolidated_metadata", None)
    return _contains(json.loads(written), given)


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
    known = {"zarr.json"} | {f"{folder}/zarr.json" for name in unread for folder in (*folders_of(name), name)}
    for group in groups:
        unread.discard(group.name)
        shards = range(-(-len(group.keys) // group.layout.shard_frames))
        for array, metadata in expected_metadata(group.layout, len(group.keys), strides, with_depth).items():
            tail = "/0" * (len(metadata["shape"]) - 1)
            known.add(f"{group.name}/{array}/zarr.json")
            known |= {f"{group.name}/{array}/c/{shard}{tail}" for shard in shards}
    folders = {folder for file in known for folder in folders_of(file)}
    findings, warnings, seen = [], [], set()
    for file in sorted(set(files) - known):
        if any(file.startswith(f"{name}/") for name in unread):
            continue  # a finding already, and what belongs to it is not known
        top = next(part for part in (*folders_of(file), file) if part not in folders)
        if top in seen:
            continue
        seen.add(top)
        repair = f"remove {top}" if "://" in cache else f"`rm -r {shlex.quote(f'{cache}/{top}')}`"
        if top.endswith(".partial"):
            warnings.append(Finding("structure", top, "no such file", "what a killed run left behind", repair))
        else:
            findings.append(Finding("structure", top, "nothing of this name", "what is no part of a cache", repair))
    return findings, warnings
