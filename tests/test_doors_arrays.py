"""Depth, masks and views as arrays and tensors: each is right, or refused in one line."""

from typing import Any

import numpy as np
import pytest
import torch
from doors import CAMERA, DEPTH, KNOWN, MILLIMETRES, refusal
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from tiny_data import TinyData

from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.frame import LARGEST_DEPTH, SMALLEST_DEPTH, Frame
from depthvar.precompute import Difference, KernelParams, sigma_z2
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline

ENGINES = pytest.mark.parametrize("engine", ["numba", "torch"])


def tensor(values: NDArray[Any] = DEPTH) -> torch.Tensor:
    return torch.from_numpy(values.copy())


ARRAYS: dict[str, tuple[Any, str | None]] = {
    "float64": (DEPTH.astype(np.float64), None),
    "big-endian float32": (DEPTH.astype(">f4"), None),
    "big-endian float64": (DEPTH.astype(">f8"), None),
    "a list of lists": (DEPTH.tolist(), None),
    "fortran order": (np.asfortranarray(DEPTH), None),
    "a transposed view": (np.ascontiguousarray(DEPTH.T).T, None),
    "read-only": (np.broadcast_to(DEPTH, DEPTH.shape), None),
    "every other pixel": (np.repeat(DEPTH, 2, axis=1)[:, ::2], None),
    "a tensor with a gradient": (tensor().requires_grad_(), None),
    "a tensor of float64": (tensor().double(), None),
    "uint16": (
        MILLIMETRES,
        "depth: expected floating-point metres .*; convert the dtype and the unit first, got 'uint16'",
    ),
    "bool": (DEPTH > 2, "depth: expected floating-point metres .*got 'bool'"),
    "complex": (DEPTH + 0j, "depth: expected floating-point metres .*got 'complex64'"),
    "object": (DEPTH.astype(object), "depth: expected floating-point metres .*got 'object'"),
    "longdouble": (DEPTH.astype(np.longdouble), "depth: expected floating-point metres of at most 64 bits"),
    "text": (DEPTH.astype(str), "depth: expected floating-point metres .*got '<U"),
    "None": (None, "depth: expected floating-point metres .*got 'object'"),
    "ragged": ([[1.0, 2.0], [1.0]], "depth: expected an array .*, got a list .setting an array element"),
    "a masked array": (
        np.ma.masked_less(DEPTH, 2),
        "depth: expected a plain array, got a masked one; pass its .data, and",
    ),
    "a tensor of integers": (tensor().long(), "depth: expected floating-point metres .*int64'"),
    "a sparse tensor": (tensor().to_sparse(), "depth: expected (a dense tensor|an array in the memory).*to_dense"),
    "an 8-bit float": (tensor().to(torch.float8_e4m3fn), "depth: expected .*(float8|Float8)_e4m3fn"),
    "no row": (DEPTH[:0], r"depth: expected shape \(..., H, W\) of at least one pixel, got \(0, 32\)"),
    "one axis": (DEPTH[0], r"depth: expected shape \(..., H, W\) of at least one pixel, got \(32,\)"),
}


@ENGINES
@pytest.mark.parametrize("name", ARRAYS)
def test_depth_as_an_array(engine: Any, name: str) -> None:
    depth, message = ARRAYS[name]
    if message is not None:
        refusal(lambda: sigma_z2(depth, CAMERA, engine=engine), message)
    else:
        got = np.asarray(sigma_z2(depth, CAMERA, engine=engine))
        np.testing.assert_allclose(got, sigma_z2(DEPTH, CAMERA), rtol=1e-4)


@ENGINES
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_tensor_of_half_precision(engine: Any, dtype: torch.dtype) -> None:
    depth = tensor().to(dtype)
    want = sigma_z2(depth.float().numpy(), CAMERA)
    np.testing.assert_allclose(np.asarray(sigma_z2(depth, CAMERA, engine=engine)), want, rtol=1e-4)


MASKS: dict[str, tuple[Any, str | None]] = {
    "a list": (KNOWN.tolist(), None),
    "a tensor": (tensor(KNOWN), None),
    "fortran order": (np.asfortranarray(KNOWN), None),
    "0 and 255": (KNOWN * np.uint8(255), "valid: expected dtype bool, got 'uint8'"),
    "float": (KNOWN.astype(np.float32), "valid: expected dtype bool, got 'float32'"),
    "a masked array": (np.ma.masked_array(KNOWN), "valid: expected a plain array, got a masked one"),
    "transposed": (KNOWN.T, r"valid: expected a shape that broadcasts to the depth's, \(24, 32\), got \(32, 24\)"),
    "with a batch": (KNOWN[None], r"valid: expected a shape .*, got \(1, 24, 32\)"),
    "text": ("all", "valid: expected dtype bool, got '<U3'"),
}


