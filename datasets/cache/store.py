"""The bytes of a cache by path: in a local folder, or at any URL that fsspec opens.

Every fault of a disk or server becomes a CacheError here, with the path. An error raised above this layer is about the
bytes themselves.
"""

import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, Protocol, TypeVar

from depthvar.datasets.errors import CacheError, DamagedError
from depthvar.datasets.paths import cache_path

Item = TypeVar("Item")
Result = TypeVar("Result")
Tag = tuple[int, ...] | str | None  # None: of no object, or of a store without tags

_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0)  # Windows would translate the ends of lines


class Store(Protocol):
    """Objects of bytes below a root. Paths are relative to it, with forward slashes.

    Attributes:
        url: the root as people read it, without credentials.
        has_tags: whether ``get_tagged`` gives tags.

    Raises:
        CacheError: from every method, where the machine, disk or server fails.
    """

    url: str
    has_tags: bool

    def get(self, path: str, start: int = 0, stop: int | None = None) -> bytes | None:
        """Return an object, or the part from ``start`` to ``stop`` (fewer bytes where it is shorter).

        A ``start`` below 0 counts from the end. None: there is no such object.
        """

    def get_tagged(self, path: str, start: int = 0, stop: int | None = None) -> tuple[bytes | None, Tag]:
        """Return the same as ``get``, and the object's tag: two answers with one tag are of the same object."""

    def each(self, act: Callable[[Item], Result], items: Iterable[Item]) -> "list[Result]":
        """Return what ``act`` makes of each item by reading or writing objects: in parallel where they are far away.

        After an error nothing new begins, and what runs ends.
        """

    def put(self, path: str, data: bytes) -> None:
        """Write an object whole: a reader sees the old bytes or the new ones, never a mixture."""

    def delete(self, path: str) -> None:
        """Remove an object; nothing happens where there is none."""

    def delete_folders(self, parent: str, names: Iterable[str]) -> None:
        """Remove every object below some folders of a folder, one of them after the other."""

    def delete_all(self, but: str) -> None:
        """Remove everything below the root, but one object."""

    def list(self) -> Iterator[str]:
        """Yield the paths of all objects."""

    def is_empty(self) -> bool:
        """Return whether nothing is there, but for what a dead run was writing."""


def open_store(location: str) -> Store:
    """Return the store at a path or URL; nothing is read yet.

    Raises:
        CacheError: fsspec does not know the URL, or lacks the package for it.
    """
    location = cache_path(location)
    if "://" not in location:
        return LocalStore(location)
    from .remote_store import RemoteStore

    return RemoteStore(location)


