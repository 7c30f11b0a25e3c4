"""Stored values become depth by the rule, and damaged files become one line that says what is wrong."""

import gzip
import io
import tempfile
from pathlib import Path
from typing import Any

import decode as decoders
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from depthvar.datasets.errors import ParameterError, SourceError
from depthvar.datasets.frame import LARGEST_DEPTH, SMALLEST_DEPTH
from depthvar.datasets.source.camera import pinhole, read_intrinsics
from depthvar.datasets.source.decode import DepthRule, read_mask, read_shape, read_stored, to_depth

DATA = Path(__file__).parent / "data"
CAMERA = np.array([30.0, 40.0, 2.5, 1.5])
MILLIMETRES = DepthRule("png", ("uint16",), 1000.0, unknown=(0, 65535))
METRES = DepthRule("npy", ("float16", "float32", "float64"), 1.0)
FOUR_BYTES = DepthRule("png", ("uint8",), 1.0, view="<f4")
SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=6)
INF = float("inf")


def save(path: Path, values: NDArray[Any]) -> Path:
    """Write an array as the container of the suffix does; 8-bit colours the way OpenCV does, as BGRA."""
    if path.suffix == ".npy":
        np.save(path, values)
    else:
        Image.fromarray(values[..., [2, 1, 0, 3]] if values.ndim == 3 else values).save(path)
    return path


def decoded(values: list[float], dtype: str, **rule: Any) -> list[float]:
    """Return one row of stored values as depth."""
    fields = {"container": "npy", "dtype": (dtype,), "units_per_metre": 1.0, **rule}
    row: list[float] = to_depth(np.array([values], dtype=dtype), DepthRule(**fields), CAMERA)[0].tolist()
    return row


@settings(deadline=None)
@given(hnp.arrays(np.uint16, SHAPES), st.sampled_from([100.0, 256.0, 1000.0, 5000.0]))
def test_uint16_png_reads_back_in_metres(stored: NDArray[np.uint16], units: float) -> None:
    rule = DepthRule("png", ("uint16",), units, unknown=(0, 65535))
    with tempfile.TemporaryDirectory() as folder:
        path = save(Path(folder, "a.png"), stored)
        assert read_shape(path, rule) == stored.shape
        np.testing.assert_array_equal(read_stored(path, rule), stored)
        depth = to_depth(read_stored(path, rule), rule, CAMERA)
    metres = (stored.astype(np.float64) / units).astype(np.float32)
    assert depth.dtype == np.float32
    np.testing.assert_array_equal(depth, np.where(stored == 65535, 0, metres))


@settings(deadline=None)
@given(
    st.sampled_from(["<f2", "<f4", "<f8", ">f4"]).flatmap(lambda dtype: hnp.arrays(dtype, SHAPES)),
    st.sampled_from([0.5, 1.0, 100.0]),
    st.booleans(),
)
def test_float_npy_reads_back_in_metres(stored: NDArray[Any], units: float, fortran: bool) -> None:
    stored = np.asfortranarray(stored) if fortran else stored
    rule = DepthRule("npy", METRES.dtype, units, max_depth=80)
    with tempfile.TemporaryDirectory() as folder:
        path = save(Path(folder, "a.npy"), stored)
        assert read_shape(path, rule) == stored.shape
        depth = to_depth(read_stored(path, rule), rule, CAMERA)
    with np.errstate(over="ignore", invalid="ignore"):
        known = (stored / np.float64(units) >= SMALLEST_DEPTH) & np.isfinite(stored)
        metres = np.minimum(stored.astype(np.float64) / units, np.finfo(np.float32).max).astype(np.float32)
    assert depth.flags.c_contiguous
    # float32 divides once more roundly than float64 does: half a unit in the last place, and subnormals
    np.testing.assert_allclose(depth, np.where(known, metres, 0), rtol=1.2e-7, atol=3e-45)


