"""TIFF, by tifffile; Pillow reads big-endian ones wrongly."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
    other_bytes,
)


@contextmanager
def _opened(file: OpenFile) -> Iterator[Any]:
    """Open the first page."""
    tifffile = library("tifffile", "tiff")
    with decoding("TIFF"), tifffile.TiffFile(for_library(file)) as content:
        yield content.pages[0]


def _tiff_header(file: OpenFile, start: bytes, size: int, member: Member) -> Header:
    if start[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        raise other_bytes("a TIFF", start)
    with _opened(file) as page:
        header = array_header(page.shape, np.dtype(page.dtype))
        check_size(page.shape, page.dtype.itemsize, size)
        check_size((math.prod(page.chunks),), page.dtype.itemsize, size)
        return header


def _tiff_pixels(file: OpenFile, header: Header, member: Member) -> NDArray[Any]:
    with _opened(file) as page:
        values: NDArray[Any] = page.asarray(maxworkers=1)
        if values.shape != header.shape:
            raise ValueError(f"expected shape {header.shape}, got {values.shape}")
    return values


TIFF = Container(_tiff_header, _tiff_pixels, NUMBERS, None, in_head=False, suffixes=(".tif", ".tiff"))
