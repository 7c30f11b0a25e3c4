"""Arrays of numbers in MATLAB's .mat files of version 5 (and 6 and 7, which are the same).

The format: MathWorks, "MAT-File Format". SciPy reads it too, but crashes on some damaged files, without an error that
Python could catch.
"""

import math
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import ParameterError

from .containers import ForeignFileError, format_of
from .names import MAX_BYTES

MATRIX, COMPRESSED = 14, 15  # types of elements
STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
# Classes of arrays. MATLAB stores one in a smaller type where that can hold its numbers: doubles as bytes.
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
OTHERS = {1: "cells", 2: "a struct", 3: "an object", 4: "text", 5: "a sparse array"}
COMPLEX = 0x800
HEAD = 4096  # bytes of a variable in which its name and shape are


def read_mat(content: bytes, wanted: Callable[[str], object]) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Return the arrays whose names are wanted, in MATLAB's shape and type, and the names of all variables.

    Raises:
        ParameterError: a wanted variable is no array of numbers, or too large, or the file is of version 7.3.
        ValueError: the file is damaged.
    """
    if content.startswith((b"MATLAB 7.3", b"\x89HDF")):
        raise ParameterError("expected a .mat file of version 5, got version 7.3; save it by save -v7, or as .npz")
    if content[126:128] not in (b"IM", b"MI"):
        raise ForeignFileError(f"expected a .mat file of version 5, got {format_of(content) or 'other bytes'}")
    order = "<" if content[126:128] == b"IM" else ">"
    arrays, known, place = {}, [], 128
    while place < len(content):
        kind, element, place = _element(content, place, order)
        if kind == COMPRESSED:
            head = _inflate(element, HEAD)
            kind, size = _tag(head, 0, order)
            body = head[8:]
        else:
            size, body = len(element), element
        if kind != MATRIX:
            raise ValueError(f"expected a variable, got an element of type {kind}")
        flags, shape, name, begin = _header(body, order)
        known.append(name)
        if not wanted(name):
            continue
        if size > MAX_BYTES:
            raise ParameterError(f"expected '{name}' of at most {MAX_BYTES} bytes, got {size}; save the numbers alone")
        if size > len(body):
            body = _inflate(element, size + 9)[8:]  # one byte more would be too many
        if size != len(body):
            raise ValueError(f"expected {size} bytes of '{name}', got {len(body)}")
        arrays[name] = _numbers(name, flags, shape, body, begin, order)
    return arrays, known


def _tag(data: bytes, place: int, order: str) -> tuple[int, int]:
    if place + 8 > len(data):
        raise ValueError("expected another element, got the end of the data")
    kind, size = struct.unpack_from(f"{order}II", data, place)
    return kind, size


def _element(data: bytes, place: int, order: str) -> tuple[int, bytes, int]:
    """Return type and bytes of the element at a place, and the place of the next one."""
    kind, size = _tag(data, place, order)
    begin = place + 8
    if kind >> 16:  # a small element: its size next to its type, and at most four bytes
        kind, size, begin = kind & 0xFFFF, kind >> 16, place + 4
    if begin + size > len(data) or (begin == place + 4 and size > 4):
        raise ValueError(f"expected {size} bytes of an element, got {len(data) - begin}")
    end = begin + size
    return kind, data[begin:end], end if kind == COMPRESSED else end + -end % 8


def _inflate(data: bytes, most: int) -> bytes:
    """Return the first bytes of packed data; with the checksum, where these are all."""
    try:
        return zlib.decompressobj().decompress(data, most)
    except zlib.error as error:
        raise ValueError(f"cannot unpack a variable ({error})") from error


def _header(body: bytes, order: str) -> tuple[int, tuple[int, ...], str, int]:
    """Return the flags, shape and name of a variable, and where its numbers begin."""
    _, flags, place = _element(body, 0, order)
    _, lengths, place = _element(body, place, order)
    _, name, place = _element(body, place, order)
    if len(flags) != 8 or len(lengths) % 4:
        raise ValueError(f"expected flags and shape of a variable, got {len(flags)} and {len(lengths)} bytes")
    shape = tuple(np.frombuffer(lengths, f"{order}i4").tolist())
    return int.from_bytes(flags[:4], "little" if order == "<" else "big"), shape, name.decode("latin-1"), place


def _numbers(name: str, flags: int, shape: tuple[int, ...], body: bytes, begin: int, order: str) -> NDArray[Any]:
    kind = flags & 0xFF
    if kind not in CLASSES or flags & COMPLEX:
        got = OTHERS.get(kind, "complex numbers" if flags & COMPLEX else f"class {kind}")
        raise ParameterError(f"expected '{name}' to be an array of numbers, got {got}; save it alone")
    stored, data, _ = _element(body, begin, order)
    if stored not in STORED:
        raise ValueError(f"expected numbers of '{name}', got type {stored}")
    dtype = np.dtype(order + STORED[stored])
    if min(shape, default=0) < 0 or len(data) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"expected numbers of '{name}' for shape {shape}, got {len(data)} bytes of {dtype}")
    with np.errstate(invalid="ignore", over="ignore"):
        return np.frombuffer(data, dtype).reshape(shape, order="F").astype(CLASSES[kind])
