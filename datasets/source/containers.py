"""The file formats of depth and masks: headers and pixels. Pixels are read only after the header is checked."""

import io
import math
import os
import stat
import struct
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import ParameterError, SourceError, StoreError
from depthvar.datasets.paths import spelling_hint

from .templates import suffix_of

MAX_NPY_HEADER = 10_000  # bytes, as NumPy has it
HEAD_BYTES = 12 + MAX_NPY_HEADER  # at the beginning of a file, where its header is
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


Place = str | Path | RemoteFile
OpenFile = int | io.BytesIO
"""A descriptor, or the bytes of a file in memory."""


class Header(NamedTuple):
    """The shape and dtype of a file's pixels, by its first bytes."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool = False
    offset: int = 0  # bytes before the pixels of an npy file


class ForeignFileError(ValueError):
    """A file is not damaged, but looks like another one than was meant; :func:`read_file` adds what to do."""


class Container(NamedTuple):
    """A file format: its readers, its default dtypes, and the default unit of its integers (None: they have none).

    ``header`` reads the first ``HEAD_BYTES`` of a file, given its size; ``pixels`` an open file, given its header. They
    raise ValueError where a file is damaged, ParameterError where it is not but cannot be read (the message ends with
    what to do), and ForeignFileError where it looks like another file than the one that was meant.
    """

    header: Callable[[bytes, int], Header]
    pixels: Callable[[OpenFile, Header], NDArray[Any]]
    dtype: tuple[str, ...]
    units_per_metre: float | None


_NPY_INTEGERS = ("uint16", "int16", "uint32", "int32", "uint64", "int64")
_NPY_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def _npy_header(start: bytes, size: int) -> Header:
    if start[:6] != np.lib.format.MAGIC_PREFIX or len(start) < 8:
        raise _other_bytes("an npy file", start)
    version = start[6], start[7]
    if version not in _NPY_READERS:
        raise ParameterError(
            f"expected npy version 1.0 or 2.0, got {version[0]}.{version[1]}; save a plain array by numpy.save"
        )
    begin = 8 + 2 * version[0]
    length = int.from_bytes(start[8:begin], "little")
    if length > MAX_NPY_HEADER:
        raise ValueError(f"expected an npy header of at most {MAX_NPY_HEADER} bytes, got {length}")
    return _parse_npy(version, start[8 : begin + length])


@lru_cache(maxsize=64)  # parsing is slower than opening the file, and most frames have equal headers
def _parse_npy(version: tuple[int, int], header: bytes) -> Header:
    try:
        shape, fortran_order, dtype = _NPY_READERS[version](io.BytesIO(header))
    except Exception as error:  # SyntaxError, TypeError, RecursionError and others that NumPy does not catch
        raise ValueError(f"malformed npy header ({type(error).__name__}: {error})") from error
    if dtype.hasobject:
        raise ParameterError(
            f"expected numbers, got dtype {dtype} (pickled objects are never loaded); save a plain array of numbers"
        )
    if any(length < 1 for length in shape):
        raise ValueError(f"expected a shape without empty axes, got {shape}")
    return Header(shape, dtype, fortran_order, 8 + len(header))


def _npy_pixels(file: OpenFile, header: Header) -> NDArray[Any]:
    count = math.prod(header.shape)
    expected = header.offset + count * header.dtype.itemsize
    with stream(file) as content:
        got = content.seek(0, os.SEEK_END)
        if expected != got:  # before memory is allocated
            raise ValueError(f"expected {expected} bytes for {header.dtype} of shape {header.shape}, got {got}")
        content.seek(header.offset)
        values: NDArray[Any] = np.empty(count, header.dtype)
        if (got := content.readinto(values.view(np.uint8).data)) != values.nbytes:
            raise ValueError(f"expected {values.nbytes} bytes of pixels, got {got}")
    return values.reshape(header.shape[::-1]).T if header.fortran_order else values.reshape(header.shape)


_PNG_COLOURS = {2: "a colour image", 3: "an image with a palette", 4: "a grey image with alpha", 6: "a colour image"}
# (bit depth, colour type) of the PNGs that hold depth or masks -> channels, dtype
_PNG_PIXELS = {(1, 0): (1, "|u1"), (8, 0): (1, "|u1"), (16, 0): (1, "<u2"), (8, 6): (4, "|u1")}
# Pillow's mode -> order of the bytes. A float in four channels is written and read by OpenCV, whose order is BGRA, not
# Pillow's RGBA.
_PNG_BYTES = {"1": "L", "L": "L", "I;16": "I;16", "RGBA": "BGRA"}

MAX_DEFLATE = 1032  # bytes that one byte of a zlib stream can expand to


def _png_header(start: bytes, size: int) -> Header:
    if len(start) < 26 or start[:8] != b"\x89PNG\r\n\x1a\n" or start[12:16] != b"IHDR":
        raise _other_bytes("a PNG", start)
    width, height, depth, colour = struct.unpack(">IIBB", start[16:26])
    if (depth, colour) not in _PNG_PIXELS:
        message = f"expected 8- or 16-bit grey or 8-bit RGBA, got {depth}-bit PNG of colour type {colour}"
        if colour in _PNG_COLOURS:
            raise ForeignFileError(f"{message}, {_PNG_COLOURS[colour]}")
        raise ParameterError(f"{message}; save it as 16-bit grey")
    channels, dtype = _PNG_PIXELS[depth, colour]
    expected = height * -(-width * channels * depth // 8) // MAX_DEFLATE
    if size < expected:  # before Pillow allocates memory for the pixels
        raise ValueError(f"expected a PNG of at least {expected} bytes for {height}×{width} pixels, got {size}")
    return Header((height, width) if channels == 1 else (height, width, channels), np.dtype(dtype))


def _png_pixels(file: OpenFile, header: Header) -> NDArray[Any]:
    from PIL import Image

    try:
        with stream(file) as content:
            content.seek(0)
            with Image.open(content, formats=("PNG",)) as image:
                image.verify()  # checksums: decoding alone misses one flipped bit in 25
            content.seek(0)
            with Image.open(content, formats=("PNG",)) as image:
                values = np.frombuffer(image.tobytes("raw", _PNG_BYTES[image.mode]), header.dtype)
    except Exception as error:  # whatever Pillow raises on damaged bytes
        raise ValueError(f"cannot decode PNG ({error})") from error
    return values.reshape(header.shape)


CONTAINERS = {
    "npy": Container(_npy_header, _npy_pixels, (*_NPY_INTEGERS, "float16", "float32", "float64"), None),
    "png": Container(_png_header, _png_pixels, ("uint16",), 1000.0),
}


def container_of(path: Place) -> str:
    """Return the container of the suffix of a file or a template, also in capitals; empty if there is none."""
    name = suffix_of(str(path))[1:].lower()
    return name if name in CONTAINERS else ""


_SIGNATURES = {
    np.lib.format.MAGIC_PREFIX: "an npy file",
    b"\x89PNG": "a PNG",
    b"\xff\xd8\xff": "a JPEG",
    b"II*\0": "a TIFF",
    b"MM\0*": "a TIFF",
    b"v/1\x01": "an OpenEXR image",
    b"\x89HDF": "an HDF5 file",
    b"PK\x03\x04": "a zip archive, as .npz is",
    b"\x1f\x8b": "a gzip archive",
}


def format_of(start: bytes) -> str | None:
    """Return what a file is by its first bytes, where they are those of a common format."""
    return next((name for signature, name in _SIGNATURES.items() if start.startswith(signature)), None)


def _other_bytes(expected: str, start: bytes) -> ValueError:
    found = format_of(start)
    if found in (None, expected):
        return ValueError(f"expected the signature and header of {expected}, got other bytes")
    return ForeignFileError(f"expected {expected}, got {found}")


WHICH_DEPTH = "does --pattern (or [files] depth) name the depth files?"
WHICH_MASK = "does [files] mask name the masks?"


def stream(file: OpenFile) -> io.BufferedReader | io.BytesIO:
    """Return an open file as Python's; closing that leaves a descriptor open."""
    return open(file, "rb", closefd=False) if isinstance(file, int) else file


def read_file(path: Place, read: Callable[[OpenFile, bytes, int], Result], which: str = WHICH_DEPTH) -> Result:
    """Return what ``read`` makes of an open file, its first ``HEAD_BYTES``, and its size.

    Any error becomes a SourceError of one line that begins with the path; a server's remains a StoreError. ``which`` is
    what the message of a ForeignFileError ends with: whether the right file is meant.
    """
    try:
        if type(path) is not str and isinstance(path, RemoteFile):  # most are text
            data = path.fetch()
            if not data:
                raise ValueError("the file is empty")
            return read(io.BytesIO(data), data[:HEAD_BYTES], path.size or len(data))
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
    except StoreError:
        raise
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ParameterError as error:
        raise SourceError(f"{path}: {error}") from error
    except ForeignFileError as error:
        raise SourceError(f"{path}: {error}; {which}") from error
    except ValueError as error:
        raise SourceError(f"{path}: {error}; fetch the file again") from error
