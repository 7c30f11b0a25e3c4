"""The numbers of a training step: by their definitions in plain loops, and what must not change them."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pi3_views import batch
from torch import Tensor

from depthvar.loss import (
    FocusedLogL1,
    InverseDepthL1,
    LaplaceNLL,
    WeightedL1,
    focus_weight,
    gradient_matching,
    inverse_depth_l1,
)
from depthvar.loss.pi3 import Pi3LossGTOnlyNorm, Pi3LossMipNeRFVariance
from depthvar.loss.watch import LOG10_EDGES, Observation, details, weight_histogram

OF_SIGMA = [WeightedL1(), WeightedL1(weighting="relative"), LaplaceNLL(), FocusedLogL1(), FocusedLogL1(gradient=0)]
Maps = tuple[Tensor, Tensor, Tensor, Tensor]


def maps(seed: int = 0, shape: tuple[int, ...] = (2, 3, 8, 9)) -> Maps:
    """Return pred, target in 1 to 5 m, σ² over six powers of ten, and a mask that leaves out a fifth; float64."""
    rng = torch.Generator().manual_seed(seed)
    target = 1 + 4 * torch.rand(shape, generator=rng, dtype=torch.float64)
    pred = target + 0.3 * torch.randn(shape, generator=rng, dtype=torch.float64)
    sigma_z2 = 10 ** (-6 * torch.rand(shape, generator=rng, dtype=torch.float64))
    return pred, target, sigma_z2, torch.rand(shape, generator=rng) > 0.2


def names(criterion: torch.nn.Module) -> str:
    return f"{type(criterion).__name__}({criterion.extra_repr()[:30]})"


@pytest.mark.parametrize("criterion", OF_SIGMA, ids=names)
def test_numbers_by_their_definitions(criterion: Any) -> None:
    pred, target, sigma_z2, valid = maps()
    seen = criterion.observe(pred, target, sigma_z2, valid)
    found = details(seen)
    assert found["loss"] == pytest.approx(criterion(pred, target, sigma_z2, valid).item(), rel=1e-12)
    parts = [found[name] for name in ("data_loss", "gradient_loss", "log_b") if name in found]
    assert found["loss"] == pytest.approx(math.fsum(parts), rel=1e-12)
    assert found["valid_share"] == pytest.approx(valid.double().mean().item())
    sigma = sorted(math.sqrt(each) for each in sigma_z2[valid].tolist())
    assert (found["sigma_min"], found["sigma_max"]) == pytest.approx((sigma[0], sigma[-1]))
    assert found["sigma_mean"] == pytest.approx(math.fsum(sigma) / len(sigma))
    for share in (5, 50, 95):
        assert found[f"sigma_p{share:02}"] == pytest.approx(np.quantile(sigma, share / 100, method="lower"))
    weights = seen.weight[valid].tolist()
    total, squares, count = math.fsum(weights), math.fsum(w * w for w in weights), len(weights)
    assert (found["weight_min"], found["weight_max"]) == pytest.approx((min(weights), max(weights)))
    assert found["weight_mean"] == pytest.approx(total / count)
    assert found["weight_effective_share"] == pytest.approx(total**2 / (count * squares))
    assert not seen.weight[~valid].any()


def test_weights_and_parts_are_those_of_the_losses() -> None:
    pred, target, sigma_z2, valid = maps()
    focused = FocusedLogL1().observe(pred, target, sigma_z2, valid)
    weight = focus_weight(sigma_z2, target, valid)
    torch.testing.assert_close(focused.weight, weight, rtol=0, atol=0)
    expected = 0.5 * gradient_matching(pred, target, valid, weight=weight)
    torch.testing.assert_close(focused.parts["gradient_loss"], expected)
    nll = LaplaceNLL().observe(pred, target, sigma_z2, valid)
    torch.testing.assert_close(nll.weight[valid], (2 / sigma_z2[valid]).sqrt())
    torch.testing.assert_close(nll.parts["log_b"], (sigma_z2[valid] / 2).sqrt().log().mean())
    further = 0.5 + torch.rand(target.shape, dtype=torch.float64)
    inverse = InverseDepthL1(normalize="mean").observe(pred, target, valid, weight=further)
    plain = inverse_depth_l1(target + 1, target, valid, weight=further, normalize="mean", reduction="none")
    torch.testing.assert_close(inverse.weight, plain)
    assert inverse.sigma is None
    assert not any(name.startswith("sigma") for name in details(inverse))
    for criterion in OF_SIGMA[:2]:  # of an L1, the weight is the slope
        guess = (target + 0.5).requires_grad_()
        criterion(guess, target, sigma_z2, valid).backward()
        torch.testing.assert_close(criterion.observe(guess, target, sigma_z2, valid).weight / valid.sum(), guess.grad)


def test_nothing_that_is_seen_holds_a_graph() -> None:
    pred, target, sigma_z2, valid = maps()
    for criterion in OF_SIGMA:
        seen = criterion.observe(pred.clone().requires_grad_(), target, sigma_z2, valid)
        tensors = [*seen.parts.values(), *(each for each in seen[1:] if each is not None)]
        assert not any(each.requires_grad for each in tensors)


def test_a_focused_loss_without_sigma_shows_the_range_that_it_uses() -> None:
    pred, target, _, valid = maps()
    metres = details(FocusedLogL1().observe(pred, target, valid=valid))
    scaled = details(FocusedLogL1().observe(pred / 10, target / 10, valid=valid, scale=10.0))
    assert metres["sigma_p50"] > 0
    assert scaled == pytest.approx(metres)


@pytest.mark.parametrize("criterion", OF_SIGMA, ids=names)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), junk=st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -1.0]))
def test_invalid_pixels_change_nothing(criterion: Any, seed: int, junk: float) -> None:
    pred, target, sigma_z2, valid = maps(seed, (2, 4, 5))
    clean = criterion.observe(pred, target, sigma_z2, valid)
    spoilt = [torch.where(valid, each, junk) for each in (pred, target, sigma_z2)]
    seen = criterion.observe(*spoilt, valid)
    assert details(seen) == details(clean)
    assert weight_histogram(seen) == weight_histogram(clean)
    hidden = criterion.observe(pred, target, torch.where(valid, sigma_z2, math.inf))  # as the cache marks them
    assert details(hidden) == details(clean)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), scale=st.floats(0.01, 100))
def test_the_unit_of_depth_changes_neither_sigma_nor_weights(seed: int, scale: float) -> None:
    pred, target, sigma_z2, valid = maps(seed, (2, 4, 5))
    for criterion in (WeightedL1(), FocusedLogL1()):
        metres = details(criterion.observe(pred, target, sigma_z2, valid))
        divided = criterion.observe(pred / scale, target / scale, sigma_z2, valid, scale=scale)
        torch.testing.assert_close(divided.depth, target)
        torch.testing.assert_close(divided.pred, pred)
        for name, value in details(divided).items():
            if name.startswith(("sigma", "weight", "valid")) or isinstance(criterion, FocusedLogL1):
                assert value == pytest.approx(metres[name]), name


@settings(max_examples=50, deadline=None)
@given(
    weights=st.lists(st.floats(2**-20, 2**20, width=32), min_size=1, max_size=20),
    factor=st.sampled_from([1e-30, 1e-3, 1.0, 1e25]),
)
def test_the_effective_share_is_a_share_and_has_no_unit(weights: list[float], factor: float) -> None:
    weight = torch.tensor([weights])
    share = details(seen_weights(weight))["weight_effective_share"]
    assert 1 / len(weights) - 1e-5 <= share <= 1 + 1e-5
    assert details(seen_weights(weight * factor))["weight_effective_share"] == pytest.approx(share, rel=1e-3)
    equal = details(seen_weights(torch.full_like(weight, weights[0])))
    assert equal["weight_effective_share"] == pytest.approx(1)


def seen_weights(weight: Tensor) -> Observation:
    return Observation({"loss": weight.sum()}, weight, weight, None, weight, weight > 0)


@settings(max_examples=100, deadline=None)
@given(weights=st.lists(st.floats(2**-23, 2**23, width=32), min_size=1, max_size=50))
def test_each_weight_is_in_its_bin(weights: list[float]) -> None:
    weight = torch.tensor([[*weights, 0.0, 0.0]])
    counts = weight_histogram(seen_weights(weight))
    assert len(counts) == len(LOG10_EDGES) - 1 == 80
    assert sum(counts) == len(weights)
    limits = np.float32([10.0**each for each in LOG10_EDGES])
    for place, count in enumerate(counts):
        low = -math.inf if place == 0 else limits[place]
        high = math.inf if place == 79 else limits[place + 1]
        assert count == sum(low <= np.float32(each) < high for each in weights)


def test_without_a_valid_pixel_the_numbers_are_0() -> None:
    pred, target, sigma_z2, valid = maps()
    for criterion in OF_SIGMA:
        seen = criterion.observe(pred, target, sigma_z2, torch.zeros_like(valid))
        assert set(details(seen).values()) == {0}
        assert sum(weight_histogram(seen)) == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_maps_of_mixed_precision_are_seen(dtype: torch.dtype) -> None:
    pred, target, sigma_z2, valid = maps()
    args = pred.to(dtype), target.float(), sigma_z2.float(), valid
    for criterion in OF_SIGMA:
        found = details(criterion.observe(*args))
        assert found["loss"] == pytest.approx(criterion(*args).item(), rel=1e-6)


@pytest.mark.parametrize("criterion", [Pi3LossGTOnlyNorm(), Pi3LossMipNeRFVariance(normal_datasets=["room"])])
def test_pi3_shows_the_details_that_it_returns_and_more(criterion: Any) -> None:
    pred, views = batch()
    loss, returned = criterion(pred, views)
    seen = criterion.observe(pred, views)
    found = details(seen)
    assert found["loss"] == pytest.approx(loss.item(), rel=1e-12)
    for name, value in returned.items():
        assert found[name] == pytest.approx(value.item(), rel=1e-12), name
    assert found["depth_xy_ratio"] == pytest.approx(found["depth_loss"] / found["xy_loss"])
    assert {"valid_share", "weight_effective_share"} <= set(found)
    assert ("sigma_p50" in found) == criterion.needs_sigma
    valid = torch.stack([view["valid_mask"] for view in views], dim=1)
    depth = torch.stack([torch.linalg.inv(view["camera_pose"])[:, 2, :3] for view in views], dim=1)
    points = torch.stack([view["pts3d"] - view["camera_pose"][:, None, None, :3, 3] for view in views], dim=1)
    metres = torch.einsum("bnk,bnhwk->bnhw", depth, points)
    torch.testing.assert_close(seen.depth[valid], metres[valid])
    torch.testing.assert_close(torch.where(seen.valid, seen.weight, 0), seen.weight)
