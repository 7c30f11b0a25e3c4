"""What pictures and reports show: the weights are those of the losses, colours are in order, limits hold the values."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from depthvar.loss import focus_weight, inverse_depth_l1, weighted_l1
from depthvar.precompute.pictures.colour import TABLES, Scale, limits, table
from depthvar.precompute.pictures.weights import FORMS, weight_map

SEEDED = np.random.default_rng(0)
DEPTH = SEEDED.uniform(0.5, 30, (24, 32)).astype(np.float32)
SIGMA = np.where(SEEDED.random((24, 32)) < 0.1, np.nan, SEEDED.lognormal(-4, 2, (24, 32))).astype(np.float32)


@pytest.mark.parametrize("form", FORMS)
def test_weights_are_those_of_the_loss(form: str) -> None:
    depth, variance = torch.tensor(DEPTH), torch.tensor(np.nan_to_num(SIGMA**2, nan=np.inf))
    valid = variance.isfinite()
    if form == "focus":
        expected = focus_weight(variance, depth)
    elif form == "inverse_depth":
        expected = inverse_depth_l1(depth + 1, depth, valid, normalize="mean", reduction="none")
    else:
        expected = weighted_l1(depth + 1, depth, variance, weighting=form, reduction="none")
    got = weight_map(DEPTH, SIGMA, form)
    assert np.array_equal(np.isfinite(got), valid.numpy())
    np.testing.assert_allclose(np.nan_to_num(got), expected.numpy(), rtol=1e-4)  # |pred − target| is 1 up to rounding
    assert np.nanmean(got) == pytest.approx(1, rel=1e-5)


@given(arrays(np.float32, 20, elements=st.floats(2**-20, 2**20, width=32)), st.booleans())
def test_larger_numbers_have_later_colours_and_the_limits_hold_most(values: np.ndarray, is_log: bool) -> None:
    low, high = limits(values, is_log)
    assert low < high
    places = Scale(low, high, is_log).places(np.sort(values)).astype(int)
    assert (np.diff(places) >= 0).all()
    assert places[0] == 0
    assert places[-1] == 255 or np.ptp(values) < 0.2 * values.max()  # of values that are almost one


def test_what_has_no_number_has_limits_too() -> None:
    assert limits(np.full((2, 2), np.nan)) == (1.0, 10.0)
    assert limits(np.array([-1.0, 0.0])) == (1.0, 10.0)


def test_every_table_is_there() -> None:
    for name in TABLES.values():
        assert table(name).shape == (256, 3)
