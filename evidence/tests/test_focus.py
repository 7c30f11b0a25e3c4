"""The focused losses, the second scenes, and the phases of their study, by their laws."""

import math
from dataclasses import asdict
from pathlib import Path

import focus_report
import numpy as np
import phases
import planes
import pytest
import rooms
import run
import table
import torch
import train
from arms import Arm, weights
from click.testing import CliRunner
from focus import SIGMAS, arm_of, gradient_matching, log_error
from ground_truth import GroundTruth, cleaned, ground_truth
from measures import least_error, measure
from run import Run
from torch import Tensor

import depthvar.loss
from depthvar.loss import focus_weight, focused_log_l1, inverse_depth_l1
from depthvar.precompute import KernelParams

FEW = {"train": 4, "validation": 1, "test": 1}
NAMES = sorted({*phases.CHOICES, *(arm for part in phases.CONFIRMING for arm in part.arms)})


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> rooms.Views:
    return rooms.load(FEW, seed=3, cache=tmp_path_factory.mktemp("rooms"))["train"]


@pytest.fixture(scope="module")
def given(views: rooms.Views) -> GroundTruth:
    return ground_truth("all", views)


@pytest.mark.parametrize(
    ("arm", "gradient", "error"),
    [
        ("l1", 4.55688, 0.361487),
        ("edge_mask_0.2", 4.01487, 0.360559),
        ("inverse_sigma_cached", 3.84647, 0.362515),
        ("laplace_nll", 135.5472, 0.360946),
    ],
)
def test_losses_of_weights_train_as_they_did_before_there_were_others(arm: str, gradient: float, error: float) -> None:
    """Five steps amplify the last digits, which are the CPU's: 0.3 % of the gradient was seen. Arms differ more."""
    row = run.train(Run(arm, "all", 3e-3, 0, 5, "test"), tuple(train.SMOKE_ROOMS.items()))
    assert row["gradient_mean"] == pytest.approx(gradient, rel=0.01)
    assert row["abs_rel"] == pytest.approx(error, rel=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_losses_are_0_at_the_target_and_at_invalid_pixels(name: str, given: GroundTruth) -> None:
    arm = arm_of(name)
    given = cleaned(given) if arm.cleaned else given
    weight, valid = weights(arm, given), torch.from_numpy(given.valid)
    assert weight.isfinite().all()
    assert (weight[~valid] == 0).all()
    mean = weight.sum((1, 2)) / valid.sum((1, 2))
    torch.testing.assert_close(mean, torch.ones_like(mean), rtol=0.02, atol=0)
    target = torch.where(valid, torch.from_numpy(given.depth), 0.0)
    pred = torch.where(valid, target, 5.0).requires_grad_()
    assert arm.loss(pred, target, weight, valid).item() == 0
    other = torch.where(valid, 1.5 * target, 5.0).requires_grad_()
    loss = arm.loss(other, target, weight, valid)
    (gradient,) = torch.autograd.grad(loss, other)
    assert loss.item() > 0
    assert gradient.isfinite().all()
    assert (gradient[~valid] == 0).all()


def test_a_wrong_scale_costs_its_logarithm_and_no_gradient(given: GroundTruth) -> None:
    arm = arm_of("log+gradient+focus=8+both")
    weight, valid = weights(arm, given), torch.from_numpy(given.valid)
    target = torch.where(valid, torch.from_numpy(given.depth), 0.0)
    loss = arm.loss(torch.where(valid, 2 * target, 1.0), target, weight, valid)
    assert loss.item() == pytest.approx(math.log(2), rel=0.01)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_focus_is_on_edges_and_does_not_follow_the_unit(sigma: str, given: GroundTruth, views: rooms.Views) -> None:
    arm = arm_of(f"log+focus=8+sigma={sigma}")
    weight = weights(arm, given)
    edge, valid = torch.from_numpy(views["mixed"]), torch.from_numpy(given.valid)
    assert weight[edge & valid].mean() > 1.5 * weight[~edge & valid].mean()
    scaled = GroundTruth(given.depth / 4, given.online / 16, given.cached / 16, given.native / 4)
    known = torch.from_numpy(np.isfinite(given.depth).all((1, 2)))  # the planarity and others put the sky at a distance
    assert known.any()
    torch.testing.assert_close(weights(arm, scaled)[known], weight[known])


@pytest.mark.parametrize("knob", ["lambda_prior_2.0", "alpha_clamp_0.1"])
def test_a_parameter_of_sigma_moves_the_focus(knob: str, given: GroundTruth) -> None:
    default, varied = (weights(arm_of(f"log+focus=8+sigma={sigma}"), given) for sigma in ("online", knob))
    assert not torch.allclose(varied, default, rtol=0.02)
    name, _, value = knob.rpartition("_")
    assert arm_of(f"log+focus=8+sigma={knob}").sigma == KernelParams(**{name: float(value)})


def test_the_focus_by_hand() -> None:
    arm = arm_of("power_0.5+focus=6+c=0.2")
    sigma, depth = torch.tensor([[[0.0, 0.8, 40.0]]]), torch.tensor([[[4.0, 4.0, 1.0]]])
    expected = [0.5, 0.5 * 4, 1 + 6 * 1600 / 1600.04]  # e is 0, 1/2 and almost 1
    torch.testing.assert_close(arm.weight(sigma, depth, depth > 0), torch.tensor([[expected]]))


def matching_by_loops(residual: Tensor, root: Tensor) -> float:
    total = 0.0
    for step in (1, 2, 4, 8):
        r, w = residual[:, ::step, ::step], root[:, ::step, ::step]
        pairs = 0.0
        for n, v, u in np.ndindex(*r.shape):
            for b in ((n, v + 1, u), (n, v, u + 1)):
                if b[1] < r.shape[1] and b[2] < r.shape[2]:
                    pairs += (abs(r[n, v, u] - r[b]) * w[n, v, u] * w[b]).item()
        total += pairs / w.sum().item()
    return total


def test_gradient_matching_is_what_loops_find() -> None:
    generator = torch.Generator().manual_seed(0)
    residual, root = torch.randn(2, 11, 18, generator=generator), torch.rand(2, 11, 18, generator=generator)
    root[0, 3:6, :4] = 0
    assert gradient_matching(residual, root).item() == pytest.approx(matching_by_loops(residual, root), rel=1e-5)
    assert gradient_matching(torch.ones_like(residual), root).item() == 0
    assert gradient_matching(residual, torch.zeros_like(root)).item() == 0


def test_log_error_by_hand() -> None:
    pred, target = torch.tensor([[[2.0, 9.0, 1.0]]]), torch.tensor([[[1.0, 0.0, 4.0]]])
    valid = torch.tensor([[[True, False, True]]])
    loss = log_error(pred, target, torch.tensor([[[1.0, 0.0, 3.0]]]), valid)
    assert loss.item() == pytest.approx((math.log(2) + 3 * math.log(4)) / 2)


@pytest.mark.parametrize("name", ["log+gradent", "log+focus=", "log+sigma=range5", "depth+gradient", "log+both=1"])
def test_a_name_that_says_nothing_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=r"loss '.*': (unknown option|expected one of)"):
        arm_of(name)


