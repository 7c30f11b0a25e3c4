"""Chunks of maps that readers got from an object store, kept on the local disk for all processes of a machine."""

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, flock

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import CacheError

from .codec import has_crc, with_crc
from .store import LocalStore

log = logging.getLogger("depthvar")

FOLDERS = 256  # that entries are spread over; where all is full, the older half of the fullest goes
COUNTS = "bytes"  # the file that says how full each is
BLOCK = 4096  # bytes that a file system gives to a file at once

Counts = NDArray[np.int64]


class ReadCache:
    """A folder of at most so many bytes, shared by processes and threads without any handle that stays open.

    An entry is a chunk as it lies in a shard, with its CRC32C behind it: what is damaged there is read again. It is
    written under a temporary name, and under a lock that no dead process keeps. Its name is made of all that decides
    its bytes, so none is ever stale.

    Args:
        folder: on the local disk; created where it is missing.
        limit: bytes of all entries, each rounded up to whole blocks of the disk.

    Raises:
        CacheError: the folder cannot be created.
    """

    def __init__(self, folder: str, limit: int) -> None:
        self._disk, self._limit, self._warned = LocalStore(folder), limit, False
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise CacheError(
                f"read_cache: {folder}: cannot be created: {error.strerror or error}; name a folder on the local disk "
                "that you may write"
            ) from error

    def get(self, *key: object) -> bytes | None:
        """Return the chunk of a key; None where it is not there, or damaged."""
        with suppress(CacheError):  # a failing disk: the store has it
            data = self._disk.get(_path(key))
            if data is not None and has_crc(data):
                return data
        return None

    def put(self, data: bytes, *key: object) -> None:
        """Keep a chunk, and remove old ones where there are too many bytes. A disk that fails costs only a warning."""
        room = _blocks(len(data))
        if room > self._limit or not has_crc(data):
            return
        path = _path(key)
        try:
            with self._counted() as (file, counts):
                while counts.sum() + room > self._limit:
                    self._remove_older_half(counts)
                counts[int(path[:2], 16)] += room
                os.pwrite(file, with_crc(counts.tobytes()), 0)  # before the entry: a process that dies counts too much
                self._disk.put(path, data)
        except (OSError, CacheError) as error:
            if not self._warned:
                log.warning("read_cache: %s; what is not kept there is read from the server each time", error)
            self._warned = True

    @contextmanager
    def _counted(self) -> Iterator[tuple[int, Counts]]:
        """Hold the lock; yield its file and the bytes in each folder, never too few."""
        file = os.open(f"{self._disk.url}/{COUNTS}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            flock(file, LOCK_EX)
            stored = os.pread(file, 16 * FOLDERS, 0)
            if len(stored) == 8 * FOLDERS + 4 and has_crc(stored):
                counts = np.frombuffer(stored, np.int64, FOLDERS).copy()
            else:  # new, or damaged
                counts = np.array([sum(self._sizes(folder).values()) for folder in range(FOLDERS)])
            yield file, counts
        finally:
            os.close(file)

    def _sizes(self, folder: int) -> dict[str, int]:
        """Return the bytes of each file of a folder, the oldest first."""
        try:
            with os.scandir(f"{self._disk.url}/{folder:02x}") as entries:
                found = [(entry.stat(follow_symlinks=False), entry.path) for entry in entries]
        except FileNotFoundError:
            return {}
        return {path: _blocks(stat.st_size) for stat, path in sorted(found, key=lambda each: each[0].st_mtime_ns)}

    def _remove_older_half(self, counts: Counts) -> None:
        fullest = int(counts.argmax())
        sizes = self._sizes(fullest)
        for path in list(sizes)[: -(-len(sizes) // 2)]:
            os.unlink(path)
            del sizes[path]
        counts[fullest] = sum(sizes.values())


def _path(key: tuple[object, ...]) -> str:
    name = hashlib.sha256(repr(key).encode()).hexdigest()
    return f"{name[:2]}/{name[2:]}"


def _blocks(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
