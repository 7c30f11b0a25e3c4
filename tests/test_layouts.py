"""What a description can say of a layout and its decode rule, each by a tree that is written by hand."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from depthvar.datasets import DepthSource, SigmaCache, open_source
from depthvar.datasets.errors import DescriptionError, SourceError
from depthvar.datasets.source.decode import PLAIN, DepthRule, FrameNumbers, to_depth
from depthvar.datasets.source.encodings import unpack
from depthvar.datasets.source.templates import path_pattern, sequence_of
from depthvar.precompute import run, validate
from depthvar.precompute.pipeline.job import Job

CAMERA = "[intrinsics]\nconstant = [4.0, 4.0, 1.5, 1.0]\n"
SHAPE = (3, 4)
K = np.array([4.0, 4.0, 1.5, 1.0])
INF = np.inf


def opened(root: Path, text: str, camera: str = CAMERA) -> DepthSource:
    """Return the source of a description in the root."""
    (root / "d.toml").write_text(f'summary = "s"\nnames = ["d"]\n{text}\n{camera}')
    return open_source(root / "d.toml")


def write(path: Path, array: Any) -> Path:
    """Write an array: .npy, or 8- or 16-bit PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        Image.fromarray(np.asarray(array)).save(path)
    return path


# --- paths


def test_placeholders_of_any_name_make_the_sequence(tmp_path: Path) -> None:
    for number, path in enumerate(
        ("Scene01/clone/rgb/Camera_0", "Scene01/fog/rgb/Camera_1", "Scene02/clone/rgb/Camera_0")
    ):
        write(tmp_path / path.replace("rgb", "depth") / "depth_00007.npy", np.full(SHAPE, number + 1.0, np.float32))
        write(tmp_path / path / "rgb_00007.png", np.zeros((*SHAPE, 3), np.uint8))
    source = opened(
        tmp_path,
        '[files]\ndepth = "{sequence}/{variant}/depth/Camera_{camera}/depth_{frame}.npy"\n'
        'image = "{sequence}/{variant}/rgb/Camera_{camera}/rgb_{frame}.png"',
    )
    assert [source.sequence(key) for key in source.keys()] == ["Scene01/clone/0", "Scene01/fog/1", "Scene02/clone/0"]
    assert [frame.depth[0, 0] for frame in source] == [1, 2, 3]
    assert all(Path(str(source.image_path(key))).is_file() for key in source.keys())

    result = run(source, tmp_path / "c.zarr", strides=(1,))
    assert result.computed == 3
    cache = SigmaCache(tmp_path / "c.zarr")
    for key in source.keys():
        assert cache.read(key).shape == SHAPE
    assert not validate(tmp_path / "c.zarr", source, full=True).findings


def test_a_placeholder_twice_is_the_same_text_twice(tmp_path: Path) -> None:
    for name in ("a/a/P0/000.npy", "a/b/P0/000.npy", "b/b/P0/000.npy"):
        write(tmp_path / name, np.ones(SHAPE, np.float32))
    source = opened(tmp_path, '[files]\ndepth = "{env}/{env}/{sequence}/{frame}.npy"')
    assert source.keys() == ["a/a/P0/000.npy", "b/b/P0/000.npy"]
    assert [source.sequence(key) for key in source.keys()] == ["a/P0", "b/P0"]


def test_an_underscore_is_no_part_of_the_sequence(tmp_path: Path) -> None:
    for name in ("room/0001/depth/x7.npy", "room/0002/depth/y9.npy"):
        write(tmp_path / name, np.ones(SHAPE, np.float32))
    source = opened(tmp_path, '[files]\ndepth = "{sequence}/{frame}/depth/{_}.npy"')
    assert {source.sequence(key) for key in source.keys()} == {"room"}


@given(st.lists(st.sampled_from(["a", "b.c", "0_1", "x-y"]), min_size=3, max_size=3))
def test_a_path_made_of_a_template_matches_it(parts: list[str]) -> None:
    template = "{sequence}/cam_{camera}/f{frame}_depth.npy"
    fields = dict(zip(("sequence", "camera", "frame"), parts, strict=True))
    match = path_pattern(template).fullmatch(template.format_map(fields))
    assert match is not None
    assert match.groupdict() == fields
    assert sequence_of(match.groupdict()) == f"{parts[0]}/{parts[1]}"


