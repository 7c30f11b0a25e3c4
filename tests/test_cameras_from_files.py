"""A camera's numbers in every unit and by every name: each against the projection formula of its own convention."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from depthvar.datasets.errors import ParameterError
from depthvar.datasets.source.camera import FOCAL, NAMES, CameraRule, camera_from
from depthvar.datasets.source.numbers import NumbersRule

W, H = 64, 48
POINTS = np.array([[0.1, -0.2, 1.0], [-0.7, 0.4, 2.0], [1.5, 1.1, 3.0], [0, 0, 5]])  # x right, y down, z forward
FOUR = [60.0, 55.0, 30.0, 25.0]


def rule(names: str = "", unit: str = "pixels", size: tuple[int, int] | None = None, **fields: Any) -> CameraRule:
    return CameraRule(None, NumbersRule("K.txt"), tuple(names.split()), unit, size, **fields)


def pixels(camera: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the positions of POINTS by a pinhole camera in pixels."""
    fx, fy, cx, cy = camera
    x, y, z = POINTS.T
    return np.stack([fx * x / z + cx, fy * y / z + cy], axis=1)


# --- the projection of each convention, as its documentation has it


def by_normalised(k: NDArray[np.float64]) -> NDArray[np.float64]:
    """K maps to (u, v) from 0 to 1 over the image."""
    u, v, w = k @ POINTS.T
    return np.stack([u / w * W, v / w * H], axis=1)


def by_ndc(fx: float, fy: float, px: float, py: float) -> NDArray[np.float64]:
    """PyTorch3D: x left, y up; the shorter side reaches from -1 to 1; (+1, +1) of a square is the upper left corner."""
    x, y, z = POINTS.T
    left, up = fx * -x / z + px, fy * -y / z + py
    short = min(W, H)
    return np.stack([(W / short - left) * short / 2, (H / short - up) * short / 2], axis=1)


def by_norm_image_bounds(fx: float, fy: float, px: float, py: float) -> NDArray[np.float64]:
    """CO3D's data_types.py: x left, y up; the borders of the image are at -1 and 1 along x and along y."""
    x, y, z = POINTS.T
    left, up = fx * -x / z + px, fy * -y / z + py
    return np.stack([(1 - left) * W / 2, (1 - up) * H / 2], axis=1)


def by_opensfm(f: float, cx: float, cy: float) -> NDArray[np.float64]:
    """OpenSfM: the pixel i of n has the coordinate (i + 0.5 - n / 2) / max(W, H)."""
    x, y, z = POINTS.T
    return np.stack([(f * x / z + cx) * max(W, H) - 0.5 + W / 2, (f * y / z + cy) * max(W, H) - 0.5 + H / 2], axis=1)


