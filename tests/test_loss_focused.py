"""Laws of the focused loss and its parts that the other losses don't have; those of all losses: test_loss.py."""

import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import focused_reference as reference
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from depthvar.loss import (
    FocusedLogL1,
    GradientMatching,
    depth_range3,
    focus_weight,
    focused_log_l1,
    gradient_matching,
    inverse_depth_l1,
    laplace_nll,
)
from depthvar.loss.focused import FOCUS, GRADIENT, LEAST_RATIO, RELATIVE_SIGMA, SCALES
from depthvar.loss.pi3 import Pi3LossMipNeRFVariance

NAN, INF = math.nan, math.inf
Maps = tuple[Tensor, Tensor, Tensor, Tensor]
sides = st.integers(1, 11)


def maps(seed: int = 0, shape: tuple[int, ...] = (2, 3, 8, 9)) -> Maps:
    """Return pred, of which a tenth is at or below 0, target in 1 to 5 m, σ² in 1e-4 to 10 m², and a mask."""
    rng = torch.Generator().manual_seed(seed)
    target = 1 + 4 * torch.rand(shape, generator=rng, dtype=torch.float64)
    pred = target * (1 + 0.3 * torch.randn(shape, generator=rng, dtype=torch.float64))
    pred = torch.where(torch.rand(shape, generator=rng) < 0.1, 0.5 * pred - 2, pred)
    sigma_z2 = 10 ** (1 - 5 * torch.rand(shape, generator=rng, dtype=torch.float64))
    return pred, target, sigma_z2, torch.rand(shape, generator=rng) > 0.2


def positive(seed: int = 0, shape: tuple[int, ...] = (2, 3, 8, 9)) -> Maps:
    pred, *rest = maps(seed, shape)
    return pred.abs() + 0.1, *rest


def log_error(pred: Tensor, target: Tensor) -> Tensor:
    return (pred / target).log()


# ---- the definition ----


@given(
    seed=st.integers(0, 2**31),
    leading=st.sampled_from([(), (1,), (3,), (2, 2)]),
    height=sides,
    width=sides,
    focus=st.sampled_from([0.0, 1.0, 8.0]),
    relative_sigma=st.sampled_from([0.03, 0.1, 1.0]),
    gradient=st.sampled_from([0.0, 0.5, 2.0]),
    scales=st.integers(1, 5),
    scale=st.sampled_from([1.0, 0.3]),
)
@settings(max_examples=50, deadline=None)
def test_value_is_that_of_the_definition(
    seed: int, leading: tuple[int, ...], height: int, width: int, scale: float, **options: Any
) -> None:
    pred, target, sigma_z2, valid = maps(seed, (*leading, height, width))
    got = focused_log_l1(pred, target, scale**2 * sigma_z2, valid, scale=scale, **options).item()
    images = [each.reshape(-1, height, width).numpy() for each in (pred, target, sigma_z2, valid)]
    values = [reference.focused_log_l1(*image, **options) for image in zip(*images, strict=True)]
    counts = valid.sum((-2, -1)).flatten().tolist()
    expected = sum(n * value for n, value in zip(counts, values, strict=True)) / max(sum(counts), 1)
    assert got == pytest.approx(expected, rel=1e-11, abs=1e-13)


@given(seed=st.integers(0, 2**31), height=sides, width=sides, scales=st.integers(1, 5), weighted=st.booleans())
@settings(max_examples=30, deadline=None)
def test_the_parts_are_those_of_the_definition(seed: int, height: int, width: int, scales: int, weighted: bool) -> None:
    pred, target, sigma_z2, valid = maps(seed, (height, width))
    weight = focus_weight(sigma_z2, target, valid, focus=3, relative_sigma=0.2)
    twin = reference.focus_weight(sigma_z2.numpy(), target.numpy(), valid.numpy(), 3, 0.2)
    torch.testing.assert_close(weight, torch.from_numpy(twin), rtol=1e-12, atol=0)
    error = np.vectorize(reference.log_error, otypes=[float])(pred, target)
    used = weight if weighted else torch.ones_like(weight)
    got = gradient_matching(pred, target, valid, weight=weight if weighted else None, scales=scales)
    expected = reference.gradient_matching(error, valid.numpy(), used.numpy(), scales)
    assert got.item() == pytest.approx(expected, rel=1e-11, abs=1e-13)