def test_names_of_arms_are_those_arms() -> None:
    assert isinstance(arm_of("inverse_sigma_window_3"), Arm)
    assert arm_of("l1") is arm_of("l1")
    assert not arm_of("log+gradient").cleaned


def test_a_cleaned_depth_is_the_lower_median_of_the_known_pixels_under_it(given: GroundTruth) -> None:
    native = given.native.copy()
    native[0, :2, :2] = [[3, 0], [1, 2]]  # one is unknown: of three the middle
    native[0, :2, 2:4] = [[4, 1], [np.inf, 3]]  # of four the second
    native[0, :2, 4:6] = 0
    native[0, :2, 6:8] = [[np.inf, np.inf], [np.inf, 2]]
    depth = cleaned(given._replace(native=native)).depth
    assert depth[0, 0, :4].tolist() == [2, 3, 0, np.inf]
    blocks = given.native.reshape(-1, rooms.HEIGHT, 2, rooms.WIDTH, 2).transpose(0, 1, 3, 2, 4)
    assert (cleaned(given).depth[..., None] == blocks.reshape(*given.depth.shape, 4)).any(-1).all()  # a depth of it


def test_a_boundary_one_pixel_off_has_no_soft_edge_error() -> None:
    truth = np.where(np.arange(12) < 6, 2.0, 12.0) * np.ones((1, 8, 1))
    mixed = np.broadcast_to(np.arange(12) == 6, truth.shape).copy()
    views = {"truth": truth, "mixed": mixed, "near": np.where(mixed, 2.0, truth), "far": truth.copy()}
    moved = np.roll(truth, 1, axis=-1)
    moved[..., 0] = 2
    assert measure(moved, views)["abs_rel_edge"] > 0.2
    assert measure(moved, views)["soft_edge_error"] == 0
    between = np.where(mixed, 7.0, truth)
    assert measure(between, views)["soft_edge_error"] == pytest.approx(5 / 12 / 3)
    truth[:, :, 8:] = np.inf
    assert np.isfinite(least_error(between, truth)[..., :8]).all()


