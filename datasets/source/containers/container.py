"""What every file format has: a reader of its header and one of its pixels, and the way from a path to both."""

import io
import math
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets import extras
from depthvar.datasets.errors import DepthVarError, MissingLibraryError, ParameterError, SourceError, StoreError
from depthvar.datasets.paths import spelling_hint

MAX_NPY_HEADER = 10_000  # bytes, as NumPy has it
HEAD_BYTES = 12 + MAX_NPY_HEADER  # at the beginning of a file, where its header is
MAX_DEFLATE = 1032  # bytes that one byte of a zlib stream can expand to
NO_BOMB = 64 << 20  # bytes that any file may expand to: 16 million float32
NUMBERS = ("uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64")
Result = TypeVar("Result")


class RemoteFile(NamedTuple):
    """A file at a URL, which is read at once.

    Attributes:
        url: what messages call it.
        fetch: returns its bytes, or the first of them; FileNotFoundError where it is not there.
        size: of the whole file in bytes; None: what ``fetch`` returns is all.
    """

    url: str
    fetch: Callable[[], bytes]
    size: int | None = None

    def __str__(self) -> str:
        return self.url


class Opened(NamedTuple):
    """What a library opens by itself, where a format is a folder and no file.

    Attributes:
        path: what messages call it.
        open: returns what the container's functions get as the open file; they get no first bytes.
    """

    path: str
    open: Callable[[], Any]

    def __str__(self) -> str:
        return self.path


Place = str | Path | RemoteFile | Opened
OpenFile = int | io.BytesIO
"""A descriptor, or the bytes of a file in memory."""


class Member(NamedTuple):
    """What of a file is meant.

    Attributes:
        key: array of an npz, data set of an HDF5 file, variable of a mat file, channel of an EXR image. None: the only
            one, or for EXR the one that holds depth by its name.
        index: of a frame in a stack; needed for pixels only.
        stack: whether the first axis of ``key`` (in mat files the last) counts frames; for hdf5 and mat.
        shape: (H, W) of a raw file, which does not say it.
    """

    key: str | None = None
    index: int | None = None  # type: ignore[assignment]  # a tuple has a method of this name, which nobody calls
    stack: bool = False
    shape: tuple[int, int] | None = None


class Header(NamedTuple):
    """The shape and dtype of a file's pixels, by its first bytes.

    ``shape`` is (H, W), or (H, W, C), of a stack (N, H, W) or (N, H, W, C).
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool = False
    offset: int = 0  # bytes before the pixels where these are stored as they are


class ForeignFileError(ValueError):
    """A file is not damaged, but looks like another one than was meant; :func:`read_file` adds what to do."""


class Container(NamedTuple):
    """A file format: its readers, its default dtypes, and the default unit of its integers (None: they have none).

    ``header`` reads an open file, given its first ``HEAD_BYTES`` and its size; ``pixels`` reads it, given its header;
    of a stack it reads the frame at ``member.index``. Pixels have the shape of the header (of a stack without its first
    axis) and its dtype, in either byte order. Both raise ValueError where a file is damaged, ParameterError where it is
    not but cannot be read (the message ends with what to do), ForeignFileError where it looks like another file than
    the one that was meant, and MissingLibraryError where the library that reads it is not installed.

    Attributes:
        in_head: whether ``header`` needs no more of the file than its first ``HEAD_BYTES``.
        suffixes: in small letters, with the dot.
    """

    header: Callable[[OpenFile, bytes, int, Member], Header]
    pixels: Callable[[OpenFile, Header, Member], NDArray[Any]]
    dtype: tuple[str, ...]
    units_per_metre: float | None
    in_head: bool = True
    suffixes: tuple[str, ...] = ()


_SIGNATURES = {
    np.lib.format.MAGIC_PREFIX: "an npy file",
    b"\x89PNG": "a PNG",
    b"\xff\xd8\xff": "a JPEG",
    b"II*\0": "a TIFF",
    b"MM\0*": "a TIFF",
    b"II+\0": "a TIFF",
    b"MM\0+": "a TIFF",
    b"v/1\x01": "an OpenEXR image",
    b"\x89HDF": "an HDF5 file",
    b"MATLAB ": "a mat file",
    b"PIEH": "a dpt file",
    b"P5": "a PGM",
    b"Pf": "a PFM",
    b"PK\x03\x04": "a zip archive, as .npz is",
    b"\x1f\x8b": "a gzip archive",
}


def format_of(start: bytes) -> str | None:
    """Return what a file is by its first bytes, where they are those of a common format."""
    return next((name for signature, name in _SIGNATURES.items() if start.startswith(signature)), None)


def other_bytes(expected: str, start: bytes) -> ValueError:
    """Return the error for a file that does not begin as ``expected`` ("a PNG") does."""
    found = format_of(start)
    if found in (None, expected):
        return ValueError(f"expected the signature and header of {expected}, got other bytes")
    return ForeignFileError(f"expected {expected}, got {found}")


def stream(file: OpenFile) -> AbstractContextManager[io.BufferedReader | io.BytesIO]:
    """Return an open file as Python's, for a ``with`` that leaves it open."""
    return open(file, "rb", closefd=False) if isinstance(file, int) else nullcontext(file)


