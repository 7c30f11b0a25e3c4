"""Every file format: what other programs write is read back, and damage is one line or values, never more."""

import io
import math
import os
import signal
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import containers as benchmark
import h5py
import numpy as np
import OpenEXR
import pytest
import scipy.io
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from depthvar.datasets.errors import MissingLibraryError, SourceError
from depthvar.datasets.source.containers import (
    CONTAINERS,
    DEPTH_CONTAINERS,
    Header,
    Member,
    OpenFile,
    Place,
    RemoteFile,
    container_of,
    png_text,
    read_file,
)
from depthvar.datasets.source.containers.container import NO_BOMB

Array = NDArray[Any]
Write = Callable[[Path, Array], object]
SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)


def read(path: Place, name: str, member: Member = Member()) -> Array:  # noqa: B008
    """Return the pixels of a file, after a look at whether they are what its header says."""
    container = CONTAINERS[name]

    def both(file: OpenFile, start: bytes, size: int) -> Array:
        header = container.header(file, start, size, member)
        pixels = container.pixels(file, header, member)
        assert pixels.shape == (header.shape[1:] if member.stack else header.shape)
        assert pixels.dtype.newbyteorder("=") == header.dtype.newbyteorder("=")
        return pixels

    return read_file(path, both)


def header_of(path: Place, name: str, member: Member = Member()) -> Header:  # noqa: B008
    """Return the header of a file."""
    return read_file(path, lambda file, start, size: CONTAINERS[name].header(file, start, size, member))


def remote(path: Path, head: int | None = None) -> RemoteFile:
    """Return a file as one at a URL."""
    data = path.read_bytes()
    return RemoteFile(f"memory://{path.name}", lambda: data[:head], len(data))


def message_of(path: Path, name: str, member: Member = Member()) -> str:  # noqa: B008
    """Return the one line that reading a file ends with."""
    with pytest.raises(SourceError) as caught:
        read(path, name, member)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


def exr(path: Path, values: Array, compression: Any = OpenEXR.ZIP_COMPRESSION, name: str = "Z") -> None:
    OpenEXR.File({"compression": compression, "type": OpenEXR.scanlineimage}, {name: values}).write(str(path))


def pgm(path: Path, values: Array) -> None:
    largest = np.iinfo(values.dtype).max
    path.write_bytes(b"P5\n# by hand\n%d %d\n%d\n" % (*values.shape[::-1], largest) + swapped(values).tobytes())


def swapped(values: Array) -> Array:
    return values.astype(values.dtype.newbyteorder(">"))


def pfm(path: Path, values: Array, order: str = "<") -> None:
    scale = b"-1.0" if order == "<" else b"1.0"
    rows = values[::-1].astype(f"{order}f4").tobytes()
    path.write_bytes(b"Pf\n%d %d\n%s\n" % (*values.shape[::-1], scale) + rows)


def dpt(path: Path, values: Array) -> None:
    path.write_bytes(struct.pack("<fii", 202021.25, *values.shape[::-1]) + values.astype("<f4").tobytes())


def colmap(path: Path, values: Array) -> None:
    channels = values.shape[2] if values.ndim == 3 else 1
    text = b"%d&%d&%d&" % (values.shape[1], values.shape[0], channels)
    path.write_bytes(text + values.swapaxes(0, 1).astype("<f4").tobytes("F"))


def hdf5(path: Path, values: Array, **options: Any) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("depth", data=values, **options)


def mat_7(path: Path, values: Array) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_group("#refs#")
        file["depth"] = values.transpose()
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM")


def pillow(path: Path | io.BytesIO, values: Array) -> None:
    Image.fromarray(values).save(path, "png")


def png_in_hdf5(path: Path, values: Array) -> None:
    """24-bit numbers as three channels, others as grey."""
    content = io.BytesIO()
    pillow(
        content,
        np.stack([values >> shift & 255 for shift in (0, 8, 16)], -1).astype("u1") if values.dtype == "u4" else values,
    )
    with h5py.File(path, "w") as file:
        file["depth"] = np.frombuffer(content.getvalue(), "u1")