@ENGINES
@pytest.mark.parametrize("name", MASKS)
def test_a_mask_as_an_array(engine: Any, name: str) -> None:
    valid, message = MASKS[name]
    if message is not None:
        refusal(lambda: sigma_z2(DEPTH, CAMERA, valid=valid, engine=engine), message)
    else:
        want = sigma_z2(np.where(KNOWN, DEPTH, np.float32(0)), CAMERA)
        np.testing.assert_allclose(sigma_z2(DEPTH, CAMERA, valid=valid, engine=engine), want, rtol=1e-4)


ANY_DEPTH = st.one_of(
    st.floats(width=32, allow_nan=True, allow_infinity=True),
    st.sampled_from([SMALLEST_DEPTH, SMALLEST_DEPTH * (1 - 2**-24), LARGEST_DEPTH, LARGEST_DEPTH * (1 + 2**-23), 1.0]),
)
PARAMS = [KernelParams(), KernelParams(lambda_prior=0, alpha_clamp=1e-6, window=3), KernelParams(alpha_clamp=1)]


@ENGINES
@pytest.mark.parametrize("params", [*PARAMS, KernelParams(lambda_prior=1e9), Difference()])
@given(hnp.arrays(np.float32, (4, 5), elements=ANY_DEPTH))
@settings(max_examples=60)
def test_every_float_is_a_depth_with_a_normal_variance_or_none(
    engine: Any, params: KernelParams, depth: NDArray[np.float32]
) -> None:
    with np.errstate(over="ignore"):
        got = sigma_z2(depth, (40.0, 44.0, 2, 1.5), params, engine=engine)
    valid = Frame("", depth, np.ones(4)).valid
    np.testing.assert_array_equal(valid, (depth >= SMALLEST_DEPTH) & (depth <= LARGEST_DEPTH))
    assert not np.isnan(got).any()
    assert np.isinf(got[~valid]).all()
    if params.estimator == "range":
        maps = sigma_z2(depth, (40.0, 44.0, 2, 1.5), params, engine=engine, return_components=True)
        for squared in (got[valid], maps.sigma_t2[valid], maps.t_mu[valid] ** 2):
            assert (np.isfinite(squared) & (squared >= np.finfo(np.float32).tiny)).all()
    else:
        finite = got[np.isfinite(got)]
        assert (finite >= np.finfo(np.float32).tiny).all()


# views of a loader

KEY = "a/P0/depth/001.npy"


@pytest.fixture
def cache(tiny: TinyData) -> SigmaCache:
    list(pipeline.run(tiny.job(), execute.serial))
    return SigmaCache(tiny.job().cache)


VIEW = {"camera_intrinsics": np.array([[20, 0, 7.5], [0, 20, 5.5], [0, 0, 1]], np.float32), "depthmap": DEPTH[::2, ::2]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, None),
        ({"depthmap": tensor()[::2, ::2]}, None),
        ({"depthmap": MILLIMETRES[::2, ::2]}, None),
        ({"camera_intrinsics": torch.from_numpy(VIEW["camera_intrinsics"])}, None),
        ({"depthmap": None}, "depthmap: expected numbers, got None"),
        ({"depthmap": "x"}, "depthmap: expected numbers, got <U1"),
        ({"depthmap": DEPTH[..., None]}, r"depthmap: expected one view \(h, w\), got shape \(24, 32, 1\)"),
        ({"camera_intrinsics": None}, "intrinsics: expected numbers, got None"),
        (
            {"camera_intrinsics": [[0.6, 0, 0.5], [0, 0.8, 0.5], [0, 0, 1]]},
            "multiply normalised fx and cx by the width",
        ),
    ],
)
def test_a_view_to_annotate(change: dict[str, Any], message: str | None, cache: SigmaCache) -> None:
    view = VIEW | change
    if message is None:
        cache.annotate(view, KEY)
        assert view["sigma_Z2"].shape == (12, 16)
    else:
        refusal(lambda: cache.annotate(view, KEY), message)


@pytest.mark.parametrize("view", [None, [1], {}, {"depthmap": DEPTH}])
def test_what_is_no_view_to_annotate(view: Any, cache: SigmaCache) -> None:
    refusal(lambda: cache.annotate(view, KEY), "view: expected a dict with 'depthmap' and 'camera_intrinsics', got ")


@pytest.mark.parametrize("flip", ["False", None, [True], np.array([True, False]), 2, torch.tensor([1, 0])])
def test_a_flip_is_true_or_false(flip: Any, cache: SigmaCache) -> None:
    refusal(
        lambda: cache.sample(KEY, VIEW["camera_intrinsics"], (12, 16), flip=flip), "flip: expected True or False, got"
    )
    for true in (True, np.True_, 1, np.int64(1)):
        cache.sample(KEY, VIEW["camera_intrinsics"], (12, 16), flip=true)
