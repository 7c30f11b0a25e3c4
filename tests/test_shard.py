"""The direct reader of a local shard is Zarr, only faster: the same values, and an error where Zarr has one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numcodecs import Blosc
from numpy.typing import NDArray
from tiny_data import TinyData

from depthvar.datasets.cache.format import GroupLayout, expected_metadata, level_name
from depthvar.datasets.cache.local import CRC_BYTES, LocalLevel, _decode, open_level
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline

STRIDES = (1, 2, 3)


WHOLE = slice(None)


@pytest.fixture
def group(tiny: TinyData, monkeypatch: pytest.MonkeyPatch) -> Iterator[zarr.Group]:
    """A sequence of five frames in shards of two, every map of several Blosc blocks."""
    tiny.shard_frames = 2
    monkeypatch.setattr("depthvar.datasets.cache.format.BLOCK_BYTES", 160)
    expected_metadata.cache_clear()
    for _ in pipeline.run(tiny.job(), execute.serial):
        pass
    node = zarr.open_group(tiny.job().cache, mode="r")["a/P0"]
    assert isinstance(node, zarr.Group)
    yield node
    expected_metadata.cache_clear()


def level_of(group: zarr.Group, stride: int) -> tuple[Any, Any]:
    layout = GroupLayout.from_attributes(group.attrs.asdict(), "here")[1]
    array = group[level_name(stride)]
    return array, open_level(array, layout, stride)


def shard_file(group: zarr.Group, stride: int, shard: int) -> Path:
    store = group.store_path.store
    assert isinstance(store, zarr.storage.LocalStore)
    return store.root / group.path / level_name(stride) / f"c/{shard}/0/0"


@pytest.mark.parametrize("stride", STRIDES)
def test_every_row_is_what_zarr_reads(group: zarr.Group, stride: int) -> None:
    array, level = level_of(group, stride)
    assert isinstance(level, LocalLevel)  # else every read would go through Zarr, and nobody would notice
    for row in range(5):
        values = level[row, WHOLE]
        assert values.dtype == np.float32
        assert values.flags.writeable
        np.testing.assert_array_equal(values, array[row])
    for row in (-1, 5):
        with pytest.raises(IndexError, match="expected a row from 0 to 4"):
            level[row, WHOLE]


@pytest.mark.parametrize("stride", STRIDES)
def test_some_rows_are_those_rows_whatever_blocks_they_lie_in(group: zarr.Group, stride: int) -> None:
    array, level = level_of(group, stride)
    height, width = array.shape[1:]
    assert 4 * height * width > 2 * 128  # so there is more than one block
    whole = array[3]
    for top in range(height):
        for bottom in range(top + 1, height + 1):
            np.testing.assert_array_equal(level[3, top:bottom], whole[top:bottom])
    np.testing.assert_array_equal(level[3, 2 : height + 9], whole[2:])


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
@pytest.mark.parametrize("values", [np.zeros(999), np.arange(999), np.random.default_rng(0).normal(size=999)])
def test_blocks_of_any_content_are_found(codec: str, values: NDArray[np.float64]) -> None:
    given = values.astype("<f4")  # one value, a ramp, and noise that Blosc stores as it is
    for block in (128, 256, 1024, 8192):
        chunk = Blosc(codec, 5, Blosc.BITSHUFFLE, blocksize=block).encode(given) + bytes(CRC_BYTES)
        for start in range(0, 999, 37):
            for stop in range(start + 1, 1000, 53):
                np.testing.assert_array_equal(_decode(chunk, 4 * 999, 4 * start, 4 * stop), given[start:stop])


def test_what_was_never_written_reads_as_nan(group: zarr.Group) -> None:
    array, level = level_of(group, 2)
    shard_file(group, 2, 1).unlink()
    for row in (2, 3):
        assert np.isnan(level[row, WHOLE]).all()
        assert np.isnan(array[row]).all()
    np.testing.assert_array_equal(level[4, WHOLE], array[4])


def test_a_flipped_bit_is_an_error_or_changes_nothing_that_is_read(group: zarr.Group) -> None:
    array, level = level_of(group, 3)
    path = shard_file(group, 3, 0)
    whole, expected = path.read_bytes(), [array[0], array[1]]
    errors = 0
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        for row in (0, 1):
            try:
                values = level[row, WHOLE]
            except ValueError:
                errors += 1
            else:
                np.testing.assert_array_equal(values, expected[row])
    assert errors >= len(whole)  # each place belongs to one chunk, or to the index of both


def test_a_file_cut_short_is_an_error(group: zarr.Group) -> None:
    _, level = level_of(group, 3)
    path = shard_file(group, 3, 0)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"cut short|does not match|beyond the end"):
            level[0, WHOLE]


def test_other_metadata_and_other_stores_go_through_zarr(group: zarr.Group) -> None:
    layout = GroupLayout.from_attributes(group.attrs.asdict(), "here")[1]
    memory = zarr.create_group(zarr.storage.MemoryStore(), zarr_format=3)
    remote = memory.create_array("sigma_Z2", shape=(5, 24, 32), dtype="float32")
    assert open_level(remote, layout, 1) is remote
    array = group["sigma_Z2"]
    other = GroupLayout(layout.height, layout.width, layout.shard_frames + 1, layout.key_bytes)
    assert open_level(array, other, 1) is array
