"""Laws of the Pi3 drop-ins: a slow twin, rigid motion, scale, invalid pixels, gradients, parameters, Hydra."""

import math
import pickle
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import focused_reference
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from pi3_views import batch, changed, rigid, rotations
from torch import Tensor

from depthvar.loss.geometry import best_scale, rotation_angle
from depthvar.loss.pi3 import Pi3LossGTOnlyNorm, Pi3LossMipNeRFVariance

TERMS = ["depth_loss", "xy_loss", "local_pts_loss", "normal_loss", "trans_loss", "rot_loss"]
FOCUSED = partial(Pi3LossMipNeRFVariance, loss_type="focused_log_l1")
LOSSES: list[Callable[..., torch.nn.Module]] = [Pi3LossGTOnlyNorm, Pi3LossMipNeRFVariance, FOCUSED]


def close(a: tuple[Tensor, dict[str, Tensor]], b: tuple[Tensor, dict[str, Tensor]], rtol: float = 1e-8) -> None:
    torch.testing.assert_close(a[0], b[0], rtol=rtol, atol=rtol)
    for key in a[1]:
        if not key.startswith("sigma"):
            torch.testing.assert_close(a[1][key], b[1][key], rtol=rtol, atol=rtol, msg=key)


# ---- the definition, in plain loops ----


def angle(a: Any, b: Any) -> float:
    return float(math.acos(max(-1.0, min(1.0, float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))))))


def slow(pred: dict[str, Tensor], views: list[dict[str, Any]], kind: str) -> dict[str, float]:
    """The terms of a batch with normalised ground truth, normals for the data set "room"."""
    points, guess = pred["local_points"].numpy(), pred["camera_poses"].numpy()
    b, n, h, w, _ = points.shape
    depth, xy, normals, trans, rot = [], [], [], [], []
    for s in range(b):
        pose = [np.asarray(views[i]["camera_pose"][s]) for i in range(n)]
        valid = [np.asarray(views[i]["valid_mask"][s]) for i in range(n)]
        world = [np.asarray(views[i]["pts3d"][s]) for i in range(n)]
        first = np.linalg.inv(pose[0])
        far = [np.linalg.norm(first[:3, :3] @ p + first[:3, 3]) for i in range(n) for p in world[i][valid[i]]]
        unit = sum(far) / len(far)
        for i in range(n):
            back = np.linalg.inv(pose[i])
            gt = np.zeros((h, w, 3))
            for at in zip(*np.nonzero(valid[i]), strict=True):
                gt[at] = (back[:3, :3] @ world[i][at] + back[:3, 3]) / unit
            mean_z = gt[valid[i], 2].mean()
            sigma = np.sqrt(np.asarray(views[i]["sigma_Z2"][s])) / unit
            mean_w = (1 / sigma[valid[i]]).mean()
            focused = focused_reference.focused_log_l1(
                points[s, i, ..., 2], gt[..., 2], sigma**2, valid[i], 3, 0.2, 0.7, 4
            )
            for at in zip(*np.nonzero(valid[i]), strict=True):
                error = np.abs(points[s, i][at] - gt[at])
                inverse = 1 / (max(gt[at][2], 0.1 * mean_z) + 1e-6)
                bb = sigma[at] / math.sqrt(2)
                if kind == "inverse":
                    depth.append(error[2] * inverse)
                elif kind == "focused_log_l1":
                    depth.append(focused)
                else:
                    depth.append(
                        error[2] / sigma[at] / mean_w if kind == "weighted_l1" else error[2] / bb + math.log(bb)
                    )
                xy += list(error[:2] * (inverse if kind == "inverse" else 1))
            for y in range(h - 1):
                for x in range(w - 1):
                    corners = [(y, x), (y, x + 1), (y + 1, x + 1), (y + 1, x)]
                    z = [gt[c][2] for c in corners]
                    if views[i]["dataset"][s] != "room" or not all(valid[i][c] for c in corners):
                        continue
                    if max(z) - min(z) > 0.03 * min(z):
                        continue
                    for k in range(4):
                        p, q, r = corners[k - 1], corners[k], corners[(k + 1) % 4]
                        vectors = [np.cross(m[p] - m[q], m[r] - m[q]) for m in (points[s, i], gt)]
                        a, beta = min(max(angle(*vectors), math.radians(1)), math.pi / 2), math.radians(3)
                        normals.append(a * a / 2 / beta if a < beta else a - beta / 2)
        for i in range(n):
            for j in range(n):
                if i != j:
                    mine = np.linalg.inv(guess[s, i]) @ guess[s, j]
                    true = np.linalg.inv(pose[i]) @ pose[j]
                    rot.append(math.acos(max(-1.0, min(1.0, (np.trace(mine[:3, :3].T @ true[:3, :3]) - 1) / 2))))
                    errors = np.abs(mine[:3, 3] - true[:3, 3] / unit)
                    trans += [e * e / 2 if e < 0.1 else 0.1 * (e - 0.05) for e in errors]
    mean = {
        name: sum(v) / max(len(v), 1)
        for name, v in zip(
            ("depth_loss", "xy_loss", "normal_loss", "trans_loss", "rot_loss"),
            (depth, xy, normals, trans, rot),
            strict=True,
        )
    }
    both = mean["depth_loss"] + mean["xy_loss"]
    mean["local_pts_loss"] = (both + mean["xy_loss"]) / 3 if kind == "inverse" else both
    return mean


