"""OpenEXR images: the header here, since planning reads one a frame; the pixels by the OpenEXR library."""

import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import ParameterError

from .container import (
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

MAX_HEADER = 1 << 20  # bytes; some renderers write long lists of objects
DEPTH_NAMES = ("Y", "Z", "R", "V", "depth")  # of a channel that holds depth, the first that a file has
_DTYPES = (np.dtype(np.uint32), np.dtype(np.float16), np.dtype(np.float32))


class _Channel(NamedTuple):
    dtype: np.dtype[Any]
    sampling: tuple[int, int]


def _attributes(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield name and value of the attributes of the first part; ValueError where the bytes end before the header."""
    at = 8
    while (end := content.index(b"\0", at)) > at:
        name, begin = content[at:end].decode(errors="replace"), content.index(b"\0", end + 1) + 1
        at = begin + 4 + struct.unpack_from("<I", content, begin)[0]
        if at >= len(content):
            raise ValueError("subsection not found")
        yield name, content[begin + 4 : at]


def _channels(value: bytes) -> dict[str, _Channel]:
    found, at = {}, 0
    while (end := value.index(b"\0", at)) > at:
        kind, _, *sampling = struct.unpack_from("<iIii", value, end + 1)
        if not 0 <= kind < len(_DTYPES):
            raise ValueError(f"expected a channel of uint, half or float, got pixel type {kind}")
        found[value[at:end].decode(errors="replace")] = _Channel(_DTYPES[kind], (sampling[0], sampling[1]))
        at = end + 17
    return found


def _chosen(names: list[str], member: Member) -> str:
    usual = [name for name in DEPTH_NAMES if name in names]
    if member.key is None and len(names) > 1 and usual:
        return usual[0]
    return only_key(names, member, "channel")


def _exr_header(file: OpenFile, start: bytes, size: int, member: Member) -> Header:
    if start[:4] != b"v/1\x01":
        raise other_bytes("an OpenEXR image", start)
    try:
        found = dict(_attributes(start))
    except (ValueError, struct.error):  # a longer header; at a URL no more than these bytes were fetched
        with stream(file) as content, decoding("the header of an OpenEXR image"):
            content.seek(0)
            found = dict(_attributes(content.read(MAX_HEADER)))
    if (kind := found.get("type", b"").decode(errors="replace")).startswith("deep"):
        raise ParameterError(f"expected one value a pixel, got an OpenEXR image of type {kind}; save it flat")
    with decoding("the header of an OpenEXR image"):
        channels = _channels(found["channels"])
        left, top, right, bottom = window = struct.unpack("<4i", found["dataWindow"])
        display = struct.unpack("<4i", found["displayWindow"])
    if window != display:
        raise ParameterError(
            f"expected a data window as large as the image {display}, got {window}; save whole "
            "images, since the camera counts its pixels from the image's corner"
        )
    height, width = bottom - top + 1, right - left + 1
    channel = channels[_chosen(list(channels), member)]
    if channel.sampling != (1, 1):
        raise ParameterError(
            f"expected a value for each pixel, got one for each {channel.sampling}; name another channel"
        )
    header = array_header((height, width), channel.dtype)
    check_size((height, width, len(channels)), channel.dtype.itemsize, size)  # the library reads all channels
    return header


class _Stdout:
    """``sys.stdout`` while images are decoded: keeps what the decoding threads print, and passes on the rest."""

    def __init__(self, real: Any) -> None:
        self.real = real
        self.kept: dict[int, list[str]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def write(self, text: str) -> int:
        if (kept := self.kept.get(threading.get_ident())) is None:
            return int(self.real.write(text))
        kept.append(text)
        return len(text)


_swapping = threading.Lock()


@contextmanager
def _kept_off_stdout() -> Iterator[list[str]]:
    """Yield the list of what this thread prints: of damaged pixels the library only prints a line."""
    thread, kept = threading.get_ident(), list[str]()
    with _swapping:
        stdout = sys.stdout if isinstance(sys.stdout, _Stdout) else _Stdout(sys.stdout)
        stdout.kept[thread], sys.stdout = kept, stdout
    try:
        yield kept
    finally:
        with _swapping:
            del stdout.kept[thread]
            if not stdout.kept and sys.stdout is stdout:
                sys.stdout = stdout.real


def _exr_pixels(file: OpenFile, header: Header, member: Member) -> NDArray[Any]:
    openexr = library("OpenEXR", "exr")
    # Not its older InputFile, which dies of damaged files. Several threads read frames: it needs none of its own.
    with decoding("OpenEXR image"), _kept_off_stdout() as printed:
        with openexr.File(for_library(file), separate_channels=True, num_threads=0) as image:
            if not image.parts:
                raise ValueError("".join(printed).rpartition(" - ")[2].strip() or "no pixels")
            channels = image.parts[0].channels
            values: NDArray[Any] = channels[_chosen(list(channels), member)].pixels
        if values.shape != header.shape or values.dtype != header.dtype:
            raise ValueError(f"expected {header.dtype} of shape {header.shape}, got {values.dtype} of {values.shape}")
        return values


EXR = Container(_exr_header, _exr_pixels, ("float16", "float32", "uint32"), None, suffixes=(".exr",))