@pytest.mark.parametrize(
    "path", ["s/cam_../f0_depth.npy", "s/cam_/f0_depth.npy", "s/cam_a/b/f0_depth.npy", "/s/cam_a/f0"]
)
def test_a_placeholder_never_leaves_its_name(path: str) -> None:
    match = path_pattern("{sequence}/cam_{camera}/f{frame}_depth.npy").fullmatch(path)
    assert match is None


# --- many frames in a file


def test_a_stack_has_a_key_for_each_frame(tmp_path: Path) -> None:
    depth = np.arange(1, 2 * 5 * 12 + 1, dtype=np.float32).reshape(2, 5, *SHAPE)
    for number, name in enumerate(("train", "test")):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["depths"] = depth[number]
    source = opened(tmp_path, '[files]\ndepth = "{split}.h5"\n[depth]\nkey = "depths"\nstack = true')
    assert source.keys() == [f"{name}.h5/{index:06}" for name in ("test", "train") for index in range(5)]
    assert {source.sequence(key) for key in source.keys()} == {"test", "train"}
    for number, name in enumerate(("train", "test")):
        for index in range(5):
            key = f"{name}.h5/{index:06}"
            assert source.shape(key) == SHAPE
            np.testing.assert_array_equal(source.read(key).depth, depth[number, index])
    with pytest.raises(SourceError, match=r"train.h5: expected a frame from 0 to 4, got 5; list the frames again"):
        source.read("train.h5/000005")
    with pytest.raises(SourceError, match=r"'train.h5/x': expected the key of a frame of d, a path like '{split}.h5/"):
        source.read("train.h5/x")
    assert run(source, tmp_path / "c.zarr", strides=(1,)).computed == 10
    assert run(source, tmp_path / "c.zarr", strides=(1,)).computed == 0
    assert SigmaCache(tmp_path / "c.zarr").read("test.h5/000004").shape == SHAPE


def test_a_file_of_many_frames_is_said_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(DescriptionError, match=r"expected \{frame\} once, got 'all.h5': where one file holds"):
        opened(tmp_path, '[files]\ndepth = "all.h5"\n[depth]\nkey = "d"')


# --- codes


def test_three_bytes_are_one_number() -> None:
    numbers = np.array([[0, 1, 255, 256], [65535, 65536, 16777215, 70000]], np.uint32)
    colour = np.stack([numbers & 255, numbers >> 8 & 255, numbers >> 16], -1).astype(np.uint8)
    np.testing.assert_array_equal(unpack(colour, "rgb24", {}), numbers)


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=20))
def test_rotated_bits_are_turned_back(millimetres: list[int]) -> None:
    stored = np.array([[(value << 3 | value >> 13) & 0xFFFF for value in millimetres]], np.uint16)
    assert unpack(stored, "rotate3", {}).tolist() == [millimetres]


def test_a_logarithmic_code(tmp_path: Path) -> None:
    codes = np.array([[0, 1, 65534, 65535], [2, 32767, 32768, 65533], [1, 1, 1, 1]], np.uint16)
    text = PngImagePlugin.PngInfo()
    text.add_text("near", "0.5")
    text.add_text("far", "800.0")
    Image.fromarray(codes).save(tmp_path / "0.png", pnginfo=text)
    source = opened(tmp_path, '[files]\ndepth = "{frame}.png"\n[depth]\nencoding = "log"')
    depth = source[0].depth
    x = (codes.astype(float) - 1) / 65533
    expected = 0.5 ** (1 - x) * 800**x
    assert depth[0, 0] == 0
    assert depth[0, 3] == INF
    known = (codes > 0) & (codes < 65535)
    np.testing.assert_allclose(depth[known], expected[known], rtol=1e-6)
    assert (depth[0, 1], depth[0, 2]) == (0.5, 800)

    Image.fromarray(codes).save(tmp_path / "0.png")
    with pytest.raises(SourceError, match=r"0.png: expected the PNG's text 'near' to be a distance, which .* got none"):
        source.read("0.png")


