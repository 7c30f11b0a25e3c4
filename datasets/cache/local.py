"""A stored map, or some of its rows, out of a shard file on a local disk: without Zarr's event loop and threads.

A shard is its chunks, then its index: (offset, length) of every chunk as little-endian uint64, and their CRC32C. A
chunk is Blosc, and then its CRC32C. Only an array whose metadata is what ``format`` writes is read like this.
"""

import os
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray

from .format import GroupLayout, array_metadata, expected_metadata

ABSENT = 2**64 - 1  # offset and length of a chunk that was never written
HEADER_BYTES = 16  # of Blosc
STORED = 2  # the flag of a chunk that Blosc could not make smaller: it has no blocks
CRC_BYTES = 4
CRC_RESIDUE = 0x48674BC7  # the CRC32C of any bytes with their own CRC32C behind them


def open_level(array: Any, layout: GroupLayout, stride: int) -> Any:
    """Return a reader of one level by row: a :class:`LocalLevel` where it can be one, else the array itself.

    Args:
        array: the open ``zarr.Array`` of the level, of any store.
        layout: of its group.
        stride: of the level.
    """
    from zarr.storage import LocalStore

    store, name = array.store, array.basename
    expected = expected_metadata(layout, layout.shard_frames, (stride,), False).get(name, {})
    got = array_metadata(array)
    shape = tuple(got.pop("shape"))  # the first number is of this group, and read from its metadata
    if not isinstance(store, LocalStore) or got | {"shape": expected.get("shape")} != expected:
        return array
    if shape[1:] != tuple(expected["shape"][1:]):
        return array
    return LocalLevel(f"{store.root}/{array.path}", shape, layout.shard_frames)


def read_row(array: Any, row: int) -> bytes:
    """Return one row of an array of bookkeeping as it is stored now; nothing where it was never written."""
    from zarr.storage import LocalStore

    store, (rows, width) = array.store, array.chunks
    if not isinstance(store, LocalStore):
        return np.asarray(array[row]).tobytes()
    shard, place = divmod(row, rows)
    count = width * array.dtype.itemsize
    try:
        file = os.open(f"{store.root}/{array.path}/c/{shard}/0", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(file, count, place * count)
    finally:
        os.close(file)


@dataclass(frozen=True)
class LocalLevel:
    """The maps of one level in a local folder; ``level[number, rows]`` equals what Zarr gives.

    A file is opened, read and closed in every call: nothing is shared with a forked worker, and as a writer replaces
    whole files, index and chunk are of one and the same shard.

    Attributes:
        folder: of the array.
        shape: (N, H, W) of the array.
        shard_frames: rows in a shard.
    """

    folder: str
    shape: tuple[int, ...]
    shard_frames: int

    def __getitem__(self, index: tuple[int, slice]) -> NDArray[np.float32]:
        """Return rows of one map, (rows, W) float32, NaN where it was never written.

        Args:
            index: number of the map, and which of its rows (a slice of step 1).

        Raises:
            ValueError: the index or the chunk is damaged, or the file is cut short.
            IndexError: there is no such map.
            OSError: the file cannot be read.
        """
        number, rows = index
        count, height, width = self.shape
        if not 0 <= number < count:
            raise IndexError(f"expected a row from 0 to {count - 1}, got {number}")
        top, bottom, _ = rows.indices(height)
        shard, place = divmod(number, self.shard_frames)
        chunk = self._chunk(f"{self.folder}/c/{shard}/0/0", place)
        if chunk is None:
            return np.full((bottom - top, width), np.nan, dtype=np.float32)
        values = _decode(chunk, 4 * height * width, 4 * top * width, 4 * bottom * width)
        return values.reshape(bottom - top, width)

    def _chunk(self, path: str, place: int) -> bytes | None:
        """Return the compressed bytes of a chunk and their CRC, or None where it or its shard was never written."""
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            index_bytes = 16 * self.shard_frames
            end = os.fstat(file).st_size - index_bytes - CRC_BYTES
            if end < 0:
                raise ValueError(f"{path}: cut short")
            index = _checked(os.pread(file, index_bytes + CRC_BYTES, end), f"the index of {path}")
            offset, length = np.frombuffer(index, "<u8", 2, 16 * place).tolist()
            if offset == length == ABSENT:
                return None
            if offset + length > end:
                raise ValueError(f"{path}: chunk {place} lies beyond the end")
            return _checked(os.pread(file, length, offset), f"chunk {place} of {path}")
        finally:
            os.close(file)


def _decode(chunk: bytes, size: int, start: int, stop: int) -> NDArray[np.float32]:
    """Decode the blocks of a Blosc chunk that hold the bytes from ``start`` to ``stop``, and return those as float32.

    A chunk is a header of 16 bytes, then for every block where it lies in the chunk, as int32. Blosc is given a copy
    whose table begins with the first block that is wanted, and whose header gives the size of the wanted ones.

    Args:
        chunk: with its CRC32C, which is not checked here.
        size: of the decoded chunk, in bytes.
    """
    if len(chunk) < HEADER_BYTES + CRC_BYTES or int.from_bytes(chunk[4:8], "little") != size:
        raise ValueError(f"expected a Blosc chunk of {size} bytes")
    block = int.from_bytes(chunk[8:12], "little")
    data = memoryview(chunk)[:-CRC_BYTES]
    if chunk[2] & STORED or not 0 < block < size:
        first, last = 0, size
    else:
        first = min(start // block, size // block - 1) * block  # Blosc refuses the shorter last block by itself
        last = min(-(-stop // block) * block, size)
    if (first, last) != (0, size):
        wanted = bytearray(data)
        wanted[4:8] = (last - first).to_bytes(4, "little")
        table = HEADER_BYTES + 4 * (first // block), HEADER_BYTES + 4 * -(-last // block)
        wanted[HEADER_BYTES : HEADER_BYTES + table[1] - table[0]] = data[table[0] : table[1]]
        data = memoryview(wanted)
    values: NDArray[np.float32] = np.empty((last - first) // 4, dtype="<f4")
    blosc.decompress(data, values)  # in this thread alone: zarr has set numcodecs.blosc.use_threads
    return values[(start - first) // 4 : (stop - first) // 4]


def _checked(data: bytes, what: str) -> bytes:
    """Return data that ends in its CRC32C, or raise ValueError where that does not match."""
    if google_crc32c.value(data) != CRC_RESIDUE:
        raise ValueError(f"CRC32C of {what} does not match")
    return data
