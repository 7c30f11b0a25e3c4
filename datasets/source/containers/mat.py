"""MATLAB's files: version 7.3, which is HDF5, by h5py; version 5 here, as scipy's reader dies of damaged ones."""

import io
import math
import struct
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .container import (
    NUMBERS,
    Container,
    Header,
    Member,
    OpenFile,
    array_header,
    check_size,
    decoding,
    for_library,
    library,
    only_key,
    other_bytes,
    stream,
)
from .hdf5 import data_set_header, data_set_pixels, is_hdf5

_MATRIX, _COMPRESSED = 14, 15
# The types of stored values, and the classes of MATLAB's arrays: an array of doubles may be stored as small integers.
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_COMPLEX = 0x0800
MAX_NAME = 63  # bytes, as MATLAB has it
MAX_START = 4096  # bytes of a variable in which its name and shape are, and the tag of its values


class _Variable(NamedTuple):
    """A numeric array: where it is in the file, and where its values are in it, decompressed."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    stored: np.dtype[Any]
    place: tuple[int, int]  # first byte and number of bytes in the file
    compressed: bool
    values: int  # bytes before the values
    nbytes: int


def _tag(data: bytes, at: int, order: str) -> tuple[int, int, int, int]:
    """Return type, number of bytes, first byte and what follows of the element that begins at ``at``."""
    kind, nbytes = struct.unpack_from(f"{order}II", data, at)
    if kind >> 16:  # a small element: both numbers in four bytes, the data in the next four
        return kind & 0xFFFF, kind >> 16, at + 4, at + 8
    return kind, nbytes, at + 8, at + 8 + nbytes + -nbytes % 8


def _variable(data: bytes, order: str, place: tuple[int, int], compressed: bool) -> tuple[str, _Variable] | None:
    """Return name and array of a matrix that begins with ``data``, its tag included; None where it holds no numbers."""
    kind, _, begin, _ = _tag(data, 0, order)
    if kind != _MATRIX:
        raise ValueError(f"expected an array, got type {kind}")
    _, _, flags, at = _tag(data, begin, order)
    (word,) = struct.unpack_from(f"{order}I", data, flags)
    if word & 0xFF not in _CLASSES or word & _COMPLEX:
        return None
    _, nbytes, begin, at = _tag(data, at, order)
    shape = struct.unpack_from(f"{order}{nbytes // 4}i", data, begin)
    _, nbytes, begin, at = _tag(data, at, order)
    name = data[begin : begin + min(nbytes, MAX_NAME)].decode("ascii", errors="replace")
    kind, nbytes, begin, _ = _tag(data, at, order)
    if kind not in _STORED:
        raise ValueError(f"expected numbers in {name}, got type {kind}")
    stored = np.dtype(order + _STORED[kind])
    if nbytes != (expected := math.prod(shape) * stored.itemsize):
        raise ValueError(f"expected {expected} bytes for {name} of shape {shape}, got {nbytes}")
    return name, _Variable(shape, np.dtype(_CLASSES[word & 0xFF]), stored, place, compressed, begin, nbytes)


def _variables(content: io.BufferedReader | io.BytesIO, size: int) -> Iterator[tuple[str, _Variable] | None]:
    """Yield the variables of a file of version 5, None for those without numbers."""
    content.seek(126)
    order = {b"IM": "<", b"MI": ">"}[content.read(2)]
    at = 128
    while at < size:
        content.seek(at)
        data = content.read(8 + MAX_START)
        kind, nbytes = struct.unpack_from(f"{order}II", data)
        if at + 8 + nbytes > size:
            raise ValueError(f"expected {at + 8 + nbytes} bytes, got {size}")
        if kind == _COMPRESSED:
            inside = zlib.decompressobj().decompress(data[8:], MAX_START)
            yield _variable(inside, order, (at + 8, nbytes), compressed=True)
        elif kind == _MATRIX:
            yield _variable(data, order, (at, 8 + nbytes), compressed=False)
        at += 8 + nbytes


def _find(content: io.BufferedReader | io.BytesIO, size: int, member: Member) -> _Variable:
    numeric = {each[0]: each[1] for each in _variables(content, size) if each and each[0]}  # MATLAB's own has no name
    return numeric[only_key(list(numeric), member, "variable of real numbers")]


def _mat_header(file: OpenFile, start: bytes, size: int, member: Member) -> Header:
    if is_hdf5(start):
        stored = data_set_header(file, size, member)
        kept = 1 if member.stack else 0
        return Header(stored.shape[:kept] + stored.shape[kept:][::-1], stored.dtype)
    if start[:6] != b"MATLAB" or len(start) < 128:
        raise other_bytes("a mat file", start)
    with decoding("a mat file"), stream(file) as content:
        variable = _find(content, size, member)
        check_size(variable.shape, variable.dtype.itemsize, size)
        check_size((variable.values + variable.nbytes,), 1, size)
        shape = (variable.shape[-1], *variable.shape[:-1]) if member.stack else variable.shape
        return array_header(shape, variable.dtype)


def _mat_pixels(file: OpenFile, header: Header, member: Member) -> NDArray[Any]:
    """MATLAB's order is column by column: in HDF5 the axes are reversed, and a stack counts along the first."""
    with decoding("a mat file"), stream(file) as content:
        content.seek(0)
        if is_hdf5(content.read(8200)):
            return data_set_pixels(file, header, member).T
        variable = _find(content, content.seek(0, io.SEEK_END), member)
        content.seek(variable.place[0])
        data = content.read(variable.place[1])
        end = variable.values + variable.nbytes
        if variable.compressed:
            inflate = zlib.decompressobj()
            data = inflate.decompress(data, end + 8)  # with what pads the values; then the checksum is compared
            if not inflate.eof:
                raise ValueError(f"expected {end} bytes in a variable, got more")
        stored = np.frombuffer(data, variable.stored, math.prod(variable.shape), variable.values)
        values = stored.astype(variable.dtype, copy=False).reshape(variable.shape, order="F")
        return values[..., member.index] if member.stack else values


_DTYPES = tuple(name for name in NUMBERS if name != "float16")  # which MATLAB does not have
MAT = Container(_mat_header, _mat_pixels, _DTYPES, None, in_head=False, suffixes=(".mat",))


def mat_names(file: OpenFile, start: bytes) -> list[str]:
    """Return the names of the variables of an open mat file; errors as those of the container."""
    if is_hdf5(start):
        with decoding("HDF5"), library("h5py", "hdf5").File(for_library(file), "r", locking=False) as content:
            return [name for name in content if not name.startswith("#")]
    if start[:6] != b"MATLAB" or len(start) < 128:
        raise other_bytes("a mat file", start)
    with decoding("a mat file"), stream(file) as content:
        found = _variables(content, content.seek(0, io.SEEK_END))
        return [each[0] for each in found if each is not None and each[0]]
