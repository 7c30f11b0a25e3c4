"""One writer per cache: locks of the operating system, which a dead run does not keep. Behind a URL: ``remote_lock``.

A whole run holds ``<cache>.lock`` alone. The parts of a run (``--part I/N``) share it, and each holds
``<cache>.lock.I-of-N`` alone, in which it writes what it plans: only parts of one plan may share a cache. The lock lies
next to the folder that the cache really is, however it is spelled.
"""

import errno
import fcntl
import glob
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from depthvar.datasets.errors import CacheError, ParameterError

if TYPE_CHECKING:
    from .remote_lock import RemoteLock


@contextmanager
def writer_lock(
    cache: str, part: tuple[int, int] | None = None, only_writer: bool = False
) -> Iterator[Callable[[str], None]]:
    """Hold the lock of a cache, and yield a function that a part calls with the identity of its plan.

    Args:
        cache: folder or URL.
        part: (i, n) of ``--part``; None: a whole run.
        only_writer: as for ``remote_lock.RemoteLock``.

    Raises:
        CacheError: another run holds it, or another part has a different plan; or the server can hold no lock.
        ParameterError: ``only_writer`` with a folder.
    """
    if "://" in cache:
        with _remote(cache, only_writer).held(part) as claim:
            yield claim
        return
    if only_writer:
        raise ParameterError(
            f"only_writer: expected a cache behind a URL, got {cache}: a folder's lock ends with its run"
        )
    path = _path(cache)
    message = f"{cache}: another run is writing it"
    if part is None:
        with _held(path, fcntl.LOCK_EX, message):
            yield lambda _: None
        return
    own = path.with_name(f"{path.name}.{part[0]}-of-{part[1]}")
    own_message = f"{cache}: another run of --part {part[0]}/{part[1]} is writing it"
    with _held(path, fcntl.LOCK_SH, message), _held(own, fcntl.LOCK_EX, own_message) as file:
        os.ftruncate(file, 0)  # what a killed run has claimed

        def claim(identity: str) -> None:
            text = f"{part[1]} parts, plan {identity}"
            os.pwrite(file, text.encode(), 0)  # written before the others are read: one of two always sees the other
            for other in path.parent.glob(f"{glob.escape(path.name)}.*-of-*"):
                claimed = None if other == own else _text_if_held(other, fcntl.LOCK_SH)
                if claimed and claimed != text:
                    count, _, plan = claimed.partition(" parts, plan ")
                    differs = [f"{count} parts, this one of {part[1]}"] * (count != str(part[1]))
                    differs += ["other options or files"] * (plan != identity)
                    raise CacheError(
                        f"{cache}: {other.name} belongs to a run of {', and of '.join(differs)}; give every part the "
                        "same N and the same options, and let all see the same files"
                    )

        yield claim


@contextmanager
def creating(cache: str, part: tuple[int, int] | None = None) -> Iterator[None]:
    """Let the parts of a run create what is absent one after the other; a whole run holds the cache anyway."""
    if part is None:
        yield
        return
    if "://" in cache:
        with _remote(cache).creating():
            yield
        return
    path = _path(cache)
    with _held(path.with_name(f"{path.name}.create"), fcntl.LOCK_EX):
        yield


def is_written(cache: str) -> bool:
    """Return whether a run holds the lock of a cache now; behind a URL, perhaps a dead one."""
    if "://" in cache:
        return _remote(cache).is_held()
    with suppress(OSError):  # nobody has made the file; or its file system has no locks
        return _text_if_held(_path(cache), fcntl.LOCK_EX) is not None
    return False


def _remote(cache: str, only_writer: bool = False) -> "RemoteLock":
    from .remote_lock import RemoteLock

    return RemoteLock(cache, only_writer)


def _path(cache: str) -> Path:
    """Return the lock of a cache: one for all spellings of its path, and for links to it."""
    return Path(f"{os.path.realpath(cache)}.lock")


@contextmanager
def _held(path: Path, kind: int, message: str | None = None) -> Iterator[int]:
    """Hold a lock file, or raise ``message`` if others do (None: wait); removed at the end unless others share it."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            folder = next((folder for folder in path.parents if folder.exists()), path)
            why = f"{error.strerror}; the folder of the cache must be writable"
            if error.errno in (errno.EEXIST, errno.ENOTDIR) and not folder.is_dir():
                why = f"{folder} is a file, not a folder; put the cache somewhere else"
            raise CacheError(f"{path}: cannot create the lock: {why}") from error
        try:
            fcntl.flock(file, kind | (fcntl.LOCK_NB if message else 0))
        except BlockingIOError:
            os.close(file)
            raise CacheError(f"{message}; wait until it ends, then run the same command again") from None
        except OSError as error:
            os.close(file)
            raise CacheError(
                f"{path}: this file system has no locks ({error.strerror}); put the cache on another one"
            ) from error
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), os.stat(path)):
                break
        os.close(file)  # its holder removed it between open and lock
    try:
        yield file
    finally:
        with suppress(OSError):  # other parts still share it, or the folder has become read-only: a lock no one holds
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        os.close(file)


def _text_if_held(path: Path, kind: int) -> str | None:
    """Return what a lock file says if it is held, in a way that excludes ``kind``, else None."""
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:  # its run has ended
        return None
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(file, 200, 0).decode()
    finally:
        os.close(file)
    return None
