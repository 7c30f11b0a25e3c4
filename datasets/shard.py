"""One stored map out of a shard file on a local disk, without Zarr's event loop and thread hand-offs.

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
    """The maps of one level in a local folder; ``level[row]`` equals what Zarr gives.

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

    def __getitem__(self, row: int) -> NDArray[np.float32]:
        """Return (H, W) float32 of one row, NaN where it was never written.

        Raises:
            ValueError: the index or the chunk is damaged, or the file is cut short.
            IndexError: there is no such row.
            OSError: the file cannot be read.
        """
        if not 0 <= row < self.shape[0]:
            raise IndexError(f"expected a row from 0 to {self.shape[0] - 1}, got {row}")
        values: NDArray[np.float32] = np.empty(self.shape[1:], dtype="<f4")
        shard, place = divmod(row, self.shard_frames)
        chunk = self._chunk(f"{self.folder}/c/{shard}/0/0", place)
        if chunk is None:
            values.fill(np.nan)
            return values
        if len(chunk) < 16 + CRC_BYTES or int.from_bytes(chunk[4:8], "little") != values.nbytes:  # of the Blosc header
            raise ValueError(f"expected a Blosc chunk of {values.nbytes} bytes")
        blosc.decompress(
            memoryview(chunk)[:-CRC_BYTES], values
        )  # in this thread alone: zarr has set numcodecs.blosc.use_threads
        return values

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


def _checked(data: bytes, what: str) -> bytes:
    """Return data that ends in its CRC32C, or raise ValueError where that does not match."""
    if google_crc32c.value(data) != CRC_RESIDUE:
        raise ValueError(f"CRC32C of {what} does not match")
    return data