GZIP = {"chunks": (20, 30), "compression": "gzip", "shuffle": True}
WRITERS: dict[str, tuple[str, Write, tuple[str, ...]]] = {
    "npy": ("npy", np.save, ("u2", "i8", "f2", "f4", "f8")),
    "npz": ("npz", lambda path, values: np.savez(path, depth=values), ("u2", "f2", "f4")),
    "npz deflated": ("npz", lambda path, values: np.savez_compressed(path, depth=values), ("u2", "f4")),
    "png": ("png", pillow, ("u1", "u2")),
    "exr": ("exr", exr, ("f2", "f4", "u4")),
    "exr plain": ("exr", lambda path, values: exr(path, values, OpenEXR.NO_COMPRESSION), ("f2", "f4")),
    "exr piz": ("exr", lambda path, values: exr(path, values, OpenEXR.PIZ_COMPRESSION), ("f2", "f4")),
    "pfm": ("pfm", pfm, ("f4",)),
    "pfm big": ("pfm", lambda path, values: pfm(path, values, ">"), ("f4",)),
    "tiff": ("tiff", tifffile.imwrite, ("u1", "u2", "i2", "i4", "f2", "f4", "f8")),
    "tiff big": ("tiff", lambda path, values: tifffile.imwrite(path, values, byteorder=">"), ("u2", "f4")),
    "tiff lzw": (
        "tiff",
        lambda path, values: tifffile.imwrite(path, values, compression="lzw", predictor=True, tile=(16, 16)),
        ("u2", "f4"),
    ),
    "hdf5": ("hdf5", hdf5, ("u2", "f2", "f4", "f8")),
    "hdf5 big": ("hdf5", lambda path, values: hdf5(path, swapped(values)), ("u2", "f4")),
    "hdf5 gzip": ("hdf5", lambda path, values: hdf5(path, values, chunks=True, compression="gzip"), ("u2", "f4")),
    "mat": ("mat", lambda path, values: scipy.io.savemat(path, {"depth": values}), ("u2", "f4", "f8")),
    "mat deflated": (
        "mat",
        lambda path, values: scipy.io.savemat(path, {"depth": values}, do_compression=True),
        ("u2", "f4", "f8"),
    ),
    "mat 7.3": ("mat", mat_7, ("u2", "f4", "f8")),
    "dpt": ("dpt", dpt, ("f4",)),
    "raw": ("raw", lambda path, values: path.write_bytes(values.astype("<f4").tobytes()), ("f4",)),
    "colmap": ("colmap", colmap, ("f4",)),
    "pgm": ("pgm", pgm, ("u1", "u2")),
    "png_in_hdf5": ("png_in_hdf5", png_in_hdf5, ("u1", "u2")),
}
FILES = [name for name in DEPTH_CONTAINERS if name != "zarr"]  # which is a folder: test_readers.py


def member_for(name: str, values: Array) -> Member:
    return Member(shape=values.shape[:2]) if name == "raw" else Member()


@pytest.mark.parametrize("case", WRITERS)
def test_what_another_program_wrote_reads_back(tmp_path: Path, case: str) -> None:
    name, write, dtypes = WRITERS[case]
    path = tmp_path / f"a.{name}"

    @settings(deadline=None, max_examples=25)
    @given(st.sampled_from(dtypes).flatmap(lambda dtype: hnp.arrays(dtype, SHAPES)))
    def check(values: Array) -> None:
        write(path, values)
        member = member_for(name, values)
        np.testing.assert_array_equal(read(path, name, member), values)
        np.testing.assert_array_equal(read(remote(path), name, member), values)
        if CONTAINERS[name].in_head:
            head = path.stat().st_size - values.nbytes if name in ("npy", "pfm", "dpt", "colmap", "pgm") else 10_000
            assert header_of(remote(path, max(head, 1)), name, member).shape == values.shape

    check()


