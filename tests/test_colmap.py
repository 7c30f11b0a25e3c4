"""COLMAP's models by themselves: what COLMAP writes is read back, and damage is one line."""

import shutil
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthvar.datasets.errors import DepthVarError, ParameterError
from depthvar.datasets.source.colmap import MODELS, NUMBERS, model_table
from depthvar.datasets.source.numbers import NumbersRule, files_of, read_table

COLMAP_FILES = Path(__file__).parent / "data" / "colmap"  # written by pycolmap, see test_what_colmap_writes


def camera_of(folder: Path, suffix: str, image: str) -> list[float]:
    rule = NumbersRule(f"cameras{suffix}", row="{frame}")
    places = [folder / file for file in files_of(rule, rule.file)]
    return read_table(places[0], rule, places[1]).numbers((), image).tolist()


@pytest.mark.parametrize("suffix", [".txt", ".bin"])
def test_what_colmap_writes(suffix: str) -> None:
    """Files that pycolmap 4.2.1 wrote: Reconstruction.write_text and write_binary, with 0, 1 and 2 points an image."""
    assert camera_of(COLMAP_FILES, suffix, "photo.jpg") == [16, 12, 20, 21, 7.5, 5.5]
    assert camera_of(COLMAP_FILES, suffix, "a/b c.jpg") == [16, 12, 30, 30, 8, 6]
    assert camera_of(COLMAP_FILES, suffix, "é.jpg") == [16, 12, 22, 23, 7.5, 5.5]  # EUCM
    assert camera_of(COLMAP_FILES, suffix, "b c") == camera_of(COLMAP_FILES, suffix, "a/b c.jpg")
    with pytest.raises(ParameterError, match=f"^images{suffix} next to it: expected a row named 'x', found none in 3"):
        camera_of(COLMAP_FILES, suffix, "x")


@pytest.mark.parametrize("model", MODELS)
def test_every_model_as_text_and_binary(tmp_path: Path, model: str) -> None:
    count, focal = MODELS[model]
    parameters = [*([20.0, 21.0][:focal]), 8.0, 6.0, *[0.5] * (count - focal - 2)]
    layout = f"<QIiQQ{count}d"
    (tmp_path / "cameras.bin").write_bytes(struct.pack(layout, 1, 3, list(MODELS).index(model), 16, 12, *parameters))
    (tmp_path / "cameras.txt").write_text(f"3 {model} 16 12 {' '.join(map(str, parameters))}\n")
    (tmp_path / "images.bin").write_bytes(struct.pack("<QI7dI2sQ", 1, 7, 1, 0, 0, 0, 0, 0, 0, 3, b"a", 0))
    (tmp_path / "images.txt").write_text("7 1 0 0 0 0 0 0 3 a\n\n")
    for suffix in (".txt", ".bin"):
        assert camera_of(tmp_path, suffix, "a") == [16, 12, 20, 21 if focal == 2 else 20, 7.5, 5.5]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "cameras.txt",
            b"1 PINHOLE 16 12 20 21 8\n",
            "cameras.txt: expected 4 parameters of PINHOLE, got '1 PINHOLE 16",
        ),
        (
            "cameras.txt",
            b"1 PINHOLE 16\n",
            "cameras.txt: expected CAMERA_ID MODEL WIDTH HEIGHT PARAMS, got '1 PINHOLE 16'",
        ),
        (
            "cameras.txt",
            b"1 EQUIRECTANGULAR 16 12 16 12\n",
            "COLMAP with a focal length, got 'EQUIRECTANGULAR'; undist",
        ),
        (
            "cameras.txt",
            b"PK\x03\x04",
            "cameras.txt: expected text of COLMAP, got a zip archive, as .npz is; does the d",
        ),
        ("cameras.txt", b"\xff\xd9\x01 2\n", "cameras.txt: expected CAMERA_ID MODEL .*; fetch the file again$"),
        ("cameras.txt", b"9 PINHOLE 16 12 20 21 8 6\n", "^expected camera 1 of the image 'photo.jpg', got 1 others$"),
        (
            "images.txt",
            b"7 1 0 0 0 0 0 0 one.jpg\n\n",
            "images.txt: expected IMAGE_ID QW .* got '7 1 0 0 0 0 0 0 one.jpg'",
        ),
        (
            "images.txt",
            b"7 1 0 0 0 0 0 0 1.5 one.jpg\n\n",
            "images.txt: expected IMAGE_ID QW .*; fetch the file again$",
        ),
        ("cameras.bin", struct.pack("<QIiQQ2d", 1, 1, 17, 16, 12, 16, 12), "with a focal length, got '17'; undistort"),
        (
            "cameras.bin",
            struct.pack("<QIiQQ4d", 1, 1, 1, 16, 12, 1, 1, 1, 1) + b"\0",
            "expected 64 bytes by its counts, got",
        ),
        (
            "images.bin",
            struct.pack("<QI7dI", 1, 7, *[0] * 7, 1) + b"a" * 5000,
            "images.bin: expected images of COLMAP, got",
        ),
        (
            "images.bin",
            struct.pack("<QI7dI2sQ", 1, 7, *[0] * 7, 1, b"a", 1 << 63),
            "expected images of COLMAP, got other",
        ),
        (
            "images.bin",
            struct.pack("<QI7dI2sQ", 1, 7, *[0] * 7, 1, b"a", 1),
            "expected 106 bytes by its counts, got 82",
        ),
        ("images.bin", b"\xff" * 8, "images.bin: the file ends too early; fetch the file again$"),
    ],
    ids=range(14),
)
def test_models_that_are_damaged_or_no_pinhole(tmp_path: Path, file: str, content: bytes, message: str) -> None:
    folder = shutil.copytree(COLMAP_FILES, tmp_path / "model")
    (folder / file).write_bytes(content)
    with pytest.raises(DepthVarError, match=message) as caught:
        camera_of(folder, file[-4:], "photo.jpg")
    assert str(caught.value).isprintable()


@settings(max_examples=150, deadline=None)
@given(data=st.data(), suffix=st.sampled_from([".txt", ".bin"]), of=st.sampled_from(["cameras", "images"]))
def test_any_damage_is_one_line_or_numbers(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, suffix: str, of: str
) -> None:
    folder = shutil.copytree(COLMAP_FILES, tmp_path_factory.mktemp("any") / "model")
    content = bytearray((folder / f"{of}{suffix}").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (folder / f"{of}{suffix}").write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        numbers = camera_of(folder, suffix, "photo.jpg")
    except DepthVarError as error:
        assert str(error).isprintable()
    else:
        assert len(numbers) == len(NUMBERS.split())


def test_a_models_points_are_not_read(tmp_path: Path) -> None:
    """An image with 10 GB of points, which take no room here."""
    shutil.copy(COLMAP_FILES / "cameras.bin", tmp_path)
    points = 10_000_000_000 // 24
    with (tmp_path / "images.bin").open("wb") as file:
        file.write(struct.pack("<QI7dI2sQ", 1, 7, *[0] * 7, 1, b"a", points))
        file.truncate(file.tell() + 24 * points)
    pick, find = model_table(tmp_path / "cameras.bin", tmp_path / "images.bin", "")
    assert pick((), find("a")[0]) == [16, 12, 20, 21, 7.5, 5.5]
