"""Files whose pixels are stored as they are, after a short header: pfm, pgm, dpt, raw, and COLMAP's maps."""

import io
import math
import os
import re
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import ParameterError

from .container import Container, ForeignFileError, Header, Member, OpenFile, check_axes, other_bytes, stream

_BREAK = rb"(?:[ \t\r\n]|#[^\n]*\n)+"  # comments are allowed in the header of a PGM
_PGM = re.compile(rb"P5" + rb"".join(_BREAK + rb"(\d{1,9})" for _ in range(3)) + rb"[ \t\r\n]")
_PFM = re.compile(rb"Pf\s+(\d{1,9})\s+(\d{1,9})\s+([-+]?[\d.]+(?:[eE][-+]?\d+)?)(?:\r\n|\s)")
_COLMAP = re.compile(rb"(\d{1,9})&(\d{1,9})&(\d{1,9})&")
_FLOAT = np.dtype("<f4")


def read_exactly(content: io.BufferedReader | io.BytesIO, values: NDArray[Any]) -> None:
    """Fill an array, which must be contiguous, with the next bytes of a file; ValueError where they end too early."""
    if (got := content.readinto(values.view(np.uint8).data)) != values.nbytes:
        raise ValueError(f"expected {values.nbytes} bytes of pixels, got {got}")


def plain_pixels(file: OpenFile, header: Header, member: Member) -> NDArray[Any]:
    """Return the pixels that lie in the file from ``header.offset`` to its end."""
    count = math.prod(header.shape)
    expected = header.offset + count * header.dtype.itemsize
    with stream(file) as content:
        got = content.seek(0, os.SEEK_END)
        if expected != got:  # before memory is allocated
            raise ValueError(f"expected {expected} bytes for {header.dtype} of shape {header.shape}, got {got}")
        content.seek(header.offset)
        values: NDArray[Any] = np.empty(count, header.dtype)
        read_exactly(content, values)
    return values.reshape(header.shape[::-1]).T if header.fortran_order else values.reshape(header.shape)


def _header(height: int, width: int, dtype: np.dtype[Any], offset: int) -> Header:
    check_axes((height, width))
    return Header((height, width), dtype, offset=offset)


def _pgm_header(file: OpenFile, start: bytes, size: int, member: Member) -> Header:
    if start[:2] == b"P2":
        raise ParameterError("expected a binary PGM (P5), got one of text (P2); save it as P5")
    if not (found := _PGM.match(start)):
        raise other_bytes("a PGM", start)
    width, height, largest = map(int, found.groups())
    return _header(height, width, np.dtype("|u1" if largest < 256 else ">u2"), found.end())


def _pfm_header(file: OpenFile, start: bytes, size: int, member: Member) -> Header:
    if start[:2] == b"PF":
        raise ForeignFileError("expected a PFM of one channel (Pf), got a colour image (PF)")
    if not (found := _PFM.match(start)):
        raise other_bytes("a PFM", start)
    # Only the sign counts: Middlebury's files have a scale of 1/255 by which no value is multiplied.
    dtype = np.dtype("<f4" if found[3].startswith(b"-") else ">f4")
    return _header(int(found[2]), int(found[1]), dtype, found.end())


def _pfm_pixels(file: OpenFile, header: Header, member: Member) -> NDArray[Any]:
    return plain_pixels(file, header, member)[::-1]  # the lowest row comes first


def _dpt_header(file: OpenFile, start: bytes, size: int, member: Member) -> Header:
    if len(start) < 12 or start[:4] != b"PIEH":  # the float 202021.25
        raise other_bytes("a dpt file", start)
    width, height = struct.unpack("<ii", start[4:12])
    return _header(height, width, _FLOAT, 12)


def _raw_header(file: OpenFile, start: bytes, size: int, member: Member) -> Header:
    if member.shape is None:
        raise ParameterError("expected the shape of a raw file to be known; give [depth] shape = [height, width]")
    if size != (expected := math.prod(member.shape) * 4):
        raise ValueError(f"expected {expected} bytes for float32 of shape {member.shape}, got {size}")
    return _header(*member.shape, _FLOAT, 0)


def _colmap_header(file: OpenFile, start: bytes, size: int, member: Member) -> Header:
    if not (found := _COLMAP.match(start)):
        raise other_bytes("a map of COLMAP (width&height&channels&)", start)
    width, height, channels = map(int, found.groups())
    check_axes((height, width, channels))
    return Header((height, width, channels)[: 2 if channels == 1 else 3], _FLOAT, offset=found.end())


def _colmap_pixels(file: OpenFile, header: Header, member: Member) -> NDArray[Any]:
    stored = header._replace(shape=(*header.shape[2:], *header.shape[:2]))  # x is the fastest, then y, then the channel
    values = plain_pixels(file, stored, member)
    return np.moveaxis(values, 0, -1) if values.ndim == 3 else values


PFM = Container(_pfm_header, _pfm_pixels, ("float32",), None, suffixes=(".pfm",))
PGM = Container(_pgm_header, plain_pixels, ("uint16",), None, suffixes=(".pgm",))
DPT = Container(_dpt_header, plain_pixels, ("float32",), None, suffixes=(".dpt",))
RAW = Container(_raw_header, plain_pixels, ("float32",), None)
COLMAP = Container(_colmap_header, _colmap_pixels, ("float32",), None)