def test_the_loss_is_its_parts() -> None:
    pred, target, sigma_z2, valid = positive()
    weight = focus_weight(sigma_z2, target, valid)
    data = (weight * log_error(pred, target).abs()).sum() / valid.sum()
    whole = data + GRADIENT * gradient_matching(pred, target, valid, weight=weight)
    torch.testing.assert_close(focused_log_l1(pred, target, sigma_z2, valid), whole)
    torch.testing.assert_close(focused_log_l1(pred, target, sigma_z2, valid, gradient=0), data)


def test_without_focus_and_gradients_it_is_a_plain_log_l1() -> None:
    pred, target, sigma_z2, valid = positive()
    plain = log_error(pred, target)[valid].abs().mean()
    torch.testing.assert_close(focused_log_l1(pred, target, sigma_z2, valid, focus=0, gradient=0), plain)


def test_the_defaults_are_the_same_everywhere() -> None:
    expected = {"focus": FOCUS, "relative_sigma": RELATIVE_SIGMA, "gradient": GRADIENT, "scales": SCALES}
    places: list[Callable[..., Any]] = [
        focused_log_l1,
        focus_weight,
        gradient_matching,
        FocusedLogL1,
        GradientMatching,
        Pi3LossMipNeRFVariance,
    ]
    found = set()
    for place in places:
        for name, parameter in inspect.signature(place).parameters.items():
            if name in expected:
                assert parameter.default == expected[name], (place, name)
                found.add(name)
    assert found == expected.keys()


# ---- the weight ----


def test_weight_goes_from_smooth_to_edge_as_sigma_grows() -> None:
    target = torch.full((1, 5), 2.0, dtype=torch.float64)
    sigma = torch.tensor([[1e-9, 0.1, 0.2, 0.4, 1e9]], dtype=torch.float64)
    weight = focus_weight(sigma**2, target, focus=8, relative_sigma=0.1)
    ratio = weight / weight[0, 0]
    torch.testing.assert_close(ratio, torch.tensor([[1, 1 + 8 / 5, 5, 1 + 32 / 5, 9]], dtype=torch.float64))


def test_weight_has_the_mean_1_in_every_image_and_is_the_mask() -> None:
    _, target, sigma_z2, valid = maps()
    sigma_z2[1] *= 100
    sigma_z2[0, 0, 0, :2], valid[0, 0, 0] = torch.tensor([INF, NAN]), True
    target[0, 0, 0, 2:4] = torch.tensor([0.0, NAN])
    valid[1, 2] = False
    weight = focus_weight(sigma_z2, target, valid)
    known = valid & sigma_z2.isfinite() & (target > 0)
    assert torch.equal(weight > 0, known)
    assert not weight[~known].any()
    means = weight.sum((-2, -1)) / known.sum((-2, -1)).clamp_min(1)
    expected = torch.ones_like(means)
    expected[1, 2] = 0
    torch.testing.assert_close(means, expected)


@given(seed=st.integers(0, 2**31), leading=st.sampled_from([(), (2,), (2, 3)]), height=sides, width=sides)
@settings(max_examples=25, deadline=None)
def test_the_range_of_3_pixels_is_that_of_the_definition(
    seed: int, leading: tuple[int, ...], height: int, width: int
) -> None:
    _, target, _, valid = maps(seed, (*leading, height, width))
    target[..., 0, 0] = 1e-3 * target[..., 0, 0]
    got = depth_range3(target, valid)
    z, known = target.numpy(), valid.numpy()
    for *image, y, x in np.ndindex(*z.shape):
        around = (*image, slice(max(y - 1, 0), y + 2), slice(max(x - 1, 0), x + 2))
        near = z[around][known[around]]
        at = (*image, y, x)
        expected = max((near.max() - near.min()) / 2, 1e-4 * z[at]) ** 2 / 3 if known[at] else INF
        assert got[at].item() == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(depth_range3(4 * target, valid), 16 * got, rtol=0, atol=0)
    assert torch.equal(focus_weight(got, target, valid) > 0, valid)


