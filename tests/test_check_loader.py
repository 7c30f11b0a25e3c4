"""check_loader on right loaders, and on loaders that are wrong in one way each, of rendered and of sensor depth."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from check_loader import (
    RIGHT,
    WRONG,
    Loader,
    Spoil,
    View,
    annotate,
    by_kernel,
    draw,
    in_some,
    make_views,
    mirror,
    right,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from torch.utils.data import DataLoader

from depthvar.datasets import CachedDepthDataset, DepthSource, SigmaCache, open_source
from depthvar.datasets.errors import FrameNotFoundError, ParameterError
from depthvar.datasets.hospital.render import render
from depthvar.datasets.hospital.scene import scene
from depthvar.datasets.hospital.write import camera_poses
from depthvar.precompute import KernelParams, check_loader, sigma_z2
from depthvar.precompute.loader_check.agreement import agreement
from depthvar.precompute.loader_check.check import LoaderCheck
from depthvar.precompute.loader_check.view import Frames, LoaderView, Lookup
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.worker import Job

Data = tuple[DepthSource, SigmaCache]

PLAIN = Loader(size=(96, 96), zoom=(0.8, 1.0))
# A loader with a mistake gets this warning too; what check_loader finds is what is tested here.
pytestmark = pytest.mark.filterwarnings("ignore:.* lie outside of the native frame:UserWarning")

LOADERS = [
    PLAIN,
    PLAIN._replace(resize="linear", rounded=True),
    PLAIN._replace(size=(60, 80), flips=True),
    PLAIN._replace(size=(96, 128), resize="linear", zoom=(0.4, 0.6), rounded=True, flips=True),
    PLAIN._replace(size=(96, 144), zoom=(0.3, 0.5), random_crop=False),  # finer than the frame
]


def cached(source: DepthSource) -> Data:
    job = Job(cache=str(source.root / "sigma_Z2.zarr"), source=source)
    list(pipeline.run(job, execute.serial))
    return source, SigmaCache(job.cache)


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """Six frames of a walk through the sample scene, each seen from a place of its own."""
    root = tmp_path_factory.mktemp("scene")
    (root / "walk").mkdir()
    for number, pose in enumerate(camera_poses("Easy/P000")[::4]):
        depth, _ = render(scene(), pose, (160, 160, 160, 120), (240, 320))
        np.save(root / "walk" / f"{number}.npy", depth)
    pattern, camera = "{sequence}/{frame}.npy", (160, 160, 160, 120)
    return cached(open_source("folder", root, pattern=pattern, intrinsics=camera, max_depth=80))


@pytest.fixture(scope="session")
def redwood(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return kinect("redwood_rgbd", 1000, tmp_path_factory)


@pytest.fixture(scope="session")
def tum(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return kinect("tum_rgbd", 5000, tmp_path_factory)


def kinect(name: str, units_per_metre: float, tmp_path_factory: pytest.TempPathFactory) -> Data:
    root = tmp_path_factory.mktemp("sensor") / name
    shutil.copytree(Path(__file__).parent / "data" / name, root)
    camera = (525, 525, 319.5, 239.5)
    return cached(open_source("folder", root, intrinsics=camera, units_per_metre=units_per_metre))


def made(data: Data, spoil: Spoil = right, loader: Loader = PLAIN, count: int = 3, seed: int = 0) -> list[View]:
    """Return views of a loader, spoiled."""
    views = make_views(data[0], loader, seed, count)
    for index, view in enumerate(views):
        spoil(view, data[1], index)
    return views


def check(data: Data, spoil: Spoil = right, loader: Loader = PLAIN, count: int = 3) -> LoaderCheck:
    return check_loader(made(data, spoil, loader, count), data[1])


# ---- right


@pytest.mark.parametrize(
    ("name", "loader"), [("rendered", each) for each in LOADERS] + [("redwood", LOADERS[2]), ("tum", LOADERS[3])]
)
def test_a_right_loader_has_no_findings(name: str, loader: Loader, request: pytest.FixtureRequest) -> None:
    report = check(request.getfixturevalue(name), right, loader)
    assert str(report).startswith("right: σ agrees with the kernel on the loader's depth at ")
    assert report.right
    assert report.findings == ()
    assert report.agreement.weight_error <= report.limit < report.elsewhere


@pytest.mark.parametrize("spoil", RIGHT.values(), ids=RIGHT)
@pytest.mark.parametrize("loader", [PLAIN, LOADERS[-1]])
def test_half_precision_and_the_kernel_in_the_loader_are_right(rendered: Data, spoil: Spoil, loader: Loader) -> None:
    assert check(rendered, spoil, loader).findings == ()


def turned(view: View, cache: SigmaCache, index: int) -> None:
    annotate(view, cache)
    view["camera_intrinsics"] = view["camera_intrinsics"][[1, 0, 2]]
    view["depthmap"], view["sigma_Z2"] = view["depthmap"].T, view["sigma_Z2"].T


def negative_fx(view: View, cache: SigmaCache, index: int) -> None:
    mirror(view)
    view["camera_intrinsics"][0, 0] *= -1
    annotate(view, cache)


@pytest.mark.parametrize("spoil", [turned, negative_fx])
def test_turned_views_and_a_flip_by_a_negative_focal_length_are_understood(rendered: Data, spoil: Spoil) -> None:
    assert check(rendered, spoil, PLAIN._replace(size=(96, 128))).findings == ()


@pytest.mark.parametrize("augment", [False, True])
def test_samples_of_the_own_data_set_are_right(rendered: Data, augment: bool) -> None:
    source, cache = rendered
    samples = CachedDepthDataset(source, cache, size=(96, 128), augment=augment)
    assert set(samples[0]) == {"depth", "sigma_Z2", "valid", "intrinsics", "key"}
    assert check_loader((samples[index] for index in range(3)), cache).findings == ()


def test_what_the_loader_calls_invalid_is_left_out(rendered: Data) -> None:
    before, views = check(rendered), made(rendered)
    for view in views:
        view["valid_mask"] = np.broadcast_to(np.arange(96) >= 40, (96, 96))
        view["depthmap"] = torch.from_numpy(np.where(view["valid_mask"], view["depthmap"], np.float32(3)))
    masked = check_loader(views, rendered[1])
    assert masked.findings == ()
    assert masked.views == 3
    assert 0 < masked.pixels < before.pixels


def test_a_view_of_what_lies_beyond_the_maximum_depth_is_legitimate(rendered: Data) -> None:
    views = made(rendered)
    views[1]["depthmap"] = np.full((96, 96), np.float32(100))
    views[1]["sigma_Z2"] = np.full((96, 96), np.float32(np.inf))
    report = check_loader(views, rendered[1])
    assert report.findings == ()
    assert report.pixels < check(rendered).pixels


# ---- wrong

SLICE = [
    *("focal 0.5", "focal 0.95", "another crop in each view", "flip", "transposed", "looked up elsewhere"),
    *("next frame", "log(1 + depth)", "difference", "σ² with noise"),
]


@pytest.mark.parametrize("kind", SLICE)
def test_the_cause_of_a_large_error_is_named(rendered: Data, kind: str) -> None:
    spoil, expected = WRONG[kind]
    report = check(rendered, spoil)
    assert not report.right
    assert expected in [finding.kind for finding in report.findings]
    assert str(report).count("\n") == len(report.findings) - 1


@pytest.mark.parametrize("kind", ["focal 1.1", "principal point (7.5, -2)", "flip", "σ", "millimetres"])
def test_the_cause_is_named_on_sensor_depth(redwood: Data, kind: str) -> None:
    spoil, expected = WRONG[kind]
    assert [finding.kind for finding in check(redwood, spoil).findings] == [expected]


def numbers(report: LoaderCheck, pattern: str) -> list[float]:
    """Return the numbers of the only finding."""
    assert len(report.findings) == 1, str(report)
    found = re.search(pattern, report.findings[0].text)
    assert found, str(report)
    return [float(number) for number in found.groups()]


@pytest.mark.parametrize("loader", [PLAIN, PLAIN._replace(resize="linear", flips=True)])
@pytest.mark.parametrize("factor", [0.67, 1.1, 1.5])
def test_the_factor_of_a_focal_length_is_estimated(rendered: Data, factor: float, loader: Loader) -> None:
    report = check(rendered, WRONG[f"focal {factor}"][0], loader)
    assert numbers(report, r"^focal length (\S+) times what fits")[0] == pytest.approx(factor, rel=0.02)
    assert report.findings[0].kind == "camera_intrinsics"
    assert report.findings[0].sure
    assert "correct them before annotate (certain; in 3 of 3 views; weight error " in str(report)


def test_the_focal_lengths_of_x_and_y_are_estimated_apart(rendered: Data) -> None:
    report = check(rendered, WRONG["focal 1.4, 1"][0])
    found = numbers(report, r"^focal lengths (\S+) \(x\) and (\S+) \(y\) times what fits")
    assert found == pytest.approx((1.4, 1), rel=0.02)


@pytest.mark.parametrize("loader", [PLAIN, PLAIN._replace(resize="linear", flips=True)])
@pytest.mark.parametrize("shift", [(7.5, -2), (60, 10)])
def test_the_shift_of_a_principal_point_is_estimated(
    rendered: Data, shift: tuple[float, float], loader: Loader
) -> None:
    report = check(rendered, WRONG[f"principal point {shift}"][0], loader)
    assert numbers(report, r"principal point off by \((\S+), (\S+)\) native pixels") == pytest.approx(shift, abs=1.5)


def test_the_fixed_point_of_a_stretch_names_what_was_not_scaled(rendered: Data) -> None:
    assert "as if they were not scaled with the view" in str(check(rendered, WRONG["not scaled with the view"][0]))
    other = str(check(rendered, WRONG["cache of another resolution"][0]))
    assert "as if the cache had those of another resolution" in other
    assert "(or those of the cache are wrong)" in str(check(rendered, WRONG["focal 1.25"][0]))


@pytest.mark.parametrize("kind", ["half pixel", "other resize"])
def test_a_missing_half_pixel_and_another_resize_are_named_together(redwood: Data, kind: str) -> None:
    (finding,) = check(redwood, WRONG[kind][0], PLAIN._replace(size=(60, 80), zoom=(1, 1)), count=8).findings
    assert finding.kind == "half pixel"
    assert not finding.sure
    assert "; or " in finding.text


def test_a_flip_missing_in_some_views_and_one_wrong_key_are_found_in_those(rendered: Data) -> None:
    views = made(rendered, WRONG["flip in some"][0])
    (finding,) = check_loader(views, rendered[1]).findings
    assert (finding.kind, finding.views) == ("flip", (views[2]["key"],))
    assert "in 1 of 3 views" in str(finding)
    views = made(rendered, WRONG["next frame in one"][0])
    (finding,) = check_loader(views, rendered[1]).findings
    assert finding.views == (views[2]["key"],)
    assert finding.text.startswith(f"the view of {views[2]['key']} holds that of walk/")


def test_the_frame_is_named_also_where_it_is_some_rows_off(rendered: Data) -> None:
    cache = rendered[1]
    views = made(rendered, count=1)
    keys = cache.keys()
    wrong = keys[keys.index(views[0]["key"]) - 3]
    annotate(views[0], cache, key=wrong)
    views[0]["sigma_Z2"] = views[0]["sigma_Z2"].astype(np.float16)  # no longer value for value
    expected = f"another frame's σ: the view of {views[0]['key']} holds that of {wrong}; pass annotate its own key"
    assert str(check_loader(views, cache)).startswith(expected)


def test_depth_of_another_frame_is_not_called_another_frames_sigma(rendered: Data) -> None:
    report = check(rendered, WRONG["depth of another frame"][0])
    (finding,) = (finding for finding in report.findings if finding.kind == "another frame's depth")
    assert "key must name the frame of the depth" in finding.text
    assert "another frame's σ" not in str(report)


def divided(view: View, cache: SigmaCache, index: int) -> None:
    annotate(view, cache)
    view["depthmap"] = view["depthmap"] / np.float32(2 + index)


def test_units_are_named_with_the_scale_for_the_loss(rendered: Data) -> None:
    assert "pass scale=0.001 to the loss" in str(check(rendered, WRONG["millimetres"][0]))
    assert "pass scale=0.01 to the loss" in str(check(rendered, WRONG["centimetres"][0]))
    assert "by view; pass as scale what each view's depth was divided by" in str(check(rendered, divided))


def test_the_form_of_sigma_and_of_depth_is_named(rendered: Data) -> None:
    for kind, text in (("σ", "holds σ in place of σ²"), ("1/σ", "holds 1/σ in"), ("1/σ²", "holds 1/σ² in")):
        assert text in str(check(rendered, WRONG[kind][0]))
    for kind, text in (("log depth", "holds log(depth) in place"), ("disparity", "holds 1 / depth (a disparity) in")):
        assert text in str(check(rendered, WRONG[kind][0]))


def test_one_form_of_depth_is_named_for_all_views_of_a_sensor(redwood: Data) -> None:
    views = make_views(redwood[0], draw(0), 0, 6)
    for index, view in enumerate(views):
        WRONG["log(1 + depth)"][0](view, redwood[1], index)
    (finding,) = check_loader(views, redwood[1]).findings  # in four views alone it looks like other units
    assert finding.text.startswith("the view holds log(1 + depth) in place of depth")
    assert "in 6 of 6 views" in str(finding)


def test_negative_depth_that_the_mask_calls_valid_is_no_depth(rendered: Data) -> None:
    views = made(rendered)
    views[1]["valid_mask"] = views[1]["depthmap"] > 0
    views[1]["depthmap"] = np.where(views[1]["valid_mask"], views[1]["depthmap"] - 10, 0)
    (finding,) = check_loader(views, rendered[1]).findings
    assert finding.views == (views[1]["key"],)
    assert re.match(
        r"no depth: depth is below 0 at \d+ valid pixels, as log\(depth\) is; pass depth along", str(finding)
    )


def by_other_cache(view: View, cache: SigmaCache, index: int) -> None:
    """As if σ² were of a cache of window 3: what it would hold, with the error of a lookup."""
    annotate(view, cache)
    depth, matrix = view["depthmap"], view["camera_intrinsics"]
    window_3, window_5 = sigma_z2(depth, matrix, KernelParams(window=3)), sigma_z2(depth, matrix)
    with np.errstate(invalid="ignore"):
        view["sigma_Z2"] = view["sigma_Z2"] * (window_3 / window_5)


def test_a_quantisation_step_that_only_the_cache_has_is_named(rendered: Data, tmp_path: Path) -> None:
    job = Job(str(tmp_path / "step.zarr"), rendered[0], KernelParams(quantisation_step=0.3))
    list(pipeline.run(job, execute.serial))
    data = rendered[0], SigmaCache(job.cache)
    assert check(data).findings == ()
    (finding,) = check(data, by_kernel(KernelParams())).findings
    expected = "sigma_Z2 fits the kernel with window=5, lambda_prior=0.5, quantisation_step=0, unlike the cache"
    assert finding.text.startswith(expected)


def test_other_parameters_are_named(rendered: Data) -> None:
    (finding,) = check(rendered, WRONG["window 3"][0]).findings
    assert finding.text.startswith("sigma_Z2 fits the kernel with window=3, lambda_prior=0.5, unlike the cache")
    assert finding.sure
    report = check(rendered, by_other_cache)
    assert "sigma_Z2 fits the kernel with window=3, lambda_prior=0.5, unlike the cache" in str(report)
    assert "(likely; " in str(report)
    views = made(rendered)
    for view in views:
        view["sigma_Z2_params"] = np.array([3, 0.5, 0.3], np.float32)
    expected = "other parameters: sigma_Z2_params is [3.0, 0.5, 0.3], the cache has [5, 0.5, 0.3]; pass the cache that"
    assert str(check_loader(views, rendered[1])).startswith(expected)


def shuffled(view: View, cache: SigmaCache, index: int) -> None:
    annotate(view, cache)
    view["sigma_Z2"] = np.random.default_rng(index).permutation(view["sigma_Z2"].ravel()).reshape(96, 96)


def halved(view: View, cache: SigmaCache, index: int) -> None:
    """The upper half is weighted ten times as much."""
    annotate(view, cache)
    view["sigma_Z2"][:48] /= 100


def other_scene(view: View, cache: SigmaCache, index: int) -> None:
    annotate(view, cache)
    view["depthmap"] = np.random.default_rng(index).uniform(1, 9, (96, 96)).astype(np.float32)


@pytest.mark.parametrize("spoil", [shuffled, halved, other_scene, in_some(shuffled, 99)])
def test_a_large_error_is_never_right_though_nothing_explains_it(rendered: Data, spoil: Spoil) -> None:
    report = check(rendered, spoil)
    assert [finding.kind for finding in report.findings] == ["unexplained"]
    assert "certain" not in str(report)
    assert "likely" not in str(report)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, "constant: sigma_Z2 is 1 at every pixel compared, so it weights nothing; call cache.annotate"),
        (np.nan, "no values: sigma_Z2 is NaN, 0 or +inf wherever depth is valid, so the view trains with weight 0;"),
        (np.inf, "no values: sigma_Z2 is NaN, 0 or +inf wherever depth is valid, so the view trains with weight 0;"),
    ],
)
def test_sigma_of_one_value_or_none_is_a_finding_of_its_own(rendered: Data, value: float, expected: str) -> None:
    views = made(rendered)
    for view in views[1:]:
        view["sigma_Z2"] = np.full_like(view["depthmap"], value)
    report = check_loader(views, rendered[1])
    assert str(report).startswith(expected)
    assert str(report).endswith("(certain; in 2 of 3 views)")
    assert check_loader(views[1:], rendered[1]).findings[0].kind == report.findings[0].kind


def test_sigma_of_another_shape_is_a_finding(rendered: Data) -> None:
    views = made(rendered, WRONG["transposed"][0], PLAIN._replace(size=(60, 80)))
    expected = "transposed: sigma_Z2 is (80, 60) where depth is (60, 80); transpose sigma_Z2 where the loader"
    assert str(check_loader(views, rendered[1])).startswith(expected)
    views[0]["sigma_Z2"] = np.ones((7, 7))
    assert str(check_loader(views[:1], rendered[1])).startswith(
        "another size: sigma_Z2 is (7, 7) where depth is (60, 80)"
    )


# ---- what cannot be checked, and the parts


def test_a_key_may_be_an_absolute_path(rendered: Data) -> None:
    source, cache = rendered
    views = made(rendered)
    report = check_loader(views, cache, key=lambda view: source.root / view["key"])
    assert report == check_loader(views, cache)
    with pytest.raises(FrameNotFoundError):
        check_loader(views, cache, key=lambda view: "walk/99.npy")


def without(name: str) -> Callable[[View], View]:
    return lambda view: {key: value for key, value in view.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("key"), r'view: expected "key", the frame\'s key, got \[.*\]; pass key='),
        (without("depthmap"), r'view: expected "depthmap" or "depth", got \[\'camera_intrinsics\', .*\]; rename'),
        (without("camera_intrinsics"), r'view: expected "camera_intrinsics" or "intrinsics", got \['),
        (without("sigma_Z2"), r'view: expected "sigma_Z2", got \[.*\]; add cache\.annotate\(view, key\)'),
        (
            lambda view: view | {"depthmap": view["depthmap"][None]},
            r'view: expected "depthmap" of 2 dimensions, got shape \(1, 96, 96\); pass single views of the data set',
        ),
        (lambda view: [view], r"view: expected a dict, got list; where samples are lists of views, pass \[view for"),
        (
            lambda view: view | {"sigma_Z2": view["sigma_Z2"][None]},
            r'"sigma_Z2" of 2 dimensions, got shape \(1, 96, 96',
        ),
        (
            lambda view: view | {"camera_intrinsics": view["camera_intrinsics"] * np.nan},
            r"walk/.*: intrinsics: expected a 3×3 matrix of finite numbers in pixels, got \[\[nan",
        ),
        (
            lambda view: view | {"camera_intrinsics": np.eye(4)},
            r"walk/.*: intrinsics: expected a 3×3 matrix of finite numbers in pixels, got \[\[1.0, 0.0, 0.0, 0.0\]",
        ),
        (
            lambda view: view | {"depthmap": view["depthmap"] * 0},
            r"at least 256 pixels in whole windows of depth above",
        ),
    ],
)
def test_views_that_cannot_be_checked_are_refused(rendered: Data, change: Callable[[View], View], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        check_loader(map(change, made(rendered)), rendered[1])


def test_what_are_no_views_or_no_cache(rendered: Data) -> None:
    views, cache = made(rendered), rendered[1]
    wrong: list[tuple[Any, Any, str]] = [
        (
            views[0],
            cache,
            "views: expected several, each a dict, got one dict; pass a list, such as .view., best of some",
        ),
        (views, "x.zarr", "cache: expected a SigmaCache, got 'x.zarr'; open one by SigmaCache.path.$"),
        (cache, views, "expected views, then the cache, got a cache first; exchange them$"),
        (None, cache, "views: expected several, each a dict, got one NoneType; pass a list, such as .view., best of"),
    ]
    samples = CachedDepthDataset(rendered[0], cache, size=(24, 32))
    shape = r"\(2, 24, 32\)"
    batch = f'view: expected "depth" of 2 dimensions, got shape {shape}; pass single views of the data set, such as'
    wrong += [(DataLoader(samples, 2), cache, batch)]
    for first, second, message in wrong:
        with pytest.raises(ParameterError, match=f"^(check_loader: )?{message}") as caught:
            check_loader(first, second)
        assert str(caught.value).isprintable()


def test_no_view_and_sparse_depth_are_refused(rendered: Data) -> None:
    with pytest.raises(ParameterError, match="expected some views, got none"):
        check_loader([], rendered[1])
    views = made(rendered)
    for view in views:
        view["depthmap"][::4] = 0  # no whole window is left
    with pytest.raises(ParameterError, match=r"got 0 at most; pass dense depth: sparse depth, as a LiDAR's, cannot"):
        check_loader(views, rendered[1])


@given(
    left=st.floats(-12, 12),
    top=st.floats(-12, 12),
    wider=st.floats(-15, 15),
    higher=st.floats(-15, 15),
    flip=st.booleans(),
)
@settings(max_examples=6, derandomize=True)
def test_a_place_is_found_again(
    rendered: Data, left: float, top: float, wider: float, higher: float, flip: bool
) -> None:
    view = made(rendered, count=1)[0]
    sample = LoaderView(view, Frames(rendered[1]), view["key"])
    place = np.array([[left, left + wider], [top, top + higher]])
    lookup = Lookup(view["key"], flip, "linear", place)
    found, _ = sample.register(sample.look_up(lookup), lookup._replace(place=np.zeros((2, 2))))
    assert found.place == pytest.approx(place, abs=0.5)


def test_ranks_are_those_of_spearman_also_with_ties() -> None:
    random = np.random.default_rng(0)
    one, other = (np.round(random.normal(size=(30, 40)), 1) for _ in range(2))
    assert agreement(one, other + one).rank == pytest.approx(spearmanr(one.ravel(), (other + one).ravel()).statistic)


# ---- annotate


def test_annotate_warns_of_a_view_without_any_sigma(rendered: Data) -> None:
    view = made(rendered, count=1)[0]
    view["camera_intrinsics"][0, 2] -= 1000
    expected = (
        r"^walk/\d.npy: σ² is \+inf at every pixel of a view with depth at \d+, so it trains with weight 0: camera_"
    )
    with pytest.warns(UserWarning, match=expected) as warned:
        rendered[1].annotate(view, view["key"])
    assert np.isinf(view["sigma_Z2"]).all()
    assert str(warned[0].message).endswith("or all of its depth is beyond the maximum of 80 m")
    assert warned[0].filename == __file__


@pytest.mark.filterwarnings("error")
def test_annotate_says_nothing_of_a_view_with_sigma_or_without_depth(rendered: Data) -> None:
    view: dict[str, Any] = made(rendered, count=1)[0]
    rendered[1].annotate(view, view["key"])
    view["camera_intrinsics"][0, 2] -= 1000
    view["depthmap"] = np.zeros_like(view["depthmap"])
    rendered[1].annotate(view, view["key"])
    assert np.isinf(view["sigma_Z2"]).all()


# ---- the campaign


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["rendered", "redwood", "tum"])
def test_forty_right_loaders_have_no_findings(name: str, request: pytest.FixtureRequest) -> None:
    source, cache = request.getfixturevalue(name)
    for seed in range(40):
        views = make_views(source, draw(seed), seed, 6)
        for view in views:
            annotate(view, cache)
        assert (seed, check_loader(views, cache).findings) == (seed, ())


BELOW = {
    "principal point (1, 0)",
    "principal point (0, 2)",
    "half pixel",
    "other resize",
    "λ 0.1",
    "λ 2",
}  # not in each loader


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", [kind for kind in WRONG if kind not in BELOW])
def test_a_wrong_loader_is_found_whatever_it_does_besides(rendered: Data, redwood: Data, kind: str) -> None:
    spoil, _ = WRONG[kind]
    for source, cache in (rendered, redwood):
        for seed in range(3):
            views = make_views(source, draw(seed), seed, 6)
            for index, view in enumerate(views):
                spoil(view, cache, index)
            report = check_loader(views, cache)
            assert not report.right, (kind, seed)
