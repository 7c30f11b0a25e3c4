"""``compat="pi3"``: the original's online kernel, including its faults, for parity and for runs that began with it.

The steps have the original's order and absolute epsilons, since the golden outputs check the last digits. Pixels
outside the image or without depth count as distance 0.
"""

import torch
from torch import Tensor

from depthvar.datasets.params import KernelParams

from .torch_windows import half_range, slant, tan2

_INF = float("inf")


def pi3_maps(
    z: Tensor, known: Tensor, cameras: Tensor, params: KernelParams, max_depth: float, components: bool
) -> tuple[Tensor, ...]:
    """Return (sigma_z2,), or with ``components`` the maps of ``api.Components``, (..., H, W); never ``+inf``.

    ``z`` is (..., H, W) in metres; what is not ``known`` or deeper than ``max_depth`` counts as depth 0, as in the
    original's loader. ``cameras`` is (..., 4) fx, fy, cx, cy in pixels, float64.
    """
    eps = 1e-6
    z = torch.where(known & (z < _INF) & (z <= max_depth), z, 0.0).clamp_(min=eps)
    cameras = cameras.to(z.dtype)  # the original divides in float32
    d_z = 1 / slant(cameras, z)
    t = z / (d_z + eps)
    del z
    edge = half_range(t, None, params)
    relative = ((edge / t).clamp_(max=1),) if components else ()
    prior = params.lambda_prior * tan2(cameras, eps).sqrt() * t
    delta = torch.minimum((edge.square_() + prior.square_() + eps).sqrt_(), params.alpha_clamp * t)
    t2, d2 = t.clamp(min=eps).square(), delta.clamp(min=eps).square()
    sigma_t2 = d2 / 3 - 4 * d2.square() * (12 * t2 - d2) / (15 * (3 * t2 + d2).square() + eps)
    sigma_z2 = d_z.square() * sigma_t2
    return (sigma_z2, sigma_t2, t, delta, *relative) if components else (sigma_z2,)