@pytest.mark.parametrize(("b", "n", "h", "w"), [(2, 3, 6, 5), (1, 1, 5, 8), (2, 2, 9, 4)])
@pytest.mark.parametrize("kind", ["inverse", "weighted_l1", "laplace_nll", "focused_log_l1"])
def test_it_is_the_definition(kind: str, b: int, n: int, h: int, w: int) -> None:
    pred, views = batch(b, n, h, w)
    options: dict[str, Any] = {"normal_datasets": ["room"]}
    if kind == "inverse":
        loss: Any = Pi3LossGTOnlyNorm(**options)
    else:  # as the twin has it
        options |= {"normalize_weight": "mean", "focus": 3.0, "relative_sigma": 0.2, "gradient": 0.7}
        loss = Pi3LossMipNeRFVariance(loss_type=kind, **options)
    total, details = loss(pred, views)
    expected = slow(pred, views, kind)
    for name in TERMS:
        assert details[name].item() == pytest.approx(expected[name], rel=1e-6, abs=1e-7), name
    camera = 0.1 * (100 * expected["trans_loss"] + expected["rot_loss"])
    assert total.item() == pytest.approx(expected["local_pts_loss"] + expected["normal_loss"] + camera, rel=1e-6)
    assert details["normal_loss"] > 0
    assert (details["rot_loss"] > 0) == (n > 1)


# ---- laws ----


@pytest.mark.parametrize("make", LOSSES)
def test_a_perfect_prediction_costs_nothing_and_has_a_finite_gradient(make: Any) -> None:
    pred, views = batch(error=0.0)
    pred = {name: value.requires_grad_() for name, value in pred.items()}
    loss, details = make(normalize_gt=False, normal_datasets=["room"])(pred, views)
    loss.backward()
    for name in TERMS:
        floor = math.radians(1) / 6 if name == "normal_loss" else 0.0  # angles are clamped to 1°
        assert details[name].item() == pytest.approx(floor, abs=1e-6), name
    assert all(value.grad is not None and value.grad.isfinite().all() for value in pred.values())


@pytest.mark.parametrize("make", LOSSES)
@pytest.mark.parametrize("options", [{}, {"normalize_pred": True}, {"use_scale_align": True}])
def test_the_gradient_reaches_points_and_poses(make: Any, options: dict[str, bool]) -> None:
    pred, views = batch()
    pred = {name: value.requires_grad_() for name, value in pred.items()}
    make(**options, normal_datasets=["room"])(pred, views)[0].backward()
    points, poses = pred["local_points"].grad, pred["camera_poses"].grad
    assert points is not None
    assert poses is not None
    assert points.isfinite().all()
    assert poses.isfinite().all()
    valid = torch.stack([view["valid_mask"] for view in views], dim=1)
    assert (points[~valid] == 0).all()
    assert (points[valid] != 0).float().mean() > 0.9
    assert (poses[..., :3, :] != 0).float().mean() > 0.9


