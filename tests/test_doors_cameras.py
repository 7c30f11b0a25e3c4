"""Intrinsics: one rule at every door, and every way to write them."""

import gzip
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from doors import CAMERA, DEPTH, MATRIX, refusal
from hypothesis import given
from hypothesis import strategies as st

from depthvar.datasets import open_source
from depthvar.datasets.errors import ParameterError
from depthvar.datasets.frame import Frame, as_intrinsics, check_native
from depthvar.datasets.lookup.sample import sample
from depthvar.datasets.source.camera import pinhole, read_intrinsics
from depthvar.precompute.kernel.api import sigma_z2


def by_engine(engine: Any) -> Callable[[Any, Path], object]:
    return lambda camera, folder: sigma_z2(DEPTH, camera, engine=engine)


def by_lookup(camera: Any, folder: Path) -> object:
    ones = np.ones(DEPTH.shape, np.float32)
    return sample(lambda stride, rows: ones[rows], (1,), CAMERA, DEPTH.shape, camera, DEPTH.shape)


def by_option(camera: Any, folder: Path) -> object:
    np.save(folder / "0.npy", DEPTH)
    return open_source("folder", folder, intrinsics=camera, pattern="{frame}.npy")[0]


def by_text(camera: Any, folder: Path) -> object:
    rows = np.asarray(camera)  # as text, whatever it is
    np.save(folder / "0.npy", DEPTH)
    (folder / "K.txt").write_text("\n".join(str(number) for number in rows.ravel()))
    return described(folder, 'file = "K.txt"')


def by_npy(camera: Any, folder: Path) -> object:
    np.save(folder / "0.npy", DEPTH)
    np.save(folder / "K.npy", np.asarray(camera))
    return described(folder, 'file = "K.npy"')


def by_toml(camera: Any, folder: Path) -> object:
    np.save(folder / "0.npy", DEPTH)
    return described(folder, f"constant = {np.asarray(camera).tolist()}")


def described(folder: Path, camera: str) -> Frame:
    (folder / "a.toml").write_text(
        f'summary = "s"\nnames = ["n"]\n[files]\ndepth = "{{frame}}.npy"\n[intrinsics]\n{camera}\n'
    )
    return open_source(str(folder / "a.toml"))[0]


def by_tensor(camera: Any, folder: Path) -> object:
    return sigma_z2(torch.from_numpy(DEPTH), torch.tensor(np.asarray(camera, dtype=np.float64)))


DOORS_OF_CAMERAS = {
    "tensor": by_tensor,
    "numba": by_engine("numba"),
    "torch": by_engine("torch"),
    "lookup": by_lookup,
    "option": by_option,
    "text": by_text,
    "npy": by_npy,
    "toml": by_toml,
}
NATIVE = ("option", "text", "npy", "toml")  # where it is the camera of a whole frame


def with_entry(row: int, column: int, value: float) -> list[list[float]]:
    matrix = [list(each) for each in MATRIX]
    matrix[row][column] = value
    return matrix


# Camera, the message of its refusal or None, and whether only a native frame refuses it.
CAMERAS: dict[str, tuple[Any, str | None, bool]] = {
    "four numbers": (CAMERA, None, False),
    "a matrix": (MATRIX, None, False),
    "float32": (np.array(MATRIX, np.float32), None, False),
    "big-endian": (np.array(MATRIX, ">f8"), None, False),
    "fortran order": (np.asfortranarray(MATRIX), None, False),
    "integers": ([40, 44, 15, 11], None, False),
    "skew of rounding": (with_entry(0, 1, 1e-12), None, False),
    "a turn of rounding": (with_entry(1, 0, -3e-6), None, False),
    "a last row of rounding": (with_entry(2, 2, 1 + 1e-7), None, False),
    "skew": (with_entry(0, 1, 1e-3), "skew", False),
    "a turn": (with_entry(1, 0, 1e-3), "skew", False),
    "another scale": (with_entry(2, 2, 2), "expected a pinhole matrix", False),
    "transposed": (np.transpose(MATRIX), "expected a pinhole matrix", False),
    "NaN": ([math.nan, 44, 15.5, 11.5], "expected (a number|finite)", False),
    "a matrix of NaN": (np.full((3, 3), math.nan), "expected (4|a number|finite)", False),
    "infinite": ([40, 44, math.inf, 11.5], "expected finite", False),
    "no focal length": ([0, 44, 15.5, 11.5], "with fx, fy > 0", False),
    "normalised": (
        [0.8, 1.1, 0.5, 0.5],
        "multiply (normalised )?fx and cx by the width, fy and cy by the height",
        False,
    ),
    "normalised, narrow": ([1.4, 1.5, 0.5, 0.5], "multiply normalised fx and cx by the width", False),
    "a principal point at the moon": ([40, 44, 1e9, 11.5], "more than 87° off the optical axis", False),
    "three numbers": ([40, 44, 15.5], "expected (4|shape|one)", False),
    "of twice the resolution": ([80, 88, 31.5, 23.5], "well inside a frame of 32×24.*another resolution", True),
    "of a crop": ([40, 44, -20, 11.5], r"well inside a frame of 32×24 .width × height., got \(-20, 11.5\)", True),
    "in another order": ([40, 44, 11.5, 35], "well inside a frame of 32×24.*another order than fx, fy, cx, cy", True),
}