def test_every_container_is_written_here() -> None:
    assert {name for name, _, _ in WRITERS.values()} == set(FILES) == set(CONTAINERS) - {"jpg", "zarr"}


@pytest.mark.parametrize("name", FILES)
def test_defaults_of_a_container_are_what_it_can_hold(tmp_path: Path, name: str) -> None:
    _, write, _ = WRITERS[name]
    for dtype in CONTAINERS[name].dtype:
        write(tmp_path / f"a.{name}", np.ones((2, 3), dtype))
        assert read(tmp_path / f"a.{name}", name, Member(shape=(2, 3))).dtype.name == dtype


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("{sequence}/frame.{frame}.depth_meters.hdf5", "hdf5"),
        ("disp1_left_{frame}.dsp5", "hdf5"),
        ("a.TIF", "tiff"),
        ("a.jpeg", "jpg"),
        ("{frame}.jpg.geometric.png", "png"),
        ("a.bin", ""),
        ("a.raw", ""),
        ("{frame}", ""),
    ],
)
def test_the_suffix_names_the_container(path: str, name: str) -> None:
    assert container_of(path) == name


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_channels_of_a_png(tmp_path: Path, channels: int) -> None:
    values = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    pillow(tmp_path / "a.png", values)
    got = read(tmp_path / "a.png", "png")
    np.testing.assert_array_equal(got, values[..., [2, 1, 0, 3]] if channels == 4 else values)  # as OpenCV has floats


def test_a_palette_is_no_depth(tmp_path: Path) -> None:
    Image.new("P", (4, 3)).save(tmp_path / "a.png")
    assert "colour type 3, an image with a palette; does --pattern" in message_of(tmp_path / "a.png", "png")


def test_text_of_a_png() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("near", "0.5")
    info.add_text("far", "80.25", zip=True)
    info.add_itxt("unit", "1")
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((99, 99), np.uint16)).save(buffer, "PNG", pnginfo=info)
    assert png_text(buffer.getvalue()[:180]) == {"near": "0.5", "far": "80.25", "unit": "1"}
    with pytest.raises(ValueError, match="cannot decode the text of a PNG"):
        png_text(b"\x89PNG")


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_is_read_as_pillow_reads_it(tmp_path: Path, mode: str) -> None:
    Image.effect_noise((40, 30), 80).convert(mode).save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        np.testing.assert_array_equal(read(tmp_path / "a.jpg", "jpg"), np.asarray(image))
    Image.new("CMYK", (4, 3)).save(tmp_path / "b.jpg")
    assert "expected a JPEG of grey or RGB, got CMYK; save" in message_of(tmp_path / "b.jpg", "jpg")


def test_a_truncated_jpeg_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.effect_noise((40, 30), 80).save(path)
    data = path.read_bytes()
    for length in range(3, len(data) - 40, 7):
        path.write_bytes(data[:length])
        assert "cannot decode JPEG" in message_of(path, "jpg")


def parts(*channels: dict[str, Any]) -> OpenEXR.File:
    made = [OpenEXR.Part({"type": OpenEXR.scanlineimage}, each, f"part{at}") for at, each in enumerate(channels)]
    return OpenEXR.File(made)


def test_the_channel_of_an_exr(tmp_path: Path) -> None:
    path, one = tmp_path / "a.exr", np.ones((4, 5), np.float32)
    parts({"R": one, "Depth": 2 * one, "Z": 3 * one.astype(np.float16)}).write(str(path))
    assert read(path, "exr").tolist() == (3 * one).tolist()  # Z comes before R
    assert header_of(path, "exr").dtype == np.float16
    assert read(path, "exr", Member("Depth")).tolist() == (2 * one).tolist()
    assert "expected channel 'depth', got Depth, R, Z; give its name as [depth] key" in message_of(
        path, "exr", Member("depth")
    )
    parts({"A": one, "B": one}).write(str(path))
    assert "expected one channel, got A, B; give its name" in message_of(path, "exr")
    parts({"distance": one}, {"Z": 2 * one}).write(str(path))
    assert read(path, "exr").tolist() == one.tolist()  # the first part


