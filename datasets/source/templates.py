"""Templates of paths below the root of a data set, and the files that match them.

``{sequence}`` stands for one or more folders, ``{frame}`` for a part of one name.
"""

import os
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path

from depthvar.datasets.errors import CONTROL


def stays_below(path: str) -> bool:
    """Return whether a path leads, as text, nowhere but below the folder that it is relative to.

    It has forward slashes, is not absolute, and holds no ``..``, no empty part and no control character.
    """
    return not ({"", ".", ".."} & set(path.split("/")) or "\\" in path or CONTROL.search(path))


def placeholders(template: str) -> list[str]:
    """Return the names in braces in a template of paths."""
    return re.findall(r"\{(\w*)\}", template)


@lru_cache(maxsize=256)
def path_pattern(template: str) -> re.Pattern[str]:
    """Return the pattern that paths of a template match whole, with groups ``sequence`` and ``frame``.

    No match is absolute or climbs out of the root: a name holds no slash and does not begin with a dot.
    """
    name = r"[^/\\.\0][^/\\\0]*"
    folder = name + r"(?<!\.zarr)"  # a cache may lie beside the sequences
    pattern = ""
    for piece in re.split(r"(\{\w+\})", template):
        if piece == "{sequence}":
            pattern += f"(?P<sequence>{folder}(?:/{folder})*)"
        elif piece == "{frame}":
            pattern += r"(?P<frame>[^/\\\0]+)" if pattern and pattern[-1] != "/" else f"(?P<frame>{name})"
        else:
            pattern += re.escape(piece)
    return re.compile(pattern)


def walk(folder: str, prefix: str, parts: tuple[str, ...], above: frozenset[tuple[int, int]]) -> Iterator[str]:
    """Yield the paths below ``folder`` that match ``parts``, each with ``prefix``; ``above`` stops circles."""
    status = os.stat(folder)
    here = status.st_dev, status.st_ino
    if here in above:
        return
    inside, (part, *rest) = above | {here}, parts
    if "{" not in part:
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


def example(root: str | Path) -> str:
    """Return a file that is there instead, for an error message."""
    files = (Path(folder, name).relative_to(root) for folder, _, names in os.walk(root) for name in names)
    some = [path.as_posix() for path in islice(files, 1000)]
    return next((path for path in some if path.endswith((".npy", ".png"))), some[0] if some else "no file at all")
