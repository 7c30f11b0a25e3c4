"""The Triton engine of the kernel: all frames of a batch in one launch per stride, each depth read once from memory.

The same method as the other engines, on a GPU. The operator ``depthvar::sigma_z2`` can be part of a graph of
``torch.compile`` and of a CUDA graph. Nothing waits for the device.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
import triton
from torch import Tensor

from depthvar.datasets.frame import LARGEST_DEPTH
from depthvar.datasets.params import Estimator, KernelParams

from .torch_engine import checked
from .triton_difference import difference
from .triton_range import spread

if tuple(int(part) for part in triton.__version__.split(".")[:2]) < (3, 4):  # they know no tuples in loops
    raise ImportError(f"the kernel needs triton 3.4 or newer, as torch 2.8 brings it; got {triton.__version__}")

INTERPRETED = not isinstance(spread, triton.JITFunction)  # on the CPU: TRITON_INTERPRET=1
_ROWS, _COLUMNS = 24, 128  # of a program; rows are a multiple of 2, 4 and 6
_FUSED = {"enable_fp_fusion": True}  # a * b + c rounds once; said, since releases of Triton differ in the default


@torch.no_grad()
def sigma_z2_strides(
    depth: Tensor,
    intrinsics: Any,
    strides: Sequence[int] = (1,),
    params: Estimator | None = None,
    valid: Tensor | None = None,
    max_depth: float | None = None,
    *,
    components: bool = False,
) -> list[tuple[Tensor, ...]]:
    """Return the maps of ``depth[..., ::s, ::s]`` with intrinsics / s for every stride s, in one launch each.

    Args:
        depth: (..., H, W) float16, bfloat16 or float32 metres on a GPU, of any strides; see ``kernel.sigma_z2``. It is
            copied only where its leading dimensions cannot be seen as one.
        intrinsics: (..., 3, 3) or (..., 4) of the full frame. A call that a CUDA graph captures needs them on the
            device, and a call before it, which compiles.
        strides: 1 or more each.
        params: the estimator, without ``compat``. None: the defaults of :class:`KernelParams`.
        valid: bool, broadcast against the depth, on the same device.
        max_depth: metres; deeper pixels are far. None: 2^50 m.
        components: return the maps of ``kernel.api.Components`` each instead of one.

    Returns:
        For every stride (sigma_z2,), or with ``components`` all five maps, each (..., ceil(H / s), ceil(W / s))
        float32.
    """
    params = params or KernelParams()
    depth, cameras, valid = checked(depth, intrinsics, valid)
    window, lambda_prior, alpha_clamp, min_valid = 0, 0.0, 1.0, 1
    if isinstance(params, KernelParams):
        window, lambda_prior, alpha_clamp, min_valid = (
            params.window, params.lambda_prior, params.alpha_clamp, params.min_valid
        )  # fmt: skip
    farthest = LARGEST_DEPTH if max_depth is None else max_depth
    levels = _sigma_z2(
        depth, cameras, valid, strides, window, lambda_prior, alpha_clamp, min_valid, farthest,
        params.quantisation_step, components,
    )  # fmt: skip
    return [maps.unbind(0) for maps in levels]


def _empty_levels(depth: Tensor, strides: Sequence[int], components: bool) -> list[Tensor]:
    *batch, height, width = depth.shape
    sizes = [(-(-height // stride), -(-width // stride)) for stride in strides]
    return [depth.new_empty((5 if components else 1, *batch, *size), dtype=torch.float32) for size in sizes]


def _computed(
    depth: Tensor, cameras: Tensor, valid: Tensor | None, strides: Sequence[int], window: int, lambda_prior: float,
    alpha_clamp: float, min_valid: int, max_depth: float, quantisation_step: float, components: bool,
) -> list[Tensor]:  # fmt: skip
    """Return the maps, (1 or 5, ..., h, w), of every stride; ``window`` 0: of the difference."""
    levels = _empty_levels(depth, strides, components)
    *batch, height, width = depth.shape
    frames = math.prod(batch)
    if frames == 0:
        return levels
    z = depth.reshape(frames, height, width)
    mask = z if valid is None else valid.expand(depth.shape).reshape(z.shape).view(torch.uint8)
    camera = cameras.expand(*batch, 4).contiguous()
    step = max(2, 2 * (window // 2))  # a tile has a multiple of so many rows
    with torch.cuda.device_of(depth):  # type: ignore[no-untyped-call]
        for stride, out in zip(strides, levels, strict=True):
            h, w = out.shape[-2:]
            steps = [n for x in (z, mask) for n in (x.stride(0), stride * x.stride(1), stride * x.stride(2))]
            rows = min(_ROWS, -(-h // step) * step)
            columns = min(_COLUMNS, max(64, 1 << (w - 1).bit_length()))
            grid = (frames * -(-h // rows) * -(-w // columns),)
            tile = {"MASKED": valid is not None, "QUANTISED": quantisation_step > 0, "COLUMNS": columns}
            tile |= {"num_warps": columns // 64} | _FUSED
            if window:
                spread[grid](
                    z, mask, camera, out, h, w, stride, *steps, frames, lambda_prior**2, alpha_clamp**2, max_depth,
                    min_valid, quantisation_step / 2, rows, WINDOW=window, COMPONENTS=components, **tile,
                )  # fmt: skip
            else:
                difference[grid](z, mask, out, h, w, *steps, max_depth, quantisation_step, rows, **tile)
    return levels


def _shapes_alone(depth: Tensor, *given: Any) -> list[Tensor]:
    """What a graph knows of the maps before they are computed."""
    return _empty_levels(depth, given[2], given[-1])


# Not torch.library.custom_op, whose wrappers cost 0.1 ms a call on the CPU.
_LIBRARY: Any = torch.library.Library("depthvar", "DEF")  # type: ignore[no-untyped-call]
_LIBRARY.define(
    "sigma_z2(Tensor depth, Tensor cameras, Tensor? valid, int[] strides, int window, float lambda_prior, "
    "float alpha_clamp, int min_valid, float max_depth, float quantisation_step, bool components) -> Tensor[]",
    tags=(torch.Tag.pt2_compliant_tag,),
)
_LIBRARY.impl("sigma_z2", _computed, "CUDA")
_LIBRARY.impl("sigma_z2", _computed, "CPU")  # interpreted
torch.library.register_fake("depthvar::sigma_z2", _shapes_alone, lib=_LIBRARY)
_sigma_z2 = torch.ops.depthvar.sigma_z2.default


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def why_not(device: str) -> str | None:
    """Return why Triton cannot compute on a device, None if it can. The first call compiles a small kernel."""
    return _refusal(device)


@functools.cache
def _refusal(device: str) -> str | None:
    if not INTERPRETED and not device.startswith("cuda"):
        return f"a tensor on {device} is not on a GPU"
    try:
        sigma_z2_strides(torch.ones(1, 1, device=device), torch.ones(4, device=device), (1,), KernelParams(window=3))
    except Exception as error:  # no C compiler, a GPU too old for Triton, a Triton too old for the kernel
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    return None
