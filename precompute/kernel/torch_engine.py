"""The torch engine of the kernel: any device, any leading dimensions, no wait for the device.

The same method as the CPU engine, a whole map at a time: of every window only the k smallest distances and the k
smallest of their negatives are kept, first along the rows, then along the columns. That holds a few maps where
unfolding the windows would hold ``window²`` of them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from depthvar.datasets.errors import ParameterError
from depthvar.datasets.frame import LARGEST_DEPTH, SMALLEST_DEPTH, as_array, as_intrinsics

from .api import KernelParams, check_input

_INF = float("inf")

# MKL chooses the code of a root in its first call. Where several threads make that at once, one may get a root that is
# 3e-4 off (pytorch/pytorch#188792), and σ² then by up to a half: so the first call is one of a single element.
for _dtype in (torch.float32, torch.float64):
    torch.ones(1, dtype=_dtype).sqrt()


@torch.no_grad()
def sigma_z2_maps(
    depth: Any, intrinsics: Any, params: KernelParams, valid: Any, max_depth: float | None, *, components: bool
) -> tuple[Tensor, ...]:
    """Return (sigma_z2,), or with ``components`` (sigma_z2, sigma_t2, t_mu, t_delta); see ``kernel.sigma_z2``.

    Computes in float64 if the depth is float64, else in float32. Values of tensors on a device are not checked, since
    that would wait for it.
    """
    depth = depth if isinstance(depth, Tensor) else as_array("depth", depth)
    valid = valid if valid is None or isinstance(valid, Tensor) else as_array("valid", valid)
    cameras = _cameras(intrinsics, tuple(depth.shape))
    check_input(depth, tuple(cameras.shape[:-1]), valid)
    if isinstance(depth, Tensor) and depth.layout != torch.strided:
        raise ParameterError(f"depth: expected a dense tensor, got layout {depth.layout}; pass depth.to_dense()")
    z = _tensor(depth)
    z = z.to(torch.promote_types(z.dtype, torch.float32))
    cameras = cameras.to(z.device, torch.float64)
    known = z >= SMALLEST_DEPTH
    if valid is not None:
        known &= _tensor(valid).to(z.device)
    farthest = LARGEST_DEPTH if max_depth is None else max_depth
    if params.estimator == "difference":
        return (_difference(z, known, farthest),)
    maps = _pi3 if params.compat == "pi3" else _maps
    return maps(z, known, cameras, params, farthest, components)


def _tensor(x: Any) -> Tensor:
    """Return x as a tensor; of an array a copy: torch has no negative strides, read-only memory or foreign bytes."""
    return x if isinstance(x, Tensor) else torch.from_numpy(np.array(x, dtype=x.dtype.newbyteorder("=")))


def _maps(
    z: Tensor, known: Tensor, cameras: Tensor, params: KernelParams, max_depth: float, components: bool
) -> tuple[Tensor, ...]:
    t = torch.where(known, z * _slant(cameras, z), _INF)  # steps 1 and 2: t = Z / d_z
    edge = _edge(t, known, params)
    x = edge.div_(t).square_()  # inf / inf only where t is, which the end overwrites
    x = x.add_(params.lambda_prior**2 * _tan2(cameras, 0.0).to(z.dtype))
    x = x.clamp_(min=1e-8).clamp_(max=params.alpha_clamp**2)  # step 5: x = δ² / t², the cap last
    finite = (t < _INF) & (z <= max_depth)
    g = _frustum(x)
    sigma_z2 = torch.where(finite, z * z * g, _INF)
    if not components:
        return (sigma_z2,)
    return sigma_z2, torch.where(finite, t * t * g, _INF), t, torch.where(t < _INF, t * x.sqrt(), _INF)


def _frustum(x: Tensor) -> Tensor:
    """Step 6: σ_t² / t² of a conical frustum of relative half-length √x (mip-NeRF, arXiv:2103.13415, eq. 7)."""
    return x / 3 - 4 * x * x * (12 - x) / (15 * (3 + x).square())


def _difference(z: Tensor, known: Tensor, max_depth: float) -> Tensor:
    """Return σ² of the larger differences of depth to the neighbours of each axis, -1 for one with an unknown pixel."""
    rises = []
    for dim, beyond in ((-1, (1, 1)), (-2, (0, 0, 1, 1))):
        (a, b), (a_known, b_known) = _shifts(z, dim, 2), _shifts(known, dim, 2)
        step = F.pad(torch.where(a_known & b_known, (a - b).abs_(), -1.0), beyond, value=-1.0)
        rises.append(torch.maximum(*_shifts(step, dim, 2)))
    usable = known & (z < _INF) & (z <= max_depth) & (torch.maximum(*rises) >= 0)
    across, down = (rise.clamp_(min=0).div_(z).square_() for rise in rises)
    x = across.add_(down).mul_(0.25).clamp_(min=1e-8, max=1.0)
    return torch.where(usable, z * z * x / 3, _INF)


def _pi3(
    z: Tensor, known: Tensor, cameras: Tensor, params: KernelParams, max_depth: float, components: bool
) -> tuple[Tensor, ...]:
    """The original's steps, in its order: its golden outputs fix the last digits."""
    eps = 1e-6
    z = torch.where(known & (z < _INF) & (z <= max_depth), z, 0.0).clamp_(min=eps)
    cameras = cameras.to(z.dtype)  # the original divides in float32
    d_z = 1 / _slant(cameras, z)
    t = z / (d_z + eps)
    del z
    edge = _edge(t, None, params)
    prior = params.lambda_prior * _tan2(cameras, eps).sqrt() * t
    delta = torch.minimum((edge.square_() + prior.square_() + eps).sqrt_(), params.alpha_clamp * t)
    t2, d2 = t.clamp(min=eps).square(), delta.clamp(min=eps).square()
    sigma_t2 = d2 / 3 - 4 * d2.square() * (12 * t2 - d2) / (15 * (3 * t2 + d2).square() + eps)
    sigma_z2 = d_z.square() * sigma_t2
    return (sigma_z2, sigma_t2, t, delta) if components else (sigma_z2,)


