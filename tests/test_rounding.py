"""Rounding of mantissas, bit for bit that of numcodecs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numcodecs import BitRound

from depthvar.datasets.errors import ParameterError
from depthvar.precompute.rounding import round_mantissa


@given(
    values=arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32, allow_nan=False)),
    keepbits=st.integers(1, 23),
)
def test_equals_numcodecs(values: np.ndarray, keepbits: int) -> None:
    want = np.asarray(BitRound(keepbits).encode(values.copy())).view(np.uint32)
    round_mantissa(values, keepbits)
    np.testing.assert_array_equal(values.view(np.uint32), want)


def test_every_tie_goes_to_even() -> None:
    values = (1 + (np.arange(16) * 2 + 1) * 2.0**-5).astype(np.float32)  # halfway between two of 4 bits
    round_mantissa(values, 4)
    assert (values.view(np.uint32) >> np.uint32(19) & np.uint32(1) == 0).all()
    assert (values != 1).any()


def test_infinity_stays_and_shapes_are_kept() -> None:
    values = np.full((3, 4, 5), np.inf, np.float32)
    values[1] = 1.2345678
    round_mantissa(values, 8)
    assert np.isposinf(values[0]).all()
    np.testing.assert_allclose(values[1], 1.2345678, rtol=2.0**-9)
    assert (values[1] != np.float32(1.2345678)).all()


@pytest.mark.parametrize("keepbits", [0, 24, -1])
def test_impossible_keepbits(keepbits: int) -> None:
    with pytest.raises(ParameterError, match=f"keepbits: expected 1 to 23 bits of mantissa, got {keepbits}"):
        round_mantissa(np.ones(3, np.float32), keepbits)


def test_arrays_that_cannot_be_rounded_in_place() -> None:
    frozen = np.ones(3, np.float32)
    frozen.flags.writeable = False
    for values in (np.ones(3), np.ones((4, 4), np.float32)[:, ::2], frozen):
        with pytest.raises(ParameterError, match="values: expected a writeable C-contiguous float32 array"):
            round_mantissa(values, 8)
