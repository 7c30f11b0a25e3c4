"""HDF5 files whose data sets are the bytes of PNG files; three channels are one number, R + 2⁸ G + 2¹⁶ B."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import ParameterError
from depthvar.datasets.source.encodings import unpack

from .container import (
    HEAD_BYTES,
    NO_BOMB,
    Container,
    ForeignFileError,
    Header,
    Member,
    OpenFile,
    check_size,
    other_bytes,
)
from .hdf5 import is_hdf5, opened
from .png import PNG

_NUMBER = np.dtype(np.uint32)


@contextmanager
def _naming(member: Member) -> Iterator[None]:
    """Add the data set that is meant to what is wrong with it."""
    try:
        yield
    except (ParameterError, ForeignFileError, ValueError) as error:
        raise type(error)(f"'{member.key}': {error}" if member.key else str(error)) from error


def _read(file: OpenFile, size: int, member: Member) -> tuple[bytes, Header]:
    with opened(file, member) as found:
        if found.dtype != np.uint8 or found.ndim != 1:
            raise ParameterError(
                f"expected the bytes of a PNG, got {found.dtype} of shape {found.shape}; correct [depth] container"
            )
        check_size(found.shape, 1, size)
        data = bytes(found[()])
    return data, PNG.header(io.BytesIO(data), data[:HEAD_BYTES], len(data), Member())


def _header(file: OpenFile, start: bytes, size: int, member: Member) -> Header:
    if not is_hdf5(start):
        raise other_bytes("an HDF5 file", start)
    with _naming(member):
        _, header = _read(file, size, member)
    return Header(header.shape[:2], _NUMBER) if header.shape[2:] == (3,) else header


def _pixels(file: OpenFile, header: Header, member: Member) -> NDArray[Any]:
    with _naming(member):
        data, stored = _read(file, NO_BOMB, member)
        pixels = PNG.pixels(io.BytesIO(data), stored, Member())
    return unpack(pixels, "rgb24", {}) if header.dtype == _NUMBER else pixels


PNG_IN_HDF5 = Container(_header, _pixels, ("uint16", "uint32"), None, in_head=False)