def _cameras(intrinsics: Any, shape: tuple[int, ...]) -> Tensor:
    """Return (..., 4) fx, fy, cx, cy of depth of a shape (..., H, W).

    The values of a tensor are checked where that waits for nothing: in the CPU's memory, outside of ``torch.compile``.
    """
    is_tensor = isinstance(intrinsics, Tensor)
    if not is_tensor or (intrinsics.device.type == "cpu" and not torch.compiler.is_compiling()):
        return torch.from_numpy(as_intrinsics(intrinsics, (shape[-2], shape[-1]) if len(shape) > 1 else None))
    if intrinsics.shape[-2:] == (3, 3):
        pairs = ((0, 0), (1, 1), (0, 2), (1, 2))
        intrinsics = torch.stack([intrinsics[..., i, j] for i, j in pairs], dim=-1)
    elif intrinsics.shape[-1:] != (4,):
        raise ParameterError(
            "intrinsics: expected shape (..., 3, 3), or (..., 4) as fx, fy, cx, cy; "
            f"got shape {tuple(intrinsics.shape)}"
        )
    cameras: Tensor = intrinsics
    return cameras


def _slant(cameras: Tensor, z: Tensor) -> Tensor:
    """Step 1: 1 / d_z = sqrt(a² + b² + 1), broadcast to (..., H, W)."""
    fx, fy, cx, cy = (c[..., None] for c in cameras.unbind(-1))
    height, width = z.shape[-2:]
    a = ((torch.arange(width, device=z.device, dtype=cameras.dtype) - cx) / fx).to(z.dtype)
    b = ((torch.arange(height, device=z.device, dtype=cameras.dtype) - cy) / fy).to(z.dtype)
    return (a.square()[..., None, :] + b.square()[..., :, None] + 1).sqrt_()


def _tan2(cameras: Tensor, eps: float) -> Tensor:
    """Step 4: tan²θ of half a pixel's diagonal, (..., 1, 1)."""
    return (0.5 / (cameras[..., :2] + eps)).square().sum(-1)[..., None, None]


def _edge(t: Tensor, known: Tensor | None, params: KernelParams) -> Tensor:
    """Step 3: half the range between the two quantiles of the window. ``known=None``: 0 outside, all count."""
    reach, k = params.window // 2, (params.window - 1) // 2
    outside = _INF if known is not None else 0.0
    around = (reach, reach, reach, reach)
    n: Tensor | None = None
    if known is not None:
        n = F.pad(known.to(torch.uint8), around)
        for dim in (-1, -2):
            n = sum(_shifts(n, dim, params.window)[1:], _shifts(n, dim, params.window)[0])
    small = _smallest(F.pad(t, around, value=outside), params.window, k)
    low = _at_rank(small, n)
    del small
    minus_t = -t if known is None else torch.where(known, -t, _INF)
    padded = F.pad(minus_t, around, value=outside)
    del minus_t
    neg = _smallest(padded, params.window, k)
    del padded
    high = _at_rank(neg, n)
    has_far = neg[0] == -_INF
    del neg
    edge = torch.where(high == -_INF, _INF, (high.add_(low)).mul_(-0.5))
    return edge if n is None else edge.masked_fill_((n < params.min_valid) & ~has_far, 0.0)


def _smallest(x: Tensor, window: int, k: int) -> list[Tensor]:
    """Return the k smallest of every window of a padded map, sorted."""
    lists = [x]
    for dim in (-1, -2):
        runs = [_shifts(m, dim, window) for m in lists]
        merged = [torch.full_like(runs[0][0], _INF) for _ in range(k)]
        for i in range(window):
            _merge(merged, [run[i] for run in runs])
        lists = merged
    return lists


def _merge(a: list[Tensor], b: Sequence[Tensor]) -> None:
    """Make sorted ``a`` the smallest ``len(a)`` of ``a`` and sorted ``b``, in place.

    Rank r of a union is the least of a[r], b[r] and max(a[i], b[j]) over i + j = r - 1.
    """
    for r in reversed(range(len(a))):
        for i in range(max(0, r - len(b)), r):
            torch.minimum(a[r], torch.maximum(a[i], b[r - 1 - i]), out=a[r])
        if r < len(b):
            torch.minimum(a[r], b[r], out=a[r])


def _shifts(x: Tensor, dim: int, window: int) -> list[Tensor]:
    """The views of a padded map that its windows see, one per offset along ``dim``."""
    return [x.narrow(dim, i, x.shape[dim] - window + 1) for i in range(window)]


def _at_rank(smallest: Sequence[Tensor], n: Tensor | None) -> Tensor:
    """Pick rank lo = (n + 9) // 20 of each window; all are there where ``n`` is None."""
    if n is None:
        return smallest[-1].clone()
    chosen = smallest[0]
    for rank, more_than in zip(range(1, len(smallest)), (10, 30), strict=False):
        chosen = torch.where(n > more_than, smallest[rank], chosen)
    return chosen.clone() if len(smallest) == 1 else chosen
