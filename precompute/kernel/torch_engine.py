"""The torch engine of the kernel: any device, any leading dimensions, never waits for the device.

The same method as the CPU engine, one operation on a whole map at a time.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from depthvar.datasets.errors import ParameterError
from depthvar.datasets.frame import LARGEST_DEPTH, SMALLEST_DEPTH, as_array, as_intrinsics
from depthvar.datasets.params import Difference, Estimator, KernelParams

from .pi3 import pi3_maps
from .shapes import check_input
from .torch_windows import half_range, shifts, slant, tan2

_INF = float("inf")

# MKL selects its code for square roots in the first call. If several threads make that call at once, a root may be off
# by 3e-4 (pytorch/pytorch#188792), and σ² by up to a half. So the first call is made here, with one element.
for _dtype in (torch.float32, torch.float64):
    torch.ones(1, dtype=_dtype).sqrt()


@torch.no_grad()
def sigma_z2_maps(
    depth: Any, intrinsics: Any, params: Estimator, valid: Any, max_depth: float | None, *, components: bool
) -> tuple[Tensor, ...]:
    """Return (sigma_z2,), or with ``components`` the maps of ``kernel.api.Components``; see ``kernel.sigma_z2``.

    Computes in float64 if the depth is float64, else in float32. Values of tensors on a GPU are not checked, since that
    would wait for the GPU.
    """
    depth, cameras, valid = checked(depth, intrinsics, valid)
    z = depth.to(torch.promote_types(depth.dtype, torch.float32))
    known = z >= SMALLEST_DEPTH
    if valid is not None:
        known &= valid
    farthest = LARGEST_DEPTH if max_depth is None else max_depth
    if isinstance(params, Difference):
        return (_difference(z, known, farthest, params.quantisation_step),)
    if params.compat == "pi3":
        return pi3_maps(z, known, cameras, params, farthest, components)
    return _maps(z, known, cameras, params, farthest, components)


def checked(depth: Any, intrinsics: Any, valid: Any) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return depth, (..., 4) intrinsics in float64 and mask as tensors on the device of the depth, after all checks."""
    depth = depth if isinstance(depth, Tensor) else as_array("depth", depth)
    valid = valid if valid is None or isinstance(valid, Tensor) else as_array("valid", valid)
    cameras = _cameras(intrinsics, tuple(depth.shape))
    check_input(depth, tuple(cameras.shape[:-1]), valid)
    if isinstance(depth, Tensor) and depth.layout != torch.strided:
        raise ParameterError(f"depth: expected a dense tensor, got layout {depth.layout}; pass depth.to_dense()")
    z = _tensor(depth)
    return z, cameras.to(z.device, torch.float64), None if valid is None else _tensor(valid).to(z.device)


def _tensor(x: Any) -> Tensor:
    """Return x as a tensor. An array is copied: torch has no negative strides, read-only memory or byte order."""
    return x if isinstance(x, Tensor) else torch.from_numpy(np.array(x, dtype=x.dtype.newbyteorder("=")))


def _maps(
    z: Tensor, known: Tensor, cameras: Tensor, params: KernelParams, max_depth: float, components: bool
) -> tuple[Tensor, ...]:
    t = torch.where(known, z * slant(cameras, z), _INF)  # steps 1 and 2: t = Z / d_z
    edge = half_range(t, known, params)
    x = edge.div_(t).square_()  # inf / inf only where t is inf, which the last step overwrites
    without_prior = x.clone() if components else x
    x = x.add_(params.lambda_prior**2 * tan2(cameras, 0.0).to(z.dtype))
    if params.quantisation_step:
        rounding2 = ((params.quantisation_step / 2) / z).square_()  # (step / 2) / d_z, divided by t
        x = x.add_(rounding2)
        if components:
            without_prior.add_(rounding2)
    x = x.clamp_(min=1e-8).clamp_(max=params.alpha_clamp**2)  # step 5: x = δ² / t², the cap last
    finite = (t < _INF) & (z <= max_depth)
    g = _frustum(x)
    sigma_z2 = torch.where(finite, z * z * g, _INF)
    if not components:
        return (sigma_z2,)
    delta = torch.where(t < _INF, t * x.sqrt(), _INF)
    edge = torch.where(finite, without_prior.sqrt_().clamp_(max=1), _INF)  # at most 1, as α is
    return sigma_z2, torch.where(finite, t * t * g, _INF), t, delta, edge


def _frustum(x: Tensor) -> Tensor:
    """Step 6: σ_t² / t² of a conical frustum of relative half-length √x (mip-NeRF, arXiv:2103.13415, eq. 7)."""
    return x / 3 - 4 * x * x * (12 - x) / (15 * (3 + x).square())


def _difference(z: Tensor, known: Tensor, max_depth: float, quantisation_step: float) -> Tensor:
    """Return σ² of the larger difference of depth on each axis; -1 marks a pair with an unknown pixel."""
    rises = []
    for dim, beyond in ((-1, (1, 1)), (-2, (0, 0, 1, 1))):
        (a, b), (a_known, b_known) = shifts(z, dim, 2), shifts(known, dim, 2)
        step = F.pad(torch.where(a_known & b_known, (a - b).abs_(), -1.0), beyond, value=-1.0)
        rises.append(torch.maximum(*shifts(step, dim, 2)))
    usable = known & (z < _INF) & (z <= max_depth) & (torch.maximum(*rises) >= 0)
    across, down = (rise.clamp_(min=0).div_(z).square_() for rise in rises)
    x = across.add_(down)
    if quantisation_step:
        x = x.add_((quantisation_step / z).square_())
    x = x.mul_(0.25).clamp_(min=1e-8, max=1.0)
    return torch.where(usable, z * z * x / 3, _INF)


def _cameras(intrinsics: Any, shape: tuple[int, ...]) -> Tensor:
    """Return (..., 4) fx, fy, cx, cy of depth of a shape (..., H, W).

    The values are checked only in the CPU's memory and outside of ``torch.compile``.
    """
    if torch.compiler.is_compiling():
        intrinsics = torch.as_tensor(intrinsics, dtype=torch.float64)
    elif not isinstance(intrinsics, Tensor) or intrinsics.device.type == "cpu":
        return torch.from_numpy(as_intrinsics(intrinsics, (shape[-2], shape[-1]) if len(shape) > 1 else None))
    if intrinsics.shape[-2:] == (3, 3):
        fx, _, cx, _, fy, cy, *_ = intrinsics.flatten(-2).unbind(-1)
        intrinsics = torch.stack((fx, fy, cx, cy), dim=-1)
    elif intrinsics.shape[-1:] != (4,):
        raise ParameterError(
            "intrinsics: expected shape (..., 3, 3), or (..., 4) as fx, fy, cx, cy; "
            f"got shape {tuple(intrinsics.shape)}"
        )
    cameras: Tensor = intrinsics
    return cameras
