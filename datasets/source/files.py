"""The files of a data set below its root: in a folder, or at a URL."""

import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from itertools import chain, islice
from typing import Any, Protocol

from depthvar.datasets.errors import ParameterError, SourceError, StoreError
from depthvar.datasets.paths import spelling_hint
from depthvar.datasets.remote import Remote

from .containers import HEAD_BYTES, Place, RemoteFile
from .templates import found_instead, path_pattern, placeholders, walk

INCOMPLETE = "is the data set complete below its root?"
CHANGED_AT = ("mtime", "LastModified", "last_modified", "updated", "created")  # what file systems of fsspec call it
MOST_FOLDERS = 100  # to look at for an error message, each by a request
UNKNOWN_AGE = 1 << 62  # ns since 1970: always too young for its time to be trusted


Status = tuple[int, int | str, int]
"""What shows whether a file changed: its size in bytes, its version, and when it was last modified in ns since 1970.

The version is that time, or at a URL the ETag where the server lists one. The time is then 0, since an ETag can be
trusted however young the file is. (A plain tuple: a named one would be the slowest part of looking at a file.)
"""


class Files(Protocol):
    """Files by path, relative to the root, with forward slashes."""

    def list(self, template: str) -> list[str]:
        """Return the paths that match a template, in any order; OSError where a folder cannot be listed."""

    def found_instead(self, template: str) -> str:
        """Return what is there where nothing matches, in one phrase."""

    def status(self, path: str) -> Status:
        """Return what shows whether a file changed; SourceError where it is missing."""

    def state(self, path: str) -> Status | None:
        """Return the status of a file of which something is kept; None where that would need a listing first."""

    def at(self, path: str) -> Place:
        """Return where a file is, for ``containers.read_file``."""

    def head(self, path: str) -> Place:
        """Return the same for a reader that needs no more than the file's first ``HEAD_BYTES``."""


class Folder:
    """A folder on disk: every question is asked of the disk, each time."""

    def __init__(self, root: str) -> None:
        self._root = root
        self.at = self.head = f"{root}/".__add__
        self.state = self.status

    def list(self, template: str) -> list[str]:
        found = walk(f"{self._root}/", "", tuple(template.split("/")), frozenset())
        names = placeholders(template)
        if len(set(names)) < len(names):  # of folders and names by themselves, not yet as a whole
            found = filter(path_pattern(template).fullmatch, found)
        return list(found)

    def found_instead(self, template: str) -> str:
        return found_instead(os.walk(self._root), self._root, template)

    def status(self, path: str) -> Status:
        try:
            status = os.stat(self.at(path))
        except OSError as error:
            full = self.at(path)
            message = f"{full}: cannot be read ({error.strerror}){spelling_hint(full)}: {INCOMPLETE}"
            raise SourceError(message) from error
        return status.st_size, status.st_mtime_ns, status.st_mtime_ns