@pytest.mark.parametrize("make", LOSSES)
@pytest.mark.parametrize("normalize", [False, True])
def test_where_the_worlds_are_does_not_matter(make: Any, normalize: bool) -> None:
    pred, views = batch()
    loss = make(normalize_pred=normalize, normal_datasets=["room"])
    rng = torch.Generator().manual_seed(7)
    move, other = rigid(rotations(rng, 2), torch.randn(2, 3, generator=rng, dtype=torch.float64))
    moved = changed(views, pts3d=lambda p: p @ move[:3, :3].T + move[:3, 3], camera_pose=lambda pose: move @ pose)
    close(loss(pred, views), loss(pred | {"camera_poses": other @ pred["camera_poses"]}, moved))


@pytest.mark.parametrize("make", LOSSES)
@pytest.mark.parametrize("factor", [0.01, 30.0])
def test_a_normalised_truth_has_no_unit(make: Any, factor: float) -> None:
    """In millimetres or metres: σ² goes along by the square."""

    def scaled(pose: Tensor) -> Tensor:
        return torch.cat((torch.cat((pose[..., :3, :3], factor * pose[..., :3, 3:]), -1), pose[..., 3:, :]), -2)

    pred, views = batch()
    other = changed(views, pts3d=lambda p: factor * p, camera_pose=scaled, sigma_Z2=lambda s: factor**2 * s)
    close(make()(pred, views), make()(pred, other))
    both = {"local_points": factor * pred["local_points"], "camera_poses": scaled(pred["camera_poses"])}
    close(make(normalize_pred=True)(pred, views), make(normalize_pred=True)(both, other))
    if factor > 1:  # below it, one meets the smallest scale
        close(make(use_scale_align=True)(pred, views), make(use_scale_align=True)(both, views))


@pytest.mark.parametrize("make", LOSSES)
@pytest.mark.parametrize("garbage", [math.nan, math.inf, -1e30])
def test_what_is_at_invalid_pixels_does_not_matter(make: Any, garbage: float) -> None:
    pred, views = batch()
    loss = make(normalize_pred=True, use_scale_align=True, normal_datasets=["room"])
    expected = loss(pred, views)
    valid = torch.stack([view["valid_mask"] for view in views], dim=1)
    points = torch.where(valid[..., None], pred["local_points"], garbage).requires_grad_()
    spoilt = [
        view
        | {
            "pts3d": torch.where(view["valid_mask"][..., None], view["pts3d"], garbage),
            "sigma_Z2": torch.where(view["valid_mask"], view["sigma_Z2"], garbage),
        }
        for view in views
    ]
    got = loss(pred | {"local_points": points}, spoilt)
    close(expected, got)
    got[0].backward()
    assert points.grad is not None
    assert points.grad.isfinite().all()


@pytest.mark.parametrize("sigma_z2", [math.inf, math.nan, 0.0])
def test_a_pixel_without_sigma_counts_for_x_and_y_only(sigma_z2: float) -> None:
    pred, views = batch()
    holes = changed(views, sigma_Z2=lambda s: torch.where(torch.arange(s.shape[-1]) == 2, sigma_z2, s))
    without = [v | {"valid_mask": v["valid_mask"] & (torch.arange(v["valid_mask"].shape[-1]) != 2)} for v in views]
    loss = Pi3LossMipNeRFVariance(normalize_gt=False)
    got, plain, masked = (loss(pred, each)[1] for each in (holes, views, without))
    assert got["depth_loss"] == masked["depth_loss"]
    assert got["xy_loss"] == plain["xy_loss"]


@pytest.mark.parametrize("make", LOSSES)
def test_no_valid_pixel_at_all(make: Any) -> None:
    pred, views = batch(error=0.2)
    views = changed(views, valid_mask=torch.zeros_like)
    points = pred["local_points"].requires_grad_()
    loss, details = make(normalize_pred=True, use_scale_align=True, normal_datasets=["room"])(pred, views)
    loss.backward()
    assert all(value.isfinite() for value in details.values())
    assert [details[name].item() for name in TERMS[:4]] == [0, 0, 0, 0]
    assert points.grad is None or (points.grad == 0).all()


