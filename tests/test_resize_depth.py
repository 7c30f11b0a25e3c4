"""Laws of resize_depth: a twin in plain loops, crops, whole zooms, holes and far, the frame's end, the data set."""

import math
import pickle
from functools import partial
from typing import Any, Literal

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tiny_data import TinyData

from depthvar.datasets import CachedDepthDataset, SigmaCache, resize_depth
from depthvar.datasets.errors import ParameterError
from depthvar.datasets.loaders.crop import Crop, choose_crop, crop_intrinsics, crop_nearest
from depthvar.precompute import sigma_z2
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline

INF, NAN = math.inf, math.nan
CAMERA = np.array([20.0, 21.0, 5.5, 4.2])
HOWS: list[Literal["nearest", "median"]] = ["nearest", "median"]
Map = NDArray[np.float32]
median = partial(resize_depth, how="median")


def make_depth(seed: int, shape: tuple[int, int], holes: float = 0.3, far: float = 0.2) -> Map:
    """Return depth without two equal values but 0, -1, NaN (unknown) and +inf (far)."""
    rng = np.random.default_rng(seed)
    depth = rng.permutation(np.arange(1, 1 + shape[0] * shape[1])).reshape(shape).astype(np.float32)
    depth[rng.random(shape) < far] = INF
    return np.where(rng.random(shape) < holes, rng.choice([0.0, -1.0, NAN], shape), depth).astype(np.float32)


def resized(scale_x: float, scale_y: float, left: float = 0, top: float = 0) -> NDArray[np.float64]:
    """Return the intrinsics after a crop at (left, top) and a resize that maps pixel centres."""
    fx, fy, cx, cy = CAMERA
    return np.array([fx / scale_x, fy / scale_y, (cx - left + 0.5) / scale_x - 0.5, (cy - top + 0.5) / scale_y - 0.5])


# ---- the definition ----


def footprint(place: int, scale: float, start: float) -> list[int]:
    """The native columns under an output column of an output that begins at the edge of native column ``start``."""
    centre = start + (place + 0.5) * scale - 0.5
    half = max(scale, 1) / 2
    near = range(math.floor(centre - half) - 1, math.ceil(centre + half) + 2)
    return [x for x in near if centre - half - 1e-3 <= x < centre + half - 1e-3]


def slow(depth: Map, size: tuple[int, int], scale: tuple[float, float], start: tuple[float, float], how: str) -> Map:
    """One output pixel after the other."""
    result = np.zeros(size, np.float32)
    for i in range(size[0]):
        for j in range(size[1]):
            if how == "nearest":
                y, x = (math.floor(s + n * r + 1e-3) for s, n, r in zip(start, (i, j), scale, strict=True))
                if 0 <= y < depth.shape[0] and 0 <= x < depth.shape[1]:
                    result[i, j] = depth[y, x]
                continue
            rows, columns = footprint(i, scale[0], start[0]), footprint(j, scale[1], start[1])
            under = [
                float(depth[y, x]) if 0 <= y < depth.shape[0] and 0 <= x < depth.shape[1] else 0.0
                for y in rows
                for x in columns
            ]
            known = sorted(z for z in under if z > 0)
            if 2 * len(known) >= len(under):
                result[i, j] = known[(len(known) - 1) // 2]
    return result


@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(st.integers(1, 14), st.integers(1, 14)),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    zoom=st.one_of(st.floats(0.1, 6), st.sampled_from([1.0, 0.5, 1.5, 2.0, 2.5, 3.0, 4.0])),
    stretch=st.sampled_from([1.0, 1.5, 0.7]),
    start=st.tuples(st.integers(-4, 9), st.integers(-4, 9)),
    holes=st.sampled_from([0.0, 0.3, 0.8]),
    how=st.sampled_from(HOWS),
)
@settings(max_examples=150, deadline=None)
def test_it_is_the_definition(
    seed: int,
    shape: tuple[int, int],
    size: tuple[int, int],
    zoom: float,
    stretch: float,
    start: tuple[int, int],
    holes: float,
    how: Literal["nearest", "median"],
) -> None:
    zoom = round(zoom, 2)  # so that no edge of a footprint is within rounding of the tolerance
    depth = make_depth(seed, shape, holes)
    scale = (zoom, zoom * stretch)
    got = resize_depth(depth, CAMERA, resized(scale[1], scale[0], start[1], start[0]), size, how)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, slow(depth, size, scale, start, how))


