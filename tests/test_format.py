"""The cache format: names, sizes, checksums, and array metadata that any Zarr v3 reader knows."""

import copy
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthvar.datasets import format as fmt
from depthvar.datasets.errors import CacheError, ParameterError

STRIDES = (1, 2, 3, 4, 6, 8)


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


def test_seal_and_unseal_are_inverse() -> None:
    attributes = {"a": 0.5, "b": ["x", None], "c": {"ü": 1}}
    assert fmt.unseal(fmt.seal(attributes), "here") == attributes
    assert fmt.seal(fmt.seal(attributes)) == fmt.seal(attributes)


@given(st.data())
def test_a_flipped_bit_in_sealed_attributes_is_found(data: st.DataObject) -> None:
    text = json.dumps(fmt.seal({"lambda_prior": 0.5, "window": 5, "name": "hospital"})).encode()
    bit = data.draw(st.integers(0, 8 * len(text) - 1))
    changed = bytearray(text)
    changed[bit // 8] ^= 1 << bit % 8
    try:
        attributes = json.loads(changed)
    except ValueError:
        return  # no JSON any more: found by whoever reads it
    if attributes == json.loads(text):
        return  # white space
    with pytest.raises(CacheError, match="attributes are damaged: expected checksum"):
        fmt.unseal(attributes, "here")


@pytest.mark.parametrize(
    "sequence", ["sigma_Z2", "a/sigma_Z2_s3", "digest/b", "_root", "x@24x32", "__x", "a/zarr.json"]
)
def test_a_sequence_named_like_a_part_of_the_format_is_refused(sequence: str) -> None:
    with pytest.raises(ParameterError, match="rename the folder"):
        fmt.check_sequence(sequence)


def test_groups_are_named_by_sequence_and_size() -> None:
    assert fmt.group_name("", (4, 5), (4, 5)) == "_root"
    assert fmt.group_name("Easy/P000", (4, 5), (4, 5)) == "Easy/P000"
    assert fmt.group_name("Easy/P000", (4, 6), (4, 5)) == "Easy/P000@4x6"


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_keys_round_trip(keys: list[str]) -> None:
    width = fmt.key_bytes(keys)
    assert width % 64 == 0
    assert fmt.decode_keys(fmt.encode_keys(keys, width)) == keys
    assert fmt.decode_keys(np.zeros((2, width), np.uint8)) == ["", ""]


def test_only_core_codecs_and_plain_numbers() -> None:
    layout = fmt.GroupLayout(480, 640, 55, 64)
    for name, metadata in fmt.expected_metadata(layout, 100, STRIDES, True).items():
        codecs = copy.deepcopy(metadata["codecs"])
        for codec in codecs:
            codecs += codec.get("configuration", {}).get("codecs", [])
            codecs += codec.get("configuration", {}).get("index_codecs", [])
        names = {codec["name"] for codec in codecs}
        assert names <= {"bytes", "blosc", "crc32c", "sharding_indexed"}, name
        assert "crc32c" in names, name
        assert metadata["data_type"] in ("float32", "float64", "uint8", "int64"), name
        assert metadata["dimension_names"][0] == "frame", name
        if name.startswith("sigma_Z2"):
            assert metadata["fill_value"] == "NaN"


def test_layout_round_trips_through_attributes() -> None:
    layout = fmt.GroupLayout(480, 640, 55, 64)
    assert fmt.GroupLayout.from_attributes(layout.attributes("Easy/P000"), "here") == ("Easy/P000", layout)
    with pytest.raises(CacheError, match="not a sequence of a depthvar cache: attribute 'height' is missing"):
        fmt.GroupLayout.from_attributes(fmt.seal({"sequence": "a"}), "here")


def test_root_attributes_are_refused_one_by_one() -> None:
    good = fmt.seal({"format": fmt.FORMAT, "format_version": fmt.FORMAT_VERSION})
    assert fmt.check_root(good, "here")["format"] == fmt.FORMAT
    with pytest.raises(CacheError, match="here: not a depthvar cache: expected format"):
        fmt.check_root({}, "here")
    with pytest.raises(CacheError, match="format version 2, this depthvar reads 1"):
        fmt.check_root(fmt.seal(good | {"format_version": 2}), "here")
    with pytest.raises(CacheError, match="damaged"):
        fmt.check_root(good | {"window": 7}, "here")