@pytest.mark.parametrize(("make", "slack"), [(Pi3LossGTOnlyNorm, 0), (Pi3LossMipNeRFVariance, 0), (FOCUSED, 0.01)])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_aligned_scale_is_the_best(make: Any, slack: float, seed: int) -> None:
    """Of the focused loss, whose logarithm is replaced by its tangent for it, nearly the best."""
    pred, views = batch(b=1, error=0.3, seed=seed)
    aligned = make(use_scale_align=True)(pred, views)[1]["local_pts_loss"]
    plain = make()
    for factor in np.geomspace(0.05, 20, 200):
        points = pred["local_points"] * float(factor)
        loss = plain(pred | {"local_points": points}, views)[1]["local_pts_loss"]
        assert aligned <= (1 + slack) * loss + 1e-12


def test_a_weighted_median_by_hand() -> None:
    pred, target = torch.tensor([[1.0, 1, 2, -1]]), torch.tensor([[1.0, 2, 6, -9]])  # ratios 1, 2, 3, 9
    assert best_scale(pred, target, torch.tensor([[1.0, 1, 1, 0]])).item() == 2  # weights 1, 1, 2
    assert best_scale(pred, target, torch.tensor([[1.0, 1, 1, 1]])).item() == 3
    assert best_scale(pred, target, torch.zeros(1, 4)).item() == 1
    assert best_scale(pred, -target, torch.ones(1, 4)).item() == pytest.approx(1e-3)


@pytest.mark.parametrize("degrees", [0, 1e-3, 30, 90, 179.999, 180])
def test_the_angle_between_rotations(degrees: float) -> None:
    rng = torch.Generator().manual_seed(1)
    a, t = rotations(rng, 1)[0], math.radians(degrees)
    turn = torch.tensor([[math.cos(t), -math.sin(t), 0], [math.sin(t), math.cos(t), 0], [0, 0, 1]], dtype=torch.float64)
    b = (a @ turn).requires_grad_()
    got = rotation_angle(a, b)
    got.backward()
    assert got.item() == pytest.approx(t, abs=1e-9)
    assert b.grad is not None
    assert b.grad.isfinite().all()


def test_a_collapsed_prediction_has_finite_gradients_and_the_largest_angle() -> None:
    pred, views = batch()
    pred = {"local_points": torch.zeros_like(pred["local_points"]), "camera_poses": pred["camera_poses"]}
    pred["local_points"].requires_grad_()
    loss, details = Pi3LossMipNeRFVariance(normal_datasets=["room"])(pred, views)
    loss.backward()
    assert details["normal_loss"].item() == pytest.approx(math.radians(90 - 1.5))
    assert pred["local_points"].grad is not None
    assert pred["local_points"].grad.isfinite().all()


@pytest.mark.parametrize("make", LOSSES)
def test_a_prediction_that_is_no_number_shows(make: Any) -> None:
    pred, views = batch()
    at = views[0]["valid_mask"][0].nonzero()[0]
    pred["local_points"][0, 0, at[0], at[1]] = math.nan
    assert make()(pred, views)[0].isnan()


# ---- statistics, precision, trainers ----


def test_the_statistics() -> None:
    pred, views = batch()
    details = Pi3LossMipNeRFVariance(normalize_weight="mean")(pred, views)[1]
    valid = torch.stack([view["valid_mask"] for view in views], dim=1)
    sigma = torch.stack([view["sigma_Z2"] for view in views], dim=1).sqrt()[valid]
    for name, value in (("min", sigma.min()), ("mean", sigma.mean()), ("max", sigma.max())):
        assert details[f"sigma_{name}"].item() == pytest.approx(value.item())
    assert details["weight_mean"].item() == pytest.approx(1)
    assert 0 < details["weight_min"] < 1 < details["weight_max"]
    assert details["depth_xy_ratio"].item() == pytest.approx((details["depth_loss"] / details["xy_loss"]).item())
    assert all(value.shape == () and not value.requires_grad for value in details.values())
    plain = Pi3LossMipNeRFVariance(normalize_gt=False, sigma_min=0.1)(pred, views)[1]  # as the original: 1 / σ
    assert plain["weight_max"].item() == pytest.approx(10)
    assert not any(name.startswith("sigma") for name in Pi3LossGTOnlyNorm()(pred, views)[1])


def test_under_autocast_it_is_float32() -> None:
    pred, views = batch()
    pred = {name: value.bfloat16() for name, value in pred.items()}
    views = changed(views, pts3d=Tensor.float, camera_pose=Tensor.float, sigma_Z2=Tensor.float)
    loss = Pi3LossMipNeRFVariance(normalize_pred=True, normal_datasets=["room"])
    expected, _ = loss({name: value.float() for name, value in pred.items()}, views)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got, _ = loss(pred, views)
    assert got.dtype == torch.float32
    assert got.item() == expected.item()