# ---- laws ----


def test_the_same_camera_changes_nothing() -> None:
    depth = make_depth(0, (11, 13))
    np.testing.assert_array_equal(resize_depth(depth, CAMERA, CAMERA, (11, 13)), depth)
    np.testing.assert_array_equal(median(depth, CAMERA, CAMERA, (11, 13)), np.where(depth > 0, depth, 0))
    matrix = [[20.0, 0, 5.5], [0, 21.0, 4.2], [0, 0, 1]]
    np.testing.assert_array_equal(median(depth, matrix, matrix, (11, 13)), np.where(depth > 0, depth, 0))


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_crop_is_a_slice(how: Literal["nearest", "median"], dtype: type) -> None:
    depth = make_depth(1, (40, 50), holes=0)
    rng = np.random.default_rng(0)
    for _ in range(50):
        top, left = int(rng.integers(30)), int(rng.integers(40))
        camera = resized(1, 1, left, top).astype(dtype)  # loaders return float32
        np.testing.assert_array_equal(
            resize_depth(depth, CAMERA, camera, (9, 8), how), depth[top : top + 9, left : left + 8]
        )


@pytest.mark.parametrize("how", HOWS)
def test_float32_intrinsics_see_the_same_footprints(how: Literal["nearest", "median"]) -> None:
    depth, native = make_depth(2, (48, 64)), np.array([50.0, 50.0, 31.5, 23.5])
    rng = np.random.default_rng(0)
    for size in ((20, 24), (12, 16), (48, 48)):
        for _ in range(20):
            crop = choose_crop((48, 64), size, 0.5, rng)._replace(flip=False)
            matrix = crop_intrinsics(native, crop, size)
            exact = resize_depth(depth, native, matrix, size, how)
            single = resize_depth(depth.astype(np.float64), native, matrix.astype(np.float32), size, how)
            np.testing.assert_array_equal(single, exact)


