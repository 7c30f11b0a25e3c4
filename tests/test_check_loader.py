"""check_loader on right loaders, and on loaders that are wrong in one way each, of rendered and of sensor depth."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from depthvar.datasets import SigmaCache, open_source
from depthvar.datasets.errors import ParameterError
from depthvar.datasets.hospital.write import write_sample as _write
from depthvar.datasets.source.depth_source import DepthSource
from depthvar.precompute import check_loader
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.worker import Job

View = dict[str, Any]
Data = tuple[DepthSource, SigmaCache]
Resize = Literal["nearest", "linear"]
Annotate = Callable[[View, SigmaCache, Resize], None]
SENSOR = {"redwood_rgbd": 1000, "tum_rgbd": 5000}  # units in a metre


def cached(source: DepthSource) -> Data:
    job = Job(cache=str(source.root / "sigma_Z2.zarr"), source=source)
    list(pipeline.run(job, execute.serial))
    return source, SigmaCache(job.cache)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Data:
    root = tmp_path_factory.mktemp("scene") / "scene"
    _write(root, None, 4, (240, 320), (160.0, 160.0, 160.0, 120.0))
    return cached(open_source("hospital-sample", root, intrinsics=(160, 160, 160, 120)))


@pytest.fixture(scope="module", params=SENSOR)
def sensor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Data:
    root = tmp_path_factory.mktemp("sensor") / request.param
    shutil.copytree(Path(__file__).parent / "data" / request.param, root)
    camera = (525, 525, 319.5, 239.5)
    return cached(open_source("folder", root, intrinsics=camera, units_per_metre=SENSOR[request.param]))


def resized(depth: NDArray[np.float32], size: tuple[int, int], resize: Resize) -> NDArray[np.float32]:
    """Resize (H, W) depth as cv2 does; 0 where linear interpolation would use an unknown pixel."""
    if resize == "linear":
        both = torch.from_numpy(np.stack([depth, depth > 0]))[None]
        linear, known = torch.nn.functional.interpolate(both, size, mode="bilinear", align_corners=False)[0].numpy()
        return np.where(known > 0.999, linear, np.float32(0))
    rows, columns = (np.arange(out) * full // out for out, full in zip(size, depth.shape, strict=True))
    return depth[np.ix_(rows, columns)]


def views(source: DepthSource, size: tuple[int, int], resize: Resize = "nearest", rounded: bool = False) -> list[View]:
    """Right views as a DUSt3R-like loader makes them, without σ²: crop, zoom, resize, float32 K, sky zeroed.

    With ``rounded``, the intrinsics are scaled by the zoom that was asked for, as if the size were not rounded down.
    """
    random = np.random.default_rng(0)
    made = []
    for frame in ([*source] * 4)[:4]:
        (height, width), (h, w) = frame.depth.shape, size
        zoom = random.uniform(0.8, 1) * min(height / h, width / w)
        rows, columns = round(h * zoom), round(w * zoom)
        top, left = random.integers(height - rows + 1), random.integers(width - columns + 1)
        depth = np.where(frame.valid, frame.depth, np.float32(0))[top : top + rows, left : left + columns]
        fx, fy, cx, cy = frame.intrinsics
        x, y = (columns / (w + 0.6), rows / (h + 0.6)) if rounded else (columns / w, rows / h)
        matrix = [[fx / x, 0, (cx - left + 0.5) / x - 0.5], [0, fy / y, (cy - top + 0.5) / y - 0.5], [0, 0, 1]]
        made.append({"depthmap": resized(depth, size, resize), "camera_intrinsics": np.float32(matrix),
                     "key": frame.key, "zoom": (x, y)})  # fmt: skip
    return made


def right(view: View, cache: SigmaCache, resize: Resize) -> None:
    cache.annotate(view, view["key"], resize)


def moved(view: View, dx: float, dy: float) -> NDArray[np.float32]:
    """Return the intrinsics by which a lookup lands (dx, dy) native pixels beside the right place."""
    matrix: NDArray[np.float32] = view["camera_intrinsics"].copy()
    matrix[:2, 2] -= dx / view["zoom"][0], dy / view["zoom"][1]
    return matrix


def shifted(dx: int, dy: int) -> Annotate:
    def annotate(view: View, cache: SigmaCache, resize: Resize) -> None:
        view["sigma_Z2"] = cache.sample(view["key"], moved(view, dx, dy), view["depthmap"].shape, resize)

    return annotate


def principal_point_off(dx: int, dy: int) -> Annotate:
    def annotate(view: View, cache: SigmaCache, resize: Resize) -> None:
        view["camera_intrinsics"] = moved(view, dx, dy)
        cache.annotate(view, view["key"], resize)

    return annotate


def without_half_pixel(view: View, cache: SigmaCache, resize: Resize) -> None:
    x, y = view["zoom"]
    view["camera_intrinsics"][:2, 2] += 0.5 - 0.5 / x, 0.5 - 0.5 / y
    cache.annotate(view, view["key"], resize)


def mirror(view: View) -> None:
    view["depthmap"] = view["depthmap"][:, ::-1]
    view["camera_intrinsics"][0, 2] = view["depthmap"].shape[1] - 1 - view["camera_intrinsics"][0, 2]


def without_flip(view: View, cache: SigmaCache, resize: Resize) -> None:
    mirror(view)
    cache.annotate(view, view["key"], resize)


def with_flip(view: View, cache: SigmaCache, resize: Resize) -> None:
    mirror(view)
    cache.annotate(view, view["key"], resize, flip=True)


def transposed(view: View, cache: SigmaCache, resize: Resize) -> None:
    cache.annotate(view, view["key"], resize)
    view["sigma_Z2"] = view["sigma_Z2"].T


def of_another_frame(view: View, cache: SigmaCache, resize: Resize) -> None:
    keys = cache.keys()
    cache.annotate(view, keys[keys.index(view["key"]) - 1], resize)


def in_millimetres(view: View, cache: SigmaCache, resize: Resize) -> None:
    cache.annotate(view, view["key"], resize)
    view["depthmap"] = view["depthmap"] * np.float32(1000)


def resized_otherwise(view: View, cache: SigmaCache, resize: Resize) -> None:
    cache.annotate(view, view["key"], "linear" if resize == "nearest" else "nearest")


def rolled(view: View, cache: SigmaCache, resize: Resize) -> None:
    cache.annotate(view, view["key"], resize)
    view["sigma_Z2"] = np.roll(view["sigma_Z2"], (31, 23), (0, 1))


def of_other_depth(view: View, cache: SigmaCache, resize: Resize) -> None:
    cache.annotate(view, view["key"], resize)
    view["depthmap"] = np.random.default_rng(0).uniform(1, 9, view["depthmap"].shape)


def turned(view: View, cache: SigmaCache, resize: Resize) -> None:
    cache.annotate(view, view["key"], resize)
    view["camera_intrinsics"] = view["camera_intrinsics"][[1, 0, 2]]
    view["depthmap"], view["sigma_Z2"] = view["depthmap"].T, view["sigma_Z2"].T


def negative_fx(view: View, cache: SigmaCache, resize: Resize) -> None:
    mirror(view)
    view["camera_intrinsics"][0, 0] *= -1
    cache.annotate(view, view["key"], resize)


def annotated(made: list[View], cache: SigmaCache, annotate: Annotate, resize: Resize) -> list[View]:
    for view in made:
        annotate(view, cache, resize)
    return made


SHIFTS = [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (2, 0), (0, -2), (-2, 2)]
WRONG = [
    (without_flip, "flip: "),
    (transposed, "transposed: "),
    (in_millimetres, "other units: the loader's depth gives"),
    (rolled, "other values: "),
    (of_other_depth, "nothing fits: "),
    *((wrong(*shift), f"shifted: sigma_Z2 was taken {shift} ") for shift in SHIFTS for wrong in (shifted,)),
    *((principal_point_off(*shift), f"shifted: sigma_Z2 was taken {shift} ") for shift in [(-1, 0), (0, 1), (2, 0)]),
]


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("resize", ["nearest", "linear"])
@pytest.mark.parametrize("size", [(112, 112), (60, 80)])
@pytest.mark.parametrize("annotate", [right, with_flip])
def test_a_right_loader_has_no_findings(
    rendered: Data, size: tuple[int, int], resize: Resize, rounded: bool, annotate: Annotate
) -> None:
    source, cache = rendered
    report = check_loader(annotated(views(source, size, resize, rounded), cache, annotate, resize), cache)
    assert report.findings == ()
    assert str(report).startswith("right: σ agrees")


@pytest.mark.parametrize("annotate", [turned, negative_fx])
def test_turned_views_and_a_flip_by_a_negative_focal_length_are_understood(rendered: Data, annotate: Annotate) -> None:
    source, cache = rendered
    report = check_loader(annotated(views(source, (96, 128)), cache, annotate, "nearest"), cache)
    assert report.findings == ()


@pytest.mark.parametrize("resize", ["nearest", "linear"])
@pytest.mark.parametrize("annotate", [right, with_flip])
def test_a_right_loader_of_sensor_depth_has_no_findings(sensor: Data, resize: Resize, annotate: Annotate) -> None:
    source, cache = sensor
    report = check_loader(annotated(views(source, (224, 224), resize), cache, annotate, resize), cache)
    assert report.findings == ()


@pytest.mark.parametrize(("wrong", "finding"), [*WRONG, (of_another_frame, "another frame's σ: the view of ")])
def test_a_wrong_loader_is_told_what_is_wrong(rendered: Data, wrong: Annotate, finding: str) -> None:
    source, cache = rendered
    (found,) = check_loader(annotated(views(source, (112, 112)), cache, wrong, "nearest"), cache).findings
    assert found.startswith(finding)


@pytest.mark.parametrize(("wrong", "finding"), [*WRONG[:5], (shifted(2, 0), "shifted: sigma_Z2 was taken (2, 0)")])
def test_a_wrong_loader_of_sensor_depth_is_told_what_is_wrong(sensor: Data, wrong: Annotate, finding: str) -> None:
    source, cache = sensor
    (found,) = check_loader(annotated(views(source, (224, 224)), cache, wrong, "nearest"), cache).findings
    assert found.startswith(finding)


@pytest.mark.parametrize("wrong", [without_half_pixel, resized_otherwise])
def test_a_missing_half_pixel_and_another_resize_move_the_lookup_alike(rendered: Data, wrong: Annotate) -> None:
    source, cache = rendered
    (found,) = check_loader(annotated(views(source, (56, 80)), cache, wrong, "nearest"), cache).findings
    assert ("half pixel: " if wrong is without_half_pixel else "resize: depthmap fits resize='nearest'") in found


def test_a_flip_missing_in_some_views_and_one_wrong_key_are_found(rendered: Data) -> None:
    source, cache = rendered
    made = views(source, (112, 112))
    flipped = [*annotated(made[:2], cache, without_flip, "nearest"), *annotated(made[2:], cache, right, "nearest")]
    assert check_loader(flipped, cache).findings[0].startswith("flip: ")
    made = annotated(views(source, (112, 112)), cache, right, "nearest")
    of_another_frame(made[2], cache, "nearest")
    assert check_loader(made, cache).findings[0].startswith(f"another frame's σ: the view of {made[2]['key']} ")


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """Twelve frames of the rendered scene, in one sequence or two."""
    root = tmp_path_factory.mktemp("walk") / "scene"
    _write(root, None, 12, (120, 160), (80.0, 80.0, 80.0, 60.0))
    return cached(open_source("hospital-sample", root, intrinsics=(80, 80, 80, 60)))


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("off", [3, 5])
def test_the_frame_whose_sigma_it_is_is_named_also_where_it_is_some_rows_off(walk: Data, off: int, half: bool) -> None:
    source, cache = walk
    keys = cache.keys()
    made = views(source, (56, 80))[:1]
    wrong = keys[keys.index(made[0]["key"]) + off]
    cache.annotate(made[0], wrong)
    if half:  # no longer value for value
        made[0]["sigma_Z2"] = made[0]["sigma_Z2"].astype(np.float16).astype(np.float32)
    (found,) = check_loader(made, cache).findings
    assert found == f"another frame's σ: the view of {made[0]['key']} holds that of {wrong}; pass annotate its own key"


def test_other_values_may_be_those_of_a_frame_that_is_not_found(rendered: Data) -> None:
    source, cache = rendered
    (found,) = check_loader(annotated(views(source, (112, 112)), cache, rolled, "nearest"), cache).findings
    assert found.endswith("; or it is that of another frame: pass annotate the view's own key")
    assert "flip" not in found


@pytest.mark.filterwarnings("error")
def test_a_constant_is_a_finding_of_its_own(rendered: Data) -> None:
    source, cache = rendered
    made = annotated(views(source, (112, 112)), cache, right, "nearest")
    for view in made[1:]:
        view["sigma_Z2"] = np.ones_like(view["depthmap"])
    (found,) = check_loader(made, cache).findings
    assert found.startswith("constant: sigma_Z2 is 1 at every pixel compared, in 3 of 4 views, so it weights nothing;")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_sigma_without_any_value_is_a_finding(rendered: Data, value: float) -> None:
    source, cache = rendered
    made = views(source, (112, 112))
    for view in made:
        view["sigma_Z2"] = np.full_like(view["depthmap"], value)
    (found,) = check_loader(made, cache).findings
    assert found.startswith("no values: sigma_Z2 is NaN or +inf where depthmap is valid, in 4 of 4 views;")


def test_what_the_loader_calls_invalid_is_left_out(rendered: Data) -> None:
    source, cache = rendered
    made = annotated(views(source, (112, 112)), cache, right, "nearest")
    before = check_loader(made, cache)
    for view in made:
        view["valid_mask"] = np.arange(112) >= 40
        view["valid_mask"] = np.broadcast_to(view["valid_mask"], (112, 112))
        view["depthmap"] = torch.from_numpy(np.where(view["valid_mask"], view["depthmap"], np.float32(3)))
    masked = check_loader(made, cache)
    assert masked.findings == ()
    assert 0 < masked.pixels < before.pixels
    for view in made:
        del view["valid_mask"]
    assert check_loader(made, cache).pixels > masked.pixels


def test_sigma_of_another_shape_is_a_finding(rendered: Data) -> None:
    source, cache = rendered
    made = annotated(views(source, (60, 80)), cache, transposed, "nearest")
    expected = "transposed: sigma_Z2 is (80, 60) where depthmap is (60, 80), in 4 of 4 views; turn sigma_Z2 along"
    assert str(check_loader(made, cache)).startswith(expected)
    made[0]["sigma_Z2"] = np.ones((7, 7))
    assert str(check_loader(made[:1], cache)).startswith("another size: sigma_Z2 is (7, 7) where depthmap is (60, 80)")


def test_a_key_may_be_an_absolute_path(rendered: Data) -> None:
    source, cache = rendered
    made = annotated(views(source, (60, 80)), cache, right, "nearest")
    report = check_loader(made, cache, key=lambda view: source.root / view["key"])
    assert report == check_loader(made, cache)


def test_views_that_cannot_be_checked_are_refused(rendered: Data) -> None:
    source, cache = rendered
    with pytest.raises(ParameterError, match="expected some views, got none"):
        check_loader([], cache)
    with pytest.raises(ParameterError, match=r"""view: expected "key", .* got \['depthmap'\]; pass key="""):
        check_loader([{"depthmap": np.ones((9, 9))}], cache)
    made = views(source, (112, 112))
    with pytest.raises(ParameterError, match=r"add cache\.annotate"):
        check_loader(made, cache)
    for view in annotated(made, cache, right, "nearest"):
        view["depthmap"][::4] = 0  # no whole window is left, as in LiDAR depth
    with pytest.raises(ParameterError, match=r"expected a view with at least 100 valid pixels .* got 0 in all"):
        check_loader(made, cache)