def test_exr_tiles_and_long_headers(tmp_path: Path) -> None:
    path, values = tmp_path / "a.exr", np.random.default_rng(0).random((70, 45), np.float32)
    tiles = OpenEXR.TileDescription()
    tiles.xSize = tiles.ySize = 16
    header = {"type": OpenEXR.tiledimage, "tiles": tiles, "a long list": "x" * 30_000}
    OpenEXR.File(header, {"V": values}).write(str(path))
    np.testing.assert_array_equal(read(path, "exr"), values)


def test_nothing_is_printed_of_a_damaged_exr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """OpenEXR prints a line on stdout; other threads, whose prints are kept, may use it at the same time."""
    exr(tmp_path / "good.exr", VALUES)
    data = bytearray((tmp_path / "good.exr").read_bytes())
    data[-20] ^= 255
    (tmp_path / "bad.exr").write_bytes(data)
    stdout = sys.stdout

    def read_both(_: int) -> None:
        sys.stdout.write("other\n")
        assert "cannot decode OpenEXR image (Unable to run decoder); fetch" in message_of(tmp_path / "bad.exr", "exr")
        np.testing.assert_array_equal(read(tmp_path / "good.exr", "exr"), VALUES)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read_both, range(40)))
    assert sys.stdout is stdout
    assert capsys.readouterr().out.split() == ["other"] * 40


def test_an_exr_that_shows_a_part_of_an_image(tmp_path: Path) -> None:
    window = {"dataWindow": ((1, 1), (5, 4)), "displayWindow": ((0, 0), (7, 7))}
    window = {name: tuple(np.array(each, np.int32) for each in box) for name, box in window.items()}
    OpenEXR.File({"type": OpenEXR.scanlineimage, **window}, {"Z": np.ones((4, 5), np.float32)}).write(
        str(tmp_path / "a.exr")
    )
    assert "expected a data window as large as the image (0, 0, 7, 7), got (1, 1, 5, 4); save whole" in message_of(
        tmp_path / "a.exr", "exr"
    )


@pytest.mark.parametrize("options", [{}, {"chunks": (1, 3, 4), "compression": "gzip"}, {"chunks": (2, 3, 4)}])
def test_a_stack_of_hdf5_reads_a_frame(tmp_path: Path, options: dict[str, Any]) -> None:
    values = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
    hdf5(tmp_path / "a.h5", values, **options)
    assert header_of(tmp_path / "a.h5", "hdf5", Member(stack=True)).shape == (4, 5, 6)
    for index in range(4):
        np.testing.assert_array_equal(read(tmp_path / "a.h5", "hdf5", Member(None, index, stack=True)), values[index])


