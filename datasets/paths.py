"""Keys, paths and URLs that a caller passes."""

import os
import re
from pathlib import Path
from typing import Any
from unicodedata import normalize
from urllib.parse import unquote, urlsplit

from .errors import ParameterError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # with one slash, as pathlib leaves it; "C:/" is none


def as_text(path: Any) -> str | None:
    """Return a str or a path as text; None for anything else, also a path of bytes."""
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    return str(text) if isinstance(text, str) else None  # NumPy's str is a class of its own


def key_text(key: Any) -> str:
    """Return a frame's key, a str or a path, as text; ParameterError for anything else."""
    if (text := as_text(key)) is not None:
        return text
    batch = "; pass one key; annotate views before they are collated into a batch" * isinstance(key, list | tuple)
    raise ParameterError(f"key: expected a str or a Path, got {type(key).__name__} {repr(key)[:100]}{batch}")


def is_url(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a URL such as ``s3://bucket/data``, also where pathlib took one of its slashes."""
    return bool(_URL.match(os.fspath(path)))


def cache_path(path: str | os.PathLike[str]) -> str:
    """Return a cache's path as it is opened: ``file://`` URLs as paths, ``~`` expanded, no slash at the end.

    Raises:
        ParameterError: it is empty, or no text.
    """
    if not (text := as_text(path)):
        raise ParameterError(f"cache: expected a folder or a URL, got {path!r}")
    if text.startswith("file://"):
        text = unquote(urlsplit(text).path)
    return text if "://" in text else os.path.expanduser(text).rstrip("/") or "/"


def root_path(root: str | os.PathLike[str]) -> Path | str:
    """Return the root of a data set: the path of a folder, or a URL as text, without a slash at the end.

    A path that begins like a URL is one, as pathlib leaves it, unless a folder of that name is there.

    Raises:
        ParameterError: it is a URL without a bucket.
    """
    text = os.fspath(root)
    if is_url(text) and "://" not in text and not os.path.exists(text):
        text = text.replace(":/", ":///" if text.startswith("file:") else "://", 1)
    text = cache_path(text)
    if text.endswith("://"):
        raise ParameterError(f"root: expected a bucket and a folder after the scheme, got {text}")
    return text.rstrip("/") if "://" in text else Path(text)


def folder_above(location: str) -> str | None:
    """Return the folder or URL that holds what is at a location, as ``cache_path`` returns it; None: it is a bucket."""
    if "://" not in location:
        return os.path.dirname(os.path.abspath(location))
    above = location.rpartition("/")[0]
    return None if above.endswith(":/") else above


def composed(text: str) -> str:
    """Return text in Unicode's composed form (NFC), in which two spellings of the same characters are equal."""
    return text if text.isascii() else normalize("NFC", text)


def _other_spelling(path: str) -> str | None:
    """Return the path of what is there under a missing path's name in another Unicode normalisation.

    macOS keeps an ``ü`` as ``u`` and two dots (NFD), which is another name to Linux. None: nothing is there, or
    more than one thing, or the path itself.
    """
    found = Path("/")
    for part in Path(os.path.abspath(path)).parts[1:]:
        step = found / part
        if not os.path.lexists(step):
            try:
                near = [name for name in os.listdir(found) if composed(name) == composed(part)]
            except OSError:
                return None
            if len(near) != 1:
                return None
            step = found / near[0]
        found = step
    return None if str(found) == os.path.abspath(path) else str(found)


def spelling_hint(path: str) -> str:
    """Return a phrase for an error message where a missing path is there in another spelling, else nothing."""
    if path.isascii() or (other := _other_spelling(path)) is None:
        return ""
    form = "NFD" if normalize("NFD", other) == other else "another form"
    return f" (it is there with the same characters in {form}: pass the name as the disk has it)"
