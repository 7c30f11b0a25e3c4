"""The recipes for other trainings run on stand-ins of their bases; docs/recipes/plain.md is in test_code_blocks.py."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from loader_cases import LANDSCAPE, PORTRAIT, Case, load, moge_instance
from pages import ROOT, blocks
from pi3_views import batch as pi3_batch
from torch.utils.data import default_collate

import depthvar.datasets
from depthvar.datasets import SigmaCache


def run_page(name: str, **names: Any) -> dict[str, Any]:
    """Run the Python of a recipe, one block after the other; return its names."""
    for code in blocks((ROOT / f"docs/recipes/{name}.md").read_text(), "python"):
        exec(compile(code, f"{name}.md", "exec"), names)
    return names


def provide(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
    """Have a recipe import these members: an example's copy in a training."""
    module = ModuleType(name)
    vars(module).update(members)
    monkeypatch.setitem(sys.modules, name, module)


def test_dust3r(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    case = Case("dust3r", tmp_path, LANDSCAPE, PORTRAIT)
    example = load("dust3r", monkeypatch)
    opened = {}

    def co3d_sigma(*, split: str, ROOT: str, resolution: tuple[int, int], cache: str) -> Any:
        opened.update(split=split, root=ROOT, cache=cache)
        return example.Co3dSigma(case.frames, resolution, cache=str(case.root / "sigma_Z2.zarr"))

    provide(monkeypatch, "sigma_dust3r", Co3dSigma=co3d_sigma)
    names = run_page("dust3r")
    assert opened["cache"] == f"{opened['root']}/sigma_Z2.zarr"
    assert capsys.readouterr().out.startswith("right: ")
    view = default_collate([names["views"][0], names["views"][1]])
    mask = view["valid_mask"]
    distance = names["weighted"](torch.ones(int(mask.sum())), view, mask)
    known = view["sigma_Z2"].isfinite()[mask]
    assert (distance[known] > 0).all()
    assert (distance[~known] == 0).all()
    for image in range(2):
        of_image = mask & (torch.arange(2) == image)[:, None, None]
        mean = distance[of_image[mask] & known].mean()
        assert mean == pytest.approx(1, abs=1e-4)  # as the page says, so that learning rates carry over


def test_moge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    case = Case("moge", tmp_path, LANDSCAPE)
    example = load("moge", monkeypatch)

    class Pipeline(example.SigmaPipeline):  # type: ignore[misc, name-defined]
        def __init__(self, config: Any, batch_size: int) -> None:
            super().__init__((84, 112), center_augmentation=1.0)
            self.batch_size = batch_size

        def get(self) -> Any:
            frames = sorted(case.frames.items())[: self.batch_size]
            return self._collate_batch([self._process_instance(moge_instance(f, 2)) for _, f in frames])

    provide(monkeypatch, "sigma_moge", SigmaPipeline=Pipeline)
    names = run_page("moge", config={})
    weight = names["weight"]
    assert weight.shape == names["batch"]["depth"].shape == (4, 84, 112)
    least = torch.where(weight > 0, weight, torch.inf).amin((1, 2))
    assert (weight.amax((1, 2)) <= 9.001 * least).all()  # as the page says
    assert capsys.readouterr().out.startswith("no σ²: ")


def test_pi3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    case = Case("cut3r", tmp_path, LANDSCAPE)
    key, frame = next(iter(case.frames.items()))
    (fx, fy, cx, cy), depth = frame.intrinsics, np.where(frame.valid, frame.depth, 0)
    view = {"depthmap": depth, "camera_intrinsics": np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])}
    opened = []

    def sigma_cache(path: str) -> SigmaCache:
        opened.append(path)
        return case.cache

    monkeypatch.setattr(depthvar.datasets, "SigmaCache", sigma_cache, raising=False)
    pred, gt_raw = pi3_batch()
    names = run_page("pi3", view=view, depth_path=key, pred=pred, gt_raw=gt_raw)
    assert opened == ["/data/tartanair/hospital/sigma_Z2.zarr"]  # where its command has written it
    np.testing.assert_array_equal(view["sigma_Z2"], case.cache.read(key))
    assert names["loss"].isfinite()
    assert "depth_xy_ratio" in capsys.readouterr().out
