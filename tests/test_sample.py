"""Laws of the lookup of σ² through intrinsics, and its twin in plain loops written from the method's text."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from depthvar.datasets.errors import ParameterError
from depthvar.datasets.frame import WIDEST
from depthvar.datasets.lookup.levels import LEAST_SHARE, NEAR, blend_weights
from depthvar.datasets.lookup.sample import Resize, sample

Map = NDArray[np.float32]
STRIDES = (1, 2, 3, 4, 6, 8)
INF = math.inf


class Levels:
    """σ² maps by stride that remember which of them were read."""

    def __init__(self, maps: dict[int, Map]) -> None:
        self.maps = maps
        self.read: list[int] = []

    def __call__(self, stride: int, rows: slice) -> Map:
        self.read.append(stride)
        assert self.maps[stride][rows].size
        return self.maps[stride][rows]


def random_map(rng: np.random.Generator, shape: tuple[int, int], holes: float) -> Map:
    sigma_z2 = (10 ** rng.uniform(-6, 0, shape)).astype(np.float32)
    sigma_z2[rng.random(shape) < holes] = INF
    return sigma_z2


def random_levels(seed: int, size: tuple[int, int], holes: float = 0.0, strides: Sequence[int] = STRIDES) -> Levels:
    """Levels with a sample invalid where its native pixel is, and else unlike each other."""
    rng = np.random.default_rng(seed)
    native = random_map(rng, size, holes)
    maps = {1: native}
    for stride in strides[1:]:
        own = native[::stride, ::stride]
        maps[stride] = np.where(np.isinf(own), own, random_map(rng, own.shape, 0.0))
    return Levels(maps)


def resized(
    intrinsics: Sequence[float], scale_x: float, scale_y: float, left: float = 0.0, top: float = 0.0
) -> NDArray[np.float32]:
    """Return float32 intrinsics after a crop at (left, top) and a resize that maps pixel centres."""
    fx, fy, cx, cy = intrinsics
    return np.array(
        [fx / scale_x, fy / scale_y, (cx - left + 0.5) / scale_x - 0.5, (cy - top + 0.5) / scale_y - 0.5],
        dtype=np.float32,
    )


# ---- the twin ----


def slow_sample(
    maps: dict[int, Map],
    native_intrinsics: Sequence[float],
    native_size: tuple[int, int],
    intrinsics: Sequence[float],
    size: tuple[int, int],
    resize: Resize,
    flip: bool,
    window: int = 5,
) -> NDArray[np.float64]:
    """The lookup for one output pixel after the other, in float64."""
    fx, fy, cx, cy = native_intrinsics
    out_fx, out_fy, out_cx, out_cy = intrinsics
    rx, ry = fx / abs(out_fx), fy / out_fy
    r = math.sqrt(rx * ry)
    for stride in maps:
        if abs(r - stride) <= 1e-3:
            r = float(stride)
    result = np.full(size, INF)
    for row in range(size[0]):
        for column in range(size[1]):
            # A flip comes last: unflip the pixel and the principal point, and look up what was there.
            flipped = flip or out_fx < 0
            x = size[1] - 1 - column if flipped else column
            x_c = size[1] - 1 - out_cx if flipped else out_cx
            u = slow_position((x - x_c) * rx + cx, rx, resize)
            v = slow_position((row - out_cy) * ry + cy, ry, resize)
            if -0.5 <= u < native_size[1] - 0.5 and -0.5 <= v < native_size[0] - 0.5:
                result[row, column] = slow_pixel(maps, v, u, r, window)
    return result


def slow_position(centre: float, r: float, resize: Resize) -> float:
    position = centre + 0.5 - 0.5 * r if resize == "nearest" else centre
    if abs(position - round(position)) <= 1e-3:
        position = float(round(position))
    return float(math.floor(position)) if resize == "nearest" else position


def slow_pixel(maps: dict[int, Map], v: float, u: float, r: float, window: int) -> float:
    below = [s for s in maps if s <= r] or [min(maps)]
    above = [s for s in maps if s >= r] or [max(maps)]
    fine, coarse = max(below), min(above)
    if fine == coarse or r < fine or r > coarse:
        chosen = {(coarse if r < fine else fine): 1.0}
        (stride,) = chosen
        if v % stride == 0 and u % stride == 0:
            return float(maps[stride][int(v // stride), int(u // stride)])
    else:
        t = (math.log2(r) - math.log2(fine)) / (math.log2(coarse) - math.log2(fine))
        chosen = {fine: 1 - t, coarse: t}
    between = len(chosen) == 2
    chosen = {stride: 1.0 for stride, share in chosen.items() if share > 1 - LEAST_SHARE} or chosen
    growth = math.prod(r / stride for stride in chosen) if between and len(chosen) == 1 else 1.0
    blend = weight = 0.0
    for stride, share in chosen.items():
        # Between two strides the finer level is widened and the coarser one narrowed, by the reach of their windows.
        shift = 0.75 * (window // 2) * abs(r - stride) if between and chosen.keys() != {1} else 0.0
        log_sigma = slow_level(maps[stride], v, u, shift, stride, max if stride <= r else min)
        if log_sigma is not None:
            blend += share * log_sigma
            weight += share
    if weight > 0:
        return (growth * math.exp(blend / weight)) ** 2
    stride = min(chosen)
    nearest = slow_nearest(maps[stride], v, u, stride, NEAR * stride) if stride > 1 else INF
    if nearest < INF:
        return nearest * (r / stride) ** 2 if between else nearest
    return slow_nearest(maps[1], v, u, 1, r) * r**2


def slow_nearest(level: Map, v: float, u: float, stride: int, reach: float) -> float:
    """Return the valid sample of a level nearest to native position (v, u), at most ``reach`` native pixels away."""
    best, least = INF, INF
    for j in range(level.shape[1]):
        for i in range(level.shape[0]):
            distance = (j * stride - u) ** 2 + (i * stride - v) ** 2
            if np.isfinite(level[i, j]) and distance <= reach**2 and distance < least:
                best, least = float(level[i, j]), distance
    return best


def slow_level(
    level: Map, v: float, u: float, shift: float, stride: int, choose: Callable[[list[float]], float]
) -> float | None:
    """Return log σ at native position (v, u), by rows and then by columns, or None."""
    height, width = level.shape

    def clamped(position: float, length: int) -> float:
        return min(max(position / stride, 0.0), length - 1.0)

    def column(j: int) -> float | None:
        stored = [math.log(math.sqrt(x)) if np.isfinite(x) else None for x in level[:, j].tolist()]
        return chosen([slow_between(stored, clamped(v + sign * shift, height)) for sign in (-1, 1)])

    def chosen(values: list[float | None]) -> float | None:
        valid = [value for value in values if value is not None]
        return choose(valid) if valid else None

    columns = [column(j) for j in range(width)]
    return chosen([slow_between(columns, clamped(u + sign * shift, width)) for sign in (-1, 1)])


def slow_between(values: Sequence[float | None], position: float) -> float | None:
    """Return the value at a position between two, the valid ones alone, or None."""
    total = weight = 0.0
    for k in (math.floor(position), math.floor(position) + 1):
        share = 1 - abs(position - k)
        if share > 0 and (value := values[k]) is not None:
            total += share * value
            weight += share
    return total / weight if weight > 0 else None


@st.composite
def lookups(draw: st.DrawFn) -> dict[str, object]:
    """A native frame with holes, and a crop, zoom and flip of it, some of it beyond the frame."""
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    scale_x = draw(st.one_of(st.sampled_from([1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 8.25]), st.floats(0.3, 12.0)))
    scale_y = scale_x * draw(st.one_of(st.just(1.0), st.floats(0.6, 1.6)))
    native = (
        draw(st.floats(5, 50)),
        draw(st.floats(5, 50)),
        draw(st.integers(0, 2 * width)) / 2,
        draw(st.integers(0, 2 * height)) / 2,
    )
    view = resized(native, scale_x, scale_y, draw(st.integers(-16, 48)) / 4, draw(st.integers(-16, 48)) / 4)
    size = (draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    for focal, centre, length in zip(view[:2], view[2:], size[::-1], strict=True):
        assume(max(abs(centre), abs(length - 1 - centre)) <= WIDEST * focal)  # wider views are refused
    return {
        "levels": random_levels(
            draw(st.integers(0, 2**31)),
            (height, width),
            draw(st.sampled_from([0.0, 0.3, 0.9, 1.0])),
            draw(st.sampled_from([STRIDES, (1,), (1, 2), (1, 5)])),
        ),
        "native_intrinsics": native,
        "native_size": (height, width),
        "intrinsics": view * np.float32([draw(st.sampled_from([1, 1, -1])), 1, 1, 1]),
        "size": size,
        "resize": draw(st.sampled_from(["nearest", "linear"])),
        "flip": draw(st.booleans()),
        "window": draw(st.sampled_from([3, 5, 7])),
    }


@given(lookup=lookups())
@settings(max_examples=250, deadline=None)
def test_equals_its_twin(lookup: dict[str, object]) -> None:
    levels = lookup.pop("levels")
    assert isinstance(levels, Levels)
    got = sample(levels, tuple(levels.maps), **lookup)  # type: ignore[arg-type]
    lookup["intrinsics"] = np.asarray(lookup["intrinsics"], dtype=np.float64).tolist()
    expected = slow_sample(levels.maps, **lookup)  # type: ignore[arg-type]
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    np.testing.assert_allclose(got, expected, rtol=2e-5)


# ---- where the lookup is exact ----


@given(
    seed=st.integers(0, 2**31),
    fx=st.floats(50, 3000),
    left=st.integers(0, 30),
    top=st.integers(0, 20),
    resize=st.sampled_from(["nearest", "linear"]),
)
@settings(max_examples=60, deadline=None)
def test_crop_is_a_slice_bit_for_bit(seed: int, fx: float, left: int, top: int, resize: Resize) -> None:
    native = (fx, 1.1 * fx, 319.37 + left, 243.11 + top)
    levels = random_levels(seed, (40, 60), holes=0.2)
    for dtype in (np.float32, np.float64):
        cropped = np.array([native[0], native[1], native[2] - left, native[3] - top], dtype=dtype)
        got = sample(levels, STRIDES, native, (40, 60), cropped, (20, 30), resize)
        assert np.array_equal(got, levels.maps[1][top : top + 20, left : left + 30])
    assert set(levels.read) == {1}


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("size", [(48, 64), (47, 61)])
@pytest.mark.parametrize("resize", ["nearest", "linear"])
def test_a_stride_gives_its_level_bit_for_bit(stride: int, size: tuple[int, int], resize: Resize) -> None:
    native = (57.3, 59.1, 31.7, 22.9)
    levels = random_levels(stride, size, holes=0.2)
    if resize == "nearest":  # by a resize that maps centres and takes the top-left pixel
        intrinsics = resized(native, stride, stride)
    else:  # by the intrinsics of the level itself
        intrinsics = (np.array(native) / stride).astype(np.float32)
    expected = levels.maps[stride]
    got = sample(levels, STRIDES, native, size, intrinsics, expected.shape, resize)
    assert np.array_equal(got, expected)
    assert levels.read == [stride]


@given(
    seed=st.integers(0, 2**31),
    size=st.tuples(st.integers(16, 60), st.integers(16, 60)),
    ratio=st.floats(0.4, 4.0),
    stretch=st.floats(0.75, 1.33),
)
@settings(max_examples=60, deadline=None)
def test_nearest_takes_the_pixel_that_cv2_inter_nearest_takes(
    seed: int, size: tuple[int, int], ratio: float, stretch: float
) -> None:
    height, width = size
    h, w = max(1, round(height / ratio)), max(1, round(width / ratio / stretch))
    native = (90.7, 88.3, 0.47 * width, 0.52 * height)
    levels = random_levels(seed, size, holes=0.2, strides=(1,))
    got = sample(levels, (1,), native, size, resized(native, width / w, height / h), (h, w))
    rows, columns = np.arange(h) * height // h, np.arange(w) * width // w
    expected = levels.maps[1][np.ix_(rows, columns)]
    assert np.array_equal(got[np.isfinite(expected)], expected[np.isfinite(expected)])


@given(ratio=st.floats(0.4, 7.9), left=st.floats(-3, 10), resize=st.sampled_from(["nearest", "linear"]))
@settings(max_examples=60, deadline=None)
def test_positions_follow_a_ramp(ratio: float, left: float, resize: Resize) -> None:
    # log σ² rises linearly over the native columns, alike on every level: the lookup must return where it looked, with
    # the finer level seen a little to the right (the larger value), and the coarser one to the left.
    size, native = (8, 97), (50.0, 50.0, 48.3, 3.5)
    ramp = np.exp(np.tile(np.arange(97) / 10, (8, 1))).astype(np.float32)
    levels = Levels({stride: ramp[::stride, ::stride] for stride in STRIDES})
    got = sample(levels, STRIDES, native, size, resized(native, ratio, ratio, left), (1, 40), resize)[0]
    centre = (np.arange(40) + 0.5) * ratio - 0.5 + left
    looked = np.floor(centre + 0.5 - 0.5 * ratio + 1e-3) if resize == "nearest" else centre
    within = (looked >= 3) & (looked <= 85)  # column 88 is the last sample of stride 8 (and of 4)
    scale = next((s for s in STRIDES if abs(s - ratio) <= 1e-3), ratio)
    blend = blend_weights(STRIDES, scale)
    shifts = [] if blend == [(1, 1.0)] or scale >= 8 else [weight * 1.5 * (scale - stride) for stride, weight in blend]
    shifted = sum(shifts)
    assert abs(shifted) < (0.25 if len(blend) == 2 else 0.4 * scale)  # in a blend, widening and narrowing nearly cancel
    grown = 10 * math.log(scale**2 / blend[0][0] ** 2) if len(blend) == 1 and 1 < scale < 8 else 0.0
    np.testing.assert_allclose(10 * np.log(got[within]), looked[within] + shifted + grown, atol=2e-3)


# ---- scales ----


def test_blend_weights_by_log2_distance() -> None:
    assert blend_weights(STRIDES, 2.0) == [(2, 1.0)]
    assert blend_weights(STRIDES, 0.3) == [(1, 1.0)]
    assert blend_weights(STRIDES, 50.0) == [(8, 1.0)]
    assert blend_weights((1,), 3.0) == [(1, 1.0)]
    assert blend_weights(STRIDES, math.sqrt(2)) == [(1, pytest.approx(0.5)), (2, pytest.approx(0.5))]
    assert blend_weights((1, 4), 2.0) == [(1, pytest.approx(0.5)), (4, pytest.approx(0.5))]


@given(share=st.floats(0, 1))
def test_a_level_of_little_share_is_left_out(share: float) -> None:
    blend = blend_weights((1, 4), 4**share)
    if LEAST_SHARE + 1e-9 < share < 1 - LEAST_SHARE - 1e-9:
        assert blend == [(1, pytest.approx(1 - share)), (4, pytest.approx(share))]
    elif not LEAST_SHARE - 1e-9 < share < 1 - LEAST_SHARE + 1e-9:
        assert blend == [(1 if share < 0.5 else 4, 1.0)]


@given(first=st.floats(0.5, 12), second=st.floats(0.5, 12))
@settings(max_examples=60, deadline=None)
def test_blend_is_monotone_in_the_scale(first: float, second: float) -> None:
    maps = {s: np.full((-(-32 // s), -(-32 // s)), 1e-4 * s**2, dtype=np.float32) for s in STRIDES}
    native = (20.0, 20.0, 15.5, 15.5)
    values = [
        sample(Levels(maps), STRIDES, native, (32, 32), resized(native, r, r), (2, 2))[0, 0]
        for r in sorted([first, second])
    ]
    assert values[0] <= values[1] * (1 + 1e-6)
    # σ² = 1e-4 s² is a power law, and so is the blend, of one level or two.
    assert values[1] == pytest.approx(1e-4 * min(max(first, second, 1), 8) ** 2, rel=3e-3)


@pytest.mark.parametrize(
    ("scale", "read"),
    [(0.5, [1]), (1.25, [1]), (1.3, [1, 2]), (1.55, [1, 2]), (1.6, [2]), (2.998, [3]), (7.0, [6, 8]), (20.0, [8])],
)
def test_reads_each_level_it_needs_once_and_no_other(scale: float, read: list[int]) -> None:
    levels = random_levels(0, (40, 40))
    sample(levels, STRIDES, (30, 30, 20, 20), (40, 40), resized((30, 30, 20, 20), scale, scale), (2, 2))
    assert levels.read == read


def test_scale_is_the_geometric_mean_of_x_and_y() -> None:
    levels = random_levels(0, (40, 40))
    sample(levels, STRIDES, (30, 30, 20, 20), (40, 40), resized((30, 30, 20, 20), 1.5, 8 / 3), (2, 2))
    assert levels.read == [2]


# ---- holes ----


@given(
    seed=st.integers(0, 2**31),
    holes=st.sampled_from([0.1, 0.5, 0.9, 0.97]),
    ratio=st.floats(0.5, 12),
    stretch=st.floats(0.75, 1.33),
)
@settings(max_examples=80, deadline=None)
def test_a_valid_depth_never_loses_its_weight(seed: int, holes: float, ratio: float, stretch: float) -> None:
    levels = random_levels(seed, (41, 53), holes)
    h, w = max(1, round(41 / ratio)), max(1, round(53 / ratio / stretch))
    native = (60.0, 60.0, 26.0, 20.0)
    got = sample(levels, STRIDES, native, (41, 53), resized(native, 53 / w, 41 / h), (h, w))
    depth_is_valid = np.isfinite(levels.maps[1][np.ix_(np.arange(h) * 41 // h, np.arange(w) * 53 // w)])
    assert np.isfinite(got[depth_is_valid]).all()
    assert (got > 0).all()


def test_invalid_neighbours_are_left_out() -> None:
    native = (10.0, 10.0, 0.0, 0.0)
    level = np.array([[4.0, INF, 9.0]], dtype=np.float32)
    at = [
        sample(Levels({1: level}), (1,), native, (1, 3), (10, 10, -u, 0), (1, 1), "linear")[0, 0] for u in (0.25, 1.75)
    ]
    assert at == pytest.approx([4.0, 9.0], rel=1e-6)


def test_a_level_without_valid_neighbours_is_left_out() -> None:
    native = (10.0, 10.0, 3.5, 3.5)
    maps = {1: np.full((8, 8), INF, dtype=np.float32), 2: np.full((4, 4), 0.25, dtype=np.float32)}
    got = sample(Levels(maps), (1, 2), native, (8, 8), resized(native, 1.4, 1.4), (5, 5))
    np.testing.assert_allclose(got, 0.25, rtol=1e-6)


def test_with_no_neighbour_left_the_nearest_sample_of_the_level_counts() -> None:
    native = (10.0, 10.0, 5.0, 5.0)
    maps = {1: np.full((24, 24), INF, dtype=np.float32), 2: np.full((12, 12), INF, dtype=np.float32)}
    maps[2][2, 2], maps[1][4, 4] = 0.01, 0.04

    def at(v: float, u: float) -> float:
        intrinsics = (5, 5, (5 - u) / 2, (5 - v) / 2)
        return float(sample(Levels(maps), (1, 2), native, (24, 24), intrinsics, (1, 1), "linear")[0, 0])

    assert at(4.5, 4 + 2 * NEAR - 0.25) == pytest.approx(0.01, rel=1e-5)
    assert at(4.5, 4 + 2 * NEAR) == INF  # a little further, and no native pixel is near
    maps[2][2, 6] = 0.09
    assert at(4.5, 8) == pytest.approx(0.01, rel=1e-5)  # as near: the leftmost
    maps[2][1, 2] = 0.25
    assert at(3, 8.5) == pytest.approx(0.09, rel=1e-5)


def test_with_no_level_left_the_nearest_native_pixel_counts_by_the_footprint() -> None:
    # Stride 2 never sees the odd pixel (5, 5); the output pixel of a 2.0 zoom that looks there does.
    native = (10.0, 10.0, 5.0, 5.0)
    maps = {1: np.full((12, 12), INF, dtype=np.float32), 2: np.full((6, 6), INF, dtype=np.float32)}
    maps[1][5, 5] = 0.01

    def at(v: float, u: float) -> float:
        intrinsics = (5, 5, (5 - u) / 2, (5 - v) / 2)
        return float(sample(Levels(maps), (1, 2), native, (12, 12), intrinsics, (1, 1), "linear")[0, 0])

    assert at(5, 5) == pytest.approx(0.04)
    assert at(5, 7) == pytest.approx(0.04)  # one output pixel away: still within
    assert at(5, 7.25) == INF
    assert at(6.5, 6.5) == INF  # 2.12 native pixels
    assert at(4, 4) == INF  # on a sample of the level: the hole stored there stands
    maps[1][5, 4] = 0.09
    assert at(5, 4.75) == pytest.approx(0.04)  # the nearer one
    assert at(5, 4.5) == pytest.approx(0.36)  # as near: the leftmost


def test_a_hole_stored_on_a_sample_stands_beside_positions_between_samples() -> None:
    # Zoom 3 reads stride 2 at native columns 0, 3, 6, 9: on a sample, between two, on one, between two.
    maps = {1: np.full((1, 12), 0.01, dtype=np.float32), 2: np.array([[INF, 1, 2, INF, INF, INF]], dtype=np.float32)}
    got = sample(Levels(maps), (1, 2), (12, 12, 0, 0), (1, 12), (4, 4, 0, 0), (1, 4), "linear")[0]
    assert got.tolist() == pytest.approx([INF, math.sqrt(2), INF, 2], rel=4e-6)  # the last: the nearest valid sample


@pytest.mark.parametrize("flip", [False, True])
def test_where_the_view_has_no_depth_a_hole_costs_no_reading(flip: bool) -> None:
    levels = random_levels(3, (40, 40), holes=0.99)
    native = (30.0, 30.0, 19.5, 19.5)
    intrinsics = resized(native, 2.5, 2.5)
    everywhere = sample(levels, STRIDES, native, (40, 40), intrinsics, (16, 16), flip=flip)
    assert levels.read == [2, 3, 1]
    levels.read.clear()
    nowhere = sample(levels, STRIDES, native, (40, 40), intrinsics, (16, 16), flip=flip, valid=np.zeros((16, 16), bool))
    assert levels.read == [2, 3]
    lost = np.isinf(nowhere) & np.isfinite(everywhere)
    assert lost.any()
    assert np.array_equal(nowhere[~lost], everywhere[~lost])
    some = np.random.default_rng(0).random((16, 16)) < 0.5
    got = sample(levels, STRIDES, native, (40, 40), intrinsics, (16, 16), flip=flip, valid=some)
    assert np.array_equal(got, np.where(some, everywhere, nowhere))


def test_a_frame_without_any_valid_pixel_has_no_information() -> None:
    levels = random_levels(0, (20, 20), holes=1.0)
    for scale in (0.7, 1.0, 1.3, 2.0, 2.5, 11.0):
        got = sample(levels, STRIDES, (9, 9, 10, 10), (20, 20), resized((9, 9, 10, 10), scale, scale), (9, 9))
        assert np.isposinf(got).all()


# ---- borders ----


@pytest.mark.parametrize("resize", ["nearest", "linear"])
def test_outside_the_frame_is_no_information(resize: Resize) -> None:
    levels = random_levels(0, (6, 8))
    padded = (10, 10, 4 + 3, 3 + 2)  # 3 columns and 2 rows before the frame
    got = sample(levels, STRIDES, (10, 10, 4, 3), (6, 8), padded, (11, 15), resize)
    expected = np.full((11, 15), INF, dtype=np.float32)
    expected[2:8, 3:11] = levels.maps[1]
    assert np.array_equal(got, expected)


def test_wholly_outside_reads_nothing() -> None:
    levels = random_levels(0, (6, 8))
    assert np.isposinf(sample(levels, STRIDES, (10, 10, 4, 3), (6, 8), (10, 10, 104, 3), (6, 8))).all()
    assert levels.read == []


def test_frame_ends_half_a_pixel_beyond_its_outer_centres_and_clamps_there() -> None:
    levels = Levels({1: np.array([[1.0, 2.0, 3.0]], dtype=np.float32)})

    def at(u: float) -> float:
        return float(sample(levels, (1,), (10, 10, 0, 0), (1, 3), (10, 10, -u, 0), (1, 1), "linear")[0, 0])

    assert at(-0.5) == pytest.approx(1)
    assert at(-0.51) == INF
    assert at(2.49) == pytest.approx(3)
    assert at(2.5) == INF


# ---- flips ----


@given(lookup=lookups())
@settings(max_examples=60, deadline=None)
def test_a_flip_is_the_mirrored_map_however_it_is_said(lookup: dict[str, object]) -> None:
    levels = lookup.pop("levels")
    assert isinstance(levels, Levels)
    fx, fy, cx, cy = np.abs(np.asarray(lookup.pop("intrinsics"), dtype=np.float64))
    cx = np.round(cx * 64) / 64  # so that w - 1 - (w - 1 - cx) is cx
    lookup.pop("flip")
    height, width = lookup["size"]  # type: ignore[misc]

    def at(intrinsics: tuple[float, float, float, float], flip: bool) -> Map:
        return sample(levels, tuple(levels.maps), intrinsics=intrinsics, flip=flip, **lookup)  # type: ignore[arg-type]

    plain = at((fx, fy, cx, cy), False)
    for mirrored in (
        at((fx, fy, width - 1 - cx, cy), True),
        at((-fx, fy, width - 1 - cx, cy), False),
        at((-fx, fy, width - 1 - cx, cy), True),
    ):
        assert np.array_equal(mirrored[:, ::-1], plain)
    assert plain.shape == (height, width)


def test_matrix_and_four_numbers_say_the_same() -> None:
    levels = random_levels(0, (30, 40))
    four = resized((30, 31, 20, 15), 1.7, 1.7)
    for fx in (four[0], -four[0]):
        matrix = np.array([[fx, 0, four[2]], [0, four[1], four[3]], [0, 0, 1]], dtype=np.float64)
        got = sample(levels, STRIDES, (30, 31, 20, 15), (30, 40), matrix, (17, 23))
        four[0] = fx
        assert np.array_equal(got, sample(levels, STRIDES, (30, 31, 20, 15), (30, 40), four, (17, 23)))
        assert matrix[0, 0] == fx  # the caller's matrix is left alone


def test_what_rounding_left_of_a_zero_or_a_one_is_none() -> None:
    levels = random_levels(0, (30, 40))
    exact = [[30, 0, 20], [0, 30, 15], [0, 0, 1]]
    rounded = [[30, 1e-12, 20], [-3e-6, 30, 15], [1e-9, 0, 1 - 1e-7]]
    one, two = (sample(levels, STRIDES, (30, 30, 20, 15), (30, 40), matrix, (30, 40)) for matrix in (exact, rounded))
    assert np.array_equal(one, two)


# ---- refusals ----

WAY_OUT = "call sample before that step and apply it to σ² too, or compute sigma_z2 in the loader"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"intrinsics": [[0, 30, 15], [30, 0, 20], [0, 0, 1]]}, rf"intrinsics: expected no rotation.*{WAY_OUT}"),
        ({"intrinsics": [[30, 0.1, 20], [0, 30, 15], [0, 0, 1]]}, rf"intrinsics: expected .*no skew.*{WAY_OUT}"),
        ({"intrinsics": [[30, 0, 20], [0, -30, 15], [0, 0, 1]]}, rf"no vertical flip.*{WAY_OUT}"),
        ({"intrinsics": [-30, -30, 20, 15]}, rf"no vertical flip.*{WAY_OUT}"),
        ({"intrinsics": [[30, 0, 20], [0, 30, 15], [0, 0, 2]]}, r"intrinsics: expected a pinhole matrix"),
        ({"intrinsics": [30, 30, math.nan, 15]}, r"intrinsics: expected finite fx, fy, cx, cy"),
        ({"intrinsics": [0, 30, 20, 15]}, r"intrinsics: expected finite .* with fx, fy > 0"),
        ({"intrinsics": [30, 30, 20]}, r"intrinsics: expected one \(3, 3\) matrix.*got shape \(3,\)"),
        ({"intrinsics": np.ones((2, 4))}, r"intrinsics: expected one \(3, 3\) matrix.*got shape \(2, 4\)"),
        (
            {"intrinsics": [0.3, 0.4, 0.5, 0.5], "size": (3, 4)},
            r"expected 1/16 to 64 native pixels per output pixel, x and y within a factor of 2, got 100 in x and 75",
        ),
        (
            {"intrinsics": [0.4, 0.4, 0.5, 0.5], "size": (3, 4)},
            r"got 75 in x and 75 in y; pass those of this frame's output",
        ),
        ({"intrinsics": [0.9, 1.2, 0.5, 0.5]}, r"expected .* of a view of 40×30 .*; check their order, and multiply"),
        ({"intrinsics": [30, 30, 1e9, 15]}, r"expected .* of a view of 40×30 .*more than 87° off the optical axis"),
        ({"intrinsics": [500, 500, 20, 15]}, r"intrinsics: expected 1/16 to 64 .* got 0.06 in x"),
        ({"intrinsics": [30, 12, 20, 15]}, r"within a factor of 2, got 1 in x and 2.5 in y"),
        ({"size": (0, 5)}, r"size: expected \(h, w\), two integers >= 1, got \(0, 5\); pass depth.shape"),
        ({"size": (5, 5, 1)}, r"size: expected \(h, w\), two integers >= 1, got \(5, 5, 1\)"),
        ({"size": (5.5, 5)}, r"size: expected \(h, w\), two integers >= 1, got \(5.5, 5\)"),
        ({"size": 5}, r"size: expected \(h, w\), two integers >= 1, got 5"),
        (
            {"valid": np.ones((40, 30), bool)},
            r"valid: expected bool of shape \(30, 40\) .*, got bool of \(40, 30\); pass depth",
        ),
        (
            {"valid": np.ones((30, 40), np.uint8)},
            r"valid: expected bool of shape \(30, 40\) .*, got uint8 of \(30, 40\)",
        ),
        (
            {"intrinsics": np.full((3, 3), math.nan)},
            r"intrinsics: expected finite fx, fy, cx, cy in pixels, got \[\[nan",
        ),
        ({"intrinsics": [[30, 1e-3, 20], [0, 30, 15], [0, 0, 1]]}, rf"intrinsics: expected .*no skew.*{WAY_OUT}"),
        ({"intrinsics": ["30", "30", "20", "15"]}, r"intrinsics: expected numbers, got <U2 of shape \(4,\)"),
        ({"intrinsics": None}, r"intrinsics: expected numbers, got None"),
        ({"flip": "no"}, r"flip: expected True or False, got 'no'"),
        ({"resize": "area"}, r"resize: expected 'nearest' or 'linear', got 'area'"),
    ],
)
def test_what_is_no_crop_and_resize_is_refused(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {
        "native_intrinsics": (30, 30, 20, 15),
        "native_size": (30, 40),
        "intrinsics": (30, 30, 20, 15),
        "size": (30, 40),
    }
    levels = random_levels(0, (30, 40))
    assert sample(levels, STRIDES, **arguments).shape == (30, 40)  # type: ignore[arg-type]
    levels.read.clear()
    with pytest.raises(ParameterError, match=message) as error:
        sample(levels, STRIDES, **{**arguments, **change})  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
    assert levels.read == []
