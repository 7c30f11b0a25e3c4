"""Frames of the built-in scene under the keys of other trainings' layouts, and the examples on stand-ins of them."""

import importlib.util
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import loader_bases
import numpy as np
import pytest
from numpy.typing import NDArray

from depthvar.datasets import Frame, SigmaCache, Source
from depthvar.datasets.frame import view_key
from depthvar.datasets.hospital.render import render
from depthvar.datasets.hospital.scene import scene
from depthvar.datasets.hospital.write import camera_poses
from depthvar.precompute import check_loader, run

EXAMPLES = Path(__file__).parents[2] / "examples/loaders"
LANDSCAPE, PORTRAIT, FOCAL, FAR = (120, 160), (160, 120), 80.0, 30.0
NUMBERS = (2, 5, 9, 12)
KEYS = {
    "dust3r": "hydrant/{i}/depths/frame{i:06}.jpg.geometric.png",
    "cut3r": "scans_train/scene0000_00/depth/{i:05}.png",
    "mapanything": "scene_1/depth/{i:08}.exr",
    "vggt": "hydrant/110_1/depths/frame{i:06}.jpg.geometric.png",
    "moge": "{i:06}/depth.png",
}


class Frames(Source):
    """Frames in memory."""

    name = "frames"

    def __init__(self, frames: dict[str, Frame]) -> None:
        self.frames = frames

    def keys(self) -> list[str]:
        return sorted(self.frames)

    def read(self, key: str) -> Frame:
        return self.frames[key]


def camera(size: tuple[int, int]) -> tuple[float, float, float, float]:
    return FOCAL, FOCAL, size[1] / 2 - 0.5, size[0] / 2 - 0.5


@cache
def rendered(number: int, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return the depth of a frame of the scene, in metres."""
    return render(scene(), camera_poses("Easy/P000")[number], camera(size), size)[0]


class Case:
    """Frames under the keys of a base, and their cache."""

    def __init__(self, name: str, folder: Path, *sizes: tuple[int, int]) -> None:
        chosen = {KEYS[name].format(i=i): (i, sizes[n % len(sizes)]) for n, i in enumerate(NUMBERS)}
        self.frames = {key: Frame(key, rendered(*at), camera(at[1]), FAR) for key, at in chosen.items()}
        self.root = folder
        run(Frames(self.frames), str(folder / "sigma_Z2.zarr"))
        self.cache = SigmaCache(folder / "sigma_Z2.zarr")


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import an example, with the stand-ins in place of the bases."""
    for module, stand_in in loader_bases.modules().items():
        monkeypatch.setitem(sys.modules, module, stand_in)
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def moge_instance(frame: Frame, seed: int) -> dict[str, Any]:
    """Return what MoGe's pipeline loads: masks, depth 1 where they are not, intrinsics in sides."""
    height, width = frame.depth.shape
    fx, fy, cx, cy = frame.intrinsics
    matrix = np.array([[fx / width, 0, (cx + 0.5) / width], [0, fy / height, (cy + 0.5) / height], [0, 0, 1]])
    sky = frame.depth > FAR
    return {
        "depth": np.where(sky, np.float32(1), frame.depth),
        "depth_mask": ~sky,
        "depth_mask_inf": sky,
        "intrinsics": matrix.astype(np.float32),
        "seed": seed,
    }


def assert_right(views: Iterable[Any], case: Case, key: Any = view_key) -> None:
    """Check σ² of views by check_loader."""
    views = list(views)
    report = check_loader(views, case.cache, key)
    assert report.right, str(report)
    assert report.views == len(views)


def wrong(views: Iterable[Any], case: Case, key: Any = view_key) -> str:
    """Return what check_loader finds."""
    report = check_loader(list(views), case.cache, key)
    assert not report.right
    return str(report)
