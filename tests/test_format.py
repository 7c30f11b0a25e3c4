"""The cache format: names, sizes, checksums, and array metadata that any Zarr v3 reader knows."""

import asyncio
import copy
import json
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from zarr.core.buffer import default_buffer_prototype

from depthvar.datasets.cache import attributes as attrs
from depthvar.datasets.cache import format as fmt
from depthvar.datasets.cache import metadata
from depthvar.datasets.cache.stored_maps import StoredMaps
from depthvar.datasets.errors import CacheError
from depthvar.datasets.source.templates import stays_below

STRIDES = (1, 2, 3, 4, 6, 8)
MAPS = StoredMaps(STRIDES, True, ("edge",))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9))
def test_a_level_has_the_shape_of_the_strided_depth(height: int, width: int, stride: int) -> None:
    assert fmt.level_shape(height, width, stride) == np.empty((height, width))[::stride, ::stride].shape


@pytest.mark.parametrize(("height", "width"), [(480, 640), (2160, 3840), (24, 32), (375, 1242), (10000, 10000)])
def test_a_shard_is_bounded_in_frames_and_bytes(height: int, width: int) -> None:
    frames = fmt.shard_frames(height, width, STRIDES)
    per_frame = fmt.frame_bytes(height, width, STRIDES)
    assert 1 <= frames <= 64
    assert frames == 1 or frames * per_frame <= 96 << 20
    assert frames == 64 or (frames + 1) * per_frame > 96 << 20


@given(st.lists(st.text("ab./\\\n", max_size=4), min_size=1, max_size=4))
def test_names_stay_below_the_root_where_the_one_name_made_of_them_does(names: list[str]) -> None:
    """So a thousand keys are checked at once."""
    assert stays_below("/".join(names)) == all(map(stays_below, names))


def test_seal_and_unseal_are_inverse() -> None:
    attributes = {"a": 0.5, "b": ["x", None], "c": {"ü": 1}}
    assert attrs.unseal(attrs.seal(attributes), "here") == attributes
    assert attrs.seal(attrs.seal(attributes)) == attrs.seal(attributes)


