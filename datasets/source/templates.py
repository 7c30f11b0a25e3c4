"""Templates of paths below the root of a data set, and the files that match them.

``{sequence}`` matches one or more folders, ``{frame}`` and any other ``{name}`` a part of one name. A placeholder that
stands twice matches the same text twice. A suffix at the end also matches in capitals: ``{frame}.png`` matches
``0.PNG``.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from pathlib import PurePosixPath

from depthvar.datasets.errors import CONTROL
from depthvar.datasets.paths import composed


def stays_below(path: str) -> bool:
    """Return whether a path, as text, stays below the folder that it is relative to.

    It has forward slashes, is not absolute, and contains no ``..``, no empty part and no control character.
    """
    parts = f"/{path}/"  # a part of a path lies between two slashes; three times faster than a split
    return not ("//" in parts or "/./" in parts or "/../" in parts or "\\" in path or CONTROL.search(path))


def placeholders(template: str) -> list[str]:
    """Return the names in braces in a template of paths."""
    return re.findall(r"\{(\w*)\}", template)


@lru_cache(maxsize=256)
def path_pattern(template: str) -> re.Pattern[str]:
    """Return the pattern that whole paths of a template match, with a group for each placeholder, in their order.

    No match is absolute or leaves the root: a name contains no slash and does not begin with a dot.
    """
    name = r"[^/\\.\0][^/\\\0]*"
    folder = name + r"(?<!\.zarr)"  # a cache may be next to the sequences
    pattern, suffix = "", suffix_of(template)
    known = set()
    for piece in re.split(r"(\{\w+\})", template.removesuffix(suffix)):
        if piece in known:
            pattern += f"(?P={piece[1:-1]})"
        elif piece == "{sequence}":
            pattern += f"(?P<sequence>{folder}(?:/{folder})*)"
        elif piece == "{frame}" and pattern and pattern[-1] != "/":
            pattern += r"(?P<frame>[^/\\\0]+)"
        elif piece[:1] == "{":
            pattern += f"(?P<{piece[1:-1]}>{name})"
        else:
            pattern += re.escape(piece)
        if piece[:1] == "{":
            known.add(piece)
    return re.compile(f"{pattern}(?i:{re.escape(suffix)})")


def key_template(depth_path: str) -> str:
    """Return the template of the keys of frames: that of the depth files, or below it where a file holds many."""
    return depth_path if "{frame}" in depth_path else f"{depth_path}/{{frame}}"


def sequence_of(fields: Mapping[str, str]) -> str:
    """Return the sequence of a frame: the text of its placeholders in their order, but for ``frame`` and ``_``."""
    if len(fields) == 2 and "sequence" in fields:  # as most are
        return fields["sequence"]
    return "/".join(text for name, text in fields.items() if name not in ("frame", "_"))


def suffix_of(path: str) -> str:
    """Return the suffix at the end of a path or a template, with its dot; empty if a placeholder decides it."""
    suffix = PurePosixPath(path).suffix
    return "" if "{" in suffix else suffix


def walk(folder: str, prefix: str, parts: tuple[str, ...], above: frozenset[tuple[int, int]]) -> Iterator[str]:
    """Yield the paths below ``folder`` that match ``parts``, each with ``prefix``; ``above`` stops circles."""
    status = os.stat(folder)
    here = status.st_dev, status.st_ino
    if here in above:
        return
    inside, (part, *rest) = above | {here}, parts
    if "{" not in part and rest:
        names = [part] if os.path.lexists(folder + part) else []
        folders = [name for name in names if os.path.isdir(folder + name)]
    else:
        matches = path_pattern(part).fullmatch
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.is_dir()) for entry in entries if matches(entry.name)]
        names, folders = [name for name, _ in found], [name for name, is_dir in found if is_dir]
    if not rest:
        yield from (prefix + name for name in set(names) - set(folders))
        return
    for name in folders:
        yield from walk(f"{folder}{name}/", f"{prefix}{name}/", tuple(rest), inside)
        if part == "{sequence}":
            yield from walk(f"{folder}{name}/", f"{prefix}{name}/", parts, inside)


Walk = Iterable[tuple[str, list[str], list[str]]]
MOST_FILES = 10_000  # to look at for an error message
SHOWN = 3


def found_instead(walked: Walk, root: str, template: str) -> str:
    """Return what a folder holds if no file matches a template, in one phrase for an error message.

    Caches and their locks are left out. ``walked`` is what ``os.walk`` yields of the root.
    """
    files = list(islice(_files(walked, root), MOST_FILES))
    if not files:
        return "no file at all"
    pattern = path_pattern(composed(template))
    if near := next((file for file in files if pattern.fullmatch(composed(file))), None):
        return f"{near}, which has these characters in another Unicode form: write the pattern as the disk has it"
    counts = Counter(suffix_of(file) or "without a suffix" for file in files)
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(SHOWN))
    files.sort(key=lambda file: not file.lower().endswith((".npy", ".png")))  # those that may be depth first
    return f"{kinds}, such as {', '.join(files[:SHOWN])}"


def _files(walked: Walk, root: str) -> Iterator[str]:
    left_out = re.compile(r"^\.|\.lock(\.\d+-of-\d+)?$")  # a lock at a URL is a folder
    for path, folders, names in walked:
        if "zarr.json" in names:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not left_out.search(name))
        for name in sorted(names):
            if not left_out.search(name):
                yield f"{path}/{name}"[len(root) :].lstrip("/")