def test_planes_have_the_laws_of_rooms() -> None:
    one, other = planes.render_scene(1, 0), planes.render_scene(1, 0)
    assert len(one) == rooms.VIEWS
    for view, again in zip(one, other, strict=True):
        for name, each in view.items():
            np.testing.assert_array_equal(each, again[name])
    some = {name: np.stack([view[name] for view in one]) for name in one[0]}
    assert not np.array_equal(some["picture"], np.stack([view["picture"] for view in planes.render_scene(2, 0)]))
    assert (some["near"] <= some["truth"]).all()
    assert (some["truth"] <= some["far"]).all()
    assert (some["near"] > 0.3).all()
    assert (some["far"] <= planes.FARTHEST * 1.001).all()
    assert 0.02 < some["mixed"].mean() < 0.4
    native = some["native"].astype(np.float64).reshape(-1, rooms.HEIGHT, 2, rooms.WIDTH, 2).mean((2, 4))
    smooth = some["far"] < 1.02 * some["near"]
    assert np.isclose(native[smooth], some["centre"][smooth], rtol=0.01).mean() > 0.99


def test_no_run_begins_that_would_not_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(table.time, "monotonic", lambda: now)
    short, long = Run("l1", "all", 1e-3, 0, 600, "test"), Run("l1", "all", 1e-3, 0, 2400, "test")
    clock = table.Clock(120.0, {short: 6.0})
    assert clock.fits(short)
    assert not clock.fits(long)  # 30 s with the margin
    clock.ended(long, 6.0)
    assert clock.fits(long)
    assert not clock.fits(Run("l1", "all", 1e-3, 0, 9600, "test"))
    assert table.Clock(math.inf, {}).fits(long)


def test_confirming_is_on_other_scenes_with_other_seeds_and_tuned_rates() -> None:
    tuned, chosen = phases.tuning(phases.CONFIRMING), phases.choosing(3, 600)
    rates = {(each.arm, each.steps): each.lr for each in tuned}
    runs = phases.confirming(phases.CONFIRMING, rates)
    assert len(set(runs)) == len(runs)
    assert {each.split for each in tuned + chosen} == {"validation"}
    assert {each.split for each in runs} == {"test"}
    assert not {each.scenes for each in tuned + runs} & {each.scenes for each in chosen}
    assert not {each.seed for each in runs} & {each.seed for each in tuned + chosen}
    for each in runs:
        if each.steps != 9600:  # a rate is tuned on the scenes and the network that it is for
            like = next(one for one in tuned if (one.arm, one.steps) == (each.arm, each.steps))
            assert (like.scenes, like.network) == (each.scenes, each.network)


def test_the_confirming_phase_runs_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "CACHE", tmp_path)
    late = CliRunner().invoke(train.main, ["confirm", "--smoke", "--time-limit", "0", "--out", str(tmp_path)])
    assert late.exit_code == 0, late.output
    assert not (tmp_path / "confirm.csv").exists()
    first = CliRunner().invoke(train.main, ["confirm", "--smoke", "--out", str(tmp_path)])
    assert first.exit_code == 0, first.output
    rows, text = table.read(tmp_path / "confirm.csv"), (tmp_path / "confirm.csv").read_bytes()
    assert [row["split"] for row in rows] == 14 * ["validation"] + 18 * ["test"]
    assert {(row["scenes"], row["network"]) for row in rows} == {("rooms-1", "small"), ("planes-1", "deep")}
    second = CliRunner().invoke(train.main, ["confirm", "--smoke", "--out", str(tmp_path)])
    assert second.output.count(" 0 runs to do") == 2
    assert (tmp_path / "confirm.csv").read_bytes() == text


