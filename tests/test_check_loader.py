"""check_loader on right loaders, and on loaders that are wrong in one way each."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from depthvar.datasets import SigmaCache, open_source
from depthvar.datasets.errors import ParameterError
from depthvar.datasets.hospital import _write
from depthvar.datasets.source import DepthSource
from depthvar.precompute import execute, pipeline
from depthvar.precompute.loader_check import check_loader
from depthvar.precompute.worker import Job

View = dict[str, Any]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[DepthSource, SigmaCache]:
    root = tmp_path_factory.mktemp("scene") / "scene"
    _write(root, None, 4, (240, 320), (160.0, 160.0, 160.0, 120.0))
    source = open_source("hospital-sample", root, intrinsics=(160, 160, 160, 120))
    job = Job(cache=str(root / "sigma_Z2.zarr"), source=source)
    list(pipeline.run(job, execute.serial))
    return source, SigmaCache(job.cache)


def views(source: DepthSource, size: tuple[int, int] = (112, 112)) -> list[View]:
    """Right views as a DUSt3R-like loader makes them, without σ²: crop, zoom, nearest resize, float32 K, sky zeroed."""
    random = np.random.default_rng(0)
    made = []
    for frame in source:
        (height, width), (h, w) = frame.depth.shape, size
        scale = random.uniform(0.8, 1) * min(height / h, width / w)
        rows, columns = round(h * scale), round(w * scale)
        top, left = random.integers(height - rows + 1), random.integers(width - columns + 1)
        depth = np.where(frame.valid, frame.depth, np.float32(0))
        v, u = top + np.arange(h) * rows // h, left + np.arange(w) * columns // w
        fx, fy, cx, cy = frame.intrinsics
        x, y = columns / w, rows / h
        matrix = [[fx / x, 0, (cx - left + 0.5) / x - 0.5], [0, fy / y, (cy - top + 0.5) / y - 0.5], [0, 0, 1]]
        made.append({"depthmap": depth[np.ix_(v, u)], "camera_intrinsics": np.float32(matrix), "key": frame.key,
                     "zoom": (x, y)})  # fmt: skip
    return made


def shifted(dx: float, dy: float) -> Callable[[View, SigmaCache], None]:
    def annotate(view: View, cache: SigmaCache) -> None:
        moved = view["camera_intrinsics"].copy()
        moved[:2, 2] += dx / view["zoom"][0], dy / view["zoom"][1]
        view["sigma_Z2"] = cache.sample(view["key"], moved, view["depthmap"].shape)

    return annotate


def without_half_pixel(view: View, cache: SigmaCache) -> None:
    x, y = view["zoom"]
    view["camera_intrinsics"][:2, 2] += 0.5 - 0.5 / x, 0.5 - 0.5 / y
    cache.annotate(view, view["key"])


def without_flip(view: View, cache: SigmaCache) -> None:
    view["depthmap"] = view["depthmap"][:, ::-1]
    view["camera_intrinsics"][0, 2] = view["depthmap"].shape[1] - 1 - view["camera_intrinsics"][0, 2]
    cache.annotate(view, view["key"])


def transposed(view: View, cache: SigmaCache) -> None:
    cache.annotate(view, view["key"])
    view["sigma_Z2"] = view["sigma_Z2"].T


def of_another_frame(view: View, cache: SigmaCache) -> None:
    keys = cache.keys()
    cache.annotate(view, keys[keys.index(view["key"]) - 1])


def in_millimetres(view: View, cache: SigmaCache) -> None:
    cache.annotate(view, view["key"])
    view["depthmap"] = view["depthmap"] * np.float32(1000)


def linear(view: View, cache: SigmaCache) -> None:
    cache.annotate(view, view["key"], resize="linear")


def right(view: View, cache: SigmaCache) -> None:
    cache.annotate(view, view["key"])


@pytest.mark.parametrize("size", [(112, 112), (168, 259), (60, 80), (240, 320)])
def test_a_right_loader_has_no_findings(data: tuple[DepthSource, SigmaCache], size: tuple[int, int]) -> None:
    source, cache = data
    made = views(source, size)
    for view in made:
        right(view, cache)
    report = check_loader(made, cache)
    assert report.findings == ()
    assert str(report).startswith("right: σ agrees")


@pytest.mark.parametrize(
    ("wrong", "finding"),
    [
        (without_half_pixel, "with the half pixel"),
        (without_flip, "flip=True"),
        (transposed, "transposed"),
        (of_another_frame, "another frame's"),
        (in_millimetres, "other units: the loader's depth gives"),
        (shifted(2, 0), "resize='nearest' fits better"),
        (shifted(0, -2), "resize='nearest' fits better"),
        (linear, "resize='nearest'"),
    ],
)
def test_a_wrong_loader_is_told_what_is_wrong(
    data: tuple[DepthSource, SigmaCache], wrong: Callable[[View, SigmaCache], None], finding: str
) -> None:
    source, cache = data
    made = views(source, (60, 60))
    for view in made:
        wrong(view, cache)
    report = check_loader(made, cache)
    assert len(report.findings) == 1
    with pytest.raises(ValueError, match=finding):
        raise ValueError(str(report))


def test_views_that_cannot_be_checked_are_refused(data: tuple[DepthSource, SigmaCache]) -> None:
    source, cache = data
    with pytest.raises(ParameterError, match="expected some views, got none"):
        check_loader([], cache)
    made = views(source)
    with pytest.raises(ParameterError, match=r"add cache\.annotate"):
        check_loader(made, cache)
