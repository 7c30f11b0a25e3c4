"""The baseline that speed is measured against: unfold every window, sort it, pick the ranks."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from depthvar.precompute import KernelParams


def unfold_sort_sigma_z2(
    depth: NDArray[np.float32],
    intrinsics: NDArray[np.float64],
    params: KernelParams | None = None,
    valid: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Return sigma_Z² of one (H, W) frame by the method (docs/method.md, section 1), masks included.

    ``intrinsics`` is (4,) fx, fy, cx, cy. Torch uses as many threads as it is set to.
    """
    mask = None if valid is None else torch.from_numpy(valid)[None]
    camera = tuple(float(value) for value in intrinsics)
    return unfold_sort(torch.from_numpy(depth)[None], camera, params or KernelParams(), mask)[0].numpy()


@torch.no_grad()
def unfold_sort(
    z: Tensor, camera: tuple[float, ...], params: KernelParams, valid: Tensor | None = None
) -> Tensor:  # fmt: skip
    """Return the same of (N, H, W) frames of one camera, on their device."""
    known = z > 0 if valid is None else (z > 0) & valid
    fx, fy, cx, cy = camera
    height, width = z.shape[-2:]
    window, reach = params.window, params.window // 2
    a = ((torch.arange(width, dtype=torch.float64, device=z.device) - cx) / fx).float()
    b = ((torch.arange(height, dtype=torch.float64, device=z.device) - cy) / fy).float()
    t = torch.where(known, z * torch.sqrt(a**2 + b[:, None] ** 2 + 1), torch.inf)

    def windows(x: Tensor, outside: float) -> Tensor:
        return F.unfold(F.pad(x, (reach,) * 4, value=outside)[:, None], window)

    n = windows(known.float(), 0).sum(1).long()
    # An unknown pixel sorts behind the far ones: NaN is the last of all.
    ranked = windows(torch.where(known, t, torch.nan), torch.nan).sort(dim=1).values
    lo = (n + 9) // 20
    hi = (n - 1 - lo).clamp(min=0)
    low, high = ranked.gather(1, lo[:, None])[:, 0], ranked.gather(1, hi[:, None])[:, 0]
    edge = torch.where(high == torch.inf, torch.inf, (high - low) / 2)
    edge = edge.masked_fill((n < params.min_valid) & ~(ranked == torch.inf).any(1), 0)
    prior2 = params.lambda_prior**2 * ((0.5 / fx) ** 2 + (0.5 / fy) ** 2)
    x = ((edge.view(z.shape) / t) ** 2 + prior2).clamp(min=1e-8).clamp(max=params.alpha_clamp**2)
    variance = z**2 * (x / 3 - 4 * x**2 * (12 - x) / (15 * (3 + x) ** 2))
    return torch.where(known & (z < torch.inf), variance, torch.inf)
