"""HDF5 files, by h5py."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from depthvar.datasets.errors import ParameterError

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
)

SIGNATURE = b"\x89HDF\r\n\x1a\n"


def is_hdf5(start: bytes) -> bool:
    """Return whether the first bytes are those of an HDF5 file, which may follow a block of the user's."""
    return any(start[at : at + 8] == SIGNATURE for at in (0, 512, 1024, 2048, 4096, 8192))


@contextmanager
def opened(file: OpenFile, member: Member) -> Iterator[Any]:
    """Open the data set that is meant; ParameterError where its pixels are in other files."""
    h5py = library("h5py", "hdf5")
    # Locks fail on some network file systems, and nobody writes what is read here.
    with decoding("HDF5"), h5py.File(for_library(file), "r", locking=False) as content:
        key = member.key
        if key is None:
            key = only_key(_names(content), member, "data set")
        found = content.get(key)
        if not isinstance(found, h5py.Dataset):
            raise ParameterError(
                f"expected a data set '{key}', got {'a group' if found else 'none'} (at the root: "
                f"{', '.join(_names(content)[:8])}); correct [depth] key"
            )
        made = found.id.get_create_plist()
        elsewhere = made.get_external_count() if made.get_layout() != h5py.h5d.VIRTUAL else 1
        if elsewhere or found.file.filename != content.filename:
            raise ParameterError(f"expected the pixels of '{found.name}' in this file, got links to others; copy them")
        yield found


def _names(content: Any) -> list[str]:
    return [name for name in content if not name.startswith("#")]  # MATLAB's own


def _check_filters(found: Any) -> None:
    """Raise ParameterError for compressed values that need a plugin of HDF5."""
    known, given = library("h5py.h5z", "hdf5"), found.id.get_create_plist()
    for code, *_, name in map(given.get_filter, range(given.get_nfilters())):
        if not known.filter_avail(code):
            raise ParameterError(
                f"expected a filter that HDF5 itself has, got {code} ({name!r}); repack them by h5repack -f GZIP=6"
            )


def data_set_header(file: OpenFile, size: int, member: Member) -> Header:
    """Return the header of a data set as it is stored."""
    with opened(file, member) as found:
        header = array_header(found.shape or (), found.dtype)
        if not found.id.get_storage_size():
            raise ValueError(f"expected pixels in '{found.name}', got none; was it written to its end?")
        _check_filters(found)
        check_size(header.shape[1:] if member.stack else header.shape, found.dtype.itemsize, size)
        check_size((math.prod(found.chunks or (1,)),), found.dtype.itemsize, size)
        return header


def data_set_pixels(file: OpenFile, header: Header, member: Member) -> NDArray[Any]:
    """Return the values of a data set as they are stored, or the frame of a stack: entry ``member.index`` of it."""
    with opened(file, member) as found:
        values: NDArray[Any] = found[member.index if member.stack else ()]
    return values


def _hdf5_header(file: OpenFile, start: bytes, size: int, member: Member) -> Header:
    if not is_hdf5(start):
        raise other_bytes("an HDF5 file", start)
    return data_set_header(file, size, member)


HDF5 = Container(_hdf5_header, data_set_pixels, NUMBERS, None, in_head=False, suffixes=(".h5", ".hdf5", ".dsp5"))
