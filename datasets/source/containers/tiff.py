"""TIFF: the header by tifffile, the pixels by imagecodecs. Pillow reads big-endian ones wrongly."""

import math
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
    stream,
)


def _tiff_header(file: OpenFile, start: bytes, size: int, member: Member) -> Header:
    if start[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        raise other_bytes("a TIFF", start)
    tifffile = library("tifffile", "tiff")
    with decoding("TIFF"), tifffile.TiffFile(for_library(file)) as content:
        page = content.pages[0]
        header = array_header(page.shape, np.dtype(page.dtype))
        check_size(page.shape, page.dtype.itemsize, size)
        check_size((math.prod(page.chunks),), page.dtype.itemsize, size)
        return header


def _tiff_pixels(file: OpenFile, header: Header, member: Member) -> NDArray[Any]:
    imagecodecs = library("imagecodecs", "tiff")
    with decoding("TIFF"), stream(file) as content:
        content.seek(0)
        values: NDArray[Any] = imagecodecs.tiff_decode(content.read(), index=0)
        if values.shape != header.shape or values.dtype != header.dtype:
            raise ValueError(f"expected {header.dtype} of shape {header.shape}, got {values.dtype} of {values.shape}")
        return values


TIFF = Container(_tiff_header, _tiff_pixels, NUMBERS, None, in_head=False, suffixes=(".tif", ".tiff"))
