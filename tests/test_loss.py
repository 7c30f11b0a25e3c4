"""Laws of the losses: a slow twin, scale, proportionality, exact zeros where invalid, autocast, compile."""

import ast
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

import depthvar.loss
from depthvar.loss import (
    FocusedLogL1,
    GradientMatching,
    InverseDepthL1,
    LaplaceNLL,
    WeightedL1,
    focused_log_l1,
    gradient_matching,
    inverse_depth_l1,
    laplace_nll,
    weighted_l1,
)
from depthvar.loss.pi3 import Pi3LossMipNeRFVariance
from depthvar.loss.weights import Weighting

Loss = Callable[..., Tensor]


def unweighted_inverse_depth(pred: Tensor, target: Tensor, sigma_z2: Tensor, valid: Tensor | None = None) -> Tensor:
    """Give inverse_depth_l1 the arguments of the losses that read σ²."""
    return inverse_depth_l1(pred, target, valid)


def unweighted_gradients(pred: Tensor, target: Tensor, sigma_z2: Tensor, valid: Tensor | None = None) -> Tensor:
    """Give gradient_matching the arguments of the losses that read σ²."""
    return gradient_matching(pred, target, valid)


def weighted_inverse_depth(pred: Tensor, target: Tensor, weight: Tensor, valid: Tensor | None = None) -> Tensor:
    """Give inverse_depth_l1 what others read as σ² as a further weight: both are unknown where not above 0."""
    return inverse_depth_l1(pred, target, valid, weight=weight, normalize="mean")


def weighted(weighting: str) -> Loss:
    """Return weighted_l1 with another weighting."""

    def loss(*args: Tensor, **options: object) -> Tensor:
        return weighted_l1(*args, weighting=weighting, **options)  # type: ignore[arg-type]

    loss.__name__ = weighting
    return loss


READS_TARGET = ("relative", "inverse_sigma_and_depth")
WEIGHTED: list[Loss] = [weighted_l1, *(weighted(each) for each in get_args(Weighting)[1:])]
SIGMA_LOSSES: list[Loss] = [*WEIGHTED, laplace_nll, focused_log_l1]
WITHOUT_SIGMA: list[Loss] = [unweighted_inverse_depth, unweighted_gradients]
LOSSES: list[Loss] = [*SIGMA_LOSSES, *WITHOUT_SIGMA, weighted_inverse_depth]
OF_NEIGHBOURS: list[Loss] = [focused_log_l1, unweighted_gradients]  # their other laws: test_loss_focused.py
TOLERANCE = [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 1e-2), (torch.float16, 2e-3)]
NAN, INF = math.nan, math.inf


