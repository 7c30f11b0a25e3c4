"""Targets with two surfaces, by their laws; the runs themselves are those of test_focus.py and test_training.py."""

import math
from pathlib import Path

import multimodal
import numpy as np
import phases
import pytest
import rooms
import run
import table
import torch
import train
from arms import weights
from click.testing import CliRunner
from focus import arm_of
from ground_truth import GroundTruth, ground_truth
from hypothesis import given
from hypothesis import strategies as st
from multimodal import APART, BINS, FARTHEST, NEAREST, OWN, STEP, WIDTH
from network import DepthNet
from torch import Tensor

NAMES = list(multimodal.ARMS)


def images(seed: int, height: int = 5, width: int = 6) -> tuple[Tensor, Tensor]:
    """Return two images of depth, most of it on one of two surfaces, and a mask that leaves out a fifth."""
    rng = torch.Generator().manual_seed(seed)
    shape = (2, height, width)
    surface = torch.where(torch.rand(shape, generator=rng) < 0.3, 9.0, 2.0)
    depth = surface * (1 + 0.2 * torch.rand(shape, generator=rng))
    valid = torch.rand(shape, generator=rng) > 0.2
    return torch.where(valid, depth, 0.0), valid


def target_by_loops(depth: Tensor, valid: Tensor, at: tuple[int, int, int]) -> list[float]:
    def lap(z: float) -> np.ndarray:
        each = np.array([math.exp(-abs(k - math.log(z / NEAREST) / STEP) / WIDTH) for k in range(BINS)])
        return each / each.sum()

    n, v, u = at
    window = [
        (depth[n, y, x].item(), (y, x))
        for y in range(max(v - 1, 0), min(v + 2, depth.shape[1]))
        for x in range(max(u - 1, 0), min(u + 2, depth.shape[2]))
        if valid[n, y, x]
    ]
    own = depth[at].item()
    low, high = min(window)[0], max(window)[0]
    middle = math.sqrt(low * high)
    others = [z for z, _ in window if (z > middle) != (own > middle)]
    if math.log(high / low) <= APART * STEP or not others:
        return lap(own).tolist()
    part = (1 - OWN) * len(others) / (len(window) - 1)
    mean = math.exp(sum(map(math.log, others)) / len(others))
    return ((1 - part) * lap(own) + part * lap(mean)).tolist()


@given(seed=st.integers(0, 2**31))
def test_the_target_is_what_loops_find(seed: int) -> None:
    depth, valid = images(seed)
    found = multimodal.multimodal(depth, valid)
    for at in np.ndindex(*depth.shape):
        if valid[at]:
            assert found[at].tolist() == pytest.approx(target_by_loops(depth, valid, at), abs=1e-5)


def test_the_share_of_the_other_surface_by_hand() -> None:
    depth = torch.full((1, 3, 3), 2.0)
    depth[0, :, 2] = torch.tensor([8.0, 0.0, 8.0])
    position, part = multimodal.other_surface(multimodal.bins_of(depth, depth > 0), depth > 0)
    assert part[0, 1, 1].item() == pytest.approx(0.2 * 2 / 7)  # two of seven other known pixels
    assert part[0, 0, 2].item() == pytest.approx(0.2 * 2 / 2)  # both
    assert part[0, :, 0].tolist() == [0, 0, 0]
    assert position[0, 1, 1].item() == pytest.approx(math.log(8 / NEAREST) / STEP)


def test_one_surface_has_one_mode() -> None:
    slope = torch.linspace(2.0, 3.0, 30)[None, None].expand(1, 8, 30)
    valid = torch.ones_like(slope, dtype=torch.bool)
    assert torch.equal(multimodal.multimodal(slope, valid), multimodal.unimodal(slope, valid))


def test_bins_hold_every_depth_of_the_rooms_and_a_depth_comes_back(given: GroundTruth) -> None:
    known = given.depth[given.valid]
    assert NEAREST < known.min() <= known.max() < FARTHEST
    depth, valid = torch.from_numpy(given.depth), torch.from_numpy(given.valid)
    for distribution, worst in ((multimodal.unimodal, 0.006), (multimodal.multimodal, 0.2)):  # where modes are close
        target = distribution(depth, valid)
        torch.testing.assert_close(target.sum(-1), torch.ones_like(depth))
        error = (multimodal.dominant(target) / depth - 1).abs()[valid]
        assert error.max() < worst
        assert error.mean() < 0.005
    assert (multimodal.multimodal(depth, valid) != multimodal.unimodal(depth, valid)).any()