def test_raw_kinect_codes(tmp_path: Path) -> None:
    codes = np.array([[400, 600, 1000, 2047], [0, 1, 2, 3], [700, 700, 700, 700]], np.uint16)
    (tmp_path / "0.pgm").write_bytes(b"P5\n4 3\n65535\n" + codes.astype("<u2").tobytes())  # little-endian, as they are
    depth = opened(tmp_path, '[files]\ndepth = "{frame}.pgm"\n[depth]\nencoding = "kinect"')[0].depth
    np.testing.assert_allclose(depth[0, :3], 351.3 / (1092.5 - codes[0, :3]), rtol=1e-6)
    assert depth[0, 3] == 0  # no measurement


# --- kinds, scales, limits


def decoded(stored: Any, numbers: FrameNumbers = PLAIN, **rule: Any) -> NDArray[np.float32]:
    array = np.asarray(stored, np.float32).reshape(1, -1)
    return to_depth(array.copy(), DepthRule("npy", ("float32",), 1.0, **rule), K, numbers=numbers)[0]


@settings(deadline=None)
@given(
    st.lists(st.floats(0.0625, 1000, width=32), min_size=1, max_size=9),
    st.floats(0.01, 10),
    st.floats(-0.005, 100),
)
def test_disparity(pixels: list[float], baseline: float, doffs: float) -> None:
    depth = decoded(pixels, FrameNumbers(baseline=baseline, doffs=doffs), kind="disparity")
    np.testing.assert_allclose(depth, baseline * 4.0 / (np.array(pixels, np.float32) + doffs), rtol=1e-6)


def test_disparity_without_depth() -> None:
    stored = [0, -1, INF, -INF, np.nan, 2]
    assert decoded(stored, FrameNumbers(baseline=1), kind="disparity").tolist() == [0, 0, 0, 0, 0, 2]
    assert decoded(stored, FrameNumbers(baseline=1), kind="disparity", far=(0,)).tolist() == [INF, 0, 0, 0, 0, 2]
    assert decoded([0.5, 4], kind="inverse").tolist() == [2, 0.25]


def test_limits_at_and_next_to_their_value() -> None:
    below, above = np.nextafter(np.float32([200, 200]), np.float32([0, 1000])).tolist()
    stored = [1, below, 200, above, INF]
    assert decoded(stored, unknown_above=200).tolist() == [1, below, 200, 0, 0]
    assert decoded(stored, unknown_from=200).tolist() == [1, below, 0, 0, 0]
    assert decoded(stored, far_from=200).tolist() == [1, below, INF, INF, INF]
    assert decoded(stored, far_from=200, unknown_above=150).tolist() == [1, 0, INF, INF, INF]


def test_a_limit_is_before_the_scale() -> None:
    assert decoded([1, 3], FrameNumbers(scale=10), unknown_above=2).tolist() == [10, 0]


def test_scale_and_camera_from_one_file(tmp_path: Path) -> None:
    matrix = np.array([[5.0, 0, 1.5], [0, 6, 1], [0, 0, 1]])
    for number in range(2):
        write(tmp_path / f"s/{number}.png", np.full(SHAPE, 65535, np.uint16))
        np.savez(
            tmp_path / f"s/{number}.npz", K=matrix + number * np.eye(3) * [[1], [1], [0]], maximum_depth=7.0 + number
        )
    source = opened(
        tmp_path,
        '[files]\ndepth = "{sequence}/{frame}.png"\n[depth]\nunits_per_metre = 65535.0\nunknown = [0]\nmetric = false\n'
        '[scale]\nfile = "{sequence}/{frame}.npz"\nkey = "maximum_depth"',
        '[intrinsics]\nfile = "{sequence}/{frame}.npz"\nkey = "K"',
    )
    assert [frame.depth[0, 0] for frame in source] == [7, 8]
    assert [frame.intrinsics.tolist() for frame in source] == [[5, 6, 1.5, 1], [6, 7, 1.5, 1]]
    before = source.stat("s/0.png")
    np.savez(tmp_path / "s/0.npz", K=matrix, maximum_depth=9.25)
    assert source.stat("s/0.png") != before
    assert source[0].depth[0, 0] == 9.25
    np.savez(tmp_path / "s/0.npz", K=matrix, maximum_depth=-1.0)
    with pytest.raises(SourceError, match=r"s/0.npz: \[scale\]: expected a number above 0, got \[-1.0\]"):
        source.read("s/0.png")
    np.savez(tmp_path / "s/0.npz", K=matrix)
    with pytest.raises(SourceError, match=r"s/0.npz: expected an array 'maximum_depth', got none"):
        source.read("s/0.png")


