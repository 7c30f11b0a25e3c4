"""Files of depth, masks and descriptions: each is read rightly, or refused in one line that names it."""

import gzip
import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doors import CAMERA, DEPTH, HEIGHT, KNOWN, MATRIX, MILLIMETRES, WIDTH, npy, refusal
from numpy.typing import NDArray
from PIL import Image
from tiny_data import TinyData

from depthvar.datasets import open_source
from depthvar.datasets.errors import SourceError
from depthvar.datasets.source.catalogue import find_description
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.validation.validate import validate


def png(values: NDArray[Any], mode: str | None = None) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(values)
    (image.convert(mode) if mode else image).save(buffer, "PNG")
    return buffer.getvalue()


def raw_png(rows: bytes, colour: int = 0, interlaced: bool = False, extra: bytes = b"") -> bytes:
    """Return a PNG of 16 bits a channel, of rows that begin with their filter."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, colour, 0, 0, interlaced)
    chunks = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def filtered(values: NDArray[Any]) -> bytes:
    return b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)


def adam7(values: NDArray[Any]) -> bytes:
    starts_and_steps = [
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ]
    return b"".join(filtered(values[y::dy, x::dx]) for y, x, dy, dx in starts_and_steps)


GAMMA = b"\0\0\0\4gAMA\0\0\xb1\x8f\x0b\xfca\5"
IN_MM: dict[str, Any] = {"units_per_metre": 1000}
NO_UNIT = r"got {}, which has no unit: give --units-per-metre \(\[depth\] units_per_metre; 1000 for mm\)"
FILES: dict[str, tuple[str, bytes, dict[str, Any], str | None]] = {
    "npy float32": ("0.npy", npy(DEPTH), {}, None),
    "npy float64": ("0.npy", npy(DEPTH.astype(np.float64)), {}, None),
    "npy in fortran order": ("0.npy", npy(np.asfortranarray(DEPTH)), {}, None),
    "npy big-endian": ("0.npy", npy(DEPTH.astype(">f4")), {}, None),
    "npy with a last axis of one": ("0.npy", npy(DEPTH[..., None]), {}, None),
    "npy uint16 in mm": ("0.npy", npy(MILLIMETRES), IN_MM, None),
    "npy big-endian uint16": ("0.npy", npy(MILLIMETRES.astype(">u2")), IN_MM, None),
    "npy int64 in mm": ("0.npy", npy(MILLIMETRES.astype(np.int64)), IN_MM, None),
    "NPY": ("0.NPY", npy(DEPTH), {}, None),
    "npy uint16 of no unit": ("0.npy", npy(MILLIMETRES), {}, NO_UNIT.format("uint16")),
    "npy int64 of no unit": ("0.npy", npy(MILLIMETRES.astype(np.int64)), {}, NO_UNIT.format("int64")),
    "npy uint8": ("0.npy", npy((DEPTH * 50).astype(np.uint8)), IN_MM, "dtype uint16 or .*, got uint8; save it as"),
    "npy bool": ("0.npy", npy(DEPTH > 2), {}, "float16 or float32 or float64, got bool; save it as one of these, or"),
    "npy complex": ("0.npy", npy(DEPTH + 0j), {}, "got complex64"),
    "npy longdouble": ("0.npy", npy(DEPTH.astype(np.longdouble)), {}, "got (float128|float96|longdouble)"),
    "npy text": ("0.npy", npy(DEPTH.astype("U4")), {}, "got str128"),
    "npy of fields": ("0.npy", npy(np.zeros((HEIGHT, WIDTH), [("z", "f4")])), {}, "got void32"),
    "npy with a first axis of one": ("0.npy", npy(DEPTH[None]), {}, r"expected shape .*got \(1, 24, 32\)"),
    "npy of one row": ("0.npy", npy(DEPTH[:1]), {}, "well inside a frame of 32×1 "),
    "npy transposed": ("0.npy", npy(np.zeros((200, 24), np.float32)), {}, "well inside a frame of 24×200 "),
    "npy cut short": ("0.npy", npy(DEPTH)[:-5], {}, "expected 3200 bytes .*, got 3195"),
    "npy in gzip": ("0.npy", gzip.compress(npy(DEPTH), mtime=0), {}, "an npy file, got a gzip archive; does"),
    "png in mm": ("0.png", png(MILLIMETRES), {}, None),
    "PNG": ("0.PNG", png(MILLIMETRES), {}, None),
    "png by another writer": ("0.png", raw_png(filtered(MILLIMETRES)), {}, None),
    "png with a gamma": ("0.png", raw_png(filtered(MILLIMETRES), extra=GAMMA), {}, None),
    "png interlaced": ("0.png", raw_png(adam7(MILLIMETRES), interlaced=True), {}, None),
    "png of 8 bits": ("0.png", png((DEPTH * 50).astype(np.uint8)), {}, "got uint8, which looks like a preview image"),
    "png of 8-bit RGBA": ("0.png", png((DEPTH * 50).astype(np.uint8), "RGBA"), {}, "which looks like a colour image"),
    "png with a palette": ("0.png", png((DEPTH * 50).astype(np.uint8), "P"), {}, "type 3, an image with a palette"),
    "png with alpha": ("0.png", png((DEPTH * 50).astype(np.uint8), "LA"), {}, "looks like a colour image"),
    "png of 16-bit colours": (
        "0.png", raw_png(filtered(np.repeat(MILLIMETRES, 3, 1)), colour=2), {}, "got 16-bit PNG of colour type 2",
    ),
    "jpeg named png": ("0.png", b"\xff\xd8\xff\xe0" + bytes(100), {}, "expected a PNG, got a JPEG; does --pattern"),
    "empty": ("0.png", b"", {}, "the file is empty; fetch the file again$"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_depth_file(name: str, tmp_path: Path) -> None:
    file, content, options, message = FILES[name]
    (tmp_path / file).write_bytes(content)
    pattern = "{frame}" + Path(file).suffix.lower()
    source = open_source("folder", tmp_path, intrinsics=CAMERA, pattern=pattern, **options)
    assert source.keys() == [file]
    if message is None:
        np.testing.assert_allclose(source[0].depth, DEPTH, atol=6e-4)
    else:
        refusal(lambda: source[0], rf"^{tmp_path}/{file}: .*{message}")


def test_suffixes_in_capitals_are_frames_too(tmp_path: Path) -> None:
    for name in ("a.png", "b.PNG", "c.Png", "d.jpg"):
        (tmp_path / name).write_bytes(png(MILLIMETRES))
    for pattern in ("{frame}.png", "{frame}.PNG"):
        source = open_source("folder", tmp_path, intrinsics=CAMERA, pattern=pattern)
        assert source.keys() == ["a.png", "b.PNG", "c.Png"]
        assert len({frame.depth.tobytes() for frame in source}) == 1
    (tmp_path / "0").mkdir()
    (tmp_path / "0/DEPTH.NPY").write_bytes(npy(DEPTH))
    assert open_source("folder", tmp_path, intrinsics=CAMERA, pattern="{frame}/DEPTH.npy").keys() == ["0/DEPTH.NPY"]


@pytest.mark.parametrize(
    ("depth", "message"),
    [
        ('view = "<f2"\ndtype = ["uint16"]', None),
        ('dtype = ["uint8"]', "missing field .depth. units_per_metre: uint8 has no unit: add"),
        (
            'dtype = ["uint8", "uint16"]',
            "missing field .depth. units_per_metre: uint8 or uint16 has no unit",
        ),
        ('view = "<u2"\ndtype = ["uint8"]', "missing field .depth. units_per_metre: <u2 has no unit"),
    ],
)
def test_what_a_description_that_names_no_unit_means(depth: str, message: str | None, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(f'summary = "s"\nnames = ["n"]\n[files]\ndepth = "{{frame}}.png"\n[depth]\n{depth}\n')
    if message is None:
        assert find_description(str(path)).depth.units_per_metre == 1  # floats are metres, whatever holds them
    else:
        refusal(lambda: find_description(str(path)), message)


def test_a_view_has_its_own_byte_order(tmp_path: Path) -> None:
    halves = DEPTH.astype("<f2").view("<u2")
    for order in "<>":
        np.save(tmp_path / "0.npy", halves.astype(f"{order}u2"))
        toml = (
            'summary = "s"\nnames = ["n"]\n[files]\ndepth = "{frame}.npy"\n[depth]\nview = "<f2"\ndtype = ["uint16"]\n'
        )
        (tmp_path / "a.toml").write_text(f"{toml}[intrinsics]\nconstant = {CAMERA}")
        np.testing.assert_array_equal(open_source(str(tmp_path / "a.toml"))[0].depth, DEPTH.astype(np.float16))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (KNOWN, None),
        (KNOWN * np.uint8(255), None),
        (KNOWN * -1, None),
        (np.where(KNOWN, 0.5, 0), None),
        (KNOWN[..., None], None),
        (
            np.where(KNOWN, 1, np.nan),
            "expected a mask without NaN: 0 where the depth is not usable, another number where it is$",
        ),
        (KNOWN.T, r"expected a mask of the shape of the depth \(24, 32\), got \(32, 24\); save it in that shape$"),
        (KNOWN[None], r"expected a mask of the shape of the depth \(24, 32\), got \(1, 24, 32\)"),
        (KNOWN + 0j, "expected a mask of numbers, got dtype complex128"),
        (KNOWN.astype(str), "expected a mask of numbers, got dtype <U5; save it as bool$"),
    ],
)
def test_a_mask_file(mask: NDArray[Any], message: str | None, tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", DEPTH)
    (tmp_path / "mask").mkdir()
    np.save(tmp_path / "mask/0.npy", mask)
    files = 'depth = "{frame}.npy"\n[[masks]]\nfile = "mask/{frame}.npy"'
    (tmp_path / "a.toml").write_text(
        f'summary = "s"\nnames = ["n"]\n[files]\n{files}\n[intrinsics]\nconstant = {CAMERA}'
    )
    source = open_source(tmp_path / "a.toml")
    if message is None:
        np.testing.assert_array_equal(source[0].valid, KNOWN)
    else:
        refusal(lambda: source[0], rf"mask/0.npy: {message}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "missing field summary"),
        ("[files]", "missing field summary"),
        ("[[files]]\ndepth = 1", "files: expected a table; got .{'depth': 1}."),
        ("files = 3", "files: expected a table; got 3"),
        ("summary", "expected TOML, got something else"),
        (
            'summary = "s"\nnames = ["n"]\n[files]\ndepth = ["{frame}.npy"]',
            r"\[files\] depth: expected one line of text",
        ),
        ('summary = "s"\nnames = ["n"]\n[depth]\nunits_per_metre = "1000"', "expected a number; got '1000'"),
        ('summary = "s"\nnames = ["n"]\n[depth]\nmax_depth = [80]', r"expected a number; got \[80\]"),
        ('summary = "s"\nnames = ["n"]\n[depth]\nfar = 65535', "expected a list with at least one entry; got 65535"),
        ('summary = "s"\nnames = ["n"]\n[depth]\nunknown = []', "expected a list with at least one entry"),
        (
            'summary = "s"\nnames = ["n"]\n[intrinsics]\nconstant = [[40, 0], [0, 44]]',
            "expected finite|with fx, fy > 0",
        ),
        ('summary = "s"\nnames = ["n"]\n[intrinsics]\nconstant = "40 44 15 11"', "expected a list"),
        ('summary = "s"\nnames = ["n"]\n[intrinsics]\nconstant = 1979-05-27', "expected a list"),
    ],
)
def test_a_table_of_a_description(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(
        content if "[files]" in content or "files" in content else f"{content}\n[files]\ndepth = 'a{{frame}}.npy'"
    )
    refusal(lambda: find_description(str(path)), rf"a.toml: .*({message})")


def test_a_mask_that_is_a_colour_image(tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", DEPTH)
    (tmp_path / "0.png").write_bytes(png(np.zeros((HEIGHT, WIDTH, 3), np.uint8)))
    files = 'depth = "{frame}.npy"\n[[masks]]\nfile = "{frame}.png"'
    camera = f"[intrinsics]\nconstant = {CAMERA}"
    (tmp_path / "a.toml").write_text(f'summary = "s"\nnames = ["n"]\n[files]\n{files}\n{camera}')
    refusal(
        lambda: open_source(tmp_path / "a.toml")[0],
        "expected a mask, got a colour image of shape .24, 32, 3. .*; does ..masks.. file name the masks",
    )


def test_a_description_by_an_editor_of_windows(tmp_path: Path) -> None:
    path = tmp_path / "A.TOML"
    text = f'summary = "s"\nnames = ["n"]\n[files]\ndepth = "{{frame}}.npy"\n[intrinsics]\nconstant = {MATRIX}\n'
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    np.save(tmp_path / "0.npy", DEPTH)
    assert open_source(path)[0].intrinsics.tolist() == CAMERA


def test_what_cannot_be_opened_as_a_frame(tiny: TinyData) -> None:
    key = "b/depth/001.npy"
    path = tiny.root / key
    path.unlink()
    path.symlink_to("nothing")
    refusal(lambda: tiny.source().read(key), "001.npy: no such file; is the data set complete")
    path.unlink()
    path.mkdir()
    refusal(lambda: tiny.source().read(key), "001.npy: expected a file, got a folder")
    if os.geteuid():
        path.rmdir()
        path.write_bytes(npy(DEPTH))
        path.chmod(0)
        refusal(lambda: tiny.source().read(key), "001.npy: cannot be read .Permission denied")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_file_with_depth_beyond_all_cameras(dtype: Any, tmp_path: Path) -> None:
    far = DEPTH.astype(dtype)
    far[3, 7:9] = 1e19
    np.save(tmp_path / "0.npy", far)
    options: dict[str, Any] = {"intrinsics": CAMERA, "pattern": "{frame}.npy"}
    message = (
        r"0.npy: expected depth of at most 1e\+15 m, got 1e\+19 m at row 3, column 7 .2 such pixels.; if .*--max-depth"
    )
    refusal(lambda: open_source("folder", tmp_path, **options)[0], message)
    frame = open_source("folder", tmp_path, max_depth=80, **options)[0]
    assert (~frame.valid).sum() == 2
    far[3, 7:9] = 1e-19
    np.save(tmp_path / "0.npy", far)
    assert (open_source("folder", tmp_path, **options)[0].depth[3, 7:9] == 0).all()


def test_a_sky_of_the_largest_float_is_far_in_a_run_and_nothing_to_validate(tiny: TinyData) -> None:
    for key in tiny.source().keys():
        depth = np.load(tiny.root / key)
        depth[:3] = np.finfo(np.float32).max
        np.save(tiny.root / key, depth)
    with pytest.raises(SourceError, match=r"expected depth of at most 1e\+15 m, got 3.40282e\+38 m"):
        list(pipeline.run(tiny.job(cache=str(tiny.root / "other.zarr")), execute.serial))
    job = tiny.job(source=open_source(tiny.toml, max_depth=80))
    list(pipeline.run(job, execute.serial))
    assert validate(job.cache, job.source, full=True).findings == []
