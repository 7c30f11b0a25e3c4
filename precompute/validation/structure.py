"""Structure: has a cache what its format implies, and nothing else? Names, metadata and files; no chunk is decoded."""

import shlex
from collections import defaultdict
from collections.abc import Iterator

from depthvar.datasets.cache import metadata
from depthvar.datasets.cache.bookkeeping import missing_nodes, read_group
from depthvar.datasets.cache.format import column_path, folders_of, group_name, map_path
from depthvar.datasets.cache.store import is_partial
from depthvar.datasets.cache.stored_maps import StoredMaps
from depthvar.datasets.errors import DamagedError
from depthvar.precompute.pipeline.fingerprint import fingerprint

from .finding import CLEAR, OVERWRITE, RUN_AGAIN, Finding
from .subject import Subject


def check(subject: Subject) -> Iterator[Finding]:
    """Yield what is wrong with names and metadata, and note the groups that can be read."""
    yield from _check_root(subject)
    yield from _check_folders(subject)
    names = subject.attributes["groups"]
    for number, name in enumerate(names, start=1):
        yield from _check_group(subject, name)
        subject.progress("groups read", number, len(names), 0)
    yield from _check_unique(subject)
    yield from _check_strays(subject)


def _check_root(subject: Subject) -> Iterator[Finding]:
    if subject.attributes["fingerprint"] != (expected := fingerprint(subject.parameters)):
        got = f"{subject.attributes['fingerprint']}, which is not that of its parameters"
        yield Finding("structure", subject.url, f"fingerprint {expected}", got, OVERWRITE)
    root = metadata.read(subject.store, "") or {}
    try:
        metadata.check_same(root, metadata.group_metadata(root.get("attributes", {})), subject.url)
    except DamagedError as error:
        yield Finding("structure", "zarr.json of the root", "intact metadata", str(error.reason), OVERWRITE)


def _check_folders(subject: Subject) -> Iterator[Finding]:
    """Folders between the root and a group are groups without attributes."""
    names = set(subject.attributes["groups"])
    for folder in sorted({folder for name in names for folder in folders_of(name)} - names):
        where = metadata.metadata_path(folder)
        try:
            if (stored := metadata.read(subject.store, folder)) is None:
                yield Finding("structure", where, "the folder of a group", "nothing", RUN_AGAIN)
            else:
                metadata.check_same(stored, metadata.group_metadata({}), where)
        except DamagedError as error:
            yield Finding("structure", where, "intact metadata", str(error.reason), CLEAR, folder)


def _check_group(subject: Subject, name: str) -> Iterator[Finding]:
    """The group is there, its attributes and arrays are what the parameters imply, and its name is that of them."""
    if absent := missing_nodes(subject.store, name, subject.parameters):
        what = "the group that the cache lists" if name in absent else f"its arrays, {', '.join(absent)} too"
        yield Finding("structure", name, what, "nothing", RUN_AGAIN)
        return
    try:
        book = read_group(subject.store, name, subject.parameters, tolerant=True)
    except DamagedError as error:
        yield Finding("structure", error.where, "intact metadata", str(error.reason), CLEAR, name)
        return
    if book is None:
        return
    subject.groups.append(book)
    if book.uneven:
        yield Finding("structure", name, "arrays of one length", "a group that a run died on as it grew", RUN_AGAIN)
    shape, keep = (book.layout.height, book.layout.width), StoredMaps.of(subject.parameters).keep
    if name not in [group_name(book.sequence, shape, first, keep) for first in (shape, (0, 0))]:
        got = f"the group of {book.sequence or 'the root'}, {shape[0]}×{shape[1]}"
        yield Finding("structure", name, "the group of its name", got, CLEAR, name)


def _check_unique(subject: Subject) -> Iterator[Finding]:
    """No two rows claim to be the same frame. In two groups, a run clears the one that has become wrong."""
    rows = defaultdict(list)
    for book in subject.groups:
        for row, key in enumerate(book.keys):
            if key and book.is_done(row):
                rows[key].append(book.name)
    for key, names in sorted(rows.items()):
        twice = next((name for name in names if names.count(name) > 1), None)
        if len(names) > 1:
            repair = CLEAR if twice else RUN_AGAIN
            yield Finding("structure", key, "one row", f"{len(names)} rows that are done", repair, twice)


def _check_strays(subject: Subject) -> Iterator[Finding]:
    """No group, array or file is there but those that the groups imply; what a killed run left is a warning."""
    unread = set(subject.attributes["groups"])
    known = {metadata.NAME}
    known |= {metadata.metadata_path(folder) for name in unread for folder in (*folders_of(name), name)}
    maps = StoredMaps.of(subject.parameters)
    for book in subject.groups:
        unread.discard(book.name)
        for array in metadata.array_names(maps):
            path = map_path if array in maps.arrays else column_path
            known.add(metadata.metadata_path(f"{book.name}/{array}"))
            known |= {path(book.name, array, rows.start, book.layout) for rows in book.shards()}
    folders = {folder for file in known for folder in folders_of(file)}
    seen = set()
    for file in sorted(set(subject.files) - known):
        top = next(part for part in (*folders_of(file), file) if part not in folders)
        if top in seen or any(file.startswith(f"{name}/") for name in unread):  # of what belongs there nothing is known
            continue
        seen.add(top)
        repair = f"remove {top}" if "://" in subject.url else f"`rm -r {shlex.quote(f'{subject.url}/{top}')}`"
        if is_partial(top):
            yield Finding("structure", top, "no such file", "what a killed run left", repair, is_warning=True)
        else:
            yield Finding("structure", top, "nothing of this name", "what is no part of a cache", repair)
