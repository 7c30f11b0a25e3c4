"""evidence/physics.py: the truth against closed forms, the estimators and the metrics by laws."""

import itertools

import estimators
import numpy as np
import physics
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scene_truth import GAP, Truth, footprint_truth, regions

from depthvar.datasets.hospital.raycast import BOX, Scene, build_scene

Float = NDArray[np.float64]

POSE = np.eye(4)
CAMERA = np.array((32.0, 32.0, 8.0, 6.0))
SIZE = (12, 16)
EVERY = {**estimators.ESTIMATORS, **{name: lambda z, k, of=of: of(z, k, 2) for name, of in estimators.NATIVE.items()}}


def boxes(*spans: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]) -> Scene:
    """Boxes by their x, y and z spans."""
    low, high = np.array(spans).transpose(2, 0, 1)
    half = np.array([np.diag(sides) for sides in (high - low) / 2])
    return build_scene([BOX] * len(spans), (low + high) / 2, half, [0] * len(spans))


def wall(z: float, right: float = 1e3, left: float = -1e3) -> tuple[tuple[float, float], ...]:
    """A slab between x = left and x = right whose front is at depth z."""
    return (left, right), (-1e3, 1e3), (z, z + 0.01)


def slanted(slope: float, z: float) -> Scene:
    """The plane Z = z + slope · X, as the front of a thick box."""
    normal = np.array((slope, 0, -1)) / np.hypot(slope, 1)
    across = np.array((-normal[2], 0, normal[0]))
    axes = np.stack((500 * across, 500 * np.array((0, 1, 0)), 5 * normal), axis=-1)
    return build_scene([BOX], [np.array((0, 0, z)) - 5 * normal], [axes], [0])


def rough(seed: int, size: tuple[int, int] = SIZE) -> Float:
    return np.random.default_rng(seed).uniform(1, 9, size)


def plane(a: float, b: float, c: float) -> Float:
    """Depth of a plane: 1/Z is affine in the pixel."""
    v, u = np.indices(SIZE, np.float64)
    return 1 / (c + a * (u - 8) / 8 + b * (v - 6) / 6)


# --- the truth


@given(st.floats(0.5, 60))
@settings(max_examples=10)
def test_a_fronto_parallel_wall_has_no_spread(z: float) -> None:
    truth = footprint_truth(boxes(wall(z)), POSE, CAMERA, SIZE)
    np.testing.assert_allclose(truth.depth, z, rtol=1e-12)
    np.testing.assert_allclose(truth.std / z, 0, atol=1e-12)
    assert not (truth.mixed | truth.crease).any()
    assert regions(truth)["flat"].all() or z > 20


@given(st.floats(-1.5, 1.5).filter(lambda slope: abs(slope) > 0.05), st.floats(1, 10))
@settings(max_examples=20)
def test_a_slanted_plane_has_the_spread_of_its_closed_form(slope: float, z: float) -> None:
    truth = footprint_truth(slanted(slope, z), POSE, CAMERA, SIZE)
    # With w = 1/Z = (1 − slope x)/z, linear in u, a uniform u gives E[Z] = ln(w1/w0)/Δw and E[Z²] = 1/(w0 w1).
    u = np.arange(SIZE[1])
    w0, w1 = ((1 - slope * (u + half - CAMERA[2]) / CAMERA[0]) / z for half in (-0.5, 0.5))
    expected = np.sqrt(1 / (w0 * w1) - (np.log(w1 / w0) / (w1 - w0)) ** 2)
    np.testing.assert_allclose(truth.std, np.broadcast_to(expected, SIZE), rtol=0.01)
    np.testing.assert_allclose(truth.slant[6, 8], abs(slope), rtol=1e-9)
    assert not truth.mixed.any()


@given(st.integers(0, 16), st.floats(0.5, 5), st.floats(1.1, 9))
@settings(max_examples=30)
def test_a_step_has_the_variance_p_q_gap_squared(sixteenths: int, near: float, times: float) -> None:
    border = (9 - 0.5 + sixteenths / 16 - CAMERA[2]) / CAMERA[0]  # it cuts column 9
    scene = boxes(wall(near, right=border * near), wall(near * times))
    truth = footprint_truth(scene, POSE, CAMERA, SIZE)
    p = sixteenths / 16
    np.testing.assert_allclose(truth.std[:, 9], np.sqrt(p * (1 - p)) * near * (times - 1), rtol=1e-3, atol=1e-9)
    np.testing.assert_array_equal(truth.mixed[:, 9], 0 < p < 1)
    assert not truth.mixed[:, :8].any()
    assert not truth.mixed[:, 11:].any()


