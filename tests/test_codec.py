"""The bytes that are written are Zarr's, and what is read of Zarr's bytes is what Zarr reads, or an error."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from depthvar.datasets.cache import codec, metadata
from depthvar.datasets.cache.format import BAND_BYTES, COLUMNS, GroupLayout, MapLayout, level_name
from depthvar.datasets.cache.maps import Get, read_chunks, read_rows
from depthvar.datasets.cache.stored_maps import StoredMaps
from depthvar.datasets.errors import DamagedError
from depthvar.precompute.pipeline.levels import round_mantissas

SIZES = st.sampled_from([(24, 32), (1, 7), (7, 1), (401, 403), (240, 1024), (97, 2000)])
WHOLE = slice(None)


def zarr_array(folder: Path, layout: GroupLayout, name: str, rows: int) -> zarr.Array:
    content = metadata.array_metadata(layout, rows, StoredMaps((1, 2, 3), True))[name]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "zarr.json").write_bytes(metadata.to_bytes(content))
    return zarr.open_array(folder, mode="r+")


def make_maps(count: int, layout: MapLayout, seed: int = 0) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    values = random.lognormal(size=(count, layout.height, layout.width)).astype(np.float32)
    values[random.random(values.shape) < 0.1] = np.inf
    return values


def get_of(path: Path) -> Get:
    def get(start: int, stop: int | None) -> bytes | None:
        return path.read_bytes()[start:stop] if path.exists() else None

    return get


def test_the_sizes_tried_have_one_band_and_several_and_one_that_reaches_beyond_the_map() -> None:
    layouts = [GroupLayout(*size, 3, 64).maps(1) for size in ((24, 32), (240, 1024), (401, 403))]
    assert [layout.bands for layout in layouts] == [1, 5, 3]
    assert layouts[2].bands * layouts[2].band_rows > 401
    assert BAND_BYTES == 200 << 10


@settings(max_examples=40)
@given(SIZES, st.integers(1, 3), st.integers(1, 7), st.data())
def test_zarr_reads_what_is_written(
    tmp_path_factory: pytest.TempPathFactory, size: tuple[int, int], stride: int, rows: int, data: st.DataObject
) -> None:
    layout = GroupLayout(*size, 3, 64)
    maps = layout.maps(stride)
    folder = tmp_path_factory.mktemp("array")
    array = zarr_array(folder, layout, level_name(stride), rows)
    values = make_maps(rows, maps)
    missing = data.draw(st.sets(st.integers(0, rows - 1)))
    values[list(missing)] = np.nan
    for start in range(0, rows, 3):
        frames = [
            [None] * maps.bands if row in missing else codec.encode_map(values[row], maps)
            for row in range(start, min(start + 3, rows))
        ]
        path = folder / f"c.{start // 3}.0.0"
        path.write_bytes(codec.pack_shard(frames, maps))
    np.testing.assert_array_equal(array[:], values)


@settings(max_examples=40)
@given(SIZES, st.integers(1, 3), st.data())
def test_what_zarr_writes_is_read_whole_or_some_rows_of_it(
    tmp_path_factory: pytest.TempPathFactory, size: tuple[int, int], stride: int, data: st.DataObject
) -> None:
    layout = GroupLayout(*size, 3, 64)
    maps = layout.maps(stride)
    folder = tmp_path_factory.mktemp("array")
    values = make_maps(5, maps)
    zarr_array(folder, layout, level_name(stride), 5)[:] = values
    row = data.draw(st.integers(0, 4))
    get = get_of(folder / f"c.{row // 3}.0.0")
    whole = read_rows(get, maps, row % 3, WHOLE, "here")
    np.testing.assert_array_equal(whole, values[row])
    assert whole.dtype == np.float32
    assert whole.flags.writeable
    top = data.draw(st.integers(0, maps.height - 1))
    bottom = data.draw(st.integers(top + 1, maps.height + 9))
    np.testing.assert_array_equal(read_rows(get, maps, row % 3, slice(top, bottom), "here"), values[row, top:bottom])


@pytest.mark.parametrize("name", COLUMNS)
def test_bookkeeping_is_read_and_written_as_zarr_does(tmp_path: Path, name: str) -> None:
    layout = GroupLayout(24, 32, 4, 64)
    array = zarr_array(tmp_path, layout, name, 6)
    values = np.random.default_rng(0).integers(0, 200, array.shape).astype(COLUMNS[name])
    array[:] = values
    chunk = (tmp_path / "c.1.0").read_bytes()
    assert codec.encode_rows(values[4:], 4) == chunk
    read = codec.decode_rows(chunk, (4, array.shape[1]), COLUMNS[name], "here")
    np.testing.assert_array_equal(read, np.concatenate([values[4:], np.zeros_like(values[:2])]))
    with pytest.raises(DamagedError, match=r"here: damaged \(expected"):
        codec.decode_rows(chunk, (5, array.shape[1]), COLUMNS[name], "here")


@pytest.fixture
def shard(tmp_path: Path) -> tuple[Path, MapLayout, NDArray[np.float32]]:
    """A shard of two frames of three bands each."""
    layout = MapLayout(40, 3840, 2, 1)
    values = make_maps(2, layout)
    assert layout.bands == 3
    path = tmp_path / "shard"
    path.write_bytes(codec.pack_shard([codec.encode_map(each, layout) for each in values], layout))
    return path, layout, values


Shard = tuple[Path, MapLayout, NDArray[np.float32]]


def test_what_was_never_written_reads_as_nan(shard: Shard) -> None:
    path, layout, values = shard
    path.write_bytes(codec.pack_shard([[None] * 3, codec.encode_map(values[1], layout)], layout))
    get = get_of(path)
    assert np.isnan(read_rows(get, layout, 0, WHOLE, "here")).all()
    np.testing.assert_array_equal(read_rows(get, layout, 1, WHOLE, "here"), values[1])
    path.unlink()
    assert np.isnan(read_rows(get, layout, 1, WHOLE, "here")).all()


def test_a_flipped_bit_is_damage_or_changes_nothing_that_is_read(shard: Shard) -> None:
    path, layout, values = shard
    whole, random, errors = path.read_bytes(), np.random.default_rng(0), 0
    places = [*random.integers(0, len(whole), 150).tolist(), *range(len(whole) - layout.index_bytes, len(whole))]
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        for frame in (0, 1):
            try:
                read = read_rows(get_of(path), layout, frame, WHOLE, "here")
            except DamagedError:
                errors += 1
            else:
                np.testing.assert_array_equal(read, values[frame])
    assert errors >= len(places)  # each place belongs to one chunk, or to the index of both


def test_a_file_cut_short_is_damage(shard: Shard) -> None:
    path, layout, _ = shard
    whole = path.read_bytes()
    for size in [*range(0, len(whole), 997), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(DamagedError, match=r"here.*: damaged \((cut short|its CRC32C does not match)\)"):
            read_rows(get_of(path), layout, 0, WHOLE, "here")


@pytest.mark.parametrize(
    ("offset", "length", "message"),
    [(2**63, 100, "impossible"), (0, 2**40, "impossible"), (10**9, 100, "CRC32C"), (0, 0, "CRC32C"), (0, 5, "CRC32C")],
)
def test_an_index_that_leads_elsewhere_is_damage_and_allocates_nothing(
    shard: Shard, offset: int, length: int, message: str
) -> None:
    path, layout, _ = shard
    whole = path.read_bytes()
    index = np.frombuffer(whole[-layout.index_bytes : -4], "<u8").copy()
    index[:2] = offset, length
    path.write_bytes(whole[: -layout.index_bytes] + codec.with_crc(index.tobytes()))
    with pytest.raises(DamagedError, match=message):
        read_rows(get_of(path), layout, 0, WHOLE, "here")


@pytest.mark.parametrize("height", [250, 97])
def test_a_map_of_any_width_packs_alike(height: int) -> None:
    """Blosc leaves a block without bitshuffle whose count of numbers is no multiple of 8: twice the bytes."""
    rows, columns = np.mgrid[:height, :372].astype(np.float32)
    values = 1e-4 * (2 + np.sin(rows / 40) + np.cos(columns / 30)) ** 2
    round_mantissas(values.view(np.int32), 8)
    sizes = []
    for width in range(364, 373):
        layout = MapLayout(height, width, 1, 2)
        sizes.append(sum(map(len, codec.encode_map(values[:, :width], layout))) / (height * width))
    assert max(sizes) < 1.25 * min(sizes)


def test_bytes_with_a_right_checksum_that_are_no_map_are_damage(shard: Shard) -> None:
    _, layout, values = shard
    (chunk, *_) = codec.encode_map(values[0], layout)
    smaller = codec.encode_map(values[0, :8], MapLayout(8, 3840, 2, 1))[0]
    for data in (b"", b"x" * 40, chunk[:-5], chunk[:30], smaller[:-4]):
        with pytest.raises(DamagedError, match="here: damaged"):
            codec.decode_bands([codec.with_crc(data)], layout, "here")


def test_a_fault_of_the_machine_is_not_damage(shard: Shard) -> None:
    _, layout, _ = shard

    def no_memory(start: int, stop: int | None) -> bytes | None:
        raise MemoryError("Unable to allocate 96 MiB")

    with pytest.raises(MemoryError):
        read_rows(no_memory, layout, 0, WHOLE, "here")


def test_stored_bytes_can_be_carried_over_as_they_are(shard: Shard) -> None:
    path, layout, values = shard
    chunks = read_chunks(get_of(path), layout, 1, WHOLE, "here")
    packed = codec.pack_shard([chunks], layout)
    np.testing.assert_array_equal(read_rows(partial(_part, packed), layout, 0, WHOLE, "here"), values[1])


def _part(data: bytes, start: int, stop: int | None) -> bytes:
    return data[start:stop]