def test_a_stack_of_hdf5_reads_no_more_than_its_frame(tmp_path: Path) -> None:
    """One that no memory holds: only the frame that was written is in the file."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        stack = file.create_dataset("depth", (1 << 24, 1000, 1000), "f4", chunks=(1, 1000, 1000), compression="gzip")
        stack[77] = 2.5
    assert (read(tmp_path / "a.h5", "hdf5", Member("depth", 77, stack=True)) == 2.5).all()
    assert "expected at least" in message_of(tmp_path / "a.h5", "hdf5")


@pytest.mark.parametrize("write", ["mat", "mat deflated", "mat 7.3"])
def test_a_stack_of_matlab_counts_along_the_last_axis(tmp_path: Path, write: str) -> None:
    values = np.arange(5 * 6 * 4, dtype=np.float32).reshape(5, 6, 4)
    WRITERS[write][1](tmp_path / "a.mat", values)
    np.testing.assert_array_equal(read(tmp_path / "a.mat", "mat"), values)  # channels
    assert header_of(tmp_path / "a.mat", "mat", Member(stack=True)).shape == (4, 5, 6)
    for index in range(4):
        frame = read(tmp_path / "a.mat", "mat", Member("depth", index, stack=True))
        np.testing.assert_array_equal(frame, values[..., index])


def test_keys(tmp_path: Path) -> None:
    one = np.ones((2, 3), np.float32)
    np.savez(tmp_path / "a.npz", a=one, b=2 * one)
    scipy.io.savemat(tmp_path / "a.mat", {"a": one, "b": 2 * one, "text": "no numbers"})
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"], file["b"], file["group/c"] = one, 2 * one, 3 * one
    assert read(tmp_path / "a.h5", "hdf5", Member("group/c")).tolist() == (3 * one).tolist()
    assert "expected a data set 'group', got a group (at the root: a, b, group); correct [depth] key" in message_of(
        tmp_path / "a.h5", "hdf5", Member("group")
    )
    for name, what in (("npz", "array"), ("mat", "variable of real numbers")):
        assert f"expected {what} 'c', got a, b" in message_of(tmp_path / f"a.{name}", name, Member("c"))
    for name, what in (("npz", "array"), ("mat", "variable of real numbers"), ("hdf5", "data set")):
        path = tmp_path / f"a.{'h5' if name == 'hdf5' else name}"
        assert read(path, name, Member("b")).tolist() == (2 * one).tolist()
        assert f"expected one {what}, got a, b" in message_of(path, name)
    assert "numbers 'text', got a, b; give its name as [depth] key" in message_of(
        tmp_path / "a.mat", "mat", Member("text")
    )


def test_doubles_that_matlab_stored_as_small_integers(tmp_path: Path) -> None:
    """MATLAB stores an array of doubles as bytes where all are whole and small; scipy does not write such files."""
    flags, dims = struct.pack("<IIII", 6, 8, 6, 0), struct.pack("<IIii", 5, 8, 2, 3)
    name = struct.pack("<II8s", 1, 5, b"depth")
    data = struct.pack("<II8s", 2, 6, bytes([1, 2, 3, 4, 5, 200]))
    matrix = flags + dims + name + data
    inner = struct.pack("<II", 14, len(matrix)) + matrix
    for kind, content in ((14, matrix), (15, zlib.compress(inner))):
        path = tmp_path / "a.mat"
        path.write_bytes(b"MATLAB 5.0".ljust(124) + b"\0\1IM" + struct.pack("<II", kind, len(content)) + content)
        got = read(path, "mat")
        assert got.dtype == np.float64
        assert got.tolist() == [[1, 3, 5], [2, 4, 200]]
        np.testing.assert_array_equal(scipy.io.loadmat(path, mat_dtype=True)["depth"], got)


def test_big_endian_matlab(tmp_path: Path) -> None:
    body = struct.pack(">IIII", 6, 8, 7, 0) + struct.pack(">IIii", 5, 8, 1, 2) + struct.pack(">HH4s", 1, 1, b"d")
    body = body.replace(struct.pack(">HH4s", 1, 1, b"d"), struct.pack(">I4s", 1 << 16 | 1, b"d"))
    body += struct.pack(">IIff", 7, 8, 1.5, 2.5)
    (tmp_path / "a.mat").write_bytes(b"MATLAB 5.0".ljust(124) + b"\1\0MI" + struct.pack(">II", 14, len(body)) + body)
    assert read(tmp_path / "a.mat", "mat").tolist() == [[1.5, 2.5]]
    np.testing.assert_array_equal(scipy.io.loadmat(tmp_path / "a.mat")["d"], [[1.5, 2.5]])


def test_pixels_in_other_files_are_not_followed(tmp_path: Path) -> None:
    hdf5(tmp_path / "b.h5", np.ones((2, 3), np.float32))
    layout = h5py.VirtualLayout((2, 3), "f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "b.h5"), "depth", (2, 3))
    (tmp_path / "c").write_bytes(bytes(24))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["link"] = h5py.ExternalLink(str(tmp_path / "b.h5"), "depth")
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("outside", (2, 3), "f4", external=[(str(tmp_path / "c"), 0, 24)])
    for key in ("link", "virtual", "outside"):
        assert "in this file, got links to others; copy them" in message_of(tmp_path / "a.h5", "hdf5", Member(key))


def test_a_data_set_that_was_never_written(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("depth", (20, 30), "f4", chunks=(10, 10))
        file["text"] = "a"
    assert "expected pixels in '/depth', got none; was it written" in message_of(
        tmp_path / "a.h5", "hdf5", Member("depth")
    )
    assert "expected numbers, got dtype object" in message_of(tmp_path / "a.h5", "hdf5", Member("text"))


def test_values_that_need_a_plugin_of_hdf5(tmp_path: Path) -> None:
    """The code of a filter that is here, gzip (1), becomes that of Blosc in the file."""
    hdf5(tmp_path / "a.h5", VALUES, **GZIP)
    content = (tmp_path / "a.h5").read_bytes()
    old = struct.pack("<HHHH", 1, 8, 1, 1) + b"deflate\0"
    assert content.count(old) == 1
    (tmp_path / "a.h5").write_bytes(content.replace(old, struct.pack("<H", 32001) + old[2:]))
    assert (
        "expected a filter that HDF5 itself has, got 32001 (b'deflate'); repack them by h5repack -f GZIP=6"
        in message_of(tmp_path / "a.h5", "hdf5")
    )


def test_channels_of_colmap(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
    colmap(tmp_path / "a.bin", values)
    np.testing.assert_array_equal(read(tmp_path / "a.bin", "colmap"), values)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("raw", bytes(20), "expected 24 bytes for float32 of shape (2, 3), got 20; fetch"),
        ("pfm", b"PF\n3 2\n-1\n" + bytes(72), "expected a PFM of one channel (Pf), got a colour image (PF); does"),
        ("pfm", b"Pf\n3 2\n-1\n" + bytes(23), "expected 34 bytes for float32 of shape (2, 3), got 33"),
        ("pfm", b"Pf\n3 0\n-1\n", "expected a shape without empty axes, got (0, 3)"),
        ("pgm", b"P2\n3 2\n255\n1 2 3 4 5 6", "expected a binary PGM (P5), got one of text (P2); save it as P5"),
        ("pgm", b"P5\n3 2\n65535\n" + bytes(13), "expected 25 bytes for >u2 of shape (2, 3), got 26"),
        ("pgm", b"P5\n3 x\n", "expected the signature and header of a PGM, got other bytes"),
        ("dpt", b"PIEH" + struct.pack("<ii", -3, 2), "expected a shape without empty axes, got (2, -3)"),
        ("dpt", b"II*\0" + bytes(20), "expected a dpt file, got a TIFF; does"),
        (
            "colmap",
            b"3&2&" + bytes(24),
            "expected the signature and header of a map of COLMAP (width&height&channels&)",
        ),
        ("mat", b"MATLAB 5.0".ljust(124) + b"\0\1XX", "cannot decode a mat file"),
        ("mat", b"\x89PNG" + bytes(200), "expected a mat file, got a PNG; does"),
        ("exr", b"v/1\x01" + bytes(9), "cannot decode the header of an OpenEXR image"),
        ("hdf5", b"\x89HDF\r\n\x1a\n" + bytes(900), "cannot decode HDF5"),
        ("tiff", b"II*\0" + bytes(60), "cannot decode TIFF"),
        ("npz", b"PK\x03\x04" + bytes(60), "cannot decode npz"),
        ("jpg", b"\xff\xd8\xff\xe0" + bytes(60), "cannot decode JPEG"),
    ],
)
def test_another_file_is_one_line_that_says_so(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / "a").write_bytes(content)
    assert message in message_of(tmp_path / "a", name, Member(shape=(2, 3)))


def test_a_raw_file_has_no_shape_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(24))
    assert "give [depth] shape = [height, width]" in message_of(tmp_path / "a", "raw")


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("content", [b"", b"\0", bytes(20_000), b"depth of 2025\n" * 2000], ids=repr)
def test_no_container_reads_garbage(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    assert message_of(tmp_path / "a", name, Member(shape=(2, 3))).count("; fetch the file again") <= 1


VALUES = (np.arange(40 * 50).reshape(40, 50) % 97 + 1).astype(np.float32)


def sample(folder: Path, case: str) -> tuple[Path, str, Array, Member]:
    name, write, dtypes = WRITERS[case]
    values = VALUES.astype("f4" if "f4" in dtypes else "u2")
    write(folder / f"a.{name}", values)
    return folder / f"a.{name}", name, values, member_for(name, values)


@pytest.mark.parametrize("case", WRITERS)
def test_a_truncated_file_is_one_line(tmp_path: Path, case: str) -> None:
    path, name, values, member = sample(tmp_path, case)
    data = path.read_bytes()
    draw = np.random.default_rng(0).integers(0, len(data), 40)
    for length in {*draw.tolist(), *range(1, min(140, len(data)), 5), len(data) - 1}:
        path.write_bytes(data[:length])
        try:
            got = read(path, name, member)
        except SourceError as error:
            assert "\n" not in str(error)
        else:  # what follows the pixels has no meaning: the end of a PNG, the last name of a TIFF
            np.testing.assert_array_equal(got, values)


@pytest.mark.parametrize("case", WRITERS)
def test_damage_is_one_line_or_values(tmp_path: Path, case: str) -> None:
    path, name, _, member = sample(tmp_path, case)
    data, draw = path.read_bytes(), np.random.default_rng(0)
    noticed = 0
    for turn in range(150):
        damaged = bytearray(data)
        for at in draw.integers(0, (60, 1500, len(data))[turn % 3], (1, 1, 8)[turn % 3]) % len(data):
            damaged[at] = draw.integers(256)
        path.write_bytes(damaged)
        try:
            got = read(path, name, member)
        except SourceError as error:
            noticed += 1
            assert "\n" not in str(error)
            assert len(str(error)) < 500
        else:
            assert got.nbytes <= NO_BOMB
    assert noticed or name == "raw"


@pytest.mark.parametrize("case", ["png", "npz", "npz deflated", "mat deflated", "hdf5 gzip"])
def test_every_flipped_bit_of_the_pixels_is_seen(tmp_path: Path, case: str) -> None:
    """The formats with a checksum."""
    path, name, values, member = sample(tmp_path, case)
    data, draw = path.read_bytes(), np.random.default_rng(1)
    for at in draw.integers(len(data) // 3, len(data), 200):
        damaged = bytearray(data)
        damaged[at] ^= 1 << int(draw.integers(8))
        path.write_bytes(damaged)
        try:
            got = read(path, name, member)
        except SourceError:
            continue
        np.testing.assert_array_equal(got, values)


def exr_header(side: int, kind: str = "scanlineimage", sampling: int = 1) -> bytes:
    """Return the bytes of the header of an EXR image, made by hand, and some more."""
    window = struct.pack("<4i", 0, 0, side - 1, side - 1)
    channels = b"Z\0" + struct.pack("<iIii", 2, 0, sampling, sampling) + b"\0"
    attributes = [("channels", "chlist", channels), ("dataWindow", "box2i", window), ("displayWindow", "box2i", window)]
    attributes.append(("type", "string", kind.encode()))
    packed = (f"{name}\0{of}\0".encode() + struct.pack("<I", len(value)) + value for name, of, value in attributes)
    return b"v/1\x01\2\0\0\0" + b"".join(packed) + b"\0" + bytes(100)


def test_exr_pixels_that_are_no_map(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    path.write_bytes(exr_header(4, kind="deepscanline"))
    assert "expected one value a pixel, got an OpenEXR image of type deepscanline; save it flat" in message_of(
        path, "exr"
    )
    path.write_bytes(exr_header(4, sampling=2))
    assert "expected a value for each pixel, got one for each (2, 2); name another channel" in message_of(path, "exr")


BOMBS: dict[str, bytes] = {
    "exr": exr_header(100_000),
    "pfm": b"Pf\n99999 99999\n-1\n" + bytes(100),
    "pgm": b"P5\n99999 99999\n255\n" + bytes(100),
    "dpt": b"PIEH" + struct.pack("<ii", 99_999, 99_999) + bytes(100),
    "colmap": b"99999&99999&9&" + bytes(100),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_huge_shape_in_a_small_file_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "a").write_bytes(BOMBS[name])
    assert "bytes for" in message_of(tmp_path / "a", name)


def test_huge_arrays_in_small_archives_are_one_line(tmp_path: Path) -> None:
    header = np.lib.format.MAGIC_PREFIX + b"\1\0"
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999, 99999), }".ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("depth.npy", header + struct.pack("<H", len(text)) + text + bytes(1000))
    assert "expected at least" in message_of(tmp_path / "a.npz", "npz")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("depth", (99_999, 99_999), "f4", chunks=(9, 9))[:9, :9] = 1
    assert "expected at least" in message_of(tmp_path / "a.h5", "hdf5")
    tifffile.imwrite(tmp_path / "a.tif", VALUES)
    content = bytearray((tmp_path / "a.tif").read_bytes())
    for tag, old in ((256, 50), (257, 40)):
        for kind, form in ((3, "<HHIH"), (4, "<HHII")):
            content = content.replace(
                struct.pack(form, tag, kind, 1, old).ljust(12, b"\0"), struct.pack("<HHII", tag, 4, 1, 99_999)
            )
    (tmp_path / "a.tif").write_bytes(content)
    assert "expected at least" in message_of(tmp_path / "a.tif", "tiff")
    assert math.prod((99_999, 99_999)) * 4 > NO_BOMB


@pytest.mark.parametrize(
    ("case", "module", "extra"),
    [
        ("exr", "OpenEXR", "exr"),
        ("hdf5", "h5py", "hdf5"),
        ("mat 7.3", "h5py", "hdf5"),
        ("tiff", "tifffile", "tiff"),
        ("tiff", "imagecodecs", "tiff"),
    ],
)
def test_a_missing_library_is_one_line_that_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, module: str, extra: str
) -> None:
    path, name, _, member = sample(tmp_path, case)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingLibraryError) as caught:
        read(path, name, member)
    assert str(caught.value) == (
        f"{extra}: reading such files needs {module}, which is not installed: pip install 'depthvar[{extra}]'"
    )


def test_the_benchmark_of_libraries_in_the_small(tmp_path: Path) -> None:
    for name, (path, want, ways) in benchmark.files(tmp_path).items():
        row = benchmark.measured(path, want, {"ours": ways["ours"], "other": unreadable}, rounds=1, flips=1)
        assert row["ours"]["right"], name
        assert row["ours"]["ms"] > 0
        assert row["header"]["ms"] > 0
        assert row["ours"]["died"] == 0
        assert row["other"] == {"not_measured": "ModuleNotFoundError: No module named 'freeimage'"}
    died = benchmark.damage(path, want, lambda path: os.kill(os.getpid(), signal.SIGKILL), 2)
    assert died == {"unnoticed": 0, "died": 2}
    assert benchmark.damage(path, want, lambda path: want + 1, 2) == {"unnoticed": 1, "died": 0}


def unreadable(path: Path) -> Array:
    raise ModuleNotFoundError("No module named 'freeimage'")