@given(st.data())
def test_a_flipped_bit_in_sealed_attributes_is_found(data: st.DataObject) -> None:
    text = json.dumps(attrs.seal({"lambda_prior": 0.5, "window": 5, "name": "hospital"})).encode()
    bit = data.draw(st.integers(0, 8 * len(text) - 1))
    changed = bytearray(text)
    changed[bit // 8] ^= 1 << bit % 8
    try:
        attributes = json.loads(changed)
    except ValueError:
        return  # no JSON any more: found by whoever reads it
    if attributes == json.loads(text):
        return  # white space
    with pytest.raises(CacheError, match="attributes: expected checksum"):
        attrs.unseal(attributes, "here")


TAKEN_BY_EDGE = ["edge", "edge_s2", "Edge"]
TAKEN = ["sigma_Z2", "sigma_Z2_s3", "depth", "Depth", "key", "digest", "intrinsics", "source_stat", "_root", "__x",
         "zarr.json", "x@24x32"]  # fmt: skip
PART = st.sampled_from([*TAKEN, *TAKEN_BY_EDGE, "a", "depth~", "~", "a~~", "edge~", "frames"])
KEEP = st.sampled_from([(), ("edge",)])


@pytest.mark.parametrize("taken", TAKEN)
def test_a_folder_named_like_a_part_of_the_format_gets_a_group_of_its_own(taken: str) -> None:
    for keep in ((), ("edge",)):
        assert fmt.sequence_group(f"a/{taken}/b", keep) == f"a/{taken}~/b"


@pytest.mark.parametrize("taken", TAKEN_BY_EDGE)
def test_a_name_of_what_is_kept_is_taken_only_where_it_is_kept(taken: str) -> None:
    """Caches of the time before hold groups of such names."""
    assert fmt.sequence_group(f"a/{taken}") == f"a/{taken}"
    assert fmt.sequence_group(f"a/{taken}", ("edge",)) == f"a/{taken}~"


@given(st.lists(PART, min_size=1, max_size=3), st.lists(PART, min_size=1, max_size=3), KEEP)
def test_no_two_sequences_have_one_group_and_none_has_a_name_of_the_format(
    one: list[str], two: list[str], keep: tuple[str, ...]
) -> None:
    groups = [fmt.sequence_group("/".join(parts), keep) for parts in (one, two)]
    assert (groups[0] == groups[1]) == (one == two)
    for group in groups:
        taken = TAKEN + (TAKEN_BY_EDGE if keep else [])
        assert not {part.lower() for part in group.split("/")} & {name.lower() for name in taken}
        assert group != fmt.ROOT_SEQUENCE
        assert fmt.without_size(group) == group
        assert fmt.without_size(f"{group}@24x32") == group


def test_groups_are_named_by_sequence_and_size() -> None:
    assert fmt.group_name("", (4, 5), (4, 5)) == "_root"
    assert fmt.group_name("Easy/P000", (4, 5), (4, 5)) == "Easy/P000"
    assert fmt.group_name("Easy/P000", (4, 6), (4, 5)) == "Easy/P000@4x6"


KEY = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(stays_below)


@given(st.lists(KEY, min_size=1))
def test_keys_round_trip(keys: list[str]) -> None:
    width = fmt.key_bytes(keys)
    assert width % 64 == 0
    assert fmt.decode_keys(fmt.encode_keys(keys, width), "here") == keys
    assert fmt.decode_keys(np.zeros((2, width), np.uint8), "here") == ["", ""]


def put(store: Any, path: str, data: bytes) -> None:
    asyncio.run(store.set(path, default_buffer_prototype().buffer.from_bytes(data)))


LAYOUTS = [(480, 640, 55), (24, 32, 4), (1, 7, 3), (7, 1, 2), (375, 1242, 20), (401, 403, 9)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_band_holds_about_200_kib_and_the_bands_hold_the_map(layout: tuple[int, int, int]) -> None:
    for stride in STRIDES:
        maps = fmt.GroupLayout(*layout, 64).maps(stride)
        assert 0 <= maps.bands * maps.band_rows - maps.height < maps.band_rows
        assert maps.band_rows % 8 == 0
        band_bytes = 4 * maps.band_rows * maps.width
        assert maps.bands == 1 or fmt.BAND_BYTES / 2 <= band_bytes <= 2 * fmt.BAND_BYTES


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_metadata_are_what_zarr_itself_writes(layout: tuple[int, int, int]) -> None:
    """Zarr reads them, and writes the same back: no field is unknown to it, none is missing."""
    arrays = metadata.array_metadata(fmt.GroupLayout(*layout, 64), 100, MAPS)
    assert list(arrays) == metadata.array_names(MAPS)
    for name, content in arrays.items():
        store = zarr.storage.MemoryStore()
        put(store, "zarr.json", metadata.to_bytes(content))
        array = zarr.open_array(store, mode="r")
        assert json.loads(array.metadata.to_buffer_dict(default_buffer_prototype())["zarr.json"].to_bytes()) == content
        assert array.shape == (100, *content["shape"][1:]), name


def test_only_core_codecs_and_plain_numbers() -> None:
    layout = fmt.GroupLayout(480, 640, 55, 64)
    for name, content in metadata.array_metadata(layout, 100, MAPS).items():
        codecs = copy.deepcopy(content["codecs"])
        for codec in codecs:
            codecs += codec.get("configuration", {}).get("codecs", [])
            codecs += codec.get("configuration", {}).get("index_codecs", [])
        names = {codec["name"] for codec in codecs}
        assert names <= {"bytes", "blosc", "crc32c", "sharding_indexed"}, name
        assert "crc32c" in names, name
        assert content["data_type"] in ("float32", "float64", "uint8", "int64"), name
        assert content["dimension_names"][0] == "frame", name
        if name.startswith("sigma_Z2"):
            assert content["fill_value"] == "NaN"


def test_layout_round_trips_through_attributes() -> None:
    layout = fmt.GroupLayout(480, 640, 55, 64)
    assert fmt.GroupLayout.from_attributes(layout.attributes("Easy/P000"), "here") == ("Easy/P000", layout)
    with pytest.raises(CacheError, match="here: damaged \\(attribute 'height' is missing\\)"):
        fmt.GroupLayout.from_attributes(attrs.seal({"sequence": "a"}), "here")


def root_attributes() -> dict[str, Any]:
    """Return what a run writes into the root, without its checksum."""
    parameters = {"kernel_version": 1, "estimator": "range", "window": 5, "lambda_prior": 0.5, "alpha_clamp": 0.3}
    parameters |= {
        "min_valid": 8,
        "compat": None,
        "strides": [1, 2],
        "max_depth": None,
        "keepbits": 8,
        "with_depth": False,
    }
    texts = dict.fromkeys(("dataset", "camera_model", "fingerprint", "engine"), "text")
    content = texts | {"source": {}, "software": {"python": "3"}, "groups": ["Easy/P000"]}
    format_ = {"format": attrs.FORMAT, "format_version": attrs.FORMAT_VERSION}
    return format_ | content | {"parameters": parameters | {"decode_rule": {}}}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("groups", ["../../outside"]), ("groups", ["/etc"]), ("groups", ["a//b"]), ("groups", ["a\\b"]),
        ("groups", ["."]), ("groups", [7]), ("groups", "a"), ("groups", None), ("engine", 7), ("dataset", "a\x1b[2J"),
        ("software", ["numpy"]), ("software", {"numpy": 2}), ("source", []), ("parameters", None),
        ("strides", []), ("strides", [2]), ("strides", [1, 3, 2]), ("strides", [1, 1]), ("strides", [1, 2.0]),
        ("strides", list(range(1, 66))), ("strides", 1), ("window", 4), ("window", True), ("lambda_prior", -1),
        ("lambda_prior", "0.5"), ("alpha_clamp", 0), ("alpha_clamp", 2), ("keepbits", 0), ("keepbits", 10**30),
        ("max_depth", 0), ("with_depth", 1), ("compat", 3), ("min_valid", 0), ("decode_rule", "rule"),
        ("quantisation_step", -1), ("quantisation_step", None),
    ],
)  # fmt: skip
def test_root_attributes_that_no_run_writes_are_refused_though_the_checksum_is_right(name: str, value: object) -> None:
    attributes = root_attributes()
    optional = {"quantisation_step"}
    (attributes["parameters"] if name in attributes["parameters"].keys() | optional else attributes)[name] = value
    with pytest.raises(
        CacheError, match=rf"here: damaged \({name}( is|:) .*, which no run writes\); restore .* --overwrite"
    ):
        attrs.check_root(attrs.seal(attributes), "here")


