"""The examples for the bases of other trainings, on stand-ins of their conventions: σ² of every view is right."""

from pathlib import Path
from types import ModuleType
from typing import Any

import loader_bases
import numpy as np
import pytest
import torch
from loader_cases import (
    EXAMPLES,
    FAR,
    KEYS,
    LANDSCAPE,
    NUMBERS,
    PORTRAIT,
    Case,
    assert_right,
    load,
    moge_instance,
    wrong,
)
from torch.utils.data import DataLoader, default_collate

from depthvar.datasets.hospital.render import render
from depthvar.datasets.hospital.scene import scene
from depthvar.datasets.hospital.write import camera_poses
from depthvar.precompute import check_loader, sigma_z2

SEEDS = (2, 3, 4, 6)  # of MoGe's augmentation


@pytest.fixture
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    name, *sizes = request.param
    return Case(name, tmp_path, *sizes)


dust3r_like = pytest.mark.parametrize("case", [("dust3r", LANDSCAPE, PORTRAIT)], indirect=True)


def co3d_key(view: dict[str, Any]) -> str:
    return f"{view['label']}/depths/{view['instance']}.geometric.png"


@dust3r_like
def test_dust3r_views_have_their_sigma_turned_with_them(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    example = load("dust3r", monkeypatch)
    dataset = example.Co3dSigma(case.frames, (112, 84), cache=str(case.root / "sigma_Z2.zarr"))
    views = [view for index in range(len(dataset)) for view in dataset[index]]
    assert all(view["sigma_Z2"].shape == view["depthmap"].shape == (84, 112) for view in views)
    assert {tuple(view["true_shape"]) for view in views} == {(84, 112), (112, 84)}
    assert_right(views, case, co3d_key)
    assert default_collate([dataset[0], dataset[1]])[0]["sigma_Z2"].shape == (2, 84, 112)
    plain = example.Co3d(case.frames, (112, 84))[1]
    assert plain[0].keys() | {"sigma_Z2", "sigma_Z2_params"} == views[2].keys()
    np.testing.assert_array_equal(plain[0]["depthmap"], views[2]["depthmap"])  # the rest is as before


@dust3r_like
def test_dust3r_without_the_turn_is_found(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    example = load("dust3r", monkeypatch)
    monkeypatch.delattr(example.Co3dSigma, "__getitem__")
    dataset = example.Co3dSigma(case.frames, (112, 84), cache=str(case.root / "sigma_Z2.zarr"))
    assert "transposed" in wrong((view for index in range(4) for view in dataset[index]), case, co3d_key)


cut3r_like = pytest.mark.parametrize("case", [("cut3r", LANDSCAPE)], indirect=True)


@cut3r_like
def test_cut3r_views_by_attach(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    example = load("cut3r", monkeypatch)
    dataset = example.with_sigma(loader_bases.ScanNetMulti(case.frames, (112, 84), num_views=3), case.root)
    views = [view for index in (0, 1, (2, 0, 2)) for view in dataset[index]]
    assert len(views) == 8
    assert dataset.num_views == 3
    assert all(view["sigma_Z2"].dtype == view["sigma_Z2_params"].dtype == np.float32 for view in views)
    assert_right(views, case, example.scannet_key)
    (batch, *_) = next(iter(DataLoader(dataset, batch_size=2, num_workers=1, multiprocessing_context="fork")))
    assert batch["sigma_Z2"].shape == batch["depthmap"].shape == (2, 84, 112)


@cut3r_like
def test_cut3r_views_by_a_subclass_too(case: Case) -> None:
    class Sigma(loader_bases.ScanNetMulti):
        def _get_views(self, *args: Any) -> list[dict[str, Any]]:
            views = super()._get_views(*args)
            for view in views:
                case.cache.annotate(view, "scans_train/scene0000_00/depth/" + view["label"][-5:] + ".png")
            return views

    views = Sigma(case.frames, (112, 84))[0]
    assert_right(views, case, lambda view: "scans_train/scene0000_00/depth/" + view["label"][-5:] + ".png")


@pytest.mark.parametrize("case", [("mapanything", LANDSCAPE)], indirect=True)
def test_mapanything_views_and_what_a_wrong_key_looks_like(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    from depthvar.datasets import FrameNotFoundError

    example = load("mapanything", monkeypatch)
    options = {"cache": str(case.root / "sigma_Z2.zarr"), "num_views": 3}
    dataset = example.BlendedMVSSigma(case.frames, (112, 84), **options)
    views = [view for index in range(3) for view in dataset[index]]
    assert all((*view["sigma_Z2"].shape, 1) == view["depthmap"].shape == (84, 112, 1) for view in views)

    def key(view: dict[str, Any]) -> str:
        return f"{view['label']}/depth/{view['instance'].rpartition('/')[2]}.exr"

    assert_right([view | {"depthmap": view["depthmap"][..., 0]} for view in views], case, key)
    others = {key.replace("scene_1", "scene_2"): frame for key, frame in case.frames.items()}
    with pytest.raises(FrameNotFoundError, match="scene_2"):
        example.BlendedMVSSigma(others, (112, 84), max_num_retries=0, **options)[0]


def vggt_views(batch: dict[str, Any], frames: list[dict[str, str]]) -> list[dict[str, Any]]:
    maps = zip(batch["depths"], batch["intrinsics"], batch["sigma_Z2"], batch["ids"], strict=True)
    return [
        {
            "depthmap": depth,
            "camera_intrinsics": matrix,
            "sigma_Z2": sigma,
            "key": frames[i]["filepath"].replace("images", "depths") + ".geometric.png",
        }
        for depth, matrix, sigma, i in maps
    ]


@pytest.mark.parametrize("case", [("vggt", LANDSCAPE, PORTRAIT)], indirect=True)
def test_vggt_sequences_with_turned_frames(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    example = load("vggt", monkeypatch)
    dataset = example.Co3dSigma(case.frames, cache=str(case.root / "sigma_Z2.zarr"))
    views, turned = [], []
    for _ in range(5):
        batch = dataset[0, 4, 0.75]
        stacked = np.stack(batch["sigma_Z2"])
        assert (stacked.shape, stacked.dtype) == ((4, 84, 112), np.float32)
        views += vggt_views(batch, dataset.data_store["110_1"])
        turned += dataset.turned
    assert 0 < sum(turned) < len(turned)
    assert_right([view for view, turn in zip(views, turned, strict=True) if not turn], case)
    for view, turn in zip(views, turned, strict=True):
        if turn:  # check_loader compares with the kernel by the same intrinsics, so this is the same
            np.testing.assert_array_equal(view["sigma_Z2"], sigma_z2(view["depthmap"], view["camera_intrinsics"]))
    looked_up = [
        view | {"sigma_Z2": case.cache.sample(view["key"], view["camera_intrinsics"], (84, 112))}
        for view, turn in zip(views, turned, strict=True)
        if turn
    ]
    wrong(looked_up, case)  # a lookup does not see the turn


@pytest.fixture
def moge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Case, ModuleType]:
    return Case("moge", tmp_path, LANDSCAPE), load("moge", monkeypatch)


def test_moge_samples_are_those_of_the_turned_camera(moge: tuple[Case, ModuleType]) -> None:
    case, example = moge
    pipeline = example.SigmaPipeline((84, 112), center_augmentation=1.0)
    instances = []
    for seed, number, (key, frame) in zip(SEEDS, NUMBERS, sorted(case.frames.items()), strict=True):
        instance = pipeline._process_instance(moge_instance(frame, seed))
        instances.append(instance | {"key": key})
        pose = camera_poses("Easy/P000")[number].copy()
        pose[:3, :3] = pose[:3, :3] @ instance["turn"].T
        matrix = instance["intrinsics"].numpy() * [[112], [84], [1]] - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]
        depth, _ = render(scene(), pose, matrix, (84, 112))
        depth = np.where(depth > FAR, np.float32(np.inf), depth)[:, :: -1 if instance["mirrored"] else 1]
        direct = sigma_z2(np.ascontiguousarray(depth), matrix)
        known = np.isfinite(direct) & np.isfinite(instance["sigma_Z2"].numpy())
        assert known.mean() > 0.7
        ratio = np.sqrt(instance["sigma_Z2"].numpy()[known] / direct[known])
        assert 0.9 < np.median(ratio) < 1.1  # the warp copies pixels that are 1.4 times as large
        assert np.corrcoef(np.log(direct[known]), np.log(instance["sigma_Z2"].numpy()[known]))[0, 1] > 0.8
    batch = pipeline._collate_batch(instances)
    assert batch["sigma_Z2"].shape == batch["depth"].shape == (4, 84, 112)
    assert {instance["mirrored"] for instance in instances} == {False, True}


def test_moge_sigma_knows_the_sky_from_holes_and_the_camera_in_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    example = load("moge", monkeypatch)
    instance = {
        "depth": torch.full((12, 16), 3.0),
        "depth_mask": torch.ones(12, 16, dtype=torch.bool),
        "depth_mask_inf": torch.zeros(12, 16, dtype=torch.bool),
        "intrinsics": torch.tensor([[0.8, 0, 0.5], [0, 1, 0.5], [0, 0, 1]]),
    }
    instance["depth_mask"][:, 8:] = False
    hole = example.sigma_of(instance)
    instance["depth_mask_inf"][:, 8:] = True
    sky = example.sigma_of(instance)
    assert (sky[:, 7] > 10 * hole[:, 7]).all()
    assert torch.isinf(sky[:, 8:]).all()
    assert torch.isinf(hole[:, 8:]).all()
    monkeypatch.setattr(example, "sigma_z2", lambda depth, camera: camera)
    np.testing.assert_allclose(example.sigma_of(instance), [[12.8, 0, 7.5], [0, 12, 5.5], [0, 0, 1]], rtol=1e-6)


def test_a_lookup_in_moges_samples_is_found(moge: tuple[Case, ModuleType]) -> None:
    case, example = moge
    pipeline = example.SigmaPipeline((84, 112), center_augmentation=1.0)
    views = []
    for seed, (key, frame) in enumerate(2 * sorted(case.frames.items())):
        instance = pipeline._process_instance(moge_instance(frame, seed))
        matrix = instance["intrinsics"].numpy() * [[112], [84], [1]] - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]
        views.append(
            {
                "depth": np.where(instance["depth_mask"], instance["depth"], 0),
                "intrinsics": matrix,
                "sigma_Z2": instance["sigma_Z2"].numpy(),
                "key": key,
            }
        )
    assert check_loader(views, case.cache).right  # computed
    for view in views:
        view["sigma_Z2"] = case.cache.sample(view["key"], view["intrinsics"], (84, 112))
    assert "flip" in wrong(views, case)  # looked up


def test_every_example_is_short_and_marks_its_line() -> None:
    paths = sorted(EXAMPLES.glob("*.py"))
    assert {path.stem for path in paths} == set(KEYS)
    for path in paths:
        text = path.read_text()
        assert len(text.splitlines()) < 80
        assert text.count("# the line\n") == 1