def test_without_sigma_it_is_the_range_of_3_pixels() -> None:
    pred, target, _, valid = maps()
    expected = focused_log_l1(pred, target, depth_range3(target, valid), valid)
    assert torch.equal(focused_log_l1(pred, target, valid=valid, scale=7.0), expected)  # in the target's own unit
    assert torch.equal(FocusedLogL1()(pred, target, valid=valid), expected)


# ---- the gradients ----


def test_a_factor_and_a_slope_that_are_right_cost_no_gradient_and_a_step_costs_its_log() -> None:
    _, target, _, _ = maps()
    assert gradient_matching(2 * target, target).item() == pytest.approx(0, abs=1e-12)
    step = torch.where(torch.arange(9) < 4, 1.0, 1.5) * target
    # Columns 3 and 4 of 9; of every 2nd, 2 and 4 of 5; of every 4th, 0 and 4 of 3; of every 8th, 0 and 8 of 2.
    expected = math.log(1.5) * (1 / 9 + 1 / 5 + 1 / 3 + 1 / 2)
    assert gradient_matching(step, target, scales=4).item() == pytest.approx(expected)
    turned = gradient_matching(step.mT, target.mT, scales=4)
    assert turned.item() == pytest.approx(expected)


def test_a_pair_counts_where_both_pixels_are_valid() -> None:
    pred = torch.tensor([[1.0, 2.0, 4.0, 1.0]])
    one, valid = torch.ones(1, 4), torch.tensor([[True, False, True, True]])
    # Pairs: 2 and 3 of three valid pixels; 0 and 2 of two on the grid of every 2nd; then none.
    expected = math.log(4) / 3 + math.log(4) / 2
    assert gradient_matching(pred, one, valid).item() == pytest.approx(expected)


@pytest.mark.parametrize("bad", [0.0, -1.0, NAN, INF])
@pytest.mark.parametrize("part", [gradient_matching, inverse_depth_l1, partial(inverse_depth_l1, normalize="mean")])
def test_a_weight_that_is_none_makes_a_pixel_invalid(part: Callable[..., Tensor], bad: float) -> None:
    pred, target, sigma_z2, hole = maps()
    weight = torch.where(hole, bad, sigma_z2).requires_grad_()
    lost = torch.where(hole, NAN, pred).requires_grad_()
    loss = part(lost, target, weight=weight)
    assert torch.equal(loss, part(pred, target, ~hole, weight=sigma_z2))
    for grad in torch.autograd.grad(loss, (lost, weight)):
        assert grad.isfinite().all()
        assert not grad[hole].any()
        assert grad[~hole].any()


def test_more_scales_than_the_image_has_add_nothing() -> None:
    pred, target, sigma_z2, valid = maps(shape=(2, 8, 8))
    eight, three = (focused_log_l1(pred, target, sigma_z2, valid, scales=n) for n in (8, 3))
    assert torch.equal(eight, three)


# ---- laws of the whole ----


@pytest.mark.parametrize("scale", [0.25, 1024.0])
def test_dividing_depth_by_a_scale_changes_nothing(scale: float) -> None:
    pred, target, sigma_z2, valid = (m.float() if m.is_floating_point() else m for m in maps())
    expected = focused_log_l1(pred, target, sigma_z2, valid)
    got = focused_log_l1(pred / scale, target / scale, sigma_z2, valid, scale=scale)
    assert torch.equal(got, expected)  # powers of two: not even by rounding
    metric = focus_weight(sigma_z2, target, valid)
    assert torch.equal(focus_weight(sigma_z2, target / scale, valid, scale=scale), metric)
    assert torch.equal(focus_weight(sigma_z2 / scale**2, target / scale, valid), metric)