@pytest.mark.parametrize(
    ("name", "options"),
    [("+both", {}), ("+both+sigma=online+c=0.3", {"relative_sigma": 0.3}), ("=0.25+both", {"gradient": 0.25})],
)
def test_the_loss_of_the_project_is_the_arm(name: str, options: dict[str, float], given: GroundTruth) -> None:
    head, _, rest = name.partition("+")
    arm = arm_of(f"log+gradient{head}+focus=8+{rest}")
    target, valid = torch.from_numpy(given.depth), torch.from_numpy(given.valid)
    generator = torch.Generator().manual_seed(0)
    pred = torch.where(valid, target, 1.0) * (0.5 + torch.rand(target.shape, generator=generator))
    sigma_z2 = torch.from_numpy(given.online if "online" in name else given.cached)
    ours, theirs = [], []
    for k in range(len(pred)):  # of more images the gradients are divided by the sum of all, there by that of each
        one = pred[k : k + 1], target[k : k + 1], sigma_z2[k : k + 1], valid[k : k + 1]
        theirs.append(focused_log_l1(*one, focus=8, **options).item())
        known = torch.where(one[3], one[1], 0.0)
        ours.append(arm.loss(one[0], known, weights(arm, given)[k : k + 1], one[3]).item())
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_the_focused_inverse_depth_of_the_project_is_the_arm(given: GroundTruth) -> None:
    arm = arm_of(phases.RELATIVE)
    target, valid = torch.from_numpy(given.depth), torch.from_numpy(given.valid)
    generator = torch.Generator().manual_seed(0)
    pred = torch.where(valid, target, 1.0) * (0.5 + torch.rand(target.shape, generator=generator))
    weight = focus_weight(torch.from_numpy(given.cached), target, valid, focus=4)
    known, theirs = torch.where(valid, target, 0.0), weights(arm, given)
    for k in range(len(pred)):  # of more images the gradients are divided by the sum of all, there by that of each
        one = inverse_depth_l1(pred[k], target[k], weight=weight[k], normalize="mean")
        one = one + 0.5 * depthvar.loss.gradient_matching(pred[k], target[k], weight[k] > 0)
        alone = arm.loss(*(each[k : k + 1] for each in (pred, known, theirs, valid)))
        torch.testing.assert_close(one, alone, rtol=1e-5, atol=0)


def test_targets_are_compared_at_tuned_rates_and_at_one_rate(tmp_path: Path) -> None:
    def write(name: str, arm: str, lr: float, value: float, split: str = "test") -> None:
        run_of = Run(arm, "all", lr, 15 if split == "test" else 0, 600, split, "rooms-1")
        table.append(tmp_path / name, dict.fromkeys(table.COLUMNS, value) | asdict(run_of))

    write("confirm.csv", "log+gradient", 1e-2, 1.0, "validation")
    write("confirm.csv", "log+gradient", 1e-2, 1.0)
    write("multimodal.csv", "multimodal", 1e-3, 1.0, "validation")
    write("multimodal.csv", "unimodal", 1e-2, 1.0, "validation")
    write("multimodal.csv", "multimodal", 1e-3, 3.0)
    write("multimodal.csv", "unimodal", 1e-2, 2.0)
    write("multimodal.csv", "multimodal", 1e-2, 2.5)
    found = [
        {(arm, base): cells[1] for arm, base, _, cells in focus_report.contrasts(groups, focus_report.TARGETS)}
        for groups in focus_report.with_targets(tmp_path)
    ]
    plain = ("unimodal", "log+gradient"), "+100 %"
    assert found == [
        {("multimodal", "unimodal"): "+50 %", ("multimodal", "log+gradient"): "+200 %", plain[0]: plain[1]},
        {("multimodal", "unimodal"): "+25 %", ("multimodal", "log+gradient"): "+150 %", plain[0]: plain[1]},
    ]


def test_a_contrast_is_a_line_of_each_part_that_has_both(tmp_path: Path) -> None:
    def write(arm: str, seed: int, value: float, **others: object) -> None:
        of = dict.fromkeys(table.COLUMNS, value) | asdict(Run(arm, "all", 1e-3, seed, 600, "test", "rooms-1")) | others
        table.append(tmp_path / "confirm.csv", of)

    for seed in range(3):
        write("l1", seed, 2.0)
        write("log+gradient", seed, 1.0)
        write("log+gradient", seed, 9.0, split="validation")  # no result
        write(phases.BEST, seed, 1.5, truth="mixed")
        write("log+gradient", seed, 1.0, truth="mixed")
        write("log+gradient", seed, 1.0, steps=1200, scenes="planes-1", network="deep")
    lines = list(focus_report.contrasts(focus_report.measured(tmp_path / "confirm.csv", "test")))
    assert [(*line[:3], line[3][0]) for line in lines] == [
        (phases.BEST, "log+gradient", ("mixed", 600), "3"),
        ("log+gradient", "l1", ("all", 600), "3"),
    ]
    assert lines[0][3][1:3] == ("+50 % ↓", "**+50 %**")  # an error, and a share that is right
    page = focus_report.markdown(tmp_path)
    assert "10 comparisons in the primary measures: 5 better, 5 worse, 0 undecided" in page
    assert "## Confirming phase: ground truth all, 600 steps, against `l1`" in page
    assert "| `log+gradient` | 3 | **-50 %** | -50 % ↓ |" in page
    assert focus_report.title_of(("all", 1200)) == "ground truth all, 1,200 (planes, deep network) steps"
    assert focus_report.blocks(tmp_path)["focus"].count("\n") == 1  # none of those that are shown