def test_of_two_modes_the_one_with_more_probability_is_the_depth() -> None:
    share = torch.zeros(2, BINS)
    share[:, 10], share[:, 11], share[:, 12] = 0.17, 0.2, 0.17
    share[:, 40] = torch.tensor([0.46, 0.56])  # the highest peak of both, but the larger mode of the second only
    expected = [NEAREST * math.exp(11 * STEP), NEAREST * math.exp(40 * STEP)]
    assert multimodal.dominant(share / share.sum(-1, keepdim=True)).tolist() == pytest.approx(expected)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> GroundTruth:
    views = rooms.load({"train": 4, "validation": 1, "test": 1}, seed=3, cache=tmp_path_factory.mktemp("rooms"))
    return ground_truth("all", views["train"])


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_is_least_at_its_target_and_invalid_pixels_add_nothing(name: str, given: GroundTruth) -> None:
    arm = arm_of(name)
    valid = torch.from_numpy(given.valid)
    target = torch.where(valid, torch.from_numpy(given.depth), 0.0)
    logits = getattr(multimodal, name)(target, valid).log().requires_grad_()
    loss = arm.loss(logits, target, weights(arm, given), valid)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient.abs().max() < 1e-9
    other = torch.where(valid[..., None], logits.detach(), 5.0).roll(1, -1).requires_grad_()
    more = arm.loss(other, target, weights(arm, given), valid)
    (gradient,) = torch.autograd.grad(more, other)
    assert more > loss
    assert gradient.isfinite().all()
    assert (gradient[~valid] == 0).all()
    assert gradient[valid].any()


def test_the_network_is_the_other_one_but_for_its_head() -> None:
    torch.manual_seed(0)
    plain = DepthNet().state_dict()
    torch.manual_seed(0)
    model = multimodal.BinNet()
    for name, value in model.state_dict().items():
        assert name.startswith("head") or torch.equal(value, plain[name])
    pictures = torch.rand(2, 12, 16, 24)
    logits = model(pictures)
    assert logits.shape == (2, 32, 48, BINS)
    blocks = torch.nn.functional.pixel_shuffle(
        model.head(model.features(pictures)).unflatten(1, (4, BINS)).transpose(1, 2).flatten(1, 2), 2
    )
    torch.testing.assert_close(logits, blocks.movedim(1, -1))
    depth = model.eval()(pictures)
    assert depth.shape == (2, 32, 48)
    assert ((depth >= NEAREST) & (depth <= FARTHEST)).all()


def test_training_lowers_the_error() -> None:
    few = tuple(train.SMOKE_ROOMS.items())
    before, after = (run.train(run.Run("multimodal", "clean", 1e-2, 0, steps, "train"), few) for steps in (1, 40))
    assert after["abs_rel"] < 0.7 * before["abs_rel"]


def test_the_runs_are_done_once_and_pair_with_the_confirming_phase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "CACHE", tmp_path)
    outputs = [
        CliRunner().invoke(train.main, ["multimodal", "--smoke", "--out", str(tmp_path)]).output for _ in range(2)
    ]
    assert outputs[1].count(" 0 runs to do") == 2, outputs
    rows = table.read(tmp_path / "multimodal.csv")
    (part,) = phases.MULTIMODAL
    assert [row["split"] for row in rows[:6]] == 6 * ["validation"]
    for name in part.arms:
        rates = [row["lr"] for row in rows[6:] if row["arm"] == name]
        assert set(rates) == {train.chosen_rates(rows)[name, 6], part.one_rate}
    like = next(each for each in phases.CONFIRMING if each.steps == part.steps and each.truths == part.truths)
    assert {(row["scenes"], row["network"]) for row in rows} == {(like.scenes, like.network)}
    seeds = [set(range(each.first, each.first + each.seeds)) for each in (part, like)]
    assert seeds[0] <= seeds[1]