@pytest.mark.parametrize("scale", [0.3, 17.0])
def test_any_other_scale_changes_nothing_but_rounding(scale: float) -> None:
    pred, target, sigma_z2, valid = maps()
    expected = focused_log_l1(pred, target, sigma_z2, valid)
    got = focused_log_l1(pred / scale, target / scale, sigma_z2, valid, scale=scale)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=0)


def test_an_image_does_not_depend_on_its_batch() -> None:
    pred, target, sigma_z2, valid = maps(shape=(4, 8, 9))
    valid[1] = False
    together = focused_log_l1(pred, target, sigma_z2, valid, reduction="none")
    alone = [focused_log_l1(*(m[i] for m in (pred, target, sigma_z2, valid)), reduction="none") for i in range(4)]
    assert torch.equal(together, torch.stack(alone))
    assert not together[1].any()


def test_batches_of_equal_counts_are_the_mean_of_their_halves() -> None:
    pred, target, sigma_z2, _ = maps(shape=(4, 8, 9))
    halves = [focused_log_l1(pred[part], target[part], sigma_z2[part]) for part in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close(focused_log_l1(pred, target, sigma_z2), torch.stack(halves).mean())


def test_a_mirrored_image_costs_the_same_where_its_grid_is_the_same() -> None:
    pred, target, sigma_z2, valid = maps(shape=(2, 9, 9))  # of odd sides, so every 2^s-th pixel stays
    mirrored = [m.flip(-1) for m in (pred, target, sigma_z2, valid)]
    expected = focused_log_l1(pred, target, sigma_z2, valid)
    torch.testing.assert_close(focused_log_l1(*mirrored), expected)
    turned = [m.mT for m in (pred, target, sigma_z2, valid)]
    torch.testing.assert_close(focused_log_l1(*turned), expected)


# ---- focused inverse depth: parts of docs/python.md ----


def focused_inverse_depth(
    pred: Tensor, target: Tensor, sigma_z2: Tensor, valid: Tensor | None = None, *, scale: float = 1.0
) -> Tensor:
    weight = focus_weight(sigma_z2, target, valid, focus=4, scale=scale)
    loss = inverse_depth_l1(pred, target, weight=weight, normalize="mean")
    return loss + 0.5 * gradient_matching(pred, target, weight > 0)


def test_focused_inverse_depth_is_that_of_the_definition() -> None:
    pred, target, sigma_z2, valid = maps(shape=(1, 6, 7))
    target[0, 0, 0], valid[0, 0, 0] = 0.02, True  # below a tenth of the mean, where the inverse depth stops rising
    z, known = target[0].numpy(), valid[0].numpy()
    weight = reference.focus_weight(sigma_z2[0].numpy(), z, known, 4, 0.1)
    weight = np.where(known, weight / (np.maximum(z, 0.1 * z[known].mean()) + 1e-6), 0)
    data = (weight * abs(pred[0].numpy() - z))[known].sum() / weight.sum()
    error = np.vectorize(reference.log_error, otypes=[float])(pred[0], target[0])
    gradients = reference.gradient_matching(error, known, np.ones_like(z), SCALES)
    got = focused_inverse_depth(pred, target, sigma_z2, valid).item()
    assert got == pytest.approx(data + 0.5 * gradients, rel=1e-12)


def test_weights_of_inverse_depth_have_the_mean_1_in_every_image() -> None:
    _, target, sigma_z2, valid = maps()
    sigma_z2[1] *= 100
    each = inverse_depth_l1(target + 1, target, valid, weight=sigma_z2, normalize="mean", reduction="none")
    means = each.sum((-2, -1)) / valid.sum((-2, -1))
    torch.testing.assert_close(means, torch.ones_like(means), rtol=1e-12, atol=0)
    ratio = each / inverse_depth_l1(target + 1, target, valid, weight=sigma_z2, reduction="none")
    assert (ratio[0, 0][valid[0, 0]].std() / ratio[0, 0][valid[0, 0]].mean()).item() < 1e-12


def test_focused_inverse_depth_under_a_scale() -> None:
    pred, target, sigma_z2, valid = positive()
    gradients = 0.5 * gradient_matching(pred, target, valid)
    metric = focused_inverse_depth(pred, target, sigma_z2, valid) - gradients
    divided = focused_inverse_depth(pred / 4, target / 4, sigma_z2, valid, scale=4.0) - gradients
    torch.testing.assert_close(divided, metric / 4, rtol=1e-5, atol=0)  # 1e-6 m is added to depth
    plain = {"weight": focus_weight(sigma_z2, target, valid, focus=4)}
    torch.testing.assert_close(
        inverse_depth_l1(pred / 4, target / 4, **plain), inverse_depth_l1(pred, target, **plain), rtol=1e-5, atol=0
    )


def test_focused_inverse_depth_ignores_what_is_invalid_and_says_what_is_not_finite() -> None:
    pred, target, sigma_z2, valid = maps()
    sigma_z2[0, 0, 0, :2], target[0, 0, 0, 2], valid[0, 0, 0] = torch.tensor([INF, NAN]), 0.0, True
    known = valid & sigma_z2.isfinite() & (target > 0)
    lost = torch.where(known, pred, NAN).requires_grad_()
    loss = focused_inverse_depth(lost, target, sigma_z2, valid)
    assert torch.equal(loss, focused_inverse_depth(pred, target, sigma_z2, known))
    (grad,) = torch.autograd.grad(loss, lost)
    assert not grad[~known].any()
    assert grad[known].isfinite().all()
    assert grad[known].any()
    assert focused_inverse_depth(pred.fill_(NAN), target, sigma_z2, torch.zeros_like(valid)).item() == 0
    assert focused_inverse_depth(pred, target, sigma_z2, valid).isnan()


def test_focused_inverse_depth_runs_as_the_losses_do() -> None:
    given_maps = maps(shape=(2, 4, 5))
    torch.compiler.reset()
    compiled = torch.compile(focused_inverse_depth, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*given_maps), focused_inverse_depth(*given_maps))
    assert focused_inverse_depth(*(m.to("meta") for m in given_maps)).shape == ()
    pred, target, sigma_z2, valid = given_maps
    assert torch.autograd.gradcheck(
        lambda p, s: focused_inverse_depth(p, target, s, valid), (pred.requires_grad_(), sigma_z2.requires_grad_())
    )
    single = [m.detach().float() for m in (pred, target, sigma_z2)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = focused_inverse_depth(*single, valid)
    assert torch.equal(under, focused_inverse_depth(*single, valid))


# ---- predictions at or below 0 ----


def test_the_logarithm_goes_on_as_its_tangent() -> None:
    target = torch.full((1, 1), 4.0, dtype=torch.float64)
    at, below = LEAST_RATIO * 4, 1e-9
    near = [
        focused_log_l1(torch.full_like(target, at + shift), target, target).item() for shift in (-below, 0.0, below)
    ]
    assert near[0] > near[1] > near[2]
    assert near[0] - near[1] == pytest.approx(near[1] - near[2], rel=1e-3)
    assert near[1] == pytest.approx(-math.log(LEAST_RATIO))


@given(ratios=st.lists(st.floats(-1e6, 1.0), min_size=2, max_size=6, unique=True))
@settings(max_examples=50, deadline=None)
def test_a_lower_prediction_costs_more_with_a_gradient_that_raises_it(ratios: list[float]) -> None:
    values = []
    for ratio in sorted(ratios):
        target = torch.full((1, 1), 3.0, dtype=torch.float64)
        pred = (ratio * target).requires_grad_()
        loss = focused_log_l1(pred, target, target)
        (grad,) = torch.autograd.grad(loss, pred)
        values.append(loss.item())
        slope = 1 / max(ratio, LEAST_RATIO) / 3
        assert grad.item() == pytest.approx(-slope if ratio < 1 else 0)
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_prediction_that_is_not_finite_is_not_hidden(bad: float) -> None:
    pred, target, sigma_z2, valid = maps()
    valid[0, 0, 0, 0], pred[0, 0, 0, 0] = True, bad
    for loss in (focused_log_l1(pred, target, sigma_z2, valid), gradient_matching(pred, target, valid)):
        assert not loss.isfinite()


# ---- how it runs, and what is refused ----


def test_parts_compile_as_one_graph_and_read_no_value() -> None:
    def together(pred: Tensor, target: Tensor, sigma_z2: Tensor, valid: Tensor) -> Tensor:
        weight = focus_weight(depth_range3(target, valid), target, valid)
        return laplace_nll(pred, target, sigma_z2, valid) + gradient_matching(pred, target, valid, weight=weight)

    given_maps = maps()
    torch.compiler.reset()
    compiled = torch.compile(together, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*given_maps), together(*given_maps))
    assert together(*(m.to("meta") for m in given_maps)).shape == ()