@pytest.mark.parametrize(("times", "apart"), [(GAP - 0.01, False), (GAP + 0.01, True)])
def test_surfaces_are_mixed_only_if_they_are_apart(times: float, apart: bool) -> None:
    truth = footprint_truth(boxes(wall(4, right=0.0), wall(4 * times)), POSE, CAMERA, SIZE)
    assert truth.mixed[:, 8].all() == apart
    assert truth.crease[:, 8].all() == (not apart)


def test_a_pole_is_thin_and_the_end_of_a_wall_is_not() -> None:
    pole = boxes(wall(2, left=-0.02, right=0.02), wall(6))
    end = boxes(wall(2, right=0.02), wall(6))
    for scene, thin in ((pole, True), (end, False)):
        truth = footprint_truth(scene, POSE, CAMERA, SIZE)
        found = regions(truth)
        assert truth.mixed.any()
        assert found["thin"].any() == thin
        if thin:
            np.testing.assert_array_equal(found["thin"], truth.mixed)


def test_the_sky_mixes_and_has_no_spread() -> None:
    truth = footprint_truth(boxes(wall(2, right=0.01)), POSE, CAMERA, SIZE)
    assert truth.mixed[:, 8].all()
    assert np.isnan(truth.std[:, 8:]).all()
    assert not np.isnan(truth.std[:, :8]).any()
    assert np.isinf(truth.depth[:, 10:]).all()
    assert not regions(truth)["all"][:, 10:].any()


def test_a_grazing_floor_is_a_slope_and_no_edge() -> None:
    floor = boxes(((-1e3, 1e3), (0.2, 0.3), (-1e3, 1e3)))
    truth = footprint_truth(floor, POSE, CAMERA, (16, 16))
    below = truth.depth <= 30
    assert below.any()
    assert not truth.mixed[below].any()
    assert (truth.slant[below] > 1).all()


def test_every_known_pixel_is_of_one_kind() -> None:
    scene = boxes(wall(2, left=-0.02, right=0.02), wall(6), ((-1e3, 1e3), (0.5, 0.6), (0, 50)))
    found = regions(footprint_truth(scene, POSE, CAMERA, SIZE))
    kinds = np.stack([found[name] for name in ("flat", "slope", "crease", "edge")])
    assert all(kind.any() for kind in kinds)
    np.testing.assert_array_equal(kinds.sum(0), found["all"])
    assert not (found["thin"] & ~found["edge"]).any()


# --- the estimators


@given(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2), st.floats(0.5, 3))
def test_no_plane_bends(a: float, b: float, c: float) -> None:
    z = plane(a, b, c)
    assert (estimators.planarity(z, CAMERA) <= 1e-13 * z).all()


def test_a_bend_is_measured_in_metres() -> None:
    z = np.full(SIZE, 2.0)
    z[5, 7] = 2.5
    assert estimators.planarity(z, CAMERA)[5, 7] == pytest.approx(2 * (1 / 2 - 1 / 2.5) * 2.5**2)


@given(st.tuples(st.integers(-12, 12), st.integers(-12, 12)).filter(any))
def test_on_a_ramp_the_expected_spread_is_that_of_the_footprint(rises: tuple[int, int]) -> None:
    v, u = np.indices((27, 27))
    gu, gv = np.array(rises) / 64  # exact in float32
    z = 20 + gu * u + gv * v
    footprint = np.hypot(gu, gv) / np.sqrt(12)
    inside = slice(1, -1)
    np.testing.assert_allclose(estimators.difference(z, CAMERA)[inside, inside], footprint, rtol=1e-6)
    for stride in (3, 5):
        total = estimators.native_total(z, CAMERA, stride)[inside, inside]
        np.testing.assert_allclose(total, stride * footprint, rtol=1e-6)


def test_on_a_step_the_expected_variance_is_right_on_average() -> None:
    z = np.where(np.arange(16) < 8, 2.0, 5.0) * np.ones(SIZE)
    positions = (np.arange(1000) + 0.5) / 1000  # of the step, between the centres of columns 7 and 8
    covered = np.abs(positions - np.round(positions))  # how far from the nearer centre; that pixel is cut
    p = 0.5 - covered
    variance = (estimators.difference(z, CAMERA) ** 2).sum(1)
    np.testing.assert_allclose(variance, (p * (1 - p) * 3**2).mean(), rtol=1e-5)


def test_native_depth_is_weighed_by_what_a_coarse_pixel_covers() -> None:
    z = np.array([[1.0, 2.0, 4.0, 8.0, 16.0]]).repeat(5, 0)
    # Stride 2 around column 2: half of columns 1 and 3, all of 2. Stride 3 around column 0: columns 0 and 1.
    for stride, at, parts in ((2, 1, (0.25, 0.5, 0.25)), (3, 0, (0.0, 0.5, 0.5))):
        values = z[0, 1:4] if stride == 2 else np.array((0.0, 1.0, 2.0))
        mean = np.dot(parts, values)
        expected = np.sqrt(np.dot(parts, (values - mean) ** 2))
        assert estimators.native_std(z, CAMERA, stride)[1, at] == pytest.approx(expected)


