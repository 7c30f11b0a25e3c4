"""The geometry and the windows of the torch engine: rays, and the range of distances in every window.

Of every window only the k smallest distances and the k smallest of their negatives are kept, first along the rows,
then along the columns. This needs memory for a few maps, where unfolding the windows needs ``window²`` maps.
"""

import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from depthvar.datasets.params import KernelParams

_INF = float("inf")


def slant(cameras: Tensor, z: Tensor) -> Tensor:
    """Step 1: 1 / d_z = sqrt(a² + b² + 1), broadcast to (..., H, W)."""
    fx, fy, cx, cy = (c[..., None] for c in cameras.unbind(-1))
    height, width = z.shape[-2:]
    a = ((torch.arange(width, device=z.device, dtype=cameras.dtype) - cx) / fx).to(z.dtype)
    b = ((torch.arange(height, device=z.device, dtype=cameras.dtype) - cy) / fy).to(z.dtype)
    return (a.square()[..., None, :] + b.square()[..., :, None] + 1).sqrt_()


def tan2(cameras: Tensor, eps: float) -> Tensor:
    """Step 4: tan²θ of half a pixel's diagonal, (..., 1, 1)."""
    return (0.5 / (cameras[..., :2] + eps)).square().sum(-1)[..., None, None]


def half_range(t: Tensor, known: Tensor | None, params: KernelParams) -> Tensor:
    """Step 3: half the range between the two quantiles of the window. ``known=None``: 0 outside, all pixels count."""
    reach, k = params.window // 2, (params.window - 1) // 2
    around = (reach, reach, reach, reach)
    outside, n = 0.0, None
    if known is not None:
        outside, n = _INF, F.pad(known.to(torch.uint8), around)
        for dim in (-1, -2):
            n = functools.reduce(torch.add, shifts(n, dim, params.window))
    # Padded in the call, so that no other map is alive in it.
    low = _at_rank(_smallest(F.pad(t, around, value=outside), params.window, k), n)
    neg = _smallest(
        F.pad(-t if known is None else torch.where(known, -t, _INF), around, value=outside), params.window, k
    )
    high, has_far = _at_rank(neg, n), neg[0] == -_INF
    del neg
    edge = torch.where(high == -_INF, _INF, high.add_(low).mul_(-0.5))
    return edge if n is None else edge.masked_fill_((n < params.min_valid) & ~has_far, 0.0)


def _smallest(x: Tensor, window: int, k: int) -> list[Tensor]:
    """Return the k smallest of every window of a padded map, sorted."""
    lists = [x]
    for dim in (-1, -2):
        runs = [shifts(m, dim, window) for m in lists]
        merged = [torch.full_like(runs[0][0], _INF) for _ in range(k)]
        for i in range(window):
            _merge(merged, [run[i] for run in runs])
        lists = merged
    return lists


def _merge(a: list[Tensor], b: Sequence[Tensor]) -> None:
    """Make sorted ``a`` the smallest ``len(a)`` of ``a`` and sorted ``b``, in place.

    Rank r of the union is the smallest of a[r], b[r] and max(a[i], b[j]) over i + j = r - 1.
    """
    for r in reversed(range(len(a))):
        for i in range(max(0, r - len(b)), r):
            torch.minimum(a[r], torch.maximum(a[i], b[r - 1 - i]), out=a[r])
        if r < len(b):
            torch.minimum(a[r], b[r], out=a[r])


def shifts(x: Tensor, dim: int, window: int) -> list[Tensor]:
    """Return the views of a padded map that its windows cover, one per offset along ``dim``."""
    return [x.narrow(dim, i, x.shape[dim] - window + 1) for i in range(window)]


def _at_rank(smallest: Sequence[Tensor], n: Tensor | None) -> Tensor:
    """Return rank lo = (n + 9) // 20 of each window with n known pixels; with ``n`` None, all are known."""
    if n is None:
        return smallest[-1]
    chosen = smallest[0]
    for candidate, more_than in zip(smallest[1:], (10, 30), strict=False):
        chosen = torch.where(n > more_than, candidate, chosen)
    return chosen
