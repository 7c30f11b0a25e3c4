"""What docs/migrating-from-online.md says: its blocks run, its overrides compose, its claims about the seed hold."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from numpy.typing import NDArray
from pages import ROOT, blocks
from pi3_views import batch, changed
from tiny_data import TinyData, make_depth
from torch.utils.data import default_collate

from depthvar.datasets import Frame, open_source
from depthvar.loss import inverse_depth_l1, laplace_nll, weighted_l1
from depthvar.loss.geometry import best_scale
from depthvar.loss.pi3 import Pi3LossGTOnlyNorm, Pi3LossMipNeRFVariance
from depthvar.precompute import KernelParams, sigma_z2
from depthvar.precompute.cli.main import main
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline

PAGE = (ROOT / "docs/migrating-from-online.md").read_text()
DATA_SET, TURN, COMPAT, PICTURE, FALLBACK, IN_STEP = blocks(PAGE, "python")
OVERRIDES = [block.split() for block in blocks(PAGE, "sh") if "_target_" in block]
MESSAGES = {line for block in blocks(PAGE, "text") for line in block.splitlines()}
CAMERA = (300.0, 300.0, 12.0, 12.0)
Array = NDArray[Any]


@pytest.fixture(scope="module", params=[("redwood_rgbd", 1000), ("tum_rgbd", 5000)], ids=lambda value: value[0])
def measured(request: pytest.FixtureRequest) -> Frame:
    """A real Kinect frame: what the page calls measured."""
    name, units = request.param
    camera = (525, 525, 319.5, 239.5)
    return open_source("folder", ROOT / "tests/data" / name, intrinsics=camera, units_per_metre=units)[0]


def sigma(frame: Frame, intrinsics: Any = None, **params: Any) -> Array:
    """σ at the valid pixels of a frame, one after the other."""
    camera = frame.intrinsics if intrinsics is None else intrinsics
    return np.sqrt(sigma_z2(frame.depth, camera, KernelParams(**params))[frame.valid])


def edges(frame: Frame) -> Array:
    return sigma(frame) > 0.02 * frame.depth[frame.valid]


def matrix(frame: Frame) -> Array:
    fx, fy, cx, cy = frame.intrinsics
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float32)


# ---- the three lines ----


class BaseDataset:
    """What the page builds on: a base class that makes points from depth, then turns portrait views to landscape."""

    def __init__(self, root: Path) -> None:
        self.source = open_source(str(root / "tiny.toml"))

    def depth_paths(self, index: int) -> list[Path]:
        return [self.source.root / self.source.keys()[index]]

    def load(self, path: Path) -> dict[str, Any]:
        frame = self.source.read(path.relative_to(self.source.root).as_posix())
        depth = np.where(frame.valid, frame.depth, np.float32(0))
        return {"depthmap": depth, "camera_intrinsics": matrix(frame), "camera_pose": np.eye(4, dtype=np.float32)}

    def _get_views(self, index: int) -> list[dict[str, Any]]:
        raise NotImplementedError

    def __getitem__(self, index: int) -> list[dict[str, Any]]:
        views = self._get_views(index)
        for view in views:
            depth, camera = view["depthmap"], view["camera_intrinsics"]
            v, u = np.mgrid[: depth.shape[0], : depth.shape[1]]
            pixels = np.stack((u, v, np.ones_like(u)), axis=-1).astype(np.float32)
            view["pts3d"] = pixels @ np.linalg.inv(camera).T * depth[..., None]
            view["valid_mask"] = depth > 0
            if depth.shape[0] > depth.shape[1]:
                for name in ("depthmap", "pts3d", "valid_mask"):
                    view[name] = view[name].swapaxes(0, 1)
                view["camera_intrinsics"] = camera[[1, 0, 2]]
                exec(TURN, {"view": view})
        return views


@pytest.mark.parametrize("portrait", [False, True])
def test_the_three_lines_train_landscape_and_portrait_frames(tmp_path: Path, portrait: bool) -> None:
    tiny = TinyData(tmp_path / "tiny")
    depth = [make_depth(24, 32, seed) for seed in range(2)]
    keys = [tiny.write("a", f"{i:03}", each.T if portrait else each) for i, each in enumerate(depth)]
    list(pipeline.run(tiny.job(), execute.serial))
    names: dict[str, Any] = {"BaseDataset": BaseDataset}
    exec(DATA_SET, names)
    data = names["Hospital"](tiny.root)
    for index, key in enumerate(keys):
        (view,) = data[index]
        stored = data.cache.read(key)
        np.testing.assert_array_equal(view["sigma_Z2"], stored.T if portrait else stored)
    views = default_collate([data[0], data[1]])
    points = torch.stack([view["pts3d"] for view in views], dim=1) + 0.01
    poses = torch.eye(4).expand(2, 1, 4, 4)
    loss = instantiate_from(OVERRIDES[1])
    total, details = loss({"local_points": points.requires_grad_(), "camera_poses": poses}, views)
    total.backward()
    assert points.grad is not None
    assert points.grad.isfinite().all()
    assert details["depth_loss"] > 0


def instantiate_from(overrides: list[str]) -> Any:
    with initialize_config_dir(str(ROOT / "examples"), version_base=None):
        return instantiate(compose("pi3_hydra", overrides).loss.train_loss)


@pytest.mark.parametrize("overrides", OVERRIDES, ids=lambda lines: lines[-1])
def test_overrides_build_a_loss_of_theirs(overrides: list[str]) -> None:
    loss = instantiate_from(overrides)
    target, *options = (line.removeprefix("+").removeprefix("loss.train_loss.").split("=") for line in overrides)
    assert f"{type(loss).__module__}.{type(loss).__name__}" == target[1]
    for name, value in options:
        known = vars(loss) | getattr(loss, "params", {})
        assert str(known[name]).lower() == value
    assert loss(*batch())[0].isfinite()


def test_the_three_configurations_of_the_seed_are_there() -> None:
    losses = [instantiate_from(overrides) for overrides in OVERRIDES]
    assert isinstance(losses[0], Pi3LossGTOnlyNorm)
    assert [each.loss_type for each in losses[1:]] == ["weighted_l1", "laplace_nll", "weighted_l1", "focused_log_l1"]
    assert [each.normalize_weight for each in losses[1:4]] == ["none", "none", "mean"]


def test_quoted_messages_are_those_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pred, views = batch()
    seen = set()
    for loss, given in (
        (Pi3LossMipNeRFVariance(), [{k: v for k, v in view.items() if k != "sigma_Z2"} for view in views]),
        (Pi3LossMipNeRFVariance(lambda_prior=1.0), views),
    ):
        with pytest.raises(ValueError, match="gt_raw") as caught:
            loss(pred, given)
        seen.add(str(caught.value))
    tiny = TinyData(tmp_path)
    tiny.write("a", "000", make_depth(24, 32, 0))
    monkeypatch.chdir(tmp_path)
    command = ["run", "--dataset", "tiny.toml", "--out", "sigma_Z2.zarr"]
    assert CliRunner().invoke(main, command).exit_code == 0
    refused = CliRunner().invoke(main, [*command, "--lambda-prior", "1.0"])
    assert refused.exit_code == 1
    seen.add(refused.output.strip().removeprefix("error: "))
    assert seen == MESSAGES


def test_switching_back_reads_no_sigma_and_takes_the_same_checkpoint() -> None:
    pred, views = batch()
    garbage = changed(views, sigma_Z2=lambda s: torch.full_like(s, math.nan))
    assert Pi3LossGTOnlyNorm()(pred, views)[0] == Pi3LossGTOnlyNorm()(pred, garbage)[0]
    assert not Pi3LossGTOnlyNorm().state_dict()
    assert not Pi3LossMipNeRFVariance().state_dict()


# ---- the original's weights and mode ----


def test_raw_weights_are_large_and_mean_ones_are_not(measured: Frame) -> None:
    low, high = np.quantile(1 / sigma(measured), [0.05, 0.95])
    assert 10 < low < high < 1000
    pred, views = batch(error=0.1)
    raw, mean = (Pi3LossMipNeRFVariance(normalize_weight=how)(pred, views)[1] for how in ("none", "mean"))
    assert mean["weight_mean"].item() == pytest.approx(1)
    assert raw["depth_loss"] > 10 * mean["depth_loss"]


def test_continuing_a_run_computes_the_original_in_the_loader(measured: Frame) -> None:
    view = {"depthmap": measured.depth, "camera_intrinsics": matrix(measured)}
    exec(COMPAT, {"view": view})
    unlike = np.sqrt(view["sigma_Z2"][measured.valid]) / sigma(measured)
    assert np.isfinite(unlike).all()
    assert (unlike > 5).mean() > 0.01  # holes taken for depth 0
    assert 0.9 < np.median(unlike) < 1.2


def test_in_the_step_it_is_what_the_loader_computes() -> None:
    pred, views = batch(h=12, w=15)
    depth = {id(view): torch.from_numpy(np.stack([make_depth(12, 15, 2 * i + j) for j in range(2)]))
             for i, view in enumerate(views)}  # fmt: skip
    cameras = torch.tensor([[30.0, 0, 7], [0, 32, 5], [0, 0, 1]]).expand(2, 3, 3)
    given = [view | {"depthmap": depth[id(view)], "camera_intrinsics": cameras} for view in views]
    for view in given:
        del view["sigma_Z2"], view["sigma_Z2_params"]
    names: dict[str, Any] = {
        "gt_raw": given,
        "pred": pred,
        "sigma_z2": sigma_z2,
        "train_loss": Pi3LossMipNeRFVariance(),
    }
    exec(IN_STEP, names)
    assert torch.isfinite(names["loss"])
    for view in given:
        loaded = sigma_z2(view["depthmap"].numpy(), view["camera_intrinsics"].numpy())
        np.testing.assert_allclose(view["sigma_Z2"].numpy(), loaded, rtol=1e-3)


# ---- the knobs ----


def test_lambda_prior_raises_sigma_at_most_in_proportion_and_hardly_at_edges(measured: Frame) -> None:
    default, none, four = (sigma(measured, lambda_prior=value) for value in (0.5, 0, 2))
    rise = four / default
    assert ((rise >= 1 - 1e-6) & (rise <= 4 * (1 + 1e-6))).all()
    assert (rise[edges(measured)] < 1.01).all()
    assert (none / default > 0.9).mean() > 0.9


def test_lambda_prior_is_all_there_is_on_a_wall_and_depth_counts_without_it() -> None:
    wall = np.full((25, 25), 2, np.float32)
    one, four = (sigma_z2(wall, (3000, 3000, 12, 12), KernelParams(lambda_prior=value))[12, 12] for value in (0.5, 2))
    assert math.sqrt(four / one) == pytest.approx(4, rel=0.01)
    slope = wall + 0.01 * np.arange(25, dtype=np.float32)
    for value in (0, 0.1, 0.5, 2):
        near, far = (sigma_z2(z, CAMERA, KernelParams(lambda_prior=value)) for z in (slope, 4 * slope))
        np.testing.assert_array_equal(far, 16 * near)


def test_a_lower_alpha_clamp_gives_edges_more_weight_and_touches_nothing_else(measured: Frame) -> None:
    z = measured.depth[measured.valid]
    values = {alpha: sigma(measured, alpha_clamp=alpha) for alpha in (0.1, 0.3, 1)}
    for alpha, capped in values.items():
        assert (capped <= alpha * z / math.sqrt(3)).all()
        changed_ones = capped != values[1]
        assert (capped[changed_ones] < values[1][changed_ones]).all()
        assert changed_ones.mean() < {0.1: 0.04, 0.3: 0.01, 1: 1}[alpha]
        assert edges(measured)[changed_ones].all()
    assert (values[0.1] <= values[0.3]).all()
    shares = [(1 / values[alpha])[edges(measured)].sum() / (1 / values[alpha]).sum() for alpha in (0.3, 0.1)]
    assert shares[0] < shares[1] < 0.005


def test_a_wider_window_is_smoother_because_sigma_is_larger(measured: Frame) -> None:
    steps, medians = [], []
    for window in (3, 5, 7):
        log = np.full(measured.depth.shape, np.nan)
        log[measured.valid] = np.log(sigma(measured, window=window))
        steps.append(np.nanmean(np.abs(np.diff(log, axis=1))))
        medians.append(np.nanmedian(log))
    assert steps[0] > steps[1] > steps[2]
    assert math.exp(medians[1] - medians[0]) > 1.2
    assert math.exp(medians[2] - medians[1]) > 1.2


@pytest.mark.parametrize("window", [3, 5, 7])
def test_a_step_has_a_band_of_window_minus_1_and_3_trims_nothing(window: int) -> None:
    z = np.full((25, 25), 2, np.float32)
    plain = sigma_z2(z, CAMERA, KernelParams(window=window))
    step = np.where(np.arange(25) < 12, z, 3)
    band = np.flatnonzero(np.sqrt(sigma_z2(step, CAMERA, KernelParams(window=window)))[12] > 0.1)
    assert band.tolist() == list(range(12 - window // 2, 12 + window // 2))
    z[12, 12] = 3
    raised = sigma_z2(z, CAMERA, KernelParams(window=window)) > 2 * plain
    raised[12, 12] = False
    assert raised.sum() == (8 if window == 3 else 0)


def test_laplace_nll_weighs_depth_by_root_2_and_leaves_x_and_y() -> None:
    pred, views = batch()
    gradients = []
    for kind in ("weighted_l1", "laplace_nll"):
        points = pred["local_points"].clone().requires_grad_()
        Pi3LossMipNeRFVariance(loss_type=kind)({**pred, "local_points": points}, views)[0].backward()  # type: ignore[arg-type]
        assert points.grad is not None
        gradients.append(points.grad)
    assert (gradients[0][..., 2] != 0).float().mean() > 0.5
    torch.testing.assert_close(gradients[1][..., 2], math.sqrt(2) * gradients[0][..., 2])
    torch.testing.assert_close(gradients[1][..., :2], gradients[0][..., :2])


# ---- what to watch ----


def test_details_are_finite_where_the_mean_of_the_map_is_not() -> None:
    pred, views = batch(error=0.0)
    holes = changed(views, sigma_Z2=lambda s: torch.where(torch.arange(s.shape[-1]) == 2, math.inf, s))
    details = Pi3LossMipNeRFVariance(loss_type="laplace_nll", normalize_gt=False)(pred, holes)[1]
    assert holes[0]["sigma_Z2"].mean() == math.inf
    assert all(value.isfinite() for value in details.values())
    assert {"depth_loss", "xy_loss", "depth_xy_ratio", "sigma_mean", "weight_mean"} <= details.keys()
    assert details["depth_loss"] < 0  # a perfect prediction, and σ below 1 m


def test_a_near_edge_has_more_sigma_than_a_far_wall() -> None:
    near_left = np.where(np.arange(25) < 12, np.float32(1), np.float32(20)) * np.ones((25, 1), np.float32)
    found = sigma_z2(near_left, CAMERA)[12]
    assert found[11] > found[20] > found[3] > 0


def test_the_picture_shows_sigma_without_holes_and_the_guides_shows_one_colour(
    measured: Frame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    mpl.use("Agg")
    monkeypatch.chdir(tmp_path)
    view = {"sigma_Z2": sigma_z2(measured.depth, measured.intrinsics)}
    figure = plt.figure()
    try:
        exec(PICTURE, {"view": view})
        (image,) = figure.axes[0].images
        np.testing.assert_array_equal(np.ma.getmaskarray(image.get_array()), ~measured.valid)
        assert image.get_clim() == (sigma(measured).min(), sigma(measured).max())
        assert (tmp_path / "sigma.png").stat().st_size > 1000
    finally:
        plt.close(figure)
    variance = sigma(measured) ** 2
    assert (variance < variance.max() / 256).mean() > 0.9


# ---- the questions ----


@pytest.mark.parametrize(
    "make",
    [
        Pi3LossGTOnlyNorm,
        Pi3LossMipNeRFVariance,
        partial(Pi3LossMipNeRFVariance, loss_type="focused_log_l1", gradient=0),
    ],
)
def test_a_negative_prediction_is_finite_and_a_negative_truth_counts_for_nothing(make: Any) -> None:
    pred, views = batch()
    points = (-pred["local_points"]).requires_grad_()
    loss = make()(pred | {"local_points": points}, views)[0]
    loss.backward()
    assert loss.isfinite()
    assert points.grad is not None
    assert points.grad.isfinite().all()
    valid = torch.stack([view["valid_mask"] for view in views], dim=1)
    assert (points.grad[valid][:, 2] < 0).all()  # each is drawn up, to the truth
    behind = [view | {"pts3d": 2 * view["camera_pose"][:, None, None, :3, 3] - view["pts3d"]} for view in views]
    assert make()(pred, behind)[1]["local_pts_loss"] == 0


@pytest.mark.parametrize("loss", [weighted_l1, laplace_nll, lambda p, t, s: inverse_depth_l1(p, t)])
def test_the_functions_take_negative_predictions_too(loss: Any) -> None:
    target = torch.linspace(1, 5, 12).reshape(3, 4)
    pred = (-target).requires_grad_()
    value = loss(pred, target, 0.01 * target**2)
    value.backward()
    assert value.isfinite()
    assert pred.grad is not None
    assert (pred.grad < 0).all()


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_ten_percent_of_focal_length_change_sigma_by_at_most_twenty(measured: Frame, factor: float) -> None:
    right, wrong = sigma(measured), sigma(measured, measured.intrinsics * [factor, factor, 1, 1])
    assert (np.abs(wrong / right - 1) < 0.2).all()
    assert np.abs(wrong / right - 1).max() > 0.05  # it does depend on it
    weights = [(1 / each) / (1 / each).mean() for each in (right, wrong)]
    assert np.abs(weights[1] - weights[0]).mean() < 0.07


def test_without_intrinsics_a_variance_of_1_is_a_plain_l1() -> None:
    pred, views = batch()
    for view in views:
        numpy_view = {"depthmap": view["sigma_Z2"].numpy()}
        exec(FALLBACK, {"view": numpy_view, "np": np})
        view["sigma_Z2"] = torch.from_numpy(numpy_view["sigma_Z2"])
    plain = Pi3LossMipNeRFVariance(normalize_gt=False, normalize_weight="mean")(pred, views)[1]
    valid = torch.stack([view["valid_mask"] for view in views], dim=1)
    assert plain["depth_loss"].item() == pytest.approx(z_error(pred, views)[valid].mean().item())
    raw = Pi3LossMipNeRFVariance()(pred, views)[1]
    assert raw["weight_max"] > 1.1  # the unit that the truth was divided by


def z_error(pred: dict[str, torch.Tensor], views: list[dict[str, Any]]) -> torch.Tensor:
    errors = []
    for index, view in enumerate(views):
        pose = view["camera_pose"]
        local = torch.einsum("bji,bhwj->bhwi", pose[:, :3, :3], view["pts3d"] - pose[:, None, None, :3, 3])
        errors.append((pred["local_points"][:, index] - local)[..., 2].abs())
    return torch.stack(errors, dim=1)


def test_the_best_scale_of_noise_free_depth_is_the_same_for_every_sigma() -> None:
    rng = torch.Generator().manual_seed(0)
    target = 1 + torch.rand(3, 200, generator=rng, dtype=torch.float64)
    scales = torch.tensor([[0.5], [1.3], [4.0]], dtype=torch.float64)
    for _ in range(3):
        weights = 10 ** (4 * torch.rand(target.shape, generator=rng, dtype=torch.float64))
        torch.testing.assert_close(best_scale(target / scales, target, weights), scales[:, 0])
        variance = (1 / weights**2).reshape(3, 20, 10)
        losses = [
            weighted_l1((c * target).reshape(3, 20, 10), target.reshape(3, 20, 10), variance) for c in (0.9, 1, 1.1)
        ]
        assert losses[1] < min(losses[0], losses[2])


def test_the_page_asks_every_question_of_the_seed() -> None:
    for topic in ("activations", "intrinsics", "see the map during training", "scale ambiguity", "or `laplace_nll`?"):
        assert topic in PAGE.split("## The questions of the original guide")[1], topic
    for knob in ("lambda_prior", "alpha_clamp", "window", "loss_type"):
        assert f"- **`{knob}`**" in PAGE
