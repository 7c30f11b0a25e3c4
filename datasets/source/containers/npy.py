"""NumPy's files: npy, and npz, a zip archive of them."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import ParameterError

from .container import (
    HEAD_BYTES,
    MAX_NPY_HEADER,
    NUMBERS,
    Container,
    Header,
    Member,
    OpenFile,
    check_axes,
    check_size,
    decoding,
    only_key,
    other_bytes,
    stream,
)
from .plain import plain_pixels

_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def _npy_header(file: OpenFile, start: bytes, size: int, member: Member) -> Header:
    if start[:6] != np.lib.format.MAGIC_PREFIX or len(start) < 8:
        raise other_bytes("an npy file", start)
    version = start[6], start[7]
    if version not in _READERS:
        raise ParameterError(
            f"expected npy version 1.0 or 2.0, got {version[0]}.{version[1]}; save a plain array by numpy.save"
        )
    begin = 8 + 2 * version[0]
    length = int.from_bytes(start[8:begin], "little")
    if length > MAX_NPY_HEADER:
        raise ValueError(f"expected an npy header of at most {MAX_NPY_HEADER} bytes, got {length}")
    return _parse(version, start[8 : begin + length])


@lru_cache(maxsize=64)  # parsing is slower than opening the file, and most frames have equal headers
def _parse(version: tuple[int, int], header: bytes) -> Header:
    try:
        shape, fortran_order, dtype = _READERS[version](io.BytesIO(header))
    except Exception as error:  # SyntaxError, TypeError, RecursionError and others that NumPy does not catch
        raise ValueError(f"malformed npy header ({type(error).__name__}: {error})") from error
    if dtype.hasobject:
        raise ParameterError(
            f"expected numbers, got dtype {dtype} (pickled objects are never loaded); save a plain array of numbers"
        )
    check_axes(shape)
    return Header(shape, dtype, fortran_order, 8 + len(header))


@contextmanager
def _opened(file: OpenFile, member: Member) -> Iterator[tuple[IO[bytes], zipfile.ZipInfo]]:
    """Open the array of an npz that is meant."""
    with decoding("npz"), stream(file) as content, zipfile.ZipFile(content) as archive:
        entries = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        info = entries[only_key(list(entries), member, "array")]
        with archive.open(info) as array:
            yield array, info


def _npz_header(file: OpenFile, start: bytes, size: int, member: Member) -> Header:
    if start[:4] != b"PK\x03\x04":
        raise other_bytes("a zip archive, as .npz is", start)
    with _opened(file, member) as (array, info):
        header = _npy_header(file, array.read(HEAD_BYTES), info.file_size, member)
    check_size(header.shape, header.dtype.itemsize, size)
    return header


def _npz_pixels(file: OpenFile, header: Header, member: Member) -> NDArray[Any]:
    with _opened(file, member) as (array, _):
        return plain_pixels(io.BytesIO(array.read()), header, member)  # to its end, where the checksum is compared


NPY = Container(_npy_header, plain_pixels, NUMBERS, None, suffixes=(".npy",))
NPZ = Container(_npz_header, _npz_pixels, NUMBERS, None, in_head=False, suffixes=(".npz",))