@settings(deadline=None)
@given(hnp.arrays(np.float32, SHAPES, elements=st.one_of(st.just(0), st.floats(SMALLEST_DEPTH, 1e5, width=32))))
def test_floats_saved_by_opencv_in_four_channels_read_back(metres: NDArray[np.float32]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = save(Path(folder, "a.png"), metres.view(np.uint8).reshape(*metres.shape, 4))
        assert read_shape(path, FOUR_BYTES) == metres.shape
        np.testing.assert_array_equal(to_depth(read_stored(path, FOUR_BYTES), FOUR_BYTES, CAMERA), metres)


@settings(deadline=None)
@given(hnp.arrays(np.float16, SHAPES, elements=st.floats(0.125, 1000, width=16)))
def test_a_png_of_uint16_can_hold_float16(metres: NDArray[np.float16]) -> None:
    rule = DepthRule("png", ("uint16",), 1.0, view="<f2")
    with tempfile.TemporaryDirectory() as folder:
        path = save(Path(folder, "a.png"), metres.view(np.uint16))
        np.testing.assert_array_equal(to_depth(read_stored(path, rule), rule, CAMERA), metres)


@settings(deadline=None)
@given(hnp.arrays(np.float64, (4, 6), elements=st.floats(0.1, 100)))
def test_distance_along_the_ray_becomes_z(z: NDArray[np.float64]) -> None:
    fx, fy, cx, cy = CAMERA
    v, u = np.mgrid[:4, :6]
    distance = np.linalg.norm(np.stack([z * (u - cx) / fx, z * (v - cy) / fy, z]), axis=0)
    rule = DepthRule("npy", ("float64",), 1.0, kind="ray")
    np.testing.assert_allclose(to_depth(distance, rule, CAMERA), z, rtol=3e-7)


def test_the_ray_follows_the_intrinsics_of_each_frame() -> None:
    rule = DepthRule("npy", ("float32",), 1.0, kind="ray")
    tele, wide = (to_depth(np.ones((4, 6), np.float32), rule, CAMERA * [f, f, 1, 1]) for f in (1, 0.5))
    assert (wide < tele).all()


@pytest.mark.parametrize(
    ("stored", "dtype", "rule", "expected"),
    [
        ([0, 1, 65535], "uint16", {}, [0, 1, 65535]),
        ([0, 1, 65535], "uint16", {"unknown": (0, 65535)}, [0, 1, 0]),
        ([0, 1, 65535], "uint16", {"far": (65535,)}, [0, 1, INF]),
        ([0, 1, 65535], "uint16", {"far": (0,), "unknown": (65535,)}, [INF, 1, 0]),
        ([0, 1, 65535], "uint16", {"far": (-1, 0.5, 70000)}, [0, 1, 65535]),
        ([-1, 0, 7], "int16", {}, [0, 0, 7]),
        ([-1, 0, 7], "int16", {"far": (-1,)}, [INF, 0, 7]),
        ([0, 7, 2**31 + 1], "uint32", {"units_per_metre": 2.0}, [0, 3.5, 2**30]),
        ([-INF, -1, 0, np.nan, 2, INF], "float32", {}, [0, 0, 0, 0, 2, 0]),
        ([-INF, -1, 0, np.nan, 2, INF], "float32", {"far": (INF,)}, [0, 0, 0, 0, 2, INF]),
        ([-INF, -1, 0, np.nan, 2, INF], "float16", {"far": (INF, -1), "unknown": (2, 65535)}, [0, INF, 0, 0, 0, INF]),
        ([-INF, -1, 0, np.nan, 2, INF], "float64", {"far": (INF,), "units_per_metre": 4.0}, [0, 0, 0, 0, 0.5, INF]),
        ([np.nan, 2, INF], "float32", {"kind": "ray", "far": (2,)}, [0, INF, 0]),
        ([0.1, 10000, 3], "float32", {"unknown": (0.1,), "max_depth": 80}, [0, 10000, 3]),
        ([1e300, 1e-300], "float64", {"max_depth": 80}, [float(np.finfo(np.float32).max), 0]),
        ([3e38, INF], "float32", {"max_depth": 80, "units_per_metre": 0.5}, [float(np.finfo(np.float32).max), 0]),
        ([LARGEST_DEPTH, SMALLEST_DEPTH, SMALLEST_DEPTH / 2], "float32", {}, [LARGEST_DEPTH, SMALLEST_DEPTH, 0]),
        ([1e20, 3e38, 2], "float32", {"far": (1e20,), "unknown": (float(np.float32(3e38)),)}, [INF, 0, 2]),
    ],
)
def test_three_states_of_a_pixel(stored: list[float], dtype: str, rule: dict[str, Any], expected: list[float]) -> None:
    assert decoded(stored, dtype, **rule) == expected


def test_a_mask_makes_unknown_what_is_valid_or_far() -> None:
    usable = np.array([[True, False, True, False]])
    stored = np.array([[1, 2, INF, INF]], np.float32)
    rule = DepthRule("npy", ("float32",), 1.0, far=(INF,))
    assert to_depth(stored, rule, CAMERA, usable).tolist() == [[1, 0, INF, 0]]


def test_read_only_values_are_left_alone() -> None:
    stored = np.array([[-1.0, 2.0]], np.float32)
    stored.setflags(write=False)
    assert to_depth(stored, METRES, CAMERA).tolist() == [[0, 2]]
    assert stored.tolist() == [[-1, 2]]


def test_a_last_axis_of_one_is_dropped(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npy", np.ones((3, 4, 1), np.float32))
    assert read_shape(path, METRES) == read_stored(path, METRES).shape == (3, 4)


def test_real_sensor_png() -> None:
    path = DATA / "redwood_rgbd" / "depth" / "00000.png"
    depth = to_depth(read_stored(path, MILLIMETRES), MILLIMETRES, CAMERA)
    assert depth.shape == read_shape(path, MILLIMETRES) == (480, 640)
    with Image.open(path) as image:
        np.testing.assert_array_equal(depth, np.asarray(image).astype(np.float64).astype(np.float32) / np.float32(1000))
    assert 0.1 < (depth == 0).mean() < 0.15  # what the data set says of its holes
    assert 0.3 < depth[depth > 0].min() < depth.max() < 10


def npy_bytes(values: NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, **options)
    return buffer.getvalue()


def png_bytes(values: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


GOOD_NPY = npy_bytes(np.ones((3, 4), np.float32))
GOOD_PNG = png_bytes(np.arange(2000, dtype=np.uint16).reshape(40, 50))
VERSION_3 = GOOD_NPY[:6] + b"\x03\x00" + GOOD_NPY[8:]


@pytest.mark.parametrize(
    ("content", "rule", "message"),
    [
        (b"", METRES, "a: the file is empty"),
        (
            GOOD_PNG,
            METRES,
            "a: expected an npy file, got a PNG; does --pattern .or .files. depth. name the depth files.$",
        ),
        (GOOD_NPY, MILLIMETRES, "expected a PNG, got an npy file; does --pattern"),
        (b"depth of 2025", METRES, "signature and header of an npy file, got other bytes; fetch the file again$"),
        (b"II*\0" + bytes(40), MILLIMETRES, "expected a PNG, got a TIFF; does --pattern"),
        (GOOD_NPY[:-1], METRES, "expected 176 bytes for float32 of shape .3, 4., got 175; fetch the file again"),
        (GOOD_NPY + b"x", METRES, "expected 176 bytes .* got 177"),
        (gzip.compress(GOOD_NPY, mtime=0), METRES, "a: expected an npy file, got a gzip archive; does --pattern"),
        (GOOD_NPY[:30], METRES, "a: .*EOF"),
        (VERSION_3, METRES, "expected npy version 1.0 or 2.0, got 3.0; save a plain array by numpy.save$"),
        (GOOD_NPY.replace(b"(3, 4), ", b"(9**9, )"), METRES, "a: malformed"),
        (GOOD_NPY.replace(b"(3, 4), }    ", b"(99999999,9)}"), METRES, "expected 3600000092 bytes .* got 176"),
        (GOOD_NPY.replace(b"(3, 4), }", b"(-3, -4)}"), METRES, "expected a shape without empty axes, got .-3, -4."),
        (npy_bytes(np.zeros((0, 4), np.float32)), METRES, "expected a shape without empty axes, got .0, 4."),
        (npy_bytes(np.array([None]), allow_pickle=True), METRES, "expected numbers, got dtype object .pickled"),
        (npy_bytes(np.ones(3)), METRES, r"expected shape \(height, width\), got \(3,\)"),
        (
            npy_bytes(np.ones((3, 4, 2))),
            METRES,
            r"expected shape \(height, width\), got \(3, 4, 2\); save one map of depth in a file$",
        ),
        (npy_bytes(np.ones((3, 4), int)), METRES, "expected dtype float16 or float32 or float64, got int64"),
        (GOOD_PNG[:-40], MILLIMETRES, "cannot decode PNG"),
        (GOOD_PNG[:60], MILLIMETRES, "cannot decode PNG"),
        (
            GOOD_PNG[:20],
            MILLIMETRES,
            "expected the signature and header of a PNG, got other bytes; fetch the file again$",
        ),
        (
            png_bytes(np.ones((3, 4), np.uint8)),
            MILLIMETRES,
            "expected dtype uint16, got uint8, which looks like a preview image; does --pattern .or ",
        ),
        (
            png_bytes(np.ones((3, 4, 3), np.uint8)),
            MILLIMETRES,
            "expected dtype uint16, got uint8, which looks like a colour image; does --pattern .or",
        ),
        (
            png_bytes(np.ones((3, 4), np.uint8)),
            FOUR_BYTES,
            "expected 4 bytes per pixel for view <f4, got 1 .*; correct .depth. view",
        ),
    ],
)
def test_a_wrong_file_is_one_line_that_says_so(tmp_path: Path, content: bytes, rule: DepthRule, message: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=message) as caught:
        read_stored(path, rule)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_what_cannot_be_opened_is_one_line_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none.npy: no such file; is the data set complete"):
        read_stored(tmp_path / "none.npy", METRES)
    with pytest.raises(SourceError, match=r"expected a file, got a folder"):
        read_shape(tmp_path, METRES)


@settings(deadline=None)
@given(st.sampled_from([GOOD_NPY, GOOD_PNG]), st.data())
def test_damage_is_an_error_or_leaves_the_shape(content: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(content) - 1))
    damaged = bytearray(content)
    damaged[at] ^= data.draw(st.integers(1, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a")
        path.write_bytes(damaged)
        try:
            stored = read_stored(path, METRES if content is GOOD_NPY else MILLIMETRES)
        except SourceError:
            pass
        else:  # an npy has no checksum, and the end of a PNG no meaning
            assert stored.nbytes == (48 if content is GOOD_NPY else 4000)


def test_every_flipped_bit_of_a_png_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(GOOD_PNG)
    assert read_stored(path, MILLIMETRES).shape == (40, 50)
    for bit in range(8 * (len(GOOD_PNG) - 12)):  # the last 12 bytes say no more than that the file ends
        damaged = bytearray(GOOD_PNG)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(SourceError, match=r"PNG|expected dtype"):
            read_stored(path, MILLIMETRES)


@pytest.mark.filterwarnings("ignore:Data type alias 'a':DeprecationWarning")
def test_every_changed_byte_of_an_npy_header_is_an_error_or_another_shape(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    messages: set[str] = set()
    for at in range(10, 80):
        for byte in b"\0 (){}[]',:0a\xff":
            damaged = bytearray(GOOD_NPY)
            damaged[at] = byte
            path.write_bytes(damaged)
            try:
                assert read_stored(path, METRES).nbytes == 48
            except SourceError as error:
                messages.add(str(error))
    assert len(messages) > 10
    assert not any("\n" in message for message in messages)


@pytest.mark.parametrize("suffix", [".png", ".npy"])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16"])
def test_mask_is_true_where_nonzero(tmp_path: Path, suffix: str, dtype: str) -> None:
    usable = np.random.default_rng(0).random((5, 11)) < 0.5
    path = save(tmp_path / f"mask{suffix}", usable if dtype == "bool" else usable.astype(dtype) * 200)
    read = read_mask(path, (5, 11))
    assert read.dtype == np.bool_
    np.testing.assert_array_equal(read, usable)
    with pytest.raises(SourceError, match=r"mask of the shape of the depth \(11, 5\), got \(5, 11\)"):
        read_mask(path, (11, 5))


FOUR = "525 520 319.5 239.5"
NINE = "525 0 319.5\n0 520 239.5\n0 0 1\n"
SIXTEEN = "525,0,319.5,0 # K\n0,520,239.5,0\n0,0,1,0\n0,0,0,1"


@pytest.mark.parametrize("text", [FOUR, NINE, SIXTEEN])
def test_intrinsics_from_text_and_npy(tmp_path: Path, text: str) -> None:
    path = tmp_path / "intrinsics.txt"
    path.write_text(text)
    read = read_intrinsics(path)
    assert read.dtype == np.float64
    assert read.tolist() == [525, 520, 319.5, 239.5]
    numbers = [float(word) for word in text.replace("# K", "").replace(",", " ").split()]
    side = {4: (4,), 9: (3, 3), 16: (4, 4)}[len(numbers)]
    np.save(tmp_path / "intrinsics.npy", np.reshape(numbers, side).astype(np.float32))
    np.testing.assert_array_equal(read_intrinsics(tmp_path / "intrinsics.npy"), read)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        (
            "fx fy",
            "expected a text file of 4, 9 or 16 numbers .or .npy., got the text 'fx'; save K as .npy, or its numbers",
        ),
        ("fx: 525\nfy: 520", "got the text 'fx:'; save K as .npy"),
        ("1 2 3", "expected 4 .fx fy cx cy., 9 or 16 numbers, got 3; give those alone, with decimal points$"),
        ("0 1 2 3", "fx, fy > 0"),
        ("nan 1 2 3", "finite fx, fy, cx, cy"),
        ("0.8 1.1 0.5 0.5", "got fx 0.8 and fy 1.1, which look normalised: multiply"),
        (NINE.replace("525 0", "525 3"), "skewed"),
        (SIXTEEN.replace("239.5,0", "239.5,-7"), "expected 3×3 in a 4×4 identity, got .*; give the 3×3 part alone$"),
    ],
)
def test_impossible_intrinsics_are_one_line_that_says_so(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "intrinsics.txt"
    path.write_text(text)
    with pytest.raises(SourceError, match=f"intrinsics.txt: .*{message}") as caught:
        read_intrinsics(path)
    assert "\n" not in str(caught.value)


def test_intrinsics_that_are_no_text(tmp_path: Path) -> None:
    np.savez(tmp_path / "k.npz", np.eye(3))
    archive = (tmp_path / "k.npz").read_bytes()
    for content, got in (
        (gzip.compress(b"525 520 319.5 239.5", mtime=0), "a gzip archive"),
        (archive, "a zip archive, as .npz is"),
        (b"\0\1\2", "binary data"),
        (b"1 " * 40_000, "more than 65536 bytes"),
    ):
        (tmp_path / "k.txt").write_bytes(content)
        expected = f"k.txt: expected a text file of 4, 9 or 16 numbers .or .npy., got {got}; save K as .npy, or its"
        with pytest.raises(SourceError, match=expected) as caught:
            read_intrinsics(tmp_path / "k.txt")
        assert str(caught.value).isprintable()
    (tmp_path / "k.npy").write_bytes(archive)
    with pytest.raises(
        SourceError, match=r"k.npy: expected an npy file, got a zip archive, as .npz is; save K as .npy"
    ):
        read_intrinsics(tmp_path / "k.npy")
    np.save(tmp_path / "k.npy", np.ones((3, 9)))
    with pytest.raises(SourceError, match=r"got float64 of shape \(3, 9\); save K alone$"):
        read_intrinsics(tmp_path / "k.npy")


@settings(deadline=None)
@given(hnp.arrays(np.float64, 4, elements=st.floats(1, 1e5)))
def test_pinhole_takes_every_form(four: NDArray[np.float64]) -> None:
    fx, fy, cx, cy = four
    nine = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    sixteen = np.eye(4)
    sixteen[:3, :3] = nine
    for form in (four, nine, sixteen):
        np.testing.assert_array_equal(pinhole(form), four)
    with pytest.raises(ParameterError, match="got 5"):
        pinhole([*four, 1])


def test_the_benchmark_of_decoders_in_the_small(tmp_path: Path) -> None:
    """What a run uses is right on every kind, and notices every flipped bit."""
    for name, (path, want, ways) in decoders.files(tmp_path).items():
        row = decoders.measured(path, want, {"ours": ways["ours"], "other": unreadable}, rounds=1, flips=3)
        assert row["ours"]["right"], name
        assert row["ours"]["ms"] > 0
        assert row["ours"].get("unnoticed", 0) == 0
        assert row["other"] == {"not_measured": "ModuleNotFoundError: No module named 'fpng'"}
    assert decoders.inflate(decoders.FRAME, 1)["zlib"]["ms"] > 0


def unreadable(path: Path) -> Any:
    raise ModuleNotFoundError("No module named 'fpng'")