def maps(
    seed: int = 0, shape: tuple[int, ...] = (2, 3, 8, 9), dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return pred, target in 1 to 5 m, sigma_z2 in 1e-4 to 1 m² and a mask that leaves out a fifth."""
    rng = torch.Generator().manual_seed(seed)
    target = 1 + 4 * torch.rand(shape, generator=rng, dtype=torch.float64)
    pred = target + 0.3 * torch.randn(shape, generator=rng, dtype=torch.float64)
    sigma_z2 = 10 ** (-4 * torch.rand(shape, generator=rng, dtype=torch.float64))
    valid = torch.rand(shape, generator=rng) > 0.2
    return pred.to(dtype), target.to(dtype), sigma_z2.to(dtype), valid


def gradient(loss: Callable[[Tensor], Tensor], pred: Tensor) -> Tensor:
    pred = pred.clone().requires_grad_()
    (grad,) = torch.autograd.grad(loss(pred), pred)
    return grad


# ---- the definition, in plain loops ----


def slow_losses(
    pred: NDArray[np.float64],
    target: NDArray[np.float64],
    sigma_z2: NDArray[np.float64],
    valid: NDArray[np.bool_],
) -> dict[str, float]:
    """The means (and weighted_l1 without normalisation), pixel by pixel, from their definitions."""
    values: dict[str, list[float]] = {name: [] for name in (*get_args(Weighting), "none", "nll", "inverse")}
    for image in np.ndindex(pred.shape[:-2]):
        weights: dict[str, list[float]] = {name: [] for name in get_args(Weighting)}
        errors, depths = [], []
        for pixel in np.ndindex(pred.shape[-2:]):
            if valid[image + pixel]:
                error = abs(pred[image + pixel] - target[image + pixel])
                sigma = math.sqrt(sigma_z2[image + pixel])
                b = math.sqrt(sigma_z2[image + pixel] / 2)
                values["none"].append(error / sigma)
                values["nll"].append(error / b + math.log(b))
                depth = target[image + pixel]
                weights["inverse_sigma"].append(1 / sigma)
                weights["inverse_sqrt_sigma"].append(sigma**-0.5)
                weights["relative"].append(1 / math.sqrt(1 + (sigma / (0.1 * depth)) ** 2))
                weights["inverse_sigma_and_depth"].append(1 / math.sqrt(sigma**2 + (0.1 * depth) ** 2))
                errors.append(error)
                depths.append(depth)
        for name, each in weights.items():
            values[name] += [e * w * len(each) / sum(each) for e, w in zip(errors, each, strict=True)]
        values["inverse"] += [
            e / (max(z, 0.1 * sum(depths) / len(depths)) + 1e-6) for e, z in zip(errors, depths, strict=True)
        ]
    return {name: sum(v) / len(v) for name, v in values.items()}


@given(seed=st.integers(0, 2**31), leading=st.sampled_from([(), (1,), (3,), (2, 2)]))
@settings(max_examples=25, deadline=None)
def test_value_is_that_of_the_definition(seed: int, leading: tuple[int, ...]) -> None:
    pred, target, sigma_z2, valid = maps(seed, (*leading, 4, 5), torch.float64)
    target[..., 0, 0] = 0.02  # below a tenth of the mean, where the inverse depth stops rising
    expected = slow_losses(pred.numpy(), target.numpy(), sigma_z2.numpy(), valid.numpy())
    got = {
        name: weighted_l1(pred, target, sigma_z2, valid, weighting=name, relative_sigma=0.1)
        for name in get_args(Weighting)
    } | {
        "none": weighted_l1(pred, target, sigma_z2, valid, normalize="none"),
        "nll": laplace_nll(pred, target, sigma_z2, valid),
        "inverse": inverse_depth_l1(pred, target, valid),
    }
    assert {name: value.item() for name, value in got.items()} == pytest.approx(expected, rel=1e-12)


def test_floors_are_in_the_units_of_the_target() -> None:
    one = torch.ones(1, 1, dtype=torch.float64)
    # σ = 3 m in a training that divided by 10: 0.3.
    args = (4 * one, 2 * one, 9 * one)
    assert weighted_l1(*args, normalize="none", scale=10.0, eps=0.1).item() == pytest.approx(2 / 0.4)
    assert weighted_l1(*args, normalize="none", scale=10.0, sigma_min=0.5).item() == pytest.approx(2 / 0.5)
    assert weighted("inverse_sqrt_sigma")(*args, normalize="none", scale=10.0, eps=0.1).item() == pytest.approx(
        2 / 0.4**0.5
    )
    # c Z = 0.1 · 2, so 0.5 in quadrature with a σ of 0.4583.
    both = {"normalize": "none", "scale": 10.0, "relative_sigma": 0.1, "eps": math.sqrt(0.21) - 0.3}
    assert weighted("inverse_sigma_and_depth")(*args, **both).item() == pytest.approx(2 / 0.5)
    assert weighted("relative")(*args, **both).item() == pytest.approx(2 * 0.2 / 0.5)
    assert laplace_nll(*args, scale=10.0, sigma_min=0.5).item() == pytest.approx(
        2 * math.sqrt(2) / 0.5 + math.log(0.5 / math.sqrt(2))
    )


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("dtype", "rtol"), TOLERANCE)
def test_result_is_float32_or_float64_and_close_in_any_dtype(loss: Loss, dtype: torch.dtype, rtol: float) -> None:
    pred, target, sigma_z2, valid = (m.to(dtype) if m.is_floating_point() else m for m in maps())
    value = loss(pred, target, sigma_z2, valid)
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    exact = loss(pred.double(), target.double(), sigma_z2.double(), valid)
    torch.testing.assert_close(value.double(), exact, rtol=min(rtol, 1e-5), atol=1e-7)
    grad = gradient(lambda p: loss(p, target, sigma_z2, valid), pred)
    assert grad.dtype == dtype
    expected = gradient(lambda p: loss(p, target.double(), sigma_z2.double(), valid), pred.double())
    torch.testing.assert_close(grad.double(), expected, rtol=rtol, atol=1e-6 if dtype == torch.float16 else 1e-9)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing(loss: Loss, dtype: torch.dtype) -> None:
    pred, target, sigma_z2, valid = maps()
    sigma_z2[0, 0, 0, 0] = 1e-9  # 0 in float16
    valid[0, 0, 0, 0] = True
    plain = loss(pred, target, sigma_z2, valid)
    with torch.autocast("cpu", dtype=dtype):
        under = loss(pred, target, sigma_z2, valid)
        double = loss(pred.double(), target.double(), sigma_z2.double(), valid)
    assert under.dtype == torch.float32
    assert torch.equal(under, plain)
    assert double.dtype == torch.float64


# ---- laws ----


@pytest.mark.parametrize("loss", [each for each in LOSSES if each is not laplace_nll])
def test_zero_at_perfect_prediction(loss: Loss) -> None:
    _, target, sigma_z2, valid = maps()
    assert loss(target, target, sigma_z2, valid).item() == 0
    assert not gradient(lambda p: loss(p, target, sigma_z2, valid), target).any()


@pytest.mark.parametrize("loss", [each for each in LOSSES if each not in OF_NEIGHBOURS])
def test_gradient_has_the_sign_of_the_error_and_only_where_valid(loss: Loss) -> None:
    pred, target, sigma_z2, valid = maps()
    grad = gradient(lambda p: loss(p, target, sigma_z2, valid), pred)
    assert torch.equal(grad.sign(), torch.where(valid, (pred - target).sign(), 0.0))


@pytest.mark.parametrize("sigma_min", [0.0, 0.2])
def test_laplace_nll_has_the_gradient_of_unnormalised_weighted_l1_times_sqrt_2(sigma_min: float) -> None:
    pred, target, sigma_z2, valid = maps(dtype=torch.float64)
    l1 = gradient(
        lambda p: weighted_l1(p, target, sigma_z2, valid, normalize="none", sigma_min=sigma_min, scale=2.0),
        pred,
    )
    nll = gradient(lambda p: laplace_nll(p, target, sigma_z2, valid, sigma_min=sigma_min, scale=2.0), pred)
    assert l1.any()
    torch.testing.assert_close(math.sqrt(2) * l1, nll, rtol=1e-13, atol=0)


def test_laplace_nll_is_least_at_the_variance_of_the_errors() -> None:
    # What makes it a likelihood: for errors of mean b, no other b gives a lower value.
    rng = torch.Generator().manual_seed(0)
    error = torch.empty(1, 400, 400, dtype=torch.float64).exponential_(1 / 0.7, generator=rng)
    values = {
        b: laplace_nll(error, torch.zeros_like(error), torch.full_like(error, 2 * b * b)) for b in (0.6, 0.7, 0.8)
    }
    assert min(values, key=lambda b: values[b].item()) == 0.7


@given(scale=st.floats(0.01, 100.0), eps=st.floats(0, 1.0), sigma_min=st.floats(0, 1.0))
@settings(max_examples=30, deadline=None)
def test_scale_laws(scale: float, eps: float, sigma_min: float) -> None:
    pred, target, sigma_z2, valid = maps(dtype=torch.float64)
    small, small_target = pred / scale, target / scale
    floors, small_floors = {"sigma_min": sigma_min}, {"sigma_min": sigma_min / scale}
    power = {"inverse_sigma": 0.0, "inverse_sqrt_sigma": 0.5, "relative": 1.0, "inverse_sigma_and_depth": 0.0}
    for weighting in get_args(Weighting):
        for normalize, law in (("mean", 1.0), ("none", power[weighting])):
            options = {"weighting": weighting, "normalize": normalize}
            metric = weighted_l1(pred, target, sigma_z2, valid, eps=eps, **floors, **options)
            divided = weighted_l1(
                small, small_target, sigma_z2, valid, scale=scale, eps=eps / scale, **small_floors, **options
            )
            torch.testing.assert_close(divided, metric / scale**law, rtol=1e-10, atol=0)
    metric = laplace_nll(pred, target, sigma_z2, valid, **floors)
    divided = laplace_nll(small, small_target, sigma_z2, valid, scale=scale, **small_floors)
    torch.testing.assert_close(divided, metric - math.log(scale), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(
        inverse_depth_l1(small, small_target, valid), inverse_depth_l1(pred, target, valid), rtol=2e-4, atol=0
    )


@pytest.mark.parametrize("loss", SIGMA_LOSSES)
def test_scale_may_differ_between_samples(loss: Loss) -> None:
    pred, target, sigma_z2, valid = maps(dtype=torch.float64)
    scales = torch.tensor([2.0, 5.0])  # its dtype counts for nothing: the maps set that of the loss
    together = loss(pred, target, sigma_z2, valid, scale=scales[:, None, None, None], reduction="none")
    apart = [loss(pred[i], target[i], sigma_z2[i], valid[i], scale=scales[i], reduction="none") for i in range(2)]
    floats = [
        loss(pred[i], target[i], sigma_z2[i], valid[i], scale=scales[i].item(), reduction="none") for i in range(2)
    ]
    assert together.dtype == torch.float64
    single = (m.float() for m in (pred, target, sigma_z2))
    assert loss(*single, valid, scale=scales.double()[:, None, None, None]).dtype == torch.float32
    assert torch.equal(together, torch.stack(apart))
    assert torch.equal(together, torch.stack(floats))


@given(
    seed=st.integers(0, 2**31), constant=st.sampled_from([1.0, 0.04]), weighting=st.sampled_from(get_args(Weighting))
)
@settings(max_examples=20, deadline=None)
def test_equal_sigma_everywhere_is_a_plain_masked_l1(seed: int, constant: float, weighting: str) -> None:
    pred, target, sigma_z2, valid = maps(seed)
    equal = torch.full_like(sigma_z2, constant)
    if weighting == "relative":
        equal = equal * target**2
    elif weighting in READS_TARGET:
        equal = torch.full_like(equal, 1e8)  # so large that the depth does not count
    got = weighted(weighting)(pred, target, equal, valid)
    torch.testing.assert_close(got, (pred - target)[valid].abs().mean(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("normalize", ["mean", "none"])
def test_sigma_and_depth_lies_between_inverse_sigma_and_inverse_depth(normalize: str) -> None:
    pred, target, sigma_z2, valid = maps(dtype=torch.float64)
    options = {"normalize": normalize, "weighting": "inverse_sigma_and_depth"}
    little = weighted_l1(pred, target, sigma_z2, valid, relative_sigma=1e-9, **options)
    torch.testing.assert_close(little, weighted_l1(pred, target, sigma_z2, valid, normalize=normalize))
    much = weighted_l1(pred, target, sigma_z2 * 1e-18, valid, relative_sigma=1.0, **options)
    if normalize == "none":
        torch.testing.assert_close(much, inverse_depth_l1(pred, target, valid), rtol=1e-5, atol=0)
    ratio = weighted("relative")(pred, target, sigma_z2, valid, normalize="none", reduction="none") / weighted_l1(
        pred, target, sigma_z2, valid, weighting="inverse_sigma_and_depth", normalize="none", reduction="none"
    )
    torch.testing.assert_close(ratio[valid], 0.1 * target[valid])


def test_relative_is_one_on_what_is_flat_and_falls_like_one_over_sigma() -> None:
    target = torch.full((1, 3), 2.0, dtype=torch.float64)
    sigma_z2 = torch.tensor([[1e-12, 0.2**2, 200.0**2]], dtype=torch.float64)
    weight = weighted("relative")(target + 1, target, sigma_z2, normalize="none", reduction="none")
    torch.testing.assert_close(weight, torch.tensor([[1, 0.5**0.5, 0.001]], dtype=torch.float64), rtol=1e-5, atol=0)


@pytest.mark.parametrize("weighting", get_args(Weighting))
@pytest.mark.parametrize("unknown", [0.0, -1.0])
def test_only_weightings_that_read_the_target_want_it_above_0(weighting: str, unknown: float) -> None:
    pred, target, sigma_z2, hole = maps()
    valid = ~hole if weighting in READS_TARGET else torch.ones_like(hole)
    target = torch.where(hole, unknown, target)
    got = weighted(weighting)(pred, target, sigma_z2)
    assert torch.equal(got, weighted(weighting)(pred, target, sigma_z2, valid))
    assert torch.equal(got, weighted(weighting)(pred, target, sigma_z2, ~hole)) == (weighting in READS_TARGET)


def test_the_drop_in_keeps_inverse_sigma_whatever_the_default_is(monkeypatch: pytest.MonkeyPatch) -> None:
    target, sigma_z2 = (each[:1, :2] for each in maps()[1:3])
    z = torch.stack((torch.zeros_like(target), torch.zeros_like(target), target), dim=-1)
    pred = {"local_points": 1.1 * z, "camera_poses": torch.eye(4).expand(1, 2, 4, 4)}
    views = [
        {
            "pts3d": z[:, i],
            "valid_mask": z[:, i, ..., 2] > 0,
            "camera_pose": torch.eye(4)[None],
            "sigma_Z2": sigma_z2[:, i],
        }
        for i in range(2)
    ]
    loss = Pi3LossMipNeRFVariance(normalize_gt=False)
    before = loss(pred, views)
    for weighting in get_args(Weighting)[1:]:
        assert weighted_l1.__kwdefaults__ is not None
        monkeypatch.setitem(weighted_l1.__kwdefaults__, "weighting", weighting)
        assert not torch.equal(weighted_l1(1.1 * target, target, sigma_z2), before[1]["depth_loss"])
        after = loss(pred, views)
        assert torch.equal(after[0], before[0])
        assert after[1] == before[1]
    torch.testing.assert_close(before[1]["depth_loss"], (0.1 * target / sigma_z2.sqrt()).mean())


@pytest.mark.parametrize("loss", WEIGHTED)
def test_weights_of_each_image_have_mean_one_over_its_valid_pixels(loss: Loss) -> None:
    _, target, sigma_z2, valid = maps(dtype=torch.float64)
    sigma_z2[1] *= 100  # another sensor: its images count as much as the others
    weight = loss(target + 1, target, sigma_z2, valid, reduction="none")
    means = weight.sum((-2, -1)) / valid.sum((-2, -1))
    torch.testing.assert_close(means, torch.ones_like(means), rtol=1e-12, atol=0)


@pytest.mark.parametrize("loss", [WeightedL1, LaplaceNLL, FocusedLogL1])
def test_reductions_agree(loss: Callable[..., torch.nn.Module]) -> None:
    pred, target, sigma_z2, valid = maps(dtype=torch.float64)
    each, total, mean = (loss(reduction=r)(pred, target, sigma_z2, valid) for r in ("none", "sum", "mean"))
    assert each.shape == pred.shape
    assert not each[~valid].any()
    torch.testing.assert_close(each.sum(), total)
    torch.testing.assert_close(each[valid].mean(), mean)


@pytest.mark.parametrize("loss", [InverseDepthL1, GradientMatching])
def test_reductions_without_sigma_agree(loss: Callable[..., torch.nn.Module]) -> None:
    pred, target, _, valid = maps(dtype=torch.float64)
    each, total, mean = (loss(reduction=r)(pred, target, valid) for r in ("none", "sum", "mean"))
    assert not each[~valid].any()
    torch.testing.assert_close(each.sum(), total)
    torch.testing.assert_close(each[valid].mean(), mean)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradcheck(loss: Loss) -> None:
    pred, target, sigma_z2, valid = maps(shape=(2, 3, 4), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p: loss(p, target, sigma_z2, valid), pred.requires_grad_())


# ---- what is invalid adds exactly zero ----


@pytest.mark.parametrize("loss", LOSSES)
@given(
    bad=st.lists(st.sampled_from([NAN, INF, -INF, 1e38, 0.0, -1.0]), min_size=3, max_size=3),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=25, deadline=None)
def test_masked_pixels_add_exactly_zero_whatever_they_hold(loss: Loss, bad: list[float], seed: int) -> None:
    clean = maps(seed, (2, 5, 6))
    valid = clean[3]
    dirty = [torch.where(valid, m, value) for m, value in zip(clean[:3], bad, strict=True)]
    for each in dirty:
        each.requires_grad_()
    value = loss(*dirty, valid)
    assert torch.equal(value, loss(*clean))
    for grad in torch.autograd.grad(value, dirty, allow_unused=True):
        if grad is not None:  # some read no σ
            assert grad.isfinite().all()
            assert not grad[~valid].any()
            assert grad[valid].any()


@pytest.mark.parametrize("loss", SIGMA_LOSSES)
@pytest.mark.parametrize("bad", [INF, NAN, -INF, 0.0, -0.0, -1.0])
@pytest.mark.parametrize("mask", ["all", "none"])
def test_sigma_that_says_nothing_is_invalid_whatever_the_mask_says(loss: Loss, bad: float, mask: str) -> None:
    pred, target, sigma_z2, hole = maps()
    everything = torch.ones_like(hole) if mask == "all" else None
    without = loss(pred, target, torch.where(hole, bad, sigma_z2), everything)
    assert torch.equal(without, loss(pred, target, sigma_z2, ~hole))
    lost, sigma_z2 = torch.where(hole, NAN, pred), torch.where(hole, bad, sigma_z2).requires_grad_()
    lost.requires_grad_()
    for grad in torch.autograd.grad(loss(lost, target, sigma_z2, everything), (lost, sigma_z2)):
        assert grad.isfinite().all()
        assert not grad[hole].any()
        assert grad[~hole].any()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("bad", [INF, NAN, -INF])
def test_target_that_is_not_finite_is_invalid(loss: Loss, bad: float) -> None:
    pred, target, sigma_z2, hole = maps()
    without = loss(pred, torch.where(hole, bad, target), sigma_z2)
    assert torch.equal(without, loss(pred, target, sigma_z2, ~hole))


@pytest.mark.parametrize("loss", [*WITHOUT_SIGMA, focused_log_l1, weighted_inverse_depth])
@pytest.mark.parametrize("unknown", [0.0, -1.0])
def test_no_depth_is_unknown_where_the_loss_divides_by_it(loss: Loss, unknown: float) -> None:
    pred, target, sigma_z2, hole = maps()
    without = loss(pred, torch.where(hole, unknown, target), sigma_z2)
    assert torch.equal(without, loss(pred, target, sigma_z2, ~hole))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shape", [(2, 3, 4), (0, 3, 4), (2, 0, 4)])
def test_empty_mask_gives_zero_and_a_zero_gradient(loss: Loss, shape: tuple[int, ...]) -> None:
    pred, target = torch.full(shape, NAN), torch.full(shape, INF)
    valid = torch.zeros(shape, dtype=torch.bool)
    assert loss(pred, target, torch.full(shape, NAN), valid).item() == 0
    assert torch.equal(gradient(lambda p: loss(p, target, target, valid), pred), torch.zeros(shape))


@pytest.mark.parametrize("loss", LOSSES)
def test_image_without_valid_pixels_leaves_the_batch_as_it_is(loss: Loss) -> None:
    pred, target, sigma_z2, valid = maps()
    alone = loss(pred[:1], target[:1], sigma_z2[:1], valid[:1])
    valid[1] = False
    pred[1], target[1], sigma_z2[1] = NAN, NAN, INF
    torch.testing.assert_close(loss(pred, target, sigma_z2, valid), alone, rtol=1e-6, atol=0)
    with torch.autograd.set_detect_anomaly(True):  # no NaN on the way either
        assert gradient(lambda p: loss(p, target, sigma_z2, valid), pred).isfinite().all()


def test_scale_of_an_image_without_valid_pixels_may_be_anything() -> None:
    pred, target, sigma_z2, valid = maps(shape=(2, 4, 4))
    valid[1] = False
    for scale in (0.0, NAN):  # a mean over nothing
        grad = gradient(
            lambda p, s=scale: laplace_nll(p, target, sigma_z2, valid, scale=torch.tensor([[[2.0]], [[s]]])),
            pred,
        )
        assert grad.isfinite().all()
        assert grad[0].any()


@pytest.mark.parametrize("loss", LOSSES)
def test_prediction_that_is_not_finite_is_not_hidden(loss: Loss) -> None:
    pred, target, sigma_z2, valid = maps()
    valid[0, 0, 0, 0], pred[0, 0, 0, 0] = True, NAN
    assert loss(pred, target, sigma_z2, valid).isnan()


@pytest.mark.parametrize("loss", LOSSES)
def test_extreme_sigma_keeps_value_and_gradient_finite(loss: Loss) -> None:
    pred, target, sigma_z2, valid = maps(shape=(1, 4, 4))
    sigma_z2[0, 0] = torch.tensor([1e-30, 1e-12, 1e12, 1e30])
    assert loss(pred, target, sigma_z2, valid).isfinite()
    assert gradient(lambda p: loss(p, target, sigma_z2, valid), pred).isfinite().all()


# ---- how it runs ----


@pytest.mark.parametrize("loss", LOSSES)
def test_compiles_as_one_graph(loss: Loss) -> None:
    torch.compiler.reset()
    pred, target, sigma_z2, valid = maps()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(pred, target, sigma_z2, valid), loss(pred, target, sigma_z2, valid))
    torch.testing.assert_close(
        gradient(lambda p: compiled(p, target, sigma_z2, valid), pred),
        gradient(lambda p: loss(p, target, sigma_z2, valid), pred),
    )


@pytest.mark.parametrize("module", [WeightedL1(eps=0.1), LaplaceNLL(sigma_min=0.1), FocusedLogL1(focus=3)])
def test_module_with_a_scale_that_changes_compiles_as_one_graph(module: torch.nn.Module) -> None:
    torch.compiler.reset()
    pred, target, sigma_z2, valid = maps()
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    for scale in (1.0, 2.0, 3.5, torch.tensor(4.0)):
        torch.testing.assert_close(
            compiled(pred, target, sigma_z2, valid, scale=scale),
            module(pred, target, sigma_z2, valid, scale=scale),
        )


@pytest.mark.parametrize("loss", LOSSES)
def test_reads_no_value_of_a_tensor(loss: Loss) -> None:
    # Tensors of the meta device hold no values: an operation that reads one raises an error there.
    pred, target, sigma_z2, valid = (m.to("meta") for m in maps())
    value = loss(pred.requires_grad_(), target, sigma_z2, valid)
    value.backward()
    assert value.device.type == "meta"
    assert value.shape == ()


@pytest.mark.gpu
@pytest.mark.parametrize("loss", LOSSES)
def test_never_waits_for_a_gpu(loss: Loss, never_waits: Any) -> None:
    pred, target, sigma_z2, valid = (m.cuda() for m in maps())
    pred.requires_grad_()
    with never_waits():
        loss(pred, target, sigma_z2, valid).backward()


def test_inputs_are_left_alone() -> None:
    given_maps = maps()
    before = [m.clone() for m in given_maps]
    for loss in LOSSES:
        loss(*given_maps)
    assert all(torch.equal(a, b) for a, b in zip(given_maps, before, strict=True))


@pytest.mark.parametrize(
    ("module", "function"),
    [
        (WeightedL1(normalize="none", eps=0.1, sigma_min=0.2, reduction="sum"), weighted_l1),
        (WeightedL1(weighting="relative", relative_sigma=0.2, reduction="sum"), weighted_l1),
        (LaplaceNLL(sigma_min=0.2, reduction="sum"), laplace_nll),
        (FocusedLogL1(focus=2, relative_sigma=0.2, gradient=0.3, scales=2, reduction="sum"), focused_log_l1),
        (GradientMatching(scales=2, reduction="sum"), gradient_matching),
        (InverseDepthL1(normalize="mean", reduction="sum"), inverse_depth_l1),
    ],
)
def test_module_is_its_function_with_options_that_repr_shows(module: torch.nn.Module, function: Loss) -> None:
    pred, target, sigma_z2, valid = maps()
    shown = eval(f"dict({module.extra_repr()})")
    assert shown == {name: getattr(module, name) for name in shown}
    assert shown["reduction"] == "sum"
    if function in (inverse_depth_l1, gradient_matching):
        assert torch.equal(module(pred, target, valid), function(pred, target, valid, **shown))
        weighted_too = function(pred, target, valid, weight=sigma_z2, **shown)
        assert torch.equal(module(pred, target, valid, weight=sigma_z2), weighted_too)
        assert not torch.equal(weighted_too, module(pred, target, valid))
    else:
        assert torch.equal(
            module(pred, target, sigma_z2, valid, scale=3.0),
            function(pred, target, sigma_z2, valid, scale=3.0, **shown),
        )


def test_needs_torch_only() -> None:
    for path in (Path(folder) for folder in depthvar.loss.__path__):
        for source in path.glob("*.py"):
            for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.level == 0:
                    names = [node.module or ""]
                allowed = sys.stdlib_module_names | {"torch"}
                assert {name.split(".")[0] for name in names} <= allowed, source.name


# ---- refusals ----


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"weighting": "inverse"},
            "weighting: expected one of inverse_sigma, .*, inverse_sigma_and_depth; got 'inverse'",
        ),
        ({"relative_sigma": 0.0}, r"relative_sigma: expected a finite number > 0, got 0.0"),
        ({"relative_sigma": INF}, r"relative_sigma: expected a finite number > 0, got inf"),
        ({"normalize": "sum"}, r"normalize: expected 'mean' or 'none', got 'sum'"),
        ({"reduction": "avg"}, r"reduction: expected 'mean', 'sum' or 'none', got 'avg'"),
        ({"eps": -1.0}, r"eps: expected a finite number >= 0, got -1.0"),
        ({"sigma_min": NAN}, r"sigma_min: expected a finite number >= 0, got nan"),
        ({"sigma_min": INF}, r"sigma_min: expected a finite number >= 0, got inf"),
        ({"sigma_min": None}, r"sigma_min: expected a finite number >= 0, got None"),
        ({"eps": "0.1"}, r"eps: expected a finite number >= 0, got '0.1'"),
        ({"eps": True}, r"eps: expected a finite number >= 0, got True"),
        ({"relative_sigma": torch.ones(())}, r"relative_sigma: expected a finite number > 0, got tensor\(1.\)"),
    ],
)
def test_unknown_options_are_refused_by_function_and_module(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        weighted_l1(*maps(), **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        WeightedL1(**options)  # type: ignore[arg-type]
    if "normalize" in options:
        with pytest.raises(ValueError, match=message):
            inverse_depth_l1(*maps()[:2], **options)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=message):
            InverseDepthL1(**options)  # type: ignore[arg-type]


def test_every_loss_checks_its_options() -> None:
    pred, target, sigma_z2, _ = maps()
    for call in (
        lambda: laplace_nll(pred, target, sigma_z2, reduction="avg"),  # type: ignore[arg-type]
        lambda: inverse_depth_l1(pred, target, reduction="avg"),  # type: ignore[arg-type]
        lambda: LaplaceNLL(reduction="avg"),  # type: ignore[arg-type]
        lambda: InverseDepthL1(reduction="avg"),  # type: ignore[arg-type]
        lambda: focused_log_l1(pred, target, sigma_z2, reduction="avg"),  # type: ignore[arg-type]
        lambda: gradient_matching(pred, target, reduction="avg"),  # type: ignore[arg-type]
        lambda: FocusedLogL1(reduction="avg"),  # type: ignore[arg-type]
        lambda: GradientMatching(reduction="avg"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match="reduction: expected 'mean', 'sum' or 'none', got 'avg'"):
            call()
    for call in (lambda: laplace_nll(pred, target, sigma_z2, sigma_min=-1), lambda: LaplaceNLL(sigma_min=-1)):
        with pytest.raises(ValueError, match="sigma_min: expected a finite number >= 0, got -1"):
            call()


@pytest.mark.parametrize("loss", LOSSES)
def test_shapes_that_would_broadcast_are_refused(loss: Loss) -> None:
    pred, target, sigma_z2, valid = maps(shape=(3, 1, 4, 5))
    with pytest.raises(ValueError, match=r"target: expected the shape of pred \(3, 1, 4, 5\), got \(3, 4, 5\)"):
        loss(pred, target[:, 0], sigma_z2, valid)
    with pytest.raises(ValueError, match=r"valid: expected the shape of pred \(3, 1, 4, 5\), got \(4, 5\)"):
        loss(pred, target, sigma_z2, valid[0, 0])
    with pytest.raises(ValueError, match=r"pred: expected shape \(\.\.\., H, W\), got \(5,\)"):
        loss(pred[0, 0, 0], target[0, 0, 0], sigma_z2[0, 0, 0])
    with pytest.raises(ValueError, match=r"valid: expected a tensor of torch.bool, got torch.float32; pass .* > 0"):
        loss(pred, target, sigma_z2, valid.float())


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("spoil", [Tensor.numpy, Tensor.tolist, lambda each: each + 1j, lambda each: None])
def test_what_is_no_tensor_of_real_numbers_is_refused(loss: Loss, spoil: Callable[[Tensor], object]) -> None:
    pred, target, sigma_z2, valid = maps()
    with pytest.raises(ValueError, match=r"target: expected a tensor of real numbers, got .*; pass torch.from_numpy"):
        loss(pred, spoil(target), sigma_z2, valid)
    with pytest.raises(ValueError, match=r"valid: expected a tensor of torch.bool, got (ndarray|list)"):
        loss(pred, target, sigma_z2, valid.numpy() if spoil is Tensor.numpy else valid.tolist())


def test_numpy_numbers_are_options_too() -> None:
    args = maps()
    want = weighted_l1(*args, eps=0.5, scale=2.0)
    assert torch.equal(weighted_l1(*args, eps=np.float32(0.5), scale=np.int64(2)), want)


@pytest.mark.parametrize("loss", SIGMA_LOSSES)
def test_sigma_and_scale_of_another_shape_are_refused(loss: Loss) -> None:
    pred, target, sigma_z2, valid = maps(shape=(3, 4, 3))
    with pytest.raises(ValueError, match=r"sigma_z2: expected the shape of pred \(3, 4, 3\), got \(4, 3\)"):
        loss(pred, target, sigma_z2[0], valid)
    for shape in ((3,), (3, 1), (2, 1, 1), (1, 3, 4, 3)):
        with pytest.raises(ValueError, match=r"scale: expected a number, or a tensor with the dimensions of the maps"):
            loss(pred, target, sigma_z2, valid, scale=torch.ones(shape))
    for number in (0.0, -1.0, NAN, INF, "1", None, True):
        with pytest.raises(ValueError, match=f"scale: expected a finite number > 0, got {number!r}"):
            loss(pred, target, sigma_z2, valid, scale=number)