def test_a_scale_may_divide_and_a_baseline_be_in_millimetres(tmp_path: Path) -> None:
    write(tmp_path / "0.npy", np.full(SHAPE, 8.0, np.float32))
    (tmp_path / "scale.json").write_text('{"scale": 4}')
    (tmp_path / "calib.txt").write_text("cam0=[4 0 1.5; 0 4 1; 0 0 1]\ndoffs=2\nbaseline=500\n")
    files = '[files]\ndepth = "{frame}.npy"\n'
    divided = opened(tmp_path, f'{files}[scale]\nfile = "scale.json"\nkey = "scale"\ninverse = true')
    assert (divided[0].depth == 2).all()
    stereo = opened(
        tmp_path,
        f'{files}[depth]\nkind = "disparity"\n'
        '[baseline]\nfile = "calib.txt"\nkey = "baseline"\nunits_per_metre = 1000.0\n'
        '[doffs]\nfile = "calib.txt"\nkey = "doffs"',
        '[intrinsics]\nfile = "calib.txt"\nkey = "cam0"',
    )
    np.testing.assert_allclose(stereo[0].depth, 0.5 * 4 / (8 + 2), rtol=1e-7)


def test_disparity_needs_a_baseline(tmp_path: Path) -> None:
    with pytest.raises(DescriptionError, match=r"missing table \[baseline\]: kind disparity needs the metres between"):
        opened(tmp_path, '[files]\ndepth = "{frame}.npy"\n[depth]\nkind = "disparity"')


def test_every_second_row_and_column(tmp_path: Path) -> None:
    stored = np.arange(1, 36, dtype=np.float32).reshape(5, 7)
    write(tmp_path / "0.npy", stored)
    write(tmp_path / "m0.png", np.arange(35, dtype=np.uint8).reshape(5, 7))
    source = opened(
        tmp_path,
        '[files]\ndepth = "{frame}.npy"\n[depth]\nevery = 2\n'
        '[[masks]]\nfile = "m{frame}.png"\nmarks = "unknown"\nvalues = [2]\nevery = 2',
    )
    assert source.shape("0.npy") == SHAPE
    expected = stored[::2, ::2].copy()
    expected[0, 1] = 0
    np.testing.assert_array_equal(source[0].depth, expected)


def test_a_channel_and_a_byte_view(tmp_path: Path) -> None:
    stored = np.arange(1, 37, dtype=np.float32).reshape(3, 4, 3)
    write(tmp_path / "0.npy", stored)
    depth = opened(tmp_path, '[files]\ndepth = "{frame}.npy"\n[depth]\nchannel = 1')[0].depth
    np.testing.assert_array_equal(depth, stored[..., 1])
    with pytest.raises(SourceError, match=r"0.npy: expected a channel 3, got 3 channels; correct \[depth\] channel"):
        opened(tmp_path, '[files]\ndepth = "{frame}.npy"\n[depth]\nchannel = 3').shape("0.npy")

    halves = np.array([[0.5, 1.5, 60000, 2]] * 3, np.float16)
    write(tmp_path / "a/0.png", halves.view(np.uint16))
    text = '[files]\ndepth = "a/{frame}.png"\n[depth]\nview = "<f2"'
    np.testing.assert_array_equal(opened(tmp_path, text)[0].depth, halves.astype(np.float32))