def test_it_compiles_without_a_graph_break() -> None:
    pred, views = batch()
    loss = Pi3LossMipNeRFVariance(use_scale_align=True, normal_datasets=["room"])
    expected = loss(pred, views)  # checks the parameters
    close(torch.compile(loss, fullgraph=True, backend="eager")(pred, views), expected)


def test_a_portrait_frame() -> None:
    """Turning every picture by a quarter changes no term but by what is summed in another order."""
    pred, views = batch()
    turn = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)
    undo = rigid(turn.T, torch.zeros(3, dtype=torch.float64))
    points = pred["local_points"].transpose(2, 3).flip(2) @ turn.T
    turned = [
        {k: v.transpose(1, 2).flip(1) if k in ("pts3d", "valid_mask", "sigma_Z2") else v for k, v in view.items()}
        | {"camera_pose": view["camera_pose"] @ undo}
        for view in views
    ]
    loss = Pi3LossMipNeRFVariance(normal_datasets=["room"])
    expected = loss(pred, views)[1]
    got = loss({"local_points": points, "camera_poses": pred["camera_poses"] @ undo}, turned)[1]
    for name in ("depth_loss", "xy_loss", "normal_loss", "rot_loss", "sigma_mean"):
        assert got[name].item() == pytest.approx(expected[name].item(), rel=1e-6), name
    forgotten = [view | {"sigma_Z2": old["sigma_Z2"]} for view, old in zip(turned, views, strict=True)]
    with pytest.raises(
        ValueError, match=r"gt_raw\[0\]\['sigma_Z2'\]: expected a tensor of shape \(2, 5, 6\).*rotate the map"
    ):
        loss({"local_points": points, "camera_poses": pred["camera_poses"]}, forgotten)


# ---- errors ----


def test_a_view_without_sigma_says_the_line_to_add() -> None:
    pred, views = batch()
    del views[1]["sigma_Z2"]
    with pytest.raises(ValueError, match=r"gt_raw\[1\]: no 'sigma_Z2'; add .*: cache\.annotate\(view, key\)"):
        Pi3LossMipNeRFVariance()(pred, views)
    assert Pi3LossGTOnlyNorm()(pred, views)[0].isfinite()


@pytest.mark.parametrize("option", [{"window": 7}, {"lambda_prior": 0.7}, {"alpha_clamp": 0.2}])
def test_parameters_are_checked_once(option: dict[str, float]) -> None:
    pred, views = batch()
    wrong = Pi3LossMipNeRFVariance(**option)  # type: ignore[arg-type]
    name, value = next(iter(option.items()))
    with pytest.raises(ValueError, match=rf"computed with .*'{name}': .*loss expects .*'{name}': {value}"):
        wrong(pred, views)
    unsaid = [{key: value for key, value in view.items() if key != "sigma_Z2_params"} for view in views]
    assert wrong(pred, unsaid)[0].isfinite()  # nothing to compare with, so far
    with pytest.raises(ValueError, match="loss expects"):
        wrong(pred, views)
    right = Pi3LossMipNeRFVariance()
    right(pred, changed(views, sigma_Z2_params=Tensor.float))
    right(pred, changed(views, sigma_Z2_params=lambda rows: rows + 1))  # read in the first step only
    assert pickle.loads(pickle.dumps(right))(pred, views)[0].isfinite()


def test_other_errors() -> None:
    pred, views = batch()
    with pytest.raises(
        ValueError, match=r"^loss_type: expected one of weighted_l1, laplace_nll, focused_log_l1; got 'l2'$"
    ):
        Pi3LossMipNeRFVariance(loss_type="l2")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="normalize: expected 'mean' or 'none', got 'max'"):
        Pi3LossMipNeRFVariance(normalize_weight="max")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="normal_datasets: expected a list of names, got the string 'room'"):
        Pi3LossGTOnlyNorm(normal_datasets="room")
    with pytest.raises(ValueError, match=r"expected shape \(B, N, H, W, 3\) for the N = 2 views"):
        Pi3LossGTOnlyNorm()(pred, views[:2])
    with pytest.raises(ValueError, match="expected 2 names under 'dataset' in every view"):
        Pi3LossGTOnlyNorm(normal_datasets=["room"])(pred, changed(views, dataset=lambda names: names[0]))
    with pytest.raises(ValueError, match=r"gt_raw\[0\]: no 'pts3d'; got \['camera_pose'"):
        Pi3LossGTOnlyNorm()(pred, [{k: v for k, v in view.items() if k != "pts3d"} for view in views])


