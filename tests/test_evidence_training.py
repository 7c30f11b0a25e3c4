"""The training study's parts by their laws: rooms, faults of the ground truth, weights, measures, runs, report."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "evidence"))

import report
import rooms
import train
from arms import ARMS, weighted_error, weights
from ground_truth import TRUTHS, ground_truth, shift
from measures import PRIMARY, SECONDARY, boundary_f1, measure

from depthvar.loss import inverse_depth_l1, laplace_nll, weighted_l1

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
    known = np.isfinite(given.depth)
    assert (given.depth > 0).all()
    np.testing.assert_array_equal(np.isfinite(given.online), known)
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
    error = ((noisy - clean)[known] / clean[known] ** 2).astype(np.float64)
    assert error.std() == pytest.approx(0.003, rel=0.05)
    for before, after in zip(clean, ground_truth("misaligned", some).depth, strict=True):
        moves = [shift(before, dv, du) for dv in (-1, 0, 1) for du in (-1, 0, 1)]
        assert any(np.array_equal(after, move) for move in moves)
    np.testing.assert_array_equal(ground_truth("resized", some).depth, some["native"][:, ::2, ::2])


def test_an_unknown_ground_truth_is_named(views: dict[str, rooms.Views]) -> None:
    with pytest.raises(ValueError, match=r"ground truth: expected one of clean, .*; got 'dirty'"):
        ground_truth("dirty", views["train"])


@pytest.mark.parametrize("name", ARMS)
def test_weights_are_finite_and_zero_where_there_is_no_depth(name: str, views: dict[str, rooms.Views]) -> None:
    given = ground_truth("all", views["train"])
    given.depth[:, :5, :5] = np.inf
    given.online[:, :5, :5] = given.cached[:, :5, :5] = np.inf
    weight = weights(ARMS[name], given)
    valid = torch.from_numpy(given.depth).isfinite()
    assert weight.isfinite().all()
    assert (weight >= 0).all()
    assert (weight[~valid] == 0).all()
    assert name == "edge_mask" or (weight[valid] > 0).float().mean() > 0.99
    if ARMS[name].normalized:
        mean = weight.sum((1, 2)) / valid.sum((1, 2))
        torch.testing.assert_close(mean, torch.ones_like(mean), rtol=0.02, atol=0)


@pytest.mark.parametrize("name", ["l1", "inverse_depth", "inverse_sigma", "relative_0.03", "planarity_0.03"])
def test_normalized_weights_do_not_follow_the_unit_of_depth(name: str, views: dict[str, rooms.Views]) -> None:
    given = ground_truth("mixed", views["train"])
    scaled = type(given)(given.depth / 4, given.online / 16, given.cached / 16)
    # Views without sky: the planarity of the comparison puts the sky at a fixed distance.
    known = torch.from_numpy(np.isfinite(given.depth).all((1, 2)))
    assert known.any()
    torch.testing.assert_close(weights(ARMS[name], scaled)[known], weights(ARMS[name], given)[known])


def test_arms_of_the_project_are_its_losses(views: dict[str, rooms.Views]) -> None:
    given = ground_truth("all", views["train"])
    target, sigma_z2 = torch.from_numpy(given.depth), torch.from_numpy(given.online)
    valid = target.isfinite()
    generator = torch.Generator().manual_seed(0)
    pred = (torch.where(valid, target, 1.0) + torch.rand(target.shape, generator=generator)).requires_grad_()

    def ours(name: str) -> torch.Tensor:
        return weighted_error(pred, target, weights(ARMS[name], given), valid)

    torch.testing.assert_close(ours("inverse_sigma"), weighted_l1(pred, target, sigma_z2))
    torch.testing.assert_close(ours("inverse_sigma_raw"), weighted_l1(pred, target, sigma_z2, normalize="none"))
    # Mean 1 is the arm's own; the loss's factor is one for every pixel of an image.
    (theirs,) = torch.autograd.grad(inverse_depth_l1(pred, target), pred)
    (mine,) = torch.autograd.grad(ours("inverse_depth"), pred)
    ratio = torch.where(valid, mine / torch.where(valid, theirs, 1.0), torch.nan).flatten(1)
    torch.testing.assert_close(ratio.nan_to_num(0).amax(1), ratio.nan_to_num(1e9).amin(1), rtol=1e-3, atol=0)
    (theirs,) = torch.autograd.grad(laplace_nll(pred, target, sigma_z2), pred)
    (mine,) = torch.autograd.grad(ours("laplace_nll"), pred)
    torch.testing.assert_close(mine, theirs)


def test_invalid_pixels_add_nothing_to_the_loss() -> None:
    target = torch.tensor([[[1.0, torch.inf]]])
    pred = torch.tensor([[[3.0, 7.0]]], requires_grad=True)
    loss = weighted_error(pred, target, torch.ones_like(target), target.isfinite())
    loss.backward()
    assert loss.item() == 2
    assert pred.grad is not None
    assert pred.grad[0, 0].tolist() == [1, 0]


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
        if name != "abs_rel_3_to_10m":  # nothing is there
            assert value == (1 if name.startswith(("delta", "boundary")) else 0), name
    assert np.isnan(measured["abs_rel_3_to_10m"])


def test_measures_of_a_hand_made_prediction() -> None:
    views = two_planes()
    pred = views["truth"] * 1.02
    pred[views["mixed"]] = 7.0  # half-way between the surfaces
    measured = measure(pred, views)
    assert measured["abs_rel_interior"] == pytest.approx(0.02)
    assert measured["delta_1.01_interior"] == 0
    assert measured["delta_1.05_interior"] == 1
    assert measured["flying"] == pytest.approx(0.5)
    assert measured["abs_rel_below_3m"] == pytest.approx(0.02)
    # Columns 5, 6 and 7 are beside the edge: 2 %, 5 of 12 m, 2 %.
    assert measured["abs_rel_edge"] == pytest.approx((0.02 + 5 / 12 + 0.02) / 3)
    views["truth"][:, :4] = np.inf  # sky counts nowhere
    pred[:, :4] = 1000
    assert measure(pred, views)["abs_rel_interior"] == pytest.approx(0.02)


def test_boundary_f1() -> None:
    truth = two_planes()["truth"]
    assert boundary_f1(np.full_like(truth, 3.0), truth) == 0
    assert boundary_f1(truth[..., ::-1], truth) == 0  # at the place, in the other direction
    assert boundary_f1(np.roll(truth, 1, axis=-1)[..., 1:], truth[..., 1:]) == 0  # beside the place
    half = truth.copy()
    half[:, :4] = 2.0
    # 4 of 8 true edges are found, beside the 6 wrong ones under the part that is gone: precision 0.4, recall 0.5.
    assert boundary_f1(half, truth) == pytest.approx(2 * 0.4 * 0.5 / (0.4 + 0.5))


def test_a_study_is_done_once_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "CACHE", tmp_path)
    arguments = ["all", "--smoke", "--arms", "l1,inverse_sigma", "--truths", "all", "--out", str(tmp_path)]
    monkeypatch.setattr(train, "ProcessPoolExecutor", Here)
    first = CliRunner().invoke(train.main, arguments)
    assert first.exit_code == 0, first.output
    tables = {name: (tmp_path / name).read_bytes() for name in ("lr.csv", "training.csv")}
    assert len(train.read(tmp_path / "lr.csv")) == 2 * len(train.RATES)
    rows = train.read(tmp_path / "training.csv")
    assert {row["arm"] for row in rows} == {"l1", "inverse_sigma"}
    assert all(np.isfinite(row[name]) for row in rows for name in ("abs_rel_interior", "gradient_max"))
    second = CliRunner().invoke(train.main, arguments)
    assert second.exit_code == 0, second.output
    assert second.output.count("0 runs to do") == 2
    assert {name: (tmp_path / name).read_bytes() for name in tables} == tables
    # One row lost: that run alone is done again, with the same result.
    kept = tables["training.csv"].splitlines(keepends=True)
    (tmp_path / "training.csv").write_bytes(b"".join(kept[:2]))
    assert "1 rows, 1 runs to do" in CliRunner().invoke(train.main, arguments).output
    again = train.read(tmp_path / "training.csv")[1]
    np.testing.assert_equal(again | {"seconds": 0}, rows[1] | {"seconds": 0})  # NaN is NaN
    written = CliRunner().invoke(report.main, ["--results", str(tmp_path), "--image", str(tmp_path / "figure.png")])
    assert written.exit_code == 0, written.output
    assert "| inverse_sigma | 1 |" in (tmp_path / "training.md").read_text(encoding="utf-8")
    assert (tmp_path / "figure.png").stat().st_size > 1000


class Here(train.ProcessPoolExecutor):
    """Runs in this process, one after the other: spawned ones would import torch again."""

    def __init__(self, *_: object) -> None:
        self.futures: list[object] = []

    def submit(self, function, /, *args):  # type: ignore[no-untyped-def]
        from concurrent.futures import Future

        future: Future[object] = Future()
        future.set_result(function(*args))
        return future

    def __exit__(self, *_: object) -> None:
        pass

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        pass


def test_wrong_use_is_said_in_a_line(tmp_path: Path) -> None:
    untuned = CliRunner().invoke(train.main, ["study", "--arms", "l1", "--out", str(tmp_path)])
    assert untuned.exit_code == 1
    assert "l1: has no learning rate yet; run: python evidence/train.py tune --arms l1" in untuned.output
    unknown = CliRunner().invoke(train.main, ["tune", "--arms", "l2", "--out", str(tmp_path)])
    assert unknown.exit_code == 2
    assert "got 'l2'" in unknown.output
    empty = CliRunner().invoke(report.main, ["--results", str(tmp_path)])
    assert empty.exit_code == 1
    assert "no runs yet; run: python evidence/train.py all" in empty.output


def test_the_learning_rate_is_that_of_the_least_error() -> None:
    rows = [{"arm": "l1", "lr": lr, "abs_rel": error} for lr, error in ((1e-3, 0.3), (3e-3, 0.1), (1e-2, float("nan")))]
    assert train.chosen_rates(rows, ["l1"]) == {"l1": 3e-3}


def test_the_bootstrap_interval_holds_the_mean_and_shrinks() -> None:
    noise = np.random.default_rng(0).normal(1, 1, 400)
    low, high = report.interval(noise)
    assert low < noise.mean() < high
    few_low, few_high = report.interval(noise[:10])
    assert high - low < few_high - few_low
    assert high - low == pytest.approx(2 * 1.96 * noise.std() / 20, rel=0.1)
    assert report.interval([0.5, 0.5]) == (0.5, 0.5)


def test_a_table_marks_what_is_better_and_what_is_worse() -> None:
    rows = [
        {"truth": "all", "steps": 3, "arm": arm, "seed": seed, "abs_rel_edge": base + seed, "boundary_f1": base + seed}
        for arm, base in (("l1", 1.0), ("inverse_sigma", 2.0))
        for seed in range(3)
    ]
    (group,) = report.grouped(rows).values()
    assert report.cell(group, "inverse_sigma", "abs_rel_edge").endswith("↓")
    assert report.cell(group, "inverse_sigma", "boundary_f1").startswith("**")
    assert report.cell(group, "l1", "boundary_f1") == "2"


def test_the_table_follows_from_the_rows() -> None:
    # A loss that is 0.25 below plain L1 on each of two seeds; a third seed has no pair and is only in the mean.
    values = {("l1", 0): 1.0, ("l1", 1): 2.0, ("edge_mask", 0): 0.75, ("edge_mask", 1): 1.75, ("edge_mask", 2): 6.5}
    rows = [
        {"truth": "all", "steps": 3, "arm": arm, "seed": seed} | dict.fromkeys((*PRIMARY, *SECONDARY), value)
        for (arm, seed), value in values.items()
    ]
    (group,) = report.grouped(rows).values()
    for name in PRIMARY:
        np.testing.assert_allclose(report.paired(group, "edge_mask", name), [-0.25, -0.25])
        assert report.cell(group, "edge_mask", name) == "3 (-0.25 to -0.25)"  # two pairs prove nothing
    assert "| edge_mask | 3 | 3 (-0.25" in report.table(group, PRIMARY)


def test_an_interrupted_study_has_pairs() -> None:
    rates = dict.fromkeys(("l1", "inverse_depth", *train.COMPARED[1:]), 1e-3)
    runs = train.study(rates, TRUTHS, 3, [600, 2400])
    assert len(set(runs)) == len(runs)
    for end in range(len(runs)):
        for truth, steps in {(run.truth, run.steps) for run in runs[:end]}:
            count = {arm: sum((r.arm, r.truth, r.steps) == (arm, truth, steps) for r in runs[:end]) for arm in rates}
            of_group = [count[arm] for arm in rates if truth == train.TUNED_TRUTH or arm in train.COMPARED]
            assert max(of_group) - min(of_group) <= 1
    assert {run.steps for run in runs if run.truth != train.TUNED_TRUTH} == {600}