def test_nearest_is_that_of_the_data_set_and_of_opencv() -> None:
    depth, native = make_depth(3, (48, 64)), np.array([50.0, 50.0, 31.5, 23.5])
    for size in ((20, 24), (12, 16), (48, 48), (90, 120)):
        crop = choose_crop((48, 64), size, 1.0, None)
        got = resize_depth(depth, native, crop_intrinsics(native, crop, size), size)
        np.testing.assert_array_equal(got, crop_nearest(depth, crop, size))
        inner = depth[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
        unlike = got != cv2.resize(inner, size[::-1], interpolation=cv2.INTER_NEAREST)
        assert (unlike & ~np.isnan(got)).mean() < 0.1  # its rounding where u' r is whole


@pytest.mark.parametrize("zoom", [1, 2, 3, 5])
def test_a_whole_zoom_is_the_median_of_blocks(zoom: int) -> None:
    depth = make_depth(4, (6 * zoom, 7 * zoom), holes=0)
    blocks = depth.reshape(6, zoom, 7, zoom).transpose(0, 2, 1, 3).reshape(6, 7, zoom * zoom)
    expected = np.sort(blocks)[..., (zoom * zoom - 1) // 2]
    np.testing.assert_array_equal(median(depth, CAMERA, resized(zoom, zoom), (6, 7)), expected)


@given(seed=st.integers(0, 2**31), zoom=st.floats(0.2, 5))
@settings(max_examples=40, deadline=None)
def test_no_depth_appears_that_is_not_there_and_its_unit_does_not_matter(seed: int, zoom: float) -> None:
    depth = make_depth(seed, (12, 13))
    camera = resized(zoom, zoom)
    size = (math.ceil(12 / zoom), math.ceil(13 / zoom))
    got = median(depth, CAMERA, camera, size)
    assert np.isin(got, [0, *depth[depth > 0]]).all()
    np.testing.assert_array_equal(median(np.float32(0.25) * depth, CAMERA, camera, size), np.float32(0.25) * got)


@pytest.mark.parametrize("how", HOWS)
def test_upsampling_repeats_pixels(how: Literal["nearest", "median"]) -> None:
    depth = make_depth(5, (5, 6), holes=0)
    got = resize_depth(depth, CAMERA, resized(1 / 3, 1 / 3), (15, 18), how)
    np.testing.assert_array_equal(got, depth.repeat(3, 0).repeat(3, 1))


@pytest.mark.parametrize(
    ("under", "expected"),
    [
        ([1, 2, 3, 4], 2),
        ([3, 1, 1, 3], 1),
        ([0, 2, 3, 4], 3),
        ([NAN, 2, -1, 4], 2),  # half is unknown
        ([0, 0, 0, 4], 0),
        ([0, 0, 0, 0], 0),
        ([1, INF, INF, 2], 2),  # half is far
        ([1, INF, INF, INF], INF),
        ([0, INF, INF, 2], INF),
        ([0, 0, INF, 2], 2),
        ([0, 0, INF, INF], INF),
        ([INF, INF, INF, INF], INF),
        ([2**-41, 1, 1, 1], 1),  # too little for a depth
        ([2**-41, 2**-41, 2**-41, 1], 0),
    ],
)
def test_the_larger_part_of_a_footprint_decides(under: list[float], expected: float) -> None:
    depth = np.array(under, np.float32).reshape(2, 2)
    assert median(depth, (2, 2, 0.5, 0.5), (1, 1, 0, 0), (1, 1)).tolist() == [[expected]]


@pytest.mark.parametrize("how", HOWS)
def test_a_single_pixel_and_what_lies_outside_of_it(how: Literal["nearest", "median"]) -> None:
    one = np.full((1, 1), 7, np.float32)
    camera = (9.0, 9.0, 0, 0)
    assert resize_depth(one, camera, camera, (1, 1), how).tolist() == [[7]]
    around = resize_depth(one, camera, (9, 9, 1, 1), (3, 3), how)
    assert around.tolist() == [[0, 0, 0], [0, 7, 0], [0, 0, 0]]
    assert not resize_depth(one, camera, (9, 9, 50, 50), (3, 3), how).any()


@pytest.mark.parametrize("how", HOWS)
def test_any_array_of_floats_and_the_input_is_left_alone(how: Literal["nearest", "median"]) -> None:
    depth = make_depth(6, (12, 14))
    expected = resize_depth(depth, CAMERA, resized(2, 2), (6, 7), how)
    before = depth.copy()
    read_only = depth.copy()
    read_only.flags.writeable = False
    turned = np.asfortranarray(depth)
    for each in (read_only, turned, depth.astype(np.float64), depth.astype(np.float16), torch.from_numpy(depth)):
        np.testing.assert_array_equal(resize_depth(each, CAMERA, resized(2, 2), (6, 7), how), expected)
    np.testing.assert_array_equal(depth, before)
    assert expected.flags.writeable
    assert expected.flags.c_contiguous


# ---- refusals ----


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"how": "mean"}, "^how: expected 'nearest' or 'median', got 'mean'$"),
        ({"depth": np.ones((2, 3), int)}, "^depth: expected floats in metres of shape .H, W., got int64 of shape"),
        ({"depth": np.ones((1, 2, 3))}, "^depth: expected floats in metres of shape .H, W., got float64 of shape"),
        ({"depth": np.ones((0, 3))}, "^depth: expected floats"),
        ({"size": (0, 3)}, "^size: expected .h, w., two integers >= 1, got"),
        ({"size": 3}, "^size: expected"),
        ({"intrinsics": (0, 20, 5, 4)}, "^intrinsics: expected finite fx, fy, cx, cy in pixels with fx, fy > 0"),
        ({"intrinsics_out": (-20, 20, 5, 4)}, "^intrinsics_out: expected finite fx, fy, cx, cy in pixels with fx, fy"),
        ({"intrinsics_out": np.eye(3)[[1, 0, 2]]}, "^intrinsics_out: expected a pinhole matrix"),
        ({"intrinsics_out": np.ones((5, 4))}, r"^intrinsics_out: expected one camera, got those of shape \(5,\)"),
        ({"intrinsics_out": (20, 5, 5, 4)}, "expected 1/16 to 64 native pixels per output pixel, x and y within"),
        ({"intrinsics_out": (0.2, 0.2, 2, 2)}, "expected 1/16 to 64 native pixels per output pixel"),
    ],
)
def test_what_is_no_crop_and_resize_is_refused(change: dict[str, Any], message: str) -> None:
    arguments = {"depth": np.ones((6, 8)), "intrinsics": (20, 20, 4, 3), "intrinsics_out": (10, 10, 2, 2)}
    with pytest.raises(ParameterError, match=message):
        resize_depth(**(arguments | {"size": (3, 4)} | change))


