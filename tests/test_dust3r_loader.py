"""The DUSt3R-like loader of the benchmarks: where each of its pixels comes from, and that its intrinsics say so."""

import dust3r_loader
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

Frame = tuple[tuple[int, int], NDArray[np.float64], tuple[int, int], float]


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    """(H, W), (fx, fy, cx, cy), (h, w), zoom."""
    height, width = draw(st.integers(40, 200)), draw(st.integers(40, 200))
    focal, middle = st.floats(50, 90), st.floats(0.3, 0.7)
    camera = np.array([draw(focal), draw(focal), draw(middle) * width, draw(middle) * height])
    return (height, width), camera, (draw(st.integers(16, 90)), draw(st.integers(16, 90))), draw(st.floats(0.9, 1))


def positions(matrix: NDArray[np.float32], camera: NDArray[np.float64], size: tuple[int, int]) -> list[NDArray]:
    """Return the native rows and columns at which the view's pixels look, by its intrinsics alone."""
    fx, fy, cx, cy = camera
    k = matrix.astype(np.float64)
    v = (np.arange(size[0]) - k[1, 2]) * fy / k[1, 1] + cy
    u = (np.arange(size[1]) - k[0, 2]) * fx / k[0, 0] + cx
    return [v, u]


@given(frame=frames())
@settings(max_examples=100)
def test_nearest_takes_the_floor_of_the_position_and_nothing_outside_the_crop(frame: Frame) -> None:
    native, camera, size, zoom = frame
    done = dust3r_loader.geometry(native, camera, size, zoom)
    index = np.arange(native[0] * native[1], dtype=np.float32).reshape(native)  # below 2²⁴, so exact
    expected = []
    for start, out, offset, crop, full in zip(done.start, size, done.offset, done.crop, done.full, strict=True):
        position = (np.arange(out) + offset) * (1 / (full / crop))  # floats, as in OpenCV: no u * crop // full
        expected.append(start + position.astype(int).clip(max=crop - 1))
    assert np.array_equal(dust3r_loader.take(index, camera, size, zoom=zoom), index[np.ix_(*expected)])
    made = dust3r_loader.view(index + 1, camera, size, zoom=zoom)
    assert np.array_equal(made["depthmap"] - 1, index[np.ix_(*expected)])


@given(frame=frames())
@settings(max_examples=100)
def test_linear_takes_what_lies_where_the_intrinsics_look(frame: Frame) -> None:
    native, camera, size, zoom = frame
    v, u = np.mgrid[: native[0], : native[1]].astype(np.float32)
    done = dust3r_loader.geometry(native, camera, size, zoom)
    for ramp, axis in ((v, 0), (u, 1)):
        made = dust3r_loader.view(ramp + 1, camera, size, zoom=zoom, resize="linear")
        looked = positions(made["camera_intrinsics"], camera, size)[axis]
        looked = looked.clip(done.start[axis], done.start[axis] + done.crop[axis] - 1)
        expected = np.broadcast_to(np.expand_dims(looked, 1 - axis), size) + 1
        np.testing.assert_allclose(made["depthmap"], expected, atol=0.02)


@given(frame=frames())
@settings(max_examples=100)
def test_the_crop_is_the_largest_around_the_principal_point_and_the_zoom_a_part_of_its_side(frame: Frame) -> None:
    native, camera, size, zoom = frame
    done = dust3r_loader.geometry(native, camera, size, zoom)
    for axis, centre in ((0, camera[3]), (1, camera[2])):
        start, end = done.start[axis], done.start[axis] + done.crop[axis]
        assert start + end == 2 * round(centre)
        assert start == 0 or end == native[axis]
    covered = [out * crop / full for out, crop, full in zip(size, done.crop, done.full, strict=True)]
    parts = [each / crop for each, crop in zip(covered, done.crop, strict=True)]
    assert max(parts) == pytest.approx(zoom, rel=0.5 / min(size))  # sizes are rounded to pixels
    assert covered[0] / covered[1] == pytest.approx(size[0] / size[1], rel=1 / min(size))


def test_no_hole_mixes_into_a_linear_resize() -> None:
    depth = np.full((96, 128), 4, dtype=np.float32)
    depth[np.random.default_rng(0).random(depth.shape) < 0.05] = 0
    made = dust3r_loader.view(depth, (100, 100, 63.5, 47.5), (60, 80), zoom=0.95, resize="linear")
    assert set(np.unique(made["depthmap"])) == {0, 4}


def test_holes_of_a_linear_resize_are_where_a_neighbour_is_one() -> None:
    depth = np.full((96, 128), 4, dtype=np.float32)
    depth[np.random.default_rng(0).random(depth.shape) < 0.05] = 0
    camera = np.array([100, 100, 63.5, 47.5])
    made = dust3r_loader.view(depth, camera, (60, 80), zoom=0.95, resize="linear")
    v, u = positions(made["camera_intrinsics"], camera, (60, 80))
    known = np.ones((60, 80), bool)
    for rows in (np.floor(v), np.ceil(v)):
        for columns in (np.floor(u), np.ceil(u)):
            known &= depth[np.ix_(rows.astype(int), columns.astype(int))] > 0
    assert np.array_equal(made["depthmap"] > 0, known)


def test_the_image_is_of_the_same_crop() -> None:
    ramp = np.tile(np.arange(128, dtype=np.uint8), (96, 1))
    camera = np.array([100, 100, 60.2, 47.5])
    image = Image.fromarray(np.stack([ramp] * 3, axis=2))
    made = dust3r_loader.view(ramp.astype(np.float32) + 1, camera, (60, 80), zoom=0.95, image=image)
    looked = positions(made["camera_intrinsics"], camera, (60, 80))[1]
    assert np.abs(np.asarray(made["img"])[30, 4:-4, 0] - looked[4:-4]).max() < 1  # filters bend a ramp's ends


@pytest.mark.parametrize(
    ("camera", "zoom", "message"),
    [
        ((100, 100, 200, 48), 1.0, "principal point inside"),
        ((100, 100, 64, 48), 1.1, "zoom"),
        ((100, 100, 64, 48), 0.0, "zoom"),
    ],
)
def test_impossible_views_are_refused(camera: tuple[float, ...], zoom: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dust3r_loader.view(np.ones((96, 128), np.float32), camera, (60, 80), zoom=zoom)
