"""Numbers as parameters: Python's and NumPy's are one, and what is no number is refused in one line."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from doors import CAMERA, DEPTH, refusal
from hypothesis import given
from hypothesis import strategies as st
from tiny_data import TinyData

from depthvar.datasets import open_source
from depthvar.datasets.cache.attributes import differences
from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.scalars import as_float
from depthvar.precompute import KernelParams, sigma_z2
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.fingerprint import fingerprint

GOOD_NUMBERS = {"an int": 1, "np.int64": np.int64(1), "np.uint8": np.uint8(1), "np.int16": np.int16(1)}
GOOD_REALS = GOOD_NUMBERS | {
    "a float": 1.0,
    "np.float64": np.float64(1),
    "np.float32": np.float32(1),
    "a half": np.float16(1),
}
GOOD_REALS |= {"a fraction": Fraction(1)}
BAD_NUMBERS = {
    "text": "1", "None in a list": [None], "True": True, "np.True_": np.True_, "NaN": math.nan, "complex": 1 + 0j,
    "an array": np.array([1.0]), "an array of one": np.array(1.0), "a tensor": torch.tensor(1.0), "bytes": b"1",
    "too large": 10**400, "below 0": -1, "minus infinity": -math.inf,
}  # fmt: skip
REAL_DOORS: dict[str, Callable[[Any], Any]] = {
    "lambda_prior": lambda value: KernelParams(lambda_prior=value).lambda_prior,
    "alpha_clamp": lambda value: KernelParams(alpha_clamp=value).alpha_clamp,
    "max_depth": lambda value: open_source("folder", "/", intrinsics=CAMERA, max_depth=value).max_depth,
    "max_depth of the kernel": lambda value: sigma_z2(DEPTH, CAMERA, max_depth=value) is not None,
    "units_per_metre": lambda value: (
        open_source("folder", "/", intrinsics=CAMERA, units_per_metre=value).description.depth.units_per_metre
    ),
}


@pytest.mark.parametrize("door", REAL_DOORS)
def test_a_real_number_at_every_door(door: str) -> None:
    kept = {type(REAL_DOORS[door](value)) for value in GOOD_REALS.values()}
    assert kept == ({bool} if door.endswith("kernel") else {float})
    for value in BAD_NUMBERS.values():
        refusal(lambda value=value: REAL_DOORS[door](value), "expected a number")


@pytest.mark.parametrize("door", ["min_valid", "keepbits", "strides", "stride"])
def test_a_whole_number_at_every_door(door: str, tiny: TinyData) -> None:
    list(pipeline.run(tiny.job(strides=(1,)), execute.serial))
    cache = SigmaCache(tiny.job().cache)
    doors: dict[str, Callable[[Any], Any]] = {
        "min_valid": lambda value: KernelParams(min_valid=value).min_valid,
        "keepbits": lambda value: tiny.job(keepbits=value).keepbits,
        "strides": lambda value: tiny.job(strides=(value,)).strides[0],
        "stride": lambda value: int(cache.read("b/depth/000.npy", value).shape == (24, 32)),
    }
    for value in GOOD_NUMBERS.values():
        got = doors[door](value)
        assert (got, type(got)) == (1, int)
    for value in [*BAD_NUMBERS.values(), 1.0, np.float32(1), 0, None]:
        refusal(lambda value=value: doors[door](value), rf"{door}: expected ")


@given(st.floats(width=32, allow_nan=False) | st.floats(width=16, allow_nan=False))
def test_a_short_float_is_the_shortest_decimal_that_it_is_nearest_to(value: float) -> None:
    for kind in (np.float32, np.float16):
        with np.errstate(over="ignore"):
            short = kind(value)
        assert kind(as_float(short)) == short  # it is that number again
        assert str(short) in (str(kind(float(str(as_float(short))))), str(as_float(short)))
    assert as_float(np.float32(0.3)) == as_float(np.float16(0.3)) == 0.3
    assert as_float(np.float64(0.3)) == 0.3


def test_equal_parameters_are_one_cache(tiny: TinyData) -> None:
    def parameters(number: Callable[[Any], Any], whole: Callable[[Any], Any]) -> dict[str, Any]:
        params = KernelParams(whole(5), number(1), number(0.25), whole(3), "pi3")
        source = open_source(tiny.toml, max_depth=number(20), units_per_metre=number(2))
        strides = tuple(map(whole, (1, 2)))
        return {"params": params, "source": source, "strides": strides, "keepbits": whole(9)}

    list(pipeline.run(tiny.job(**parameters(float, int)), execute.serial))
    before = SigmaCache(tiny.job().cache).attributes["fingerprint"]
    for number in (int, np.float32, np.float64, np.float16, Fraction):
        for whole in (int, np.int64, np.uint8):
            job = tiny.job(**parameters(lambda value, kind=number: value if kind is int else kind(value), whole))
            outlook, *_ = list(pipeline.run(job, execute.serial))
            assert (outlook.compute, SigmaCache(job.cache).attributes["fingerprint"]) == (0, before)


def test_a_cache_of_other_parameters_is_never_refused_without_a_reason() -> None:
    """Equal numbers with other fingerprints, as caches have them that were written before parameters were plain."""
    stored, wanted = {"lambda_prior": 1}, {"lambda_prior": 1.0}
    assert fingerprint(stored) != fingerprint(wanted)
    assert repr(differences(stored, wanted)) == "[('lambda_prior', 1, 1.0)]"
    assert differences(stored, dict(stored)) == []


def test_strides_of_a_job_are_sorted_hold_one_and_are_few(tiny: TinyData) -> None:
    assert tiny.job(strides=np.array([4, 2, 4])).strides == (1, 2, 4)
    for strides in (2, None, "1,2", range(1, 100), (10**30,), [[1]]):
        refusal(
            lambda strides=strides: tiny.job(strides=strides),
            "strides: expected whole numbers from 1 to 1024, at most 64",
        )
    refusal(lambda: tiny.job(params={"window": 5}), "params: expected KernelParams or Difference, got {'window': 5}")