# ---- in the data set ----


def test_the_data_set_resizes_depth_by_it(tiny: TinyData) -> None:
    job = tiny.job()
    list(pipeline.run(job, execute.serial))
    cache, source = SigmaCache(job.cache), tiny.source()
    dataset = CachedDepthDataset(source, cache, size=(9, 12), augment=True, resize="median")
    copy = pickle.loads(pickle.dumps(dataset))
    other = CachedDepthDataset(source, cache, size=(9, 12), augment=True)
    flips, unlike = set(), False
    for epoch in range(6):
        for each in (dataset, copy, other):
            each.set_epoch(epoch)
        for index, frame in enumerate(source):
            sample = dataset[index]
            random = np.random.default_rng((0, epoch, index))
            crop = choose_crop(frame.depth.shape, (9, 12), 0.5, random)  # type: ignore[arg-type]
            flips.add(crop.flip)
            matrix = crop_intrinsics(frame.intrinsics, crop._replace(flip=False), (9, 12))
            depth = median(frame.depth, frame.intrinsics, matrix, (9, 12))
            depth = np.where(np.isfinite(depth), depth, 0)[:, :: -1 if crop.flip else 1]
            np.testing.assert_array_equal(sample["depth"], depth)
            np.testing.assert_array_equal(sample["valid"], depth > 0)
            camera = crop_intrinsics(frame.intrinsics, crop, (9, 12))
            np.testing.assert_array_equal(sample["intrinsics"], camera.astype(np.float32))
            expected = cache.sample(frame.key, camera, (9, 12), "linear", flip=crop.flip, valid=depth > 0)
            np.testing.assert_array_equal(sample["sigma_Z2"], expected)
            assert all(torch.equal(sample[name], copy[index][name]) for name in ("depth", "sigma_Z2", "valid"))
            unlike |= not torch.equal(sample["depth"], other[index]["depth"])
    assert flips == {False, True}
    assert unlike


def test_the_data_set_keeps_far_depth_for_the_kernel(tiny: TinyData) -> None:
    seen: list[Map] = []

    def sigma(depth: Map, matrix: Any) -> Map:
        seen.append(depth)
        return sigma_z2(depth, matrix)

    sample = CachedDepthDataset(tiny.source(), sigma, size=(12, 16), resize="median")[0]
    assert ((sample["depth"] == 0).numpy() == ~sample["valid"].numpy()).all()
    frame = tiny.source().read(sample["key"])
    camera = crop_intrinsics(frame.intrinsics, Crop(0, 0, *frame.depth.shape, False), (12, 16))
    np.testing.assert_array_equal(seen[0], median(frame.depth, frame.intrinsics, camera, (12, 16)))
    with pytest.raises(ParameterError, match=r"^resize: expected 'nearest' or 'median', got 'linear'$"):
        CachedDepthDataset(tiny.source(), sigma_z2, resize="linear")  # type: ignore[arg-type]
