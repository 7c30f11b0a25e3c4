"""Between arrays and the bytes of a stored object, as Zarr's core codecs have them. Pure; what is not right is damage.

A chunk of a map is some rows (a band) by Blosc, then the CRC32C of that. A shard is the chunks of its frames one after
the other, then its index: (offset, length) of every chunk as little-endian uint64, and the index's CRC32C. A chunk of
bookkeeping is its values as little-endian numbers, and their CRC32C.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import google_crc32c
import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray

from depthvar.datasets.errors import DamagedError

from .format import CRC_BYTES, MapLayout

ABSENT = 2**64 - 1  # offset and length of a chunk that was never written
CRC_RESIDUE = 0x48674BC7  # the CRC32C of any bytes with their own CRC32C behind them

blosc.use_threads = False  # work is parallel over frames, not inside one

Chunk = bytes | None  # None: never written


def with_crc(data: bytes) -> bytes:
    """Return data with its CRC32C behind it."""
    crc: int = google_crc32c.value(data)
    return data + crc.to_bytes(CRC_BYTES, "little")


def has_crc(data: bytes) -> bool:
    """Return whether data ends in its CRC32C."""
    crc: int = google_crc32c.value(data)
    return crc == CRC_RESIDUE


def check_crc(data: bytes, where: str) -> bytes:
    """Return data that ends in its CRC32C; DamagedError where that does not match."""
    if not has_crc(data):
        raise DamagedError(where, "its CRC32C does not match")
    return data


def encode_rows(values: NDArray[Any], shard_frames: int) -> bytes:
    """Return the chunk of bookkeeping for one row a frame, with zeros for those that a shard has no frame for."""
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    row_bytes = little[:1].nbytes
    return with_crc(little.tobytes().ljust(shard_frames * row_bytes, b"\0"))


def decode_rows(data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any], where: str) -> NDArray[Any]:
    """Return the values of a chunk of bookkeeping, of that shape; DamagedError where it is something else."""
    check_crc(data, where)
    values = np.frombuffer(data, dtype.newbyteorder("<"), (len(data) - CRC_BYTES) // dtype.itemsize)
    expected = math.prod(shape) * dtype.itemsize + CRC_BYTES  # np.prod needs as long as all the rest
    if len(data) != expected:
        raise DamagedError(where, f"expected {expected} bytes, got {len(data)}")
    return values.reshape(shape)


def encode_map(values: NDArray[np.float32], layout: MapLayout) -> list[bytes]:
    """Return the chunks of one map (H, W) float32, from the top band to the lowest, which is filled up with NaN."""
    little, rows = np.ascontiguousarray(values, "<f4"), layout.band_rows
    bands = [little[top : top + rows] for top in range(0, layout.height, rows)]
    if len(bands[-1]) < rows:
        lowest = np.full((rows, layout.width), np.nan, "<f4")
        lowest[: len(bands[-1])] = bands[-1]
        bands[-1] = lowest
    name, level, block_bytes = layout.compressor
    return [with_crc(blosc.compress(band, name.encode(), level, blosc.BITSHUFFLE, block_bytes)) for band in bands]


def decode_bands(chunks: Sequence[Chunk], layout: MapLayout, where: str) -> NDArray[np.float32]:
    """Return neighbouring bands of one map, (bands · band rows, W) float32, NaN where one was never written."""
    values = np.empty((len(chunks), layout.band_rows * layout.width), "<f4")
    for chunk, band in zip(chunks, values, strict=True):
        if chunk is None:
            band[...] = np.nan
            continue
        check_crc(chunk, where)
        if int.from_bytes(chunk[4:8], "little") != band.nbytes:
            raise DamagedError(where, f"expected a Blosc chunk of {band.nbytes} bytes")
        try:
            blosc.decompress(memoryview(chunk)[:-CRC_BYTES], band)
        except (RuntimeError, ValueError) as error:  # what Blosc says of bytes that it cannot decode
            raise DamagedError(where, str(error)) from error
    return values.reshape(-1, layout.width)


def pack_shard(frames: Iterable[Sequence[Chunk]], layout: MapLayout) -> bytes:
    """Return a shard of the chunks of its frames; missing frames at its end were never written."""
    index = np.full((layout.chunks, 2), ABSENT, "<u8")
    parts: list[bytes] = []
    end = 0
    for number, chunk in enumerate(chunk for frame in frames for chunk in frame):
        if chunk is not None:
            index[number] = end, len(chunk)
            parts.append(chunk)
            end += len(chunk)
    return b"".join((*parts, with_crc(index.tobytes())))


def decode_index(tail: bytes, layout: MapLayout, where: str) -> NDArray[np.uint64]:
    """Return (frames, bands, 2) uint64 offsets and lengths from the last bytes of a shard."""
    if len(tail) != layout.index_bytes:
        raise DamagedError(where, "cut short")
    check_crc(tail, f"{where}, its index")
    return np.frombuffer(tail, "<u8", 2 * layout.chunks).reshape(layout.shard_frames, layout.bands, 2)