def for_library(file: OpenFile) -> str | io.BytesIO:
    """Return an open file as a library opens it: by a path where it can, since Python's files are slower."""
    if isinstance(file, int):
        os.lseek(file, 0, os.SEEK_SET)  # macOS opens the same place in the file again
        return f"/dev/fd/{file}"
    file.seek(0)
    return file


def library(name: str, extra: str) -> Any:
    """Return a module that only some formats need; MissingLibraryError where it is not installed."""
    return extras.library(name, extra, f"{extra}: reading such files")


@contextmanager
def decoding(expected: str) -> Iterator[None]:
    """Turn what a library raises on damaged bytes into a ValueError of one line; our own errors remain."""
    try:
        yield
    except (DepthVarError, ForeignFileError):
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        raise ValueError(f"cannot decode {expected} ({reason})") from error


def array_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Header:
    """Return the header of an array; ParameterError where it holds no numbers, ValueError where it is empty."""
    if dtype.kind not in "biuf":
        raise ParameterError(f"expected numbers, got dtype {dtype}; save a plain array of numbers")
    check_axes(shape)
    return Header(shape, dtype)


def check_axes(shape: tuple[int, ...]) -> None:
    """Raise ValueError for an array without values."""
    if any(length < 1 for length in shape):
        raise ValueError(f"expected a shape without empty axes, got {shape}")


def check_size(shape: tuple[int, ...], itemsize: int, size: int) -> None:
    """Raise ValueError where a file of ``size`` bytes is too small for pixels, before memory is allocated for them."""
    nbytes = math.prod(shape) * itemsize
    if nbytes > max(size * MAX_DEFLATE, NO_BOMB):
        raise ValueError(f"expected at least {nbytes // MAX_DEFLATE} bytes for pixels of shape {shape}, got {size}")


def only_key(keys: list[str], member: Member, what: str) -> str:
    """Return the key that is meant; ParameterError where a file has no such one, or has several and none is named."""
    if member.key in keys:
        return str(member.key)
    if member.key is None and len(keys) == 1:
        return keys[0]
    found = ", ".join(sorted(keys)[:8]) or "none"
    wanted = f"{what} '{member.key}'" if member.key is not None else f"one {what}"
    raise ParameterError(f"expected {wanted}, got {found}; give its name as [depth] key")


WHICH_DEPTH = "does --pattern (or [files] depth) name the depth files?"
WHICH_MASK = "does [[masks]] file name the masks?"


def read_file(path: Place, read: Callable[[OpenFile, bytes, int], Result], which: str = WHICH_DEPTH) -> Result:
    """Return what ``read`` makes of an open file, its first ``HEAD_BYTES``, and its size.

    Any error becomes a SourceError of one line that begins with the path; a server's remains a StoreError, and that of
    a missing library a MissingLibraryError. ``which`` is what the message of a ForeignFileError ends with: whether the
    right file is meant.
    """
    try:
        if type(path) is not str and isinstance(path, RemoteFile):  # most are text
            data = path.fetch()
            if not data:
                raise ValueError("the file is empty")
            return read(io.BytesIO(data), data[:HEAD_BYTES], path.size or len(data))
        if type(path) is not str and isinstance(path, Opened):
            return read(path.open(), b"", 0)
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a named pipe would wait for a writer
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                got = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
                raise ForeignFileError(f"expected a file, got {got}")
            if status.st_size == 0:
                raise ValueError("the file is empty")
            return read(file, os.read(file, HEAD_BYTES), status.st_size)
        finally:
            os.close(file)
    except FileNotFoundError:
        raise SourceError(
            f"{path}: no such file{spelling_hint(str(path))}; is the data set complete below its root?"
        ) from None
    except (StoreError, MissingLibraryError):
        raise
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ParameterError as error:
        raise SourceError(f"{path}: {error}") from error
    except ForeignFileError as error:
        raise SourceError(f"{path}: {error}; {which}") from error
    except ValueError as error:
        raise SourceError(f"{path}: {error}; fetch the file again") from error