@pytest.mark.parametrize("make", LOSSES)
def test_a_prediction_that_does_not_fit_is_told(make: Any) -> None:
    pred, views = batch()
    for key in pred:
        rest = {name: value for name, value in pred.items() if name != key}
        with pytest.raises(ValueError, match=rf"^pred: no '{key}'; got \['{next(iter(rest))}'\]$"):
            make()(rest, views)
    for poses in (pred["camera_poses"][:, :2], pred["camera_poses"][..., :3], torch.zeros(2, 3, 7)):
        got = re.escape(str(tuple(poses.shape)))
        with pytest.raises(ValueError, match=rf"pred\['camera_poses'\]: expected shape \(2, 3, 4, 4\).* got {got}$"):
            make()(pred | {"camera_poses": poses}, views)
    expected = make()(pred, views)[0]
    assert make()(pred | {"camera_poses": pred["camera_poses"][..., :3, :]}, views)[0] == expected  # no last row


def test_views_that_are_not_collated_are_told() -> None:
    pred, views = batch()
    with pytest.raises(ValueError, match=r"gt_raw\[0\]\['sigma_Z2'\]: .* got ndarray; collate the views into tensors"):
        Pi3LossMipNeRFVariance()(pred, changed(views, sigma_Z2=Tensor.numpy))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_parameters_that_a_trainer_has_cast_are_the_same(dtype: torch.dtype) -> None:
    pred, views = batch()
    cast = changed(views, sigma_Z2_params=lambda rows: rows.to(dtype))
    assert Pi3LossMipNeRFVariance()(pred, cast)[0].isfinite()
    with pytest.raises(ValueError, match="loss expects"):
        Pi3LossMipNeRFVariance(alpha_clamp=0.29)(pred, cast)


# ---- Hydra: the overrides that people have, with another module path ----

COMMON = ["+loss.train_loss.normalize_pred=false", "+loss.train_loss.normalize_gt=true"]
KNOBS = [
    "+loss.train_loss.window=5",
    "+loss.train_loss.lambda_prior=0.5",
    "+loss.train_loss.alpha_clamp=0.3",
]
FOCUS_KNOBS = [
    "+loss.train_loss.focus=4.0",
    "+loss.train_loss.relative_sigma=0.2",
    "+loss.train_loss.gradient=0.3",
]


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("Pi3LossGTOnlyNorm", [*COMMON, "+loss.train_loss.use_scale_align=false"]),
        ("Pi3LossMipNeRFVariance", [*COMMON, "+loss.train_loss.loss_type=weighted_l1", *KNOBS]),
        ("Pi3LossMipNeRFVariance", [*COMMON, "+loss.train_loss.loss_type=laplace_nll", *KNOBS]),
        ("Pi3LossMipNeRFVariance", ["+loss.train_loss.loss_type=focused_log_l1", *FOCUS_KNOBS, *KNOBS]),
        ("Pi3LossMipNeRFVariance", ["+loss.train_loss.normal_datasets=[room]"]),
    ],
)
def test_hydra_builds_it_from_the_overrides(name: str, overrides: list[str]) -> None:
    target = f"loss.train_loss._target_=depthvar.loss.pi3.{name}"
    with initialize_config_dir(str(Path(__file__).parents[1] / "examples"), version_base=None):
        config = compose("pi3_hydra", [target, *overrides])
    loss = instantiate(config.loss.train_loss)
    assert type(loss).__name__ == name
    for override in overrides:
        key, value = override.removeprefix("+loss.train_loss.").split("=")
        known = vars(loss) | getattr(loss, "params", {}) | getattr(loss, "focus", {})
        assert str(known[key]).lower() == value or (key == "normal_datasets" and known[key] == {"room"})
    pred, views = batch()
    assert loss(pred, views)[0].isfinite()