@pytest.mark.parametrize("name", EVERY)
@given(st.integers(0, 1000))
@settings(max_examples=5)
def test_an_estimate_scales_with_the_depth(name: str, seed: int) -> None:
    z = rough(seed)
    times = 1 if name == "depth_edge" else 2
    np.testing.assert_allclose(EVERY[name](2 * z, CAMERA), times * EVERY[name](z, CAMERA), rtol=1e-5)


@pytest.mark.parametrize("name", EVERY)
@given(st.integers(0, 1000))
@settings(max_examples=5)
def test_an_estimate_of_a_mirrored_frame_is_mirrored(name: str, seed: int) -> None:
    z = rough(seed, (13, 17))
    mirrored = CAMERA * (1, 1, 0, 1) + (0, 0, 16 - CAMERA[2], 0)
    np.testing.assert_allclose(EVERY[name](z[:, ::-1], mirrored), EVERY[name](z, CAMERA)[:, ::-1], rtol=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_holes_and_sky_leave_their_neighbours_an_estimate(name: str) -> None:
    z = rough(1)
    z[4, 4], z[8, 9], z[2, 2] = 0, np.nan, np.inf
    estimate = EVERY[name](z, CAMERA)
    known = np.isfinite(z) & (z > 0)
    known = known[::2, ::2] if name in estimators.NATIVE else known
    assert np.isfinite(estimate[known]).all()
    assert (estimate[known] >= 0).all()


def test_only_the_range_of_z_sees_a_fronto_parallel_wall_as_flat() -> None:
    z, wide = np.full((24, 32), 3.0), np.array((16.0, 16.0, 16.0, 12.0))
    on_z, on_t = estimators.sigma_range_on_z(z, wide), estimators.sigma(z, wide)
    np.testing.assert_allclose(on_z, on_z[12, 16], rtol=1e-5)
    assert on_t[12, 2] > 2 * on_z[12, 2]


@given(st.integers(0, 1000))
@settings(max_examples=5)
def test_the_transverse_term_vanishes_on_the_axis_and_adds_elsewhere(seed: int) -> None:
    z = rough(seed)
    ours, full = estimators.sigma(z, CAMERA), estimators.full_frustum(z, CAMERA)
    assert full[6, 8] == pytest.approx(ours[6, 8], rel=1e-6)
    away = np.ones(SIZE, bool)
    away[6, 8] = False
    assert (full[away] > ours[away]).all()


# --- the metrics


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_auc_is_the_share_of_pairs_in_order(pixels: list[tuple[int, bool]]) -> None:
    score, positive = (np.array(column) for column in zip(*pixels, strict=True))
    if positive.all() or not positive.any():
        return
    pairs = [(a > b) + 0.5 * (a == b) for a, b in itertools.product(score[positive], score[~positive])]
    assert physics.auc(score, positive) == pytest.approx(np.mean(pairs))


def test_auc_of_a_perfect_an_opposite_and_a_constant_score() -> None:
    positive = np.array((0, 0, 1, 0, 1), bool)
    assert physics.auc(positive.astype(float), positive) == 1
    assert physics.auc(-positive.astype(float), positive) == 0
    assert physics.auc(np.zeros(5), positive) == 0.5


def test_calibration_is_the_factor_that_a_prediction_lacks() -> None:
    true = np.random.default_rng(0).uniform(0.1, 1, 200)
    np.testing.assert_allclose(physics.calibration(true, true / 3), 3)
    assert np.isnan(physics.calibration(true, np.zeros(200))).all()
    two_kinds = np.repeat((1.0, 2.0), 100)  # the lower half is twice too small
    np.testing.assert_allclose(physics.calibration(np.full(200, 2.0), two_kinds), [[2, 2]] * 5 + [[1, 1]] * 5)


def test_the_truth_itself_is_a_perfect_estimator() -> None:
    scene = boxes(wall(2, right=0.03), wall(6), ((-1e3, 1e3), (0.4, 0.6), (0, 50)))
    truth: Truth = footprint_truth(scene, POSE, np.array((64.0, 64, 16, 12)), (24, 32))
    rows = list(physics.measure([physics.View(truth, {"truth": truth.std})], 1))
    ranks = [row.value for row in rows if row.metric == "spearman" and row.region == "all"]
    assert ranks == [pytest.approx(1)]
    ratios = [row.value for row in rows if row.metric.startswith("ratio_")]
    np.testing.assert_allclose(ratios, 1)


def test_a_slice_of_the_study_prints_every_estimator(capsys: pytest.CaptureFixture[str]) -> None:
    physics.main(["--smoke"])
    lines = capsys.readouterr().out.splitlines()
    for name in EVERY:
        assert sum(line.startswith(f"| {name} |") for line in lines) == 2  # by region, and by stride
