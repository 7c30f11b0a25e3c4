"""The stored maps of a cache, whole or some rows of one, without Zarr: an index, some chunks, and what they hold."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import DamagedError

from .codec import ABSENT, Chunk, decode_bands, decode_index
from .format import CRC_BYTES, MapLayout

# Gives the bytes of a shard from start to stop, as Store.get does; None: there is no such shard.
Get = Callable[[int, int | None], bytes | None]

BLOSC_OVERHEAD = 16  # bytes that a chunk may be longer than what it holds


def read_chunks(get: Get, layout: MapLayout, place: int, bands: slice, where: str) -> list[Chunk]:
    """Return the stored bytes of some bands of a frame; DamagedError where the shard's index is damaged.

    Args:
        get: of the shard.
        layout: of the maps.
        place: of the frame in its shard, from 0.
        bands: which ones, as a slice of step 1.
        where: the frame, for messages.
    """
    tail = get(-layout.index_bytes, None)
    wanted = range(layout.bands)[bands]
    if tail is None:
        return [None] * len(wanted)
    most = 4 * layout.band_rows * layout.width + BLOSC_OVERHEAD + CRC_BYTES
    places: list[tuple[int, int]] = decode_index(tail, layout, where)[place, bands].tolist()
    begin = end = places[0][0]
    joined = True
    for offset, length in places:
        if (length > most or offset >= 2**62) and not offset == length == ABSENT:
            raise DamagedError(where, "its place in the shard is impossible")
        joined = joined and offset == end != ABSENT
        end = offset + length
    if joined:  # one after the other, as a run writes them: one read
        data = get(begin, end) or b""
        return [data[offset - begin : offset - begin + length] for offset, length in places]
    return [None if offset == ABSENT else get(offset, offset + length) or b"" for offset, length in places]


def read_rows(get: Get, layout: MapLayout, place: int, rows: slice, where: str) -> NDArray[np.float32]:
    """Return rows of one map, (rows, W) float32, NaN where it was never written; DamagedError where it is damaged.

    Args:
        get, layout, place, where: as for ``read_chunks``.
        rows: which ones, as a slice of step 1.
    """
    top, bottom, _ = rows.indices(layout.height)
    first = top // layout.band_rows
    bands = slice(first, max(first, -(-bottom // layout.band_rows)))
    values = decode_bands(read_chunks(get, layout, place, bands, where), layout, where)
    return values[top - first * layout.band_rows : bottom - first * layout.band_rows]