class LocalStore:
    """A folder. Every call opens and closes its file: nothing is shared with a forked process.

    The tag of a file is its inode, size and time: a file that takes its place is written while it is there.
    """

    has_tags = True

    def __init__(self, root: str) -> None:
        self.url = root
        self._root = os.path.realpath(root)

    def get(self, path: str, start: int = 0, stop: int | None = None) -> bytes | None:
        return self.get_tagged(path, start, stop)[0]

    def get_tagged(self, path: str, start: int = 0, stop: int | None = None) -> tuple[bytes | None, Tag]:
        where = f"{self.url}/{path}"
        try:
            file = os.open(where, _READ)  # half the time of open()
            try:
                stat = os.fstat(file)
                size = stat.st_size
                start = max(size + start, 0) if start < 0 else start
                if start:
                    os.lseek(file, start, os.SEEK_SET)
                return _read(file, (size if stop is None else stop) - start), (stat.st_ino, size, stat.st_mtime_ns)
            finally:
                os.close(file)
        except (FileNotFoundError, NotADirectoryError):
            return None, None
        except IsADirectoryError:
            raise DamagedError(where, "expected a file, got a folder") from None
        except OSError as error:
            raise _unreadable(error, where) from error

    def each(self, act: Callable[[Item], Result], items: Iterable[Item]) -> "list[Result]":
        return [act(item) for item in items]

    def put(self, path: str, data: bytes) -> None:
        where = self._writable(path)
        partial = f"{where}.{uuid.uuid4().hex}.partial"
        with _writing(where):
            try:
                with _create(partial) as file:
                    file.write(data)
                os.replace(partial, where)
            except BaseException:
                with suppress(OSError):
                    os.unlink(partial)
                raise

    def delete(self, path: str) -> None:
        where = self._writable(path)
        with _writing(where), suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(where)

    def delete_folders(self, parent: str, names: Iterable[str]) -> None:
        for name in names:
            self.delete_folder(f"{parent}/{name}")

    def delete_folder(self, path: str) -> None:
        """Remove a folder."""
        where = self._writable(path)
        with _writing(where), suppress(FileNotFoundError, NotADirectoryError):
            if os.path.islink(where):
                os.unlink(where)  # what it leads to is no part of the cache
            else:
                shutil.rmtree(where)

    def delete_all(self, but: str) -> None:
        with _writing(self.url):
            names = [entry.name for entry in os.scandir(self.url) if entry.name != but]
        for name in names:
            if os.path.isdir(f"{self.url}/{name}"):
                self.delete_folder(name)
            else:
                self.delete(name)

    def is_empty(self) -> bool:
        if not os.path.exists(self.url):
            return True
        try:
            return os.path.isdir(self.url) and all(is_partial(entry.name) for entry in os.scandir(self.url))
        except OSError as error:
            raise _unreadable(error, self.url) from error

    def list(self) -> Iterator[str]:
        try:
            yield from _walk(f"{self.url}/", "")
        except OSError as error:
            raise _unreadable(error, self.url) from error

    def _writable(self, path: str) -> str:
        """Return the full path; CacheError where a folder between it and the root is a symlink.

        A cache that somebody else made could have one that leads anywhere. The root itself may be a link.
        """
        folder = self._root
        for part in path.split("/")[:-1]:
            folder = f"{folder}/{part}"
            if os.path.islink(folder):
                raise CacheError(
                    f"{self.url}/{os.path.dirname(path)}: expected folders, got a symlink among them, and nothing is "
                    "written through one; put a folder in its place, or link the cache as a whole"
                )
        return f"{self._root}/{path}"


def _read(file: int, length: int) -> bytes:
    """Return so many bytes, fewer only at the end of the file: one call of the system gives 2 GiB at most."""
    data = os.read(file, length)
    while len(data) < length and (more := os.read(file, length - len(data))):
        data += more
    return data


def _create(path: str) -> BinaryIO:
    """Create a file, and the folders above it where they are missing."""
    try:
        return open(path, "xb")
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return open(path, "xb")


def _walk(root: str, folder: str) -> Iterator[str]:
    """Yield the paths of the files below a folder, relative to the root. Links to folders are not followed."""
    try:
        with os.scandir(root + folder) as entries:
            found = [(entry.name, entry.is_dir(), entry.is_symlink()) for entry in entries]
    except FileNotFoundError:  # a run that goes on removes what it replaces
        return
    for name, is_folder, is_link in found:
        if not is_folder:
            yield folder + name
        elif not is_link:
            yield from _walk(root, f"{folder}{name}/")


def is_partial(path: str) -> bool:
    """Return whether a file is one that ``LocalStore.put`` was writing when its process died."""
    return re.search(r"\.[0-9a-f]{32}\.partial$", path) is not None


def _unreadable(error: OSError, where: str) -> CacheError:
    """Return one line for what a file system refuses: no permission, too many open files, a failing disk."""
    return CacheError(f"{error.filename or where}: cannot be read: {error.strerror or error}; fix that and try again")


@contextmanager
def _writing(where: str) -> Iterator[None]:
    """Turn what a file system refuses (no space, no permission) into one line."""
    try:
        yield
    except OSError as error:
        raise CacheError(
            f"{where}: cannot write: {error.strerror or error}; nothing half-written counts as done: "
            "fix that and run the same command again"
        ) from error
