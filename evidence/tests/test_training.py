"""The training study's parts by their laws: rooms, faults of the ground truth, weights, measures, runs, report."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import focus_report
import numpy as np
import pytest
import report
import rooms
import run
import table
import torch
import train
import weight_shares
from arms import ARMS, SENSITIVITY, weighted_error, weights
from click import ClickException
from click.testing import CliRunner
from comparison import difference, differs, grouped, interval
from ground_truth import TRUTHS, ground_truth, shift
from measures import PRIMARY, SECONDARY, boundary_f1, measure
from network import packed

from depthvar.loss import inverse_depth_l1, laplace_nll, weighted_l1
from depthvar.precompute import Difference, KernelParams
from depthvar.precompute import sigma_z2 as sigma_z2_of

FEW = {"train": 4, "validation": 1, "test": 1}


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> dict[str, rooms.Views]:
    return rooms.load(FEW, seed=3, cache=tmp_path_factory.mktemp("rooms"))


def test_rooms_are_the_same_for_the_same_seed_and_number(views: dict[str, rooms.Views], tmp_path: Path) -> None:
    again = rooms.generate(3, FEW)
    stored = rooms.load(FEW, seed=3, cache=tmp_path)
    reread = rooms.load(FEW, seed=3, cache=tmp_path)
    for split, some in views.items():
        for name, each in some.items():
            for other in (again, stored, reread):
                np.testing.assert_array_equal(other[split][name], each)
    assert not np.array_equal(rooms.generate(4, {"train": 1})["train"]["picture"], views["train"]["picture"][:2])


def test_no_view_is_in_two_splits(views: dict[str, rooms.Views]) -> None:
    pictures = [each.tobytes() for some in views.values() for each in some["picture"]]
    assert len(set(pictures)) == len(pictures) == rooms.VIEWS * sum(FEW.values())


def test_truth_lies_between_the_nearest_and_the_farthest_ray(views: dict[str, rooms.Views]) -> None:
    some = views["train"]
    assert (some["near"] <= some["truth"]).all()
    assert (some["truth"] <= some["far"]).all()
    assert (some["near"] <= some["mean"]).all()
    assert (some["near"] > 0).all()
    single = some["near"] == some["far"]
    assert not some["mixed"][single].any()
    assert (some["far"] > (1 + rooms.GAP) * some["near"])[some["mixed"]].all()
    assert 0.005 < some["mixed"].mean() < 0.3
    # Two resolutions of one view: on pixels of one surface the native centres average to the view's.
    native = some["native"].astype(np.float64).reshape(-1, rooms.HEIGHT, 2, rooms.WIDTH, 2).mean((2, 4))
    smooth = np.isfinite(native) & (some["far"] < 1.02 * some["near"])
    alike = np.isclose(native[smooth], some["centre"][smooth], rtol=0.01)
    assert np.mean(alike) > 0.999  # a native centre may pass a gap that no ray of the view passes


@pytest.mark.parametrize("kind", TRUTHS)
def test_ground_truth_is_the_same_for_the_same_seed_and_has_variances(kind: str, views: dict[str, rooms.Views]) -> None:
    given, again = ground_truth(kind, views["train"], 1), ground_truth(kind, views["train"], 1)
    for one, other in zip(given, again, strict=True):
        np.testing.assert_array_equal(one, other)
    if kind in ("misaligned", "all"):
        assert 0 < (given.depth == 0).mean() < 0.05  # what comes in next to a shifted view is unknown
    else:
        assert (given.depth > 0).all()
    np.testing.assert_array_equal(given.valid, np.isfinite(given.depth) & (given.depth != 0))
    np.testing.assert_array_equal(np.isfinite(given.online), given.valid)
    assert np.isfinite(given.cached[given.valid]).mean() > 0.999
    assert (given.online > 0).all()
    if kind == "clean":
        np.testing.assert_array_equal(given.depth, views["train"]["centre"])
    else:
        assert not np.array_equal(given.depth, views["train"]["centre"])


def test_faults_change_what_they_say_only(views: dict[str, rooms.Views]) -> None:
    some = views["train"]
    clean, mixed = some["centre"], ground_truth("mixed", some).depth
    np.testing.assert_array_equal(mixed[~some["mixed"]], clean[~some["mixed"]])
    noisy = ground_truth("noise", some).depth
    known = np.isfinite(clean)
    np.testing.assert_array_equal(np.isfinite(noisy), known)
    error = ((noisy[known] - clean[known]) / clean[known] ** 2).astype(np.float64)
    assert error.std() == pytest.approx(0.003, rel=0.05)
    for before, after in zip(clean, ground_truth("misaligned", some).depth, strict=True):
        moves = [shift(before, dv, du) for dv in (-1, 0, 1) for du in (-1, 0, 1)]
        assert any(np.array_equal(after, move) for move in moves)
    for kind in ("resized", "all"):
        given = ground_truth(kind, some)
        np.testing.assert_array_equal(given.depth, given.native[:, ::2, ::2])
    np.testing.assert_array_equal(ground_truth("resized", some).native, some["native"])


def test_a_shift_moves_every_pixel_and_leaves_the_rest_unknown() -> None:
    depth = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(shift(depth, 0, 1), [[0, 1, 2], [0, 4, 5]])
    np.testing.assert_array_equal(shift(depth, -1, -2), [[6, 0, 0], [0, 0, 0]])
    assert shift(depth, 1, 0).dtype == np.float32


def test_an_unknown_ground_truth_is_named(views: dict[str, rooms.Views]) -> None:
    with pytest.raises(ValueError, match=r"ground truth: expected one of clean, .*; got 'dirty'"):
        ground_truth("dirty", views["train"])


@pytest.mark.parametrize("name", ARMS)
def test_weights_are_finite_and_zero_where_there_is_no_depth(name: str, views: dict[str, rooms.Views]) -> None:
    given = ground_truth("all", views["train"])
    given.depth[:, :5, :5] = np.inf
    given.native[:, :10, :10] = np.inf
    given.online[:, :5, :5] = given.cached[:, :5, :5] = np.inf
    weight = weights(ARMS[name], given)
    valid = torch.from_numpy(given.valid)
    assert weight.isfinite().all()
    assert (weight >= 0).all()
    assert (weight[~valid] == 0).all()
    assert name.startswith("edge_mask") or (weight[valid] > 0).float().mean() > 0.99
    if ARMS[name].normalized:
        mean = weight.sum((1, 2)) / valid.sum((1, 2))
        torch.testing.assert_close(mean, torch.ones_like(mean), rtol=0.02, atol=0)


@pytest.mark.parametrize(
    "name", ["l1", "inverse_depth", "inverse_sigma", "relative_0.03", "difference_and_depth_0.03", "planarity_0.03"]
)
def test_normalized_weights_do_not_follow_the_unit_of_depth(name: str, views: dict[str, rooms.Views]) -> None:
    given = ground_truth("mixed", views["train"])
    scaled = type(given)(given.depth / 4, given.online / 16, given.cached / 16, given.native / 4)
    # Views without sky: the planarity of the comparison puts the sky at a fixed distance.
    known = torch.from_numpy(np.isfinite(given.depth).all((1, 2)))
    assert known.any()
    torch.testing.assert_close(weights(ARMS[name], scaled)[known], weights(ARMS[name], given)[known])


def test_arms_of_the_project_are_its_losses(views: dict[str, rooms.Views]) -> None:
    given = ground_truth("all", views["train"])
    target, sigma_z2 = torch.from_numpy(given.depth), torch.from_numpy(given.online)
    difference = torch.from_numpy(sigma_z2_of(given.depth, rooms.INTRINSICS, Difference()))
    valid = torch.from_numpy(given.valid)
    known = torch.where(valid, target, 0.0)
    generator = torch.Generator().manual_seed(0)
    pred = (torch.where(valid, target, 1.0) + torch.rand(target.shape, generator=generator)).requires_grad_()

    def ours(name: str) -> torch.Tensor:
        return weighted_error(pred, known, weights(ARMS[name], given), valid)

    same = torch.testing.assert_close
    same(ours("l1"), (pred - target)[valid].abs().mean())
    same(ours("inverse_sigma"), weighted_l1(pred, target, sigma_z2))
    same(ours("inverse_sigma_raw"), weighted_l1(pred, target, sigma_z2, normalize="none"))
    same(ours("floor_0.1"), weighted_l1(pred, target, sigma_z2, sigma_min=0.1))
    same(ours("inverse_sqrt_sigma"), weighted_l1(pred, target, sigma_z2, weighting="inverse_sqrt_sigma"))
    same(ours("relative_0.03"), weighted_l1(pred, target, sigma_z2, weighting="relative", relative_sigma=0.03))
    both = {"weighting": "inverse_sigma_and_depth", "relative_sigma": 0.1}
    same(ours("difference_and_depth_0.1"), weighted_l1(pred, target, difference, **both))
    same(ours("inverse_depth_raw"), inverse_depth_l1(pred, target), rtol=1e-4, atol=0)
    (theirs,) = torch.autograd.grad(laplace_nll(pred, target, sigma_z2), pred)
    (mine,) = torch.autograd.grad(ours("laplace_nll"), pred)
    same(mine, theirs)


@pytest.mark.parametrize("name", SENSITIVITY)
def test_every_knob_moves_the_weights(name: str, views: dict[str, rooms.Views]) -> None:
    given = ground_truth("all", views["train"])
    default, varied = weights(ARMS["inverse_sigma"], given), weights(SENSITIVITY[name], given)
    assert not torch.allclose(varied, default, rtol=0.02)
    params = SENSITIVITY[name].sigma
    assert isinstance(params, KernelParams)
    expected = weighted_map(torch.from_numpy(sigma_z2_of(given.depth, rooms.INTRINSICS, params)))
    torch.testing.assert_close(varied, expected)


def weighted_map(sigma_z2: torch.Tensor) -> torch.Tensor:
    """Return the weights of weighted_l1, as the loss of an error of 1."""
    return weighted_l1(torch.ones_like(sigma_z2), torch.zeros_like(sigma_z2), sigma_z2, reduction="none")


def test_shares_of_weight_are_those_of_pixels_for_plain_l1_and_follow_the_weights(
    views: dict[str, rooms.Views],
) -> None:
    given = ground_truth("all", views["train"])
    valid = given.valid
    pixels = [(where & valid).sum() / valid.sum() for where in (given.depth < 3, given.depth > 10)]
    edge, near, far, effective, largest = weight_shares.shares(ARMS["l1"], given, views["train"])
    assert [near, far, effective, largest] == pytest.approx([*pixels, 1, 1])
    weight = weights(ARMS["inverse_sigma_raw"], given).numpy().astype(np.float64)
    other = weight_shares.shares(ARMS["inverse_sigma_raw"], given, views["train"])
    assert other[1] == pytest.approx(weight[given.depth < 3].sum() / weight.sum())
    assert other[3] == pytest.approx(weight.sum() ** 2 / (valid.sum() * (weight**2).sum()))
    assert other[4] == pytest.approx(weight.max() / weight[valid].mean())
    assert other[0] < 0.5 * edge


def test_invalid_pixels_add_nothing_to_the_loss() -> None:
    pred = torch.tensor([[[3.0, 7.0]]], requires_grad=True)
    loss = weighted_error(
        pred, torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[True, False]]])
    )
    loss.backward()
    assert loss.item() == 2
    assert pred.grad is not None
    assert pred.grad[0, 0].tolist() == [1, 0]
    assert weighted_error(pred, pred, pred, torch.tensor([[[False, False]]])).item() == 0


def test_a_mirrored_picture_is_seen_with_its_mirrored_depth() -> None:
    picture = torch.rand(2, 3, 16, 32, generator=torch.Generator().manual_seed(0))
    seen, depth = packed(run.with_mirrored(picture)), run.with_mirrored(picture[:, 0])
    for k in range(2):
        torch.testing.assert_close(seen[2 + k], packed(picture.flip(-1))[k])
        torch.testing.assert_close(depth[2 + k], picture[k, 0].flip(-1))
        # The first four channels are the first colour at the four places of each 2×2 block.
        unpacked = torch.nn.functional.pixel_shuffle(seen[2 + k, :4], 2)[0]
        torch.testing.assert_close((unpacked + 1) / 2, depth[2 + k])


def two_planes() -> rooms.Views:
    """One view of a wall at 2 m left and at 12 m right, whose border column mixes both."""
    truth = np.where(np.arange(12) < 6, 2.0, 12.0) * np.ones((1, 8, 1))
    mixed = np.broadcast_to(np.arange(12) == 6, truth.shape).copy()
    return {"truth": truth, "mixed": mixed, "near": np.where(mixed, 2.0, truth), "far": truth.copy()}


def test_a_perfect_prediction_has_no_error_and_every_boundary() -> None:
    views = two_planes()
    measured = measure(views["truth"], views)
    assert set(measured) == {*PRIMARY, *SECONDARY}
    for name, value in measured.items():
        if name.endswith("3_to_10m"):  # nothing is there
            assert np.isnan(value), name
        else:
            assert value == (1 if name.startswith(("delta", "boundary")) else 0), name


def test_measures_of_a_hand_made_prediction() -> None:
    views = two_planes()
    pred = views["truth"] * 1.02
    pred[views["mixed"]] = 7.0  # half-way between the surfaces
    measured = measure(pred, views)
    assert measured["abs_rel_interior"] == pytest.approx(0.02)
    assert measured["delta_1.01_interior"] == 0
    assert measured["delta_1.05_interior"] == 1
    assert measured["flying"] == pytest.approx(0.5)
    assert measured["flying_share"] == 1
    assert measured["mae_beyond_10m"] == pytest.approx((5 * 0.24 + 5) / 6)  # 2 % of 12 m, and 5 m
    assert measured["delta_1.05_beyond_10m"] == pytest.approx(5 / 6)
    assert measured["abs_rel_below_3m"] == pytest.approx(0.02)
    # Columns 5, 6 and 7 are next to the edge: 2 %, 5 of 12 m, 2 %.
    assert measured["abs_rel_edge"] == pytest.approx((0.02 + 5 / 12 + 0.02) / 3)
    pred[views["mixed"]] = 2.0 + 10 / 5  # nearer than a quarter of the gap to one of them
    assert (measure(pred, views)["flying"], measure(pred, views)["flying_share"]) == (pytest.approx(0.2), 0)
    pred[views["mixed"]] = 40.0  # wrong, but not in the air between them
    assert (measure(pred, views)["flying"], measure(pred, views)["flying_share"]) == (pytest.approx(2.8), 0)
    views["truth"][:, :4] = np.inf  # sky counts nowhere
    pred[:, :4] = 1000
    assert measure(pred, views)["abs_rel_interior"] == pytest.approx(0.02)


def test_boundary_f1() -> None:
    truth = two_planes()["truth"]
    assert boundary_f1(np.full_like(truth, 3.0), truth) == 0
    assert boundary_f1(truth[..., ::-1], truth) == 0  # at the place, in the other direction
    assert boundary_f1(np.roll(truth, 1, axis=-1)[..., 1:], truth[..., 1:]) == 0  # next to the place
    half = truth.copy()
    half[:, :4] = 2.0
    # 4 of 8 true edges are found, besides the 6 wrong ones under the part that is gone: precision 0.4, recall 0.5.
    assert boundary_f1(half, truth) == pytest.approx(2 * 0.4 * 0.5 / (0.4 + 0.5))


def test_a_study_is_done_once_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "CACHE", tmp_path)
    monkeypatch.setattr(train, "SENSITIVITY", {"inverse_sigma_window_3": SENSITIVITY["inverse_sigma_window_3"]})
    arguments = ["all", "--smoke", "--arms", "l1,inverse_sigma", "--truths", "all", "--out", str(tmp_path)]
    first = CliRunner().invoke(train.main, arguments)
    assert first.exit_code == 0, first.output
    tables = {name: (tmp_path / name).read_bytes() for name in ("lr.csv", "training.csv")}
    assert len(train.read(tmp_path / "lr.csv")) == 2 * len(train.RATES)
    rows = train.read(tmp_path / "training.csv")
    assert {row["arm"] for row in rows} == {"l1", "inverse_sigma", "inverse_sigma_window_3"}
    assert all(np.isfinite(row[name]) for row in rows for name in ("abs_rel_interior", "gradient_max"))
    second = CliRunner().invoke(train.main, arguments)
    assert second.exit_code == 0, second.output
    assert second.output.count(" 0 runs to do") == 4
    assert {name: (tmp_path / name).read_bytes() for name in tables} == tables
    # One row lost: that run alone is done again, with the same result.
    kept = tables["training.csv"].splitlines(keepends=True)
    (tmp_path / "training.csv").write_bytes(b"".join(kept[:1] + kept[2:]))
    assert f"{len(rows) - 1} rows, 1 runs to do" in CliRunner().invoke(train.main, arguments).output
    again = train.read(tmp_path / "training.csv")[-1]
    np.testing.assert_equal(again | {"seconds": 0}, rows[0] | {"seconds": 0})  # NaN is NaN
    written = CliRunner().invoke(report.main, ["--results", str(tmp_path), "--docs", str(tmp_path)])
    assert written.exit_code == 0, written.output
    assert "| inverse_sigma | 1 |" in (tmp_path / "training.md").read_text(encoding="utf-8")
    for name in ("training", "faults"):
        assert (tmp_path / "images" / f"evidence_{name}.png").stat().st_size > 1000


def test_runs_in_processes_are_those_here() -> None:
    few = tuple(train.SMOKE_ROOMS.items())
    rooms.load(train.SMOKE_ROOMS)  # where the processes look for them
    runs = [train.Run("l1", "clean", 1e-3, seed, 2, "test") for seed in range(2)]
    clock = table.Clock(math.inf, {})
    there = sorted(table.rows_of(runs, few, 2, clock), key=lambda row: row["seed"])
    for one, other in zip(there, table.rows_of(runs, few, 1, clock), strict=True):
        np.testing.assert_equal(one | {"seconds": 0}, other | {"seconds": 0})


def test_make_runs_a_slice_of_everything() -> None:
    before = {path: path.stat().st_mtime_ns for path in train.RESULTS.iterdir()}
    command = ["make", "evidence-smoke", f"PYTHON={sys.executable}"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| estimator |" in done.stdout
    assert ": 13 runs" in done.stdout  # of the report: two arms, two ground truths, nine knobs
    assert before == {path: path.stat().st_mtime_ns for path in train.RESULTS.iterdir()}


def test_wrong_use_is_said_in_a_line(tmp_path: Path) -> None:
    untuned = CliRunner().invoke(train.main, ["study", "--arms", "l1", "--out", str(tmp_path)])
    assert untuned.exit_code == 1
    assert (
        "lr.csv: no learning rate of l1 for 600 steps yet; run: python evidence/train.py tune --arms l1"
        in untuned.output
    )
    for steps in ("600,x", "0", ""):
        refused = CliRunner().invoke(train.main, ["tune", "--steps", steps])
        assert refused.exit_code == 2
        assert f"expected whole numbers above 0 with commas between, got '{steps}'" in refused.output
    unknown = CliRunner().invoke(train.main, ["tune", "--arms", "l2", "--out", str(tmp_path)])
    assert unknown.exit_code == 2
    assert "got 'l2'" in unknown.output
    empty = CliRunner().invoke(report.main, ["--results", str(tmp_path)])
    assert empty.exit_code == 1
    assert "no runs yet; run: python evidence/train.py all" in empty.output


def test_the_learning_rate_is_the_largest_of_those_that_are_as_good_as_the_best() -> None:
    tried = ((1e-3, 0.3), (3e-3, 0.1), (1e-2, float("nan")))
    of = {"arm": "l1", "split": "validation"}
    rows = [of | {"steps": 600, "lr": lr, "abs_rel": error} for lr, error in tried]
    as_good = ((3e-3, 0.0505), (1e-3, 0.05), (1e-2, 0.0506))  # 1 % and 1.2 % above the least
    rows += [of | {"steps": 2400, "lr": lr, "abs_rel": error} for lr, error in as_good]
    rows += [of | {"steps": 600, "lr": 1e-2, "abs_rel": 0.01, "split": "test"}]  # the test rooms choose nothing
    assert train.chosen_rates(rows) == {("l1", 600): 3e-3, ("l1", 2400): 3e-3}


def test_the_bootstrap_interval_holds_the_mean_and_shrinks() -> None:
    noise = np.random.default_rng(0).normal(1, 1, 400)
    low, high = interval(noise)
    assert low < noise.mean() < high
    few_low, few_high = interval(noise[:10])
    assert high - low < few_high - few_low
    assert high - low == pytest.approx(2 * 1.96 * noise.std() / 20, rel=0.1)
    assert interval([0.5, 0.5]) == (0.5, 0.5)


def test_a_verdict_is_wrong_in_one_of_twenty_cases_where_nothing_differs_and_the_bootstrap_more_often() -> None:
    cases = np.random.default_rng(0).normal(0, 1, (2000, 5))
    assert np.mean([differs(case) for case in cases]) == pytest.approx(0.05, abs=0.015)
    outside = [not low <= 0 <= high for low, high in map(interval, cases[:400])]
    assert np.mean(outside) == pytest.approx(0.15, abs=0.04)  # as evidence/README.md says
    assert differs([0.5, 0.5, 0.5])
    assert not differs([0.0, 0.0, 0.0])


def rows_of(values: dict[tuple[str, int], float], **others: object) -> list[dict[str, Any]]:
    """Return a row for each (arm, seed) whose every measure is the value."""
    names = dict.fromkeys((*PRIMARY, *report.OTHERS), 0.0)
    return [
        {"truth": "all", "steps": 3, "lr": 0.1, "arm": arm, "seed": seed} | dict.fromkeys(names, value) | others
        for (arm, seed), value in values.items()
    ]


def test_a_difference_is_of_the_seeds_that_both_have() -> None:
    # A loss that is 0.25 below plain L1 on each of two seeds; a third seed has no pair and is only in the mean.
    values = {
        ("l1", 0): 1.0,
        ("l1", 1): 2.0,
        ("edge_mask_0.1", 0): 0.75,
        ("edge_mask_0.1", 1): 1.75,
        ("edge_mask_0.1", 2): 6.5,
    }
    (group,) = grouped(rows_of(values)).values()
    for name in PRIMARY:
        one = difference(group, "edge_mask_0.1", name, "l1")
        assert one == (3.0, -0.25, -0.25, -0.25, pytest.approx(-100 / 6), 2, 0)  # two pairs prove nothing
        assert report.brief(one) == "-17 %"
    assert "| edge_mask_0.1 | 3 | 3 (-0.25 to -0.25) |" in report.table(group, PRIMARY)
    assert "| l1 | 2 | 1.5 |" in report.table(group, PRIMARY)


def test_a_table_marks_what_is_better_and_what_is_worse() -> None:
    values = {(arm, seed): base + seed for arm, base in (("l1", 1.0), ("inverse_sigma", 2.0)) for seed in range(3)}
    (group,) = grouped(rows_of(values)).values()
    cells = {name: difference(group, "inverse_sigma", name, "l1") for name in ("abs_rel_edge", "boundary_f1")}
    assert {name: one.verdict for name, one in cells.items()} == {"abs_rel_edge": -1, "boundary_f1": 1}
    assert report.full(cells["abs_rel_edge"]) == "3 (+1 to +1) ↓"
    assert report.brief(cells["boundary_f1"]) == "**+50 %**"
    assert report.brief(difference(group, "l1", "boundary_f1", "l1")) == "2.000"
    wavering = {("l1", k): 1.0 for k in range(4)} | {("edge_mask_0.1", k): 1 + 0.1 * (-1) ** k for k in range(4)}
    (group,) = grouped(rows_of(wavering)).values()
    assert difference(group, "edge_mask_0.1", "abs_rel_edge", "l1").verdict == 0
    # 5 measures, one arm besides the baseline.
    assert report.count(grouped(rows_of(values))).startswith("5 comparisons in the primary measures: 2 better, 3 worse")


def test_each_table_has_the_runs_of_its_rates() -> None:
    tuned = {("l1", 3): 0.1, ("edge_mask_0.1", 3): 0.2, ("inverse_sigma", 3): 0.1, ("inverse_sigma", 6): 0.1}
    rows = [
        *rows_of({("l1", 0): 1.0}),
        *rows_of({("edge_mask_0.1", 0): 2.0}),
        *rows_of({("edge_mask_0.1", 0): 3.0}, lr=0.2),
        *rows_of({("edge_mask_0.1", 0): 4.0}, lr=0.2, truth="clean"),
        *rows_of({("inverse_sigma", 0): 5.0}, steps=6),
        *rows_of({("inverse_sigma", 0): 6.0, ("inverse_sigma_window_3", 0): 7.0}),
        *rows_of({("inverse_sigma_window_3", 0): 8.0}, lr=0.2),
    ]

    def of(groups: report.Groups) -> dict[tuple[str, int], dict[str, float]]:
        return {key: {arm: row[0]["abs_rel"] for arm, row in group.items()} for key, group in groups.items()}

    assert of(report.at_tuned_rates(rows, tuned)) == {
        ("all", 3): {"l1": 1.0, "edge_mask_0.1": 3.0, "inverse_sigma": 6.0},
        ("clean", 3): {"edge_mask_0.1": 4.0},
        ("all", 6): {"inverse_sigma": 5.0},
    }
    assert of(report.at_one_rate(rows, tuned)) == {("all", 3): {"l1": 1.0, "edge_mask_0.1": 2.0, "inverse_sigma": 6.0}}
    assert of(report.knobs(rows, tuned)) == {("all", 3): {"inverse_sigma": 6.0, "inverse_sigma_window_3": 7.0}}


def test_tables_of_the_page_are_those_of_the_committed_runs() -> None:
    rows, rates = train.read(train.RESULTS / "training.csv"), train.chosen_rates(train.read(train.RESULTS / "lr.csv"))
    found = report.blocks(rows, rates) | focus_report.blocks(train.RESULTS)
    found |= {"weights": report.weight_table(train.RESULTS / "weights.csv")}
    for path, tables in ((report.DOCS / "evidence.md", 1), (train.RESULTS / "README.md", 10)):
        page = path.read_text(encoding="utf-8")
        assert report.with_blocks(page, found) == page, "run: python evidence/report.py"
        assert page.count("<!-- /") >= tables
    front = (report.DOCS.parent / "README.md").read_text(encoding="utf-8")
    assert report.with_blocks(front, found, "brief") == front, "run: python evidence/report.py"
    assert front.count("<!-- brief -->") == 1
    assert (train.RESULTS / "training.md").read_text(encoding="utf-8") == report.markdown(rows, rates)
    assert (train.RESULTS / "focus.md").read_text(encoding="utf-8") == focus_report.markdown(train.RESULTS)
    with pytest.raises(ClickException, match=r"no table 'lost'; expected one of tuned-3"):
        report.with_blocks("<!-- lost -->\n<!-- /lost -->", {"tuned-3": ""})
    assert (
        report.with_blocks("a\n<!-- b -->\nold\n<!-- /b -->\nc", {"b": "new"}) == "a\n<!-- b -->\nnew\n<!-- /b -->\nc"
    )


def test_an_interrupted_study_has_pairs() -> None:
    rates = {(arm, steps): 1e-3 for arm in ARMS for steps in (600, 2400)}
    runs = train.study(ARMS, TRUTHS, 3, [600, 2400], rates)
    assert len(set(runs)) == len(runs)
    for end in range(len(runs)):
        for truth, steps in {(each.truth, each.steps) for each in runs[:end]}:
            count = {arm: sum((r.arm, r.truth, r.steps) == (arm, truth, steps) for r in runs[:end]) for arm in ARMS}
            of_group = [count[arm] for arm in train.arms_of(ARMS, truth, steps == 2400)]
            assert max(of_group) - min(of_group) <= 1
    assert {each.steps for each in runs if each.truth != train.ALL_FAULTS} == {600}
    assert {each.arm for each in runs if each.steps == 2400} == set(ARMS) - set(train.SHORT_ONLY)


def test_one_rate_is_one_and_knobs_have_that_of_the_arm_they_vary() -> None:
    rates = {(arm, steps): 0.1 * k + steps for k, arm in enumerate(ARMS) for steps in (600, 2400)}
    rates |= {("l1", 600): 0.7, ("inverse_depth", 600): 0.7, ("inverse_depth", 2400): 0.9, ("edge_mask_0.2", 2400): 0.9}
    runs = train.one_rate(ARMS, 2, [600, 2400], rates)
    assert {(each.lr, each.steps) for each in runs} == {(0.7, 600), (0.9, 2400)}
    assert {each.arm for each in runs if each.steps == 600} == set(ARMS)
    varied = train.sensitivity(2, [600, 2400], rates)
    assert {each.arm for each in varied} == set(SENSITIVITY)
    assert {(each.lr, each.steps) for each in varied} == {(rates["inverse_sigma", 600], 600)}