@pytest.mark.parametrize("value", [float("nan"), "\ud800", [[]]])
def test_attributes_that_have_no_canonical_text_are_damaged(value: Any) -> None:
    if value == [[]]:
        for _ in range(100_000):
            value = [value]
    with pytest.raises(CacheError, match=r"here: damaged \(attributes: expected JSON, got"):
        attrs.unseal({"a": value, "checksum": "0"}, "here")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": 0}, "expected whole numbers above 0"),
        ({"width": 32.0}, "expected whole numbers above 0"),
        ({"height": True}, "expected whole numbers above 0"),
        ({"height": 10**6, "width": 10**6}, "expected at most 2147483616 bytes of a map, got 4000000000000"),
        ({"shard_frames": 65}, "expected at most 64 frames in a shard, got 65"),
        ({"height": 4000, "width": 4000, "shard_frames": 2}, "expected at most 1 frames in a shard, got 2"),
        ({"key_bytes": 1 << 20}, "expected at most 4096 bytes of a key"),
        ({"sequence": "../outside"}, "expected the folders of a sequence below the root"),
        ({"sequence": 7}, "expected the folders of a sequence below the root"),
    ],
)
def test_a_group_that_claims_too_much_is_refused(change: dict[str, Any], message: str) -> None:
    attributes = {"sequence": "a", "height": 24, "width": 32, "shard_frames": 64, "key_bytes": 64} | change
    with pytest.raises(CacheError, match=message):
        fmt.GroupLayout.from_attributes(attrs.seal(attributes), "here")


def test_rows_are_bounded() -> None:
    layout = fmt.GroupLayout(480, 640, 55, 64)
    layout.check(1_000_000, "here")
    with pytest.raises(CacheError, match=r"expected at most 7208960 frames in a group, got 1000000000"):
        layout.check(10**9, "here")
    one = fmt.GroupLayout(480, 640, 1, 64)
    one.check(fmt.MAX_SHARDS, "here")
    with pytest.raises(CacheError, match=r"expected at most 131072 frames in a group, got 131073"):
        one.check(fmt.MAX_SHARDS + 1, "here")


def test_root_attributes_are_refused_one_by_one() -> None:
    good = attrs.seal(root_attributes())
    assert attrs.check_root(good, "here")["format"] == attrs.FORMAT
    with pytest.raises(CacheError, match="here: not a depthvar cache: expected format"):
        attrs.check_root({}, "here")
    with pytest.raises(CacheError, match="format version 2, this depthvar reads 1"):
        attrs.check_root(attrs.seal(good | {"format_version": 2}), "here")
    with pytest.raises(CacheError, match="damaged"):
        attrs.check_root(good | {"window": 7}, "here")