@pytest.mark.parametrize("door", DOORS_OF_CAMERAS)
@pytest.mark.parametrize("name", CAMERAS)
def test_intrinsics_follow_one_rule_at_every_door(name: str, door: str, tmp_path: Path) -> None:
    camera, message, native = CAMERAS[name]
    if message is None or (native and door not in NATIVE):
        got = DOORS_OF_CAMERAS[door](camera, tmp_path)
        if isinstance(got, Frame):
            np.testing.assert_allclose(got.intrinsics, as_intrinsics(camera))
    else:
        refusal(lambda: DOORS_OF_CAMERAS[door](camera, tmp_path), message)


@pytest.mark.parametrize("door", ["numba", "torch", "lookup", "option"])
@pytest.mark.parametrize("camera", ["40,44,15,11", ["40"] * 4, [True] * 4, None, [None] * 4, {"fx": 40}, [40 + 0j] * 4])
def test_what_is_no_numbers_is_no_camera(door: str, camera: Any, tmp_path: Path) -> None:
    if door == "option" and camera is None:
        message = "folder: no intrinsics: pass --intrinsics"
    else:
        message = "intrinsics.*expected (a number|numbers|fx, fy, cx, cy or a 3×3 matrix, in pixels, got None)"
    refusal(lambda: DOORS_OF_CAMERAS[door](camera, tmp_path), message)


@given(st.floats(1, 1e4), st.floats(0, 1), st.integers(1, 5000), st.integers(0, 4999), st.integers(1, 64))
def test_every_crop_and_zoom_of_a_frame_that_passes_passes(
    f: float, place: float, side: int, left: int, zoom: int
) -> None:
    """A crop sees the rays of its frame, however far outside of it the principal point is."""
    native = np.array([f, f, place * side, place * side])
    try:
        check_native(native, (side, side))
    except ParameterError:
        return
    left %= side
    crop = (native - [0, 0, left, left]) / zoom
    as_intrinsics(crop, (-(-(side - left) // zoom),) * 2)


def test_what_counts_as_rounding_moves_no_pixel_by_more_than_a_thousandth() -> None:
    """The law of ROUNDING, for a frame of 1000 pixels with a field of view of 90°."""
    f, c = 500.0, 499.5
    matrix = np.array([[f, 1e-6 * f, c], [-1e-6 * f, f, c], [1e-6, -1e-6, 1 + 1e-6]])
    np.testing.assert_array_equal(as_intrinsics(matrix), [f, f, c, c])
    edge = np.array([-1.0, 0, 1])
    rays = np.stack([*np.meshgrid(edge, edge), np.ones((3, 3))]).reshape(3, -1)
    moved = matrix @ rays
    exact = np.array([[f, 0, c], [0, f, c], [0, 0, 1]]) @ rays
    assert np.abs(moved[:2] / moved[2] - exact[:2]).max() < 4e-3  # all five at once


TEXTS: dict[str, tuple[bytes, str | None]] = {
    "tabs": (b"40\t44\t15.5\t11.5", None),
    "commas": (b"40,44,15.5,11.5", None),
    "semicolons": (b"40;44;15.5;11.5", None),
    "trailing blanks and line ends": (b"  40 44 15.5 11.5 \t \n\n", None),
    "CRLF": (b"40 0 15.5\r\n0 44 11.5\r\n0 0 1\r\n", None),
    "scientific": (b"4.0e1 4.4E+01 155e-1 11.5", None),
    "as NumPy prints it": (b"[[40.   0.  15.5]\n [ 0.  44.  11.5]\n [ 0.   0.   1. ]]", None),
    "UTF-8 with a byte-order mark": (b"\xef\xbb\xbf40 44 15.5 11.5", None),
    "UTF-16": ("40 44 15.5 11.5".encode("utf-16"), None),
    "a comment in Latin-1": (b"# f\xfcr Kamera 2\n40 44 15.5 11.5", None),
    "a header": (
        b"fx fy cx cy\n40 44 15.5 11.5",
        "expected a text file of 4, 9 or 16 numbers .or .npy., got the text 'fx'; save K as .npy, or its numbers alone",
    ),
    "names": (b"fx=40 fy=44", "9 or 16 numbers .or .npy., got the text 'fx=40'"),
    "units": (b"40px 44px 15.5px 11.5px", "9 or 16 numbers .or .npy., got the text '40px'"),
    "decimal commas": (b"40,0 44,0 15,5 11,5", "expected 4 .fx fy cx cy., 9 or 16 numbers, got 8"),
    "a projection": (b"40 0 15.5 0 0 44 11.5 0 0 0 1 0", "expected 4 .fx fy cx cy., 9 or 16 numbers, got 12"),
    "only a comment": (b"# 40 44 15.5 11.5", "expected 4 .fx fy cx cy., 9 or 16 numbers, got 0"),
    "NaN": (b"nan 44 15.5 11.5", "expected finite fx, fy, cx, cy"),
    "compressed": (gzip.compress(b"40 44 15.5 11.5", mtime=0), "numbers .or .npy., got a gzip archive"),
    "empty": (b"", "the file is empty"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_intrinsics_as_text(name: str, tmp_path: Path) -> None:
    content, message = TEXTS[name]
    path = tmp_path / "K.txt"
    path.write_bytes(content)
    if message is None:
        assert read_intrinsics(path).tolist() == CAMERA
    else:
        refusal(lambda: read_intrinsics(path), message)


def test_sixteen_numbers_are_a_matrix_in_an_identity() -> None:
    four = np.eye(4)
    four[:3, :3] = MATRIX
    assert pinhole(four).tolist() == CAMERA
    four[0, 3] = 1e-9
    four[3, 3] = 1 - 1e-8
    assert pinhole(four).tolist() == CAMERA
    four[0, 3] = 1
    refusal(lambda: pinhole(four), "expected 3×3 in a 4×4 identity")