def test_raw_floats_have_the_shape_of_the_description(tmp_path: Path) -> None:
    stored = np.arange(1, 13, dtype="<f4").reshape(SHAPE)
    (tmp_path / "0.bin").write_bytes(stored.tobytes())
    rule = 'container = "raw"\nshape = [3, 4]\ndtype = "float32"\nunits_per_metre = 1'
    text = f'[files]\ndepth = "{{frame}}.bin"\n[depth]\n{rule}'
    source = opened(tmp_path, text)
    np.testing.assert_array_equal(source[0].depth, stored)
    (tmp_path / "0.bin").write_bytes(struct.pack("<11f", *range(11)))
    with pytest.raises(SourceError, match=r"0.bin: expected 48 bytes"):
        source.read("0.bin")


# --- masks

MASKS: list[tuple[str, Callable[[NDArray[np.uint8]], NDArray[np.bool_]]]] = [
    ("", lambda mask: mask != 0),
    ("at_least = 127", lambda mask: mask >= 127),
    ("at_most = 25", lambda mask: mask <= 25),
    ("values = [10, 23]", lambda mask: (mask == 10) | (mask == 23)),
]


@pytest.mark.parametrize(("rule", "marked"), MASKS, ids=[rule or "nonzero" for rule, _ in MASKS])
@pytest.mark.parametrize("marks", ["usable", "unknown", "far"])
def test_a_mask(tmp_path: Path, rule: str, marked: Callable[..., NDArray[np.bool_]], marks: str) -> None:
    mask = np.array([[0, 1, 25, 26], [126, 127, 128, 255], [10, 23, 9, 22]], np.uint8)
    colour = np.stack([mask, 255 - mask, mask * 0], -1)
    write(tmp_path / "m/0.png", colour)
    write(tmp_path / "0.npy", np.full(SHAPE, 5, np.float32))
    table = f'[[masks]]\nfile = "m/{{frame}}.png"\nchannel = 0\nmarks = "{marks}"\n{rule}'
    depth = opened(tmp_path, f'[files]\ndepth = "{{frame}}.npy"\n{table}')[0].depth
    where = marked(mask)
    expected = {"usable": (5, 0), "unknown": (0, 5), "far": (INF, 5)}[marks]
    np.testing.assert_array_equal(depth, np.where(where, *expected))


def test_unknown_wins_over_far_and_a_mask_over_what_is_stored(tmp_path: Path) -> None:
    write(tmp_path / "0.npy", np.array([[0, 1, 2, 3]] * 3, np.float32))
    write(tmp_path / "sky.png", np.array([[9, 9, 0, 0]] * 3, np.uint8))
    write(tmp_path / "bad.png", np.array([[0, 9, 9, 0]] * 3, np.uint8))
    depth = opened(
        tmp_path,
        '[files]\ndepth = "{frame}.npy"\n[[masks]]\nfile = "bad.png"\nmarks = "unknown"\n'
        '[[masks]]\nfile = "sky.png"\nmarks = "far"',
    )[0].depth
    assert depth[0].tolist() == [INF, 0, 0, 3]


def test_what_decides_depth_is_a_parameter_of_the_cache(tmp_path: Path) -> None:
    write(tmp_path / "0.npy", np.ones(SHAPE, np.float32))
    write(tmp_path / "m.png", np.full(SHAPE, 9, np.uint8))
    files = '[files]\ndepth = "{frame}.npy"\n'
    texts = [
        files,
        f"{files}[depth]\nunknown_above = 3",
        f"{files}[scale]\nconstant = 2",
        f'{files}[[masks]]\nfile = "m.png"',
        f'{files}[[masks]]\nfile = "m.png"\nat_least = 3',
    ]
    rules = [json.dumps(Job("c", opened(tmp_path, text)).parameters()["decode_rule"]) for text in texts]
    assert len(set(rules)) == len(rules)
    assert all("metric" not in rule for rule in rules)  # a default is not written
