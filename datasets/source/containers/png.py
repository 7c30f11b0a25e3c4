"""PNG and JPEG, by Pillow."""

import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import ParameterError

from .container import (
    MAX_DEFLATE,
    Container,
    ForeignFileError,
    Header,
    Member,
    OpenFile,
    check_size,
    decoding,
    other_bytes,
    stream,
)

# (bit depth, colour type) of the PNGs that hold depth or masks -> channels, dtype
_PNG_PIXELS = {
    (1, 0): (1, "|u1"),
    (8, 0): (1, "|u1"),
    (16, 0): (1, "<u2"),
    (8, 2): (3, "|u1"),
    (8, 4): (2, "|u1"),
    (8, 6): (4, "|u1"),
}
_PNG_OTHERS = {2: "a colour image", 3: "an image with a palette", 4: "a grey image with alpha", 6: "a colour image"}
# Pillow's mode -> order of the bytes. A float in four channels is written and read by OpenCV, whose order is BGRA, not
# Pillow's RGBA. Codes packed in three channels are described by R, G and B.
_PNG_BYTES = {"1": "L", "L": "L", "I;16": "I;16", "RGB": "RGB", "LA": "LA", "RGBA": "BGRA"}
_JPG_CHANNELS = {"L": 1, "RGB": 3}


def _png_header(file: OpenFile, start: bytes, size: int, member: Member) -> Header:
    if len(start) < 26 or start[:8] != b"\x89PNG\r\n\x1a\n" or start[12:16] != b"IHDR":
        raise other_bytes("a PNG", start)
    width, height, depth, colour = struct.unpack(">IIBB", start[16:26])
    if (depth, colour) not in _PNG_PIXELS:
        message = f"expected 8- or 16-bit grey or 8-bit colour, got {depth}-bit PNG of colour type {colour}"
        if colour in _PNG_OTHERS:
            raise ForeignFileError(f"{message}, {_PNG_OTHERS[colour]}")
        raise ParameterError(f"{message}; save it as 16-bit grey")
    channels, dtype = _PNG_PIXELS[depth, colour]
    expected = height * -(-width * channels * depth // 8) // MAX_DEFLATE
    if size < expected:  # before Pillow allocates memory for the pixels
        raise ValueError(f"expected a PNG of at least {expected} bytes for {height}×{width} pixels, got {size}")
    return Header((height, width) if channels == 1 else (height, width, channels), np.dtype(dtype))


def _png_pixels(file: OpenFile, header: Header, member: Member) -> NDArray[Any]:
    from PIL import Image

    with decoding("PNG"), stream(file) as content:
        content.seek(0)
        with Image.open(content, formats=("PNG",)) as image:
            image.verify()  # checksums: decoding alone misses one flipped bit in 25
        content.seek(0)
        with Image.open(content, formats=("PNG",)) as image:
            values = np.frombuffer(image.tobytes("raw", _PNG_BYTES[image.mode]), header.dtype)
        return values.reshape(header.shape)


def png_text(start: bytes) -> dict[str, str]:
    """Return the text in a PNG's first bytes, by keyword: what comes before its pixels."""
    from PIL import Image

    with decoding("the text of a PNG"), Image.open(io.BytesIO(start), formats=("PNG",)) as image:
        return {str(name): str(value) for name, value in image.info.items() if isinstance(value, str)}


def _jpg_header(file: OpenFile, start: bytes, size: int, member: Member) -> Header:
    from PIL import Image

    if start[:3] != b"\xff\xd8\xff":
        raise other_bytes("a JPEG", start)
    with decoding("JPEG"), stream(file) as content:
        content.seek(0)
        with Image.open(content, formats=("JPEG",)) as image:
            mode, (width, height) = image.mode, image.size
    if mode not in _JPG_CHANNELS:
        raise ParameterError(f"expected a JPEG of grey or RGB, got {mode}; save the mask as a grey PNG")
    shape = (height, width) if mode == "L" else (height, width, _JPG_CHANNELS[mode])
    check_size(shape, 1, size)
    return Header(shape, np.dtype(np.uint8))


def _jpg_pixels(file: OpenFile, header: Header, member: Member) -> NDArray[Any]:
    from PIL import Image

    with decoding("JPEG"), stream(file) as content:
        content.seek(0)
        with Image.open(content, formats=("JPEG",)) as image:
            return np.frombuffer(image.tobytes(), np.uint8).reshape(header.shape)


PNG = Container(_png_header, _png_pixels, ("uint16",), 1000.0, suffixes=(".png",))
JPG = Container(_jpg_header, _jpg_pixels, ("uint8",), None, in_head=False, suffixes=(".jpg", ".jpeg"))