class Bucket:
    """A root at a URL, listed once: what the listing told of a file holds until the source is opened again.

    A file that is another one when it is read is an error.

    Args:
        url: the root.
        templates: of all files that are read.
        known: the status of those that are asked for; None: of all, which are listed when they are first needed.
    """

    def __init__(self, url: str, templates: tuple[str, ...], known: Mapping[str, Status] | None = None) -> None:
        self._url, self._templates = url, templates
        self.is_part, self._known = known is not None, None if known is None else dict(known)
        self._opened = os.getpid(), _Objects(url)

    def __reduce__(self) -> tuple[Any, ...]:
        return Bucket, (self._url, self._templates, self._known if self.is_part else None)

    @property
    def _objects(self) -> "_Objects":
        if self._opened[0] != os.getpid():  # the client of a parent process is not ours
            self._opened = os.getpid(), _Objects(self._url)
        return self._opened[1]

    @property
    def url(self) -> str:
        """The root as people read it, without credentials."""
        return self._opened[1].url

    def part(self, paths: Iterable[str]) -> "Bucket":
        """Return the same for a worker that needs only these files, and lists nothing."""
        known = self._all()
        return Bucket(self._url, self._templates, {path: known[path] for path in paths if path in known})

    def list(self, template: str) -> list[str]:
        return list(filter(path_pattern(template).fullmatch, self._all()))

    def found_instead(self, template: str) -> str:
        return self._objects.found_instead(template)

    def status(self, path: str) -> Status:
        try:
            return self._all()[path]
        except KeyError:
            raise SourceError(f"{self.url}/{path}: cannot be read (no such object): {INCOMPLETE}") from None

    def state(self, path: str) -> Status | None:
        return None if self._known is None else self._known.get(path)

    def at(self, path: str) -> RemoteFile:
        return RemoteFile(f"{self.url}/{path}", partial(self._fetch, path))

    def head(self, path: str) -> RemoteFile:
        return RemoteFile(f"{self.url}/{path}", partial(self._fetch, path, HEAD_BYTES), self.status(path)[0])

    def _all(self) -> dict[str, Status]:
        if self._known is None:
            self._known = dict(self._objects.list(self._templates))
        return self._known

    def _fetch(self, path: str, stop: int | None = None) -> bytes:
        data, tag = self._objects.get_tagged(path, 0, stop)
        expected = self.state(path)
        if data is None:
            (self._known or {}).pop(path, None)
            raise FileNotFoundError(path)
        if expected is not None:
            size, version, mtime_ns = expected
            is_tag = tag is not None and mtime_ns == 0
            if (is_tag and tag != version) or (stop is None and len(data) != size):
                raise ParameterError("changed since the data set was listed; run again when it is complete")
        return data


class _Objects(Remote):
    """The client of a process."""

    error = StoreError

    def list(self, templates: Iterable[str]) -> list[tuple[str, Status]]:
        """Return the path and status of each object that matches a template: a listing of the root, then its folders.

        So memory and time depend on the largest folders, some of which are listed at the same time.
        """
        patterns = [path_pattern(template).fullmatch for template in templates]
        tops = [path_pattern(template.split("/")[0]).fullmatch for template in templates if "/" in template]

        def keep(infos: Iterable[Mapping[str, Any]]) -> list[tuple[str, Status]]:
            files = ((self._below(info["name"]), info) for info in infos if info["type"] == "file")
            return [(path, _status(info)) for path, info in files if any(matches(path) for matches in patterns)]

        def below(folder: str) -> list[tuple[str, Status]]:
            found = self._call(folder, "listed", lambda full: self._fs.find(full, detail=True)) or {}
            return keep(found.values())

        entries = self._call("", "listed", lambda full: self._fs.ls(full, detail=True)) or []
        folders = [self._below(entry["name"]) for entry in entries if entry["type"] == "directory"]
        wanted = [folder for folder in folders if any(matches(folder) for matches in tops)]
        return [*keep(entries), *chain.from_iterable(self.each(below, wanted))]

    def found_instead(self, template: str) -> str:
        walked = self._call("", "listed", lambda full: islice(self._fs.walk(full), MOST_FOLDERS))
        return found_instead(walked or (), self._root, template)


def read_url(url: str) -> bytes:
    """Return the bytes of a file at a URL; FileNotFoundError where there is none, else StoreError."""
    folder, _, name = url.rpartition("/")
    if (data := _Objects(folder).get(name)) is None:
        raise FileNotFoundError(url)
    return data


def _status(info: Mapping[str, Any]) -> Status:
    if tag := info.get("ETag") or info.get("etag"):
        return int(info["size"]), str(tag), 0
    changed: Any = next((info[name] for name in CHANGED_AT if info.get(name) is not None), None)
    seconds = changed.timestamp() if isinstance(changed, datetime) else changed
    is_time = isinstance(seconds, int | float) and seconds > 0
    return int(info["size"]), str(changed), int(seconds * 1e9) if is_time else UNKNOWN_AGE
