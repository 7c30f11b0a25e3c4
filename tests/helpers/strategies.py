"""Hypothesis strategies for frames: depth with slopes, silhouettes, holes and sky, of any size from one pixel on."""

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from depthvar.precompute import KernelParams


class Scene(NamedTuple):
    """A frame: depth (H, W) float32 metres and intrinsics (4,) fx, fy, cx, cy."""

    depth: NDArray[np.float32]
    intrinsics: NDArray[np.float64]


@st.composite
def scenes(draw: st.DrawFn, min_side: int = 1, max_side: int = 12, largest: float = 1e10, holes: bool = True) -> Scene:
    """Draw a frame with depth between 1 mm and ``largest``; with ``holes`` also unknown and far pixels."""
    height, width = draw(st.integers(min_side, max_side)), draw(st.integers(min_side, max_side))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    v, u = np.mgrid[:height, :width] / max(height, width)
    kind = draw(st.sampled_from(["plane", "slope", "step", "noise", "magnitudes"]))
    z = {
        "plane": np.ones((height, width)),
        "slope": 1 + rng.uniform(0, 2) * u + rng.uniform(0, 2) * v,
        "step": np.where(u + rng.uniform(-1, 1) * v > rng.uniform(), 1.0, rng.uniform(1, 5)),
        "noise": rng.uniform(1, 1 + 10 ** rng.uniform(-6, 1), (height, width)),
        "magnitudes": 10 ** rng.uniform(-1, 3, (height, width)),
    }[kind] * 10 ** draw(st.floats(-3, np.log10(largest)))
    z = np.clip(z, 1e-3, largest).astype(np.float32)
    if holes:
        share = draw(st.sampled_from([0, 0, 0.05, 0.3, 0.8, 1]))
        z[rng.random(z.shape) < share] = draw(st.sampled_from([0, -1, np.nan, -np.inf]))
        z[rng.random(z.shape) < draw(st.sampled_from([0, 0, 0.05, 0.5]))] = np.inf
    # Quarters of a pixel: what a crop or a flip does to them is exact.
    fx, fy = draw(st.integers(80, 8000)) / 4, draw(st.integers(80, 8000)) / 4
    cx, cy = draw(st.integers(-4 * width, 8 * width)) / 4, draw(st.integers(-4 * height, 8 * height)) / 4
    return Scene(z, np.array([fx, fy, cx, cy]))


def params(compat: bool = False) -> st.SearchStrategy[KernelParams]:
    """Draw parameters of the kernel; with ``compat`` those of ``compat="pi3"``. The step is most often off."""
    if compat:
        return st.builds(KernelParams, lambda_prior=_LAMBDA, alpha_clamp=_ALPHA, compat=st.just("pi3"))
    return st.builds(
        KernelParams, window=st.sampled_from([3, 5, 7]), lambda_prior=_LAMBDA, alpha_clamp=_ALPHA,
        min_valid=st.integers(1, 9), quantisation_step=STEP,
    )  # fmt: skip


STEP = st.sampled_from([0.0, 0.0, 2.0**-10, 0.01, 1.0])
_LAMBDA = st.sampled_from([0.0, 0.5, 1.5, 20.0])
_ALPHA = st.sampled_from([0.05, 0.3, 1.0])