def test_gradcheck_of_the_weights() -> None:
    pred, target, sigma_z2, valid = maps(shape=(2, 3, 4))
    for each in (pred, target, sigma_z2):
        each.requires_grad_()
    assert torch.autograd.gradcheck(lambda *three: focused_log_l1(*three, valid), (pred, target, sigma_z2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"focus": -1.0}, "focus: expected a finite number >= 0, got -1.0"),
        ({"focus": NAN}, "focus: expected a finite number >= 0, got nan"),
        ({"gradient": INF}, "gradient: expected a finite number >= 0, got inf"),
        ({"relative_sigma": 0.0}, "relative_sigma: expected a finite number > 0, got 0.0"),
        ({"scales": 0}, "scales: expected a whole number >= 1, got 0"),
        ({"scales": 2.0}, "scales: expected a whole number >= 1, got 2.0"),
        ({"scales": True}, "scales: expected a whole number >= 1, got True"),
    ],
)
def test_options_out_of_their_range_are_refused(options: dict[str, Any], message: str) -> None:
    pred, target, sigma_z2, _ = maps()
    calls: list[tuple[Callable[..., Any], tuple[Tensor, ...]]] = [
        (focused_log_l1, (pred, target, sigma_z2)),
        (focus_weight, (sigma_z2, target)),
        (gradient_matching, (pred, target)),
        (FocusedLogL1, ()),
        (GradientMatching, ()),
        (Pi3LossMipNeRFVariance, ()),
    ]
    refused = 0
    for call, arguments in calls:
        if options.keys() <= inspect.signature(call).parameters.keys():
            refused += 1
            with pytest.raises(ValueError, match=message):
                call(*arguments, **options)
    assert refused >= 3


def test_maps_that_do_not_fit_are_named() -> None:
    pred, target, sigma_z2, valid = maps(shape=(3, 4, 5))
    with pytest.raises(ValueError, match=r"target: expected the shape of sigma_z2 \(3, 4, 5\), got \(4, 5\)"):
        focus_weight(sigma_z2, target[0], valid)
    with pytest.raises(ValueError, match=r"sigma_z2: expected shape \(\.\.\., H, W\), got \(5,\)"):
        focus_weight(sigma_z2[0, 0], target[0, 0])
    with pytest.raises(ValueError, match=r"weight: expected the shape of pred \(3, 4, 5\), got \(3, 4, 4\)"):
        gradient_matching(pred, target, weight=sigma_z2[..., :4])
    with pytest.raises(ValueError, match=r"weight: expected a tensor of real numbers, got float"):
        gradient_matching(pred, target, weight=2.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"weight: expected the shape of pred \(3, 4, 5\), got \(4, 5\)"):
        inverse_depth_l1(pred, target, weight=sigma_z2[0])