def by_opengl(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """OpenGL: y up, the camera looks along -z; clip coordinates, divided by w, from -1 to 1; the viewport is W x H."""
    x, y, z = POINTS.T
    clip = matrix @ np.stack([x, -y, -z, np.ones_like(x)])
    ndc = clip[:2] / clip[3]
    return np.stack([(ndc[0] + 1) / 2 * W, (1 - ndc[1]) / 2 * H], axis=1)


def by_fov(fov_x: float, fov_y: float) -> NDArray[np.float64]:
    """The rays at half the angle meet the border of the image."""
    x, y, z = POINTS.T
    return np.stack(
        [W / 2 * (1 + x / z / math.tan(fov_x / 2)), H / 2 * (1 + y / z / math.tan(fov_y / 2))],
        axis=1,
    )


positive = st.floats(0.3, 5)
offset = st.floats(-0.3, 0.3)


@given(positive, positive, offset, offset)
def test_normalised(fx: float, fy: float, x: float, y: float) -> None:
    k = np.array([[fx * 10, 0, 0.5 + x], [0, fy * 10, 0.5 + y], [0, 0, 1]])
    np.testing.assert_allclose(pixels(camera_from(k, rule(unit="normalised"), (H, W))), by_normalised(k), atol=1e-9)
    four = k[[0, 1, 0, 1], [0, 1, 2, 2]]
    np.testing.assert_array_equal(
        camera_from(four, rule(unit="normalised"), (H, W)), camera_from(k, rule(unit="normalised"), (H, W))
    )


@given(positive, positive, offset, offset)
def test_ndc(fx: float, fy: float, px: float, py: float) -> None:
    got = camera_from([fx, fy, px, py], rule(unit="ndc"), (H, W))
    np.testing.assert_allclose(pixels(got), by_ndc(fx, fy, px, py), atol=1e-9)
    rotated = camera_from([fx, fy, px, py], rule(unit="ndc"), (W, H))
    np.testing.assert_allclose(rotated[:2], got[:2])  # the shorter side is the same


@given(positive, positive, offset, offset)
def test_ndc_norm_image_bounds(fx: float, fy: float, px: float, py: float) -> None:
    got = camera_from([fx, fy, px, py], rule(unit="ndc_norm_image_bounds"), (H, W))
    np.testing.assert_allclose(pixels(got), by_norm_image_bounds(fx, fy, px, py), atol=1e-9)
    square = [camera_from([fx, fy, px, py], rule(unit=unit), (W, W)) for unit in ("ndc", "ndc_norm_image_bounds")]
    np.testing.assert_array_equal(*square)


@given(positive, offset, offset)
def test_larger_side(f: float, cx: float, cy: float) -> None:
    got = camera_from([f, cx, cy], rule("f cx cy", "larger_side"), (H, W))
    np.testing.assert_allclose(pixels(got), by_opensfm(f, cx, cy), atol=1e-9)


@given(positive, positive, offset, offset, st.floats(-2, 2), st.floats(-2, 2))
def test_projection(p00: float, p11: float, p02: float, p12: float, p22: float, p23: float) -> None:
    matrix = np.array([[p00, 0, p02, 0], [0, p11, p12, 0], [0, 0, p22, p23], [0, 0, -1, 0]])
    names = "p00 p01 p02 - p10 p11 p12 - - - - - - - - -"
    got = camera_from(matrix, rule(names), (H, W))
    np.testing.assert_allclose(pixels(got), by_opengl(matrix), atol=1e-9)


@given(st.floats(0.2, 2.8), st.floats(0.2, 2.8))
def test_fields_of_view(fov_x: float, fov_y: float) -> None:
    got = camera_from([fov_x, fov_y], rule("fov_x_rad fov_y_rad"), (H, W))
    np.testing.assert_allclose(pixels(got), by_fov(fov_x, fov_y), atol=1e-9)
    degrees = camera_from([math.degrees(fov_x), math.degrees(fov_y)], rule("fov_x fov_y"), (H, W))
    np.testing.assert_allclose(degrees, got, rtol=1e-12)
    for name, angle, side in (("fov_x", fov_x, W), ("fov_y", fov_y, H)):
        fx, fy, cx, cy = camera_from([angle], rule(f"{name}_rad"), (H, W))
        assert fx == fy
        assert (cx, cy) == (W / 2, H / 2)
        assert 2 * math.atan(side / 2 / fx) == pytest.approx(angle)


@given(st.floats(10, 100), st.floats(10, 50))
def test_millimetres(f: float, sensor: float) -> None:
    """A point at the border of the sensor is at the border of the image."""
    fx, fy, cx, _ = camera_from([f, sensor], rule("f_mm sensor_mm"), (H, W))
    assert fx == fy
    x = sensor / 2 / f
    assert fx * x + cx == pytest.approx(W)


# --- round trips: the numbers of a camera in a unit give the camera

cameras = st.tuples(st.floats(10, 500), st.floats(10, 500), st.floats(5, 60), st.floats(5, 40)).map(np.array)
INTO: dict[str, Callable[[Any], list[float]]] = {
    "pixels": lambda k: list(k),
    "normalised": lambda k: [k[0] / W, k[1] / H, k[2] / W, k[3] / H],
    "ndc": lambda k: [k[0] / 24, k[1] / 24, (W / 2 - k[2]) / 24, (H / 2 - k[3]) / 24],
    "ndc_norm_image_bounds": lambda k: [k[0] / 32, k[1] / 24, 1 - k[2] / 32, 1 - k[3] / 24],
    "larger_side": lambda k: [k[0] / W, k[1] / W, (k[2] + 0.5 - W / 2) / W, (k[3] + 0.5 - H / 2) / W],
}


@pytest.mark.parametrize("unit", INTO)
@given(k=cameras)
def test_a_camera_in_a_unit_and_back(unit: str, k: NDArray[np.float64]) -> None:
    np.testing.assert_allclose(camera_from(INTO[unit](k), rule(unit=unit), (H, W)), k, rtol=1e-12, atol=1e-9)


@given(cameras, st.integers(1, 8))
def test_a_size_scales_the_rays(k: NDArray[np.float64], zoom: int) -> None:
    """A pixel of the depth sees the mean direction of the pixels of the larger image that it covers."""
    large = camera_from(k, rule(size=(W, H)), (H, W))
    np.testing.assert_array_equal(large, k)
    if min(k[:2]) / zoom < 1:
        return
    small = camera_from(k, rule(size=(W * zoom, H * zoom)), (H, W))
    for i in range(5):
        covered = np.arange(i * zoom, (i + 1) * zoom)
        assert (i - small[2]) / small[0] == pytest.approx(np.mean((covered - k[2]) / k[0]), abs=1e-9)
        assert (i - small[3]) / small[1] == pytest.approx(np.mean((covered - k[3]) / k[1]), abs=1e-9)
    named = camera_from([W * zoom, H * zoom, *k], rule("w h fx fy cx cy"), (H, W))
    np.testing.assert_allclose(named, small, rtol=1e-14)


def test_a_size_of_each_axis() -> None:
    got = camera_from([1920, 1440, 1600, 1500, 960, 720], rule("w h fx fy cx cy"), (192, 256))
    np.testing.assert_allclose(got, [1600 * 256 / 1920, 1500 * 192 / 1440, 960.5 / 7.5 - 0.5, 720.5 / 7.5 - 0.5])
    half = camera_from([90, 200, 100], rule("fov_x w h"), (50, 200))
    np.testing.assert_allclose(half, [100, 50, 99.5 + 0.5, 50.5 / 2 - 0.5])


# --- counts and names


def test_matrices_by_their_count() -> None:
    nine = [[60, 0, 30], [0, 55, 25], [0, 0, 1]]
    twelve = [[60, 0, 30, 44.85], [0, 55, 25, 0.2], [0, 0, 1, 0.003]]  # KITTI's P_rect has a translation
    sixteen = np.eye(4)
    sixteen[:3, :3] = nine
    for form in (FOUR, nine, twelve, sixteen, np.array(nine, np.float32)):
        got = camera_from(form, rule())
        assert got.tolist() == FOUR
        assert got.dtype == np.float64
        assert got.shape == (4,)
    assert camera_from([1, 60, 55, 2, 30, 25], rule("- fx fy - cx cy")).tolist() == FOUR
    assert camera_from([57, 30, 25], rule("f cx cy")).tolist() == [57, 57, 30, 25]
    assert camera_from([60, 55], rule("fx fy"), (H, W)).tolist() == [60, 55, 32, 24]
    assert camera_from([0.5, 0.5], rule("fx fy", "normalised"), (H, W)).tolist() == [32, 24, 32, 24]
    constant = CameraRule((0.5, 0.5, 0.5, 0.5), None, unit="normalised")  # Mid-Air
    assert camera_from(constant.constant or (), constant, (H, W)).tolist() == [32, 24, 32, 24]


@pytest.mark.parametrize(
    ("names", "numbers", "message"),
    [
        ("", [1, 2, 3], "expected 4 .fx fy cx cy., 9, 12 or 16 numbers, got 3; say what they are in numbers"),
        ("fx fy cx cy", [1, 2, 3], "expected 4 numbers .fx fy cx cy., got 3; correct numbers or key"),
        ("", [[60, 1, 30], [0, 55, 25], [0, 0, 1]], "expected a pinhole matrix .* skewed"),
        ("", np.where(np.eye(4), 1, np.eye(4)[[3, 1, 2, 0]]), "expected 3×3 in a 4×4 identity"),
        ("", [0.8, 1.1, 0.5, 0.5], "which look normalised"),
        ("", [math.nan, 55, 30, 25], "expected finite fx, fy, cx, cy"),
        ("", [0, 55, 30, 25], "fx, fy > 0"),
        ("f_mm sensor_mm", [50, 0], "expected finite fx, fy, cx, cy"),
        ("f_mm sensor_mm", [0, 36], "fx, fy > 0"),
        ("fov_x", [180], "expected fov_x above 0° and below 180°, got 180°"),
        ("fov_y", [-20], "expected fov_y above 0° and below 180°, got -20°"),
        ("fov_y_rad", [90], "expected fov_y above 0° and below 180°, got 5156.62°"),
        ("fov_x", [math.nan], "above 0° and below 180°, got nan°"),
        (
            "p00 p01 p11",
            [1.7, 1e-3, 2.3],
            "expected p01 and p10 of 0, got 0.001 and 0: a projection with skew .* is no pinhole",
        ),
        ("p00 p10 p11", [1.7, math.nan, 2.3], "expected p01 and p10 of 0, got 0 and nan"),
        ("w h fx fy cx cy", [0, 48, *FOUR], "expected w and h of at least one pixel, got 0 and 48"),
        ("w h fx fy cx cy", [math.nan, 48, *FOUR], "expected w and h of at least one pixel, got nan and 48"),
    ],
)
def test_numbers_that_are_no_camera(names: str, numbers: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=f"^intrinsics: .*{message}") as caught:
        camera_from(numbers, rule(names), (H, W))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "unit", "size", "message"),
    [
        ("fovx", "pixels", None, r"^numbers: unknown name 'fovx' .did you mean fov_x.*; expected some of fx fy f"),
        ("fx fy cx", "pixels", None, "^numbers: expected one of fx fy, f, .*; got fx fy cx$"),
        ("fx fy cx cy fx", "pixels", None, "each once; got fx fy cx cy fx$"),
        ("fx cx cy", "pixels", None, "^numbers: expected one of"),
        ("cx cy", "pixels", None, "^numbers: expected one of"),
        ("f fx fy", "pixels", None, "^numbers: expected one of"),
        ("fx fy w", "pixels", None, "^numbers: expected one of"),
        ("p00 p11 cx cy", "pixels", None, "^numbers: expected one of"),
        ("fx fy p02 p12", "pixels", None, "^numbers: expected one of"),
        ("fx fy p01", "pixels", None, "^numbers: expected one of"),
        ("fov_x fov_y_rad", "pixels", None, "^numbers: expected one of"),
        ("fov_x", "normalised", None, "^unit: 'normalised' goes with fx fy or f, got fov_x: remove unit"),
        ("f cx cy", "normalised", None, "^unit: 'normalised' needs fx and fy"),
        ("", "millimetres", None, "^unit: expected one of pixels, .*, ndc_norm_image_bounds, .* got 'millimetres'"),
        ("", "pixels", (0, 4), r"^size: expected width and height in pixels, got \(0, 4\)"),
    ],
)
def test_rules_that_are_no_camera(names: str, unit: str, size: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        rule(names, unit, size)


def test_a_rule_has_one_place_of_its_numbers() -> None:
    for constant, numbers in ((None, None), ((1.0,) * 4, NumbersRule("K.txt"))):
        with pytest.raises(ParameterError, match="expected either constant or file"):
            CameraRule(constant, numbers)


WAYS = st.sampled_from([" ".join([*way, *more]) for way in FOCAL for more in ((), ("cx", "cy"), ("w", "h"))])


@settings(max_examples=200)
@given(WAYS, st.sampled_from(["pixels", "ndc"]), st.booleans())
def test_needs_size_says_when_the_size_matters(names: str, unit: str, sized: bool) -> None:
    """With the size of the depth unknown, a rule works exactly where it says so, and its result has no size in it."""
    try:
        made = rule(names, unit, (W, H) if sized else None)
    except ParameterError:
        return
    numbers = [{"w": W, "h": H}.get(name, 1.5) for name in made.names]
    if made.needs_size:
        assert camera_from(numbers, made, (H, W)).tolist() != camera_from(numbers, made, (3 * H, 2 * W)).tolist()
        with pytest.raises(ParameterError, match="expected the size of the depth, which these numbers need"):
            camera_from(numbers, made)
    else:
        assert camera_from(numbers, made).tolist() == camera_from(numbers, made, (H, W)).tolist()


def test_every_name_is_used_by_a_way() -> None:
    used = {name for way in FOCAL for name in way} | {"cx", "cy", "w", "h", "p01", "p02", "p10", "p12", "-"}
    assert used == set(NAMES)
