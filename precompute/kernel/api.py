"""The kernel: the variance of depth inside a pixel's footprint, from ground-truth depth and its intrinsics.

The definition, its reasons and its measurements: docs/method.md. The frustum variance is that of mip-NeRF (Barron
et al., ICCV 2021, eq. 7, https://arxiv.org/abs/2103.13415). Nothing heavy is loaded here: an engine is, when used.
"""

import sys
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from depthvar.datasets.errors import ParameterError
from depthvar.datasets.extras import need_torch
from depthvar.datasets.frame import as_array, as_intrinsics, farthest_depth
from depthvar.datasets.params import Difference, Estimator, KernelParams
from depthvar.datasets.scalars import require

from .shapes import check_input

if TYPE_CHECKING:
    from torch import Tensor

KERNEL_VERSION = 1
"""Part of every fingerprint: raised whenever the same input and parameters give another sigma_Z²."""

Engine = Literal["auto", "numba", "torch", "triton"]
_ENGINES = get_args(Engine)


class Components(NamedTuple):
    """The intermediate maps of the kernel, each of the shape of the depth.

    Attributes:
        sigma_z2: variance of planar depth, m²; ``+inf`` where unknown or far.
        sigma_t2: variance of the distance along the ray, m²; ``+inf`` where unknown or far.
        t_mu: distance along the ray, m; ``+inf`` where unknown or without a depth.
        t_delta: half-width δ of the distance interval, m; ``+inf`` where t_mu is.
        edge: half the range of the distances in the window, with the quantisation step, as a part of t_mu: 0 to 1,
            ``+inf`` where sigma_z2 is (docs/method.md). It depends on neither ``lambda_prior`` nor ``alpha_clamp``.
    """

    sigma_z2: Any
    sigma_t2: Any
    t_mu: Any
    t_delta: Any
    edge: Any


_DEFAULT = KernelParams()


@overload
def sigma_z2(
    depth: "Tensor", intrinsics: Any, params: Estimator = ..., valid: Any = None, max_depth: float | None = None,
    *, return_components: Literal[False] = ..., engine: Engine = ...,
) -> "Tensor": ...  # fmt: skip
@overload
def sigma_z2(
    depth: NDArray[Any], intrinsics: ArrayLike, params: Estimator = ..., valid: NDArray[np.bool_] | None = None,
    max_depth: float | None = None, *, return_components: Literal[False] = ..., engine: Engine = ...,
) -> NDArray[np.float32]: ...  # fmt: skip
@overload
def sigma_z2(
    depth: Any, intrinsics: Any, params: Estimator = ..., valid: Any = None, max_depth: float | None = None,
    *, return_components: Literal[True], engine: Engine = ...,
) -> Components: ...  # fmt: skip
def sigma_z2(
    depth: Any,
    intrinsics: Any,
    params: Estimator = _DEFAULT,
    valid: Any = None,
    max_depth: float | None = None,
    *,
    return_components: bool = False,
    engine: Engine = "auto",
) -> Any:
    """Return sigma_Z², the variance of the depth inside a pixel, of one or more depth maps.

    Args:
        depth: (..., H, W) planar depth in metres, a NumPy array (float16, float32 or float64) or a torch tensor.
            Values below 2^-40 m (1e-12), negative values and NaN are unknown. ``+inf`` is far (sky).
        intrinsics: (..., 3, 3) or (..., 4) as fx, fy, cx, cy, in pixels with integer pixel centres; its leading
            dimensions broadcast against those of the depth. The values are not checked on a GPU, since that would wait
            for it, nor inside of ``torch.compile``.
        params: the estimator and its parameters.
        valid: bool, broadcast against the depth; False: unknown. None: known wherever the depth is.
        max_depth: metres, above 0. Deeper pixels are far: they are part of the windows of their neighbours, and their
            own variance is ``+inf``. With ``compat="pi3"`` they count as depth 0, as in the original's loader. None or
            inf: 2^50 m (1e15), whose square fits into float32.
        return_components: return :class:`Components` instead of sigma_Z² alone; not for :class:`Difference`.
        engine: ``"auto"``: Numba for NumPy; for a tensor Triton on a GPU, if it runs there, else torch; torch also for
            float64 tensors on a GPU and for ``compat="pi3"``. ``"numba"`` also accepts tensors on the CPU, ``"torch"``
            also NumPy arrays.

    Returns:
        (..., H, W) in m²: float32 NumPy for NumPy; for a tensor, a tensor on its device (float64 if the depth is
        float64 and the engine torch, else float32). Finite and above 0 where the depth is valid, ``+inf`` where it
        is unknown or far; with ``compat="pi3"`` the original's value there. With :class:`Difference` also
        ``+inf`` if none of the four neighbours is known.

    Raises:
        ParameterError: a shape, dtype, device, engine or maximum depth is not allowed, or the intrinsics are not in
            pixels of this view.
        MissingLibraryError: ``engine="torch"`` or ``compat="pi3"`` for an array, and torch is not installed.

    Example:
        >>> import numpy as np
        >>> from depthvar.precompute import sigma_z2
        >>> depth = np.full((480, 640), 2.0, np.float32)  # a wall at 2 m
        >>> depth[:, 320:] = 5.0  # and what is behind it
        >>> sigma = np.sqrt(sigma_z2(depth, [525, 525, 319.5, 239.5]))
        >>> bool(sigma[240, 319] > 10 * sigma[240, 100])  # at its edge, and away from it
        True
    """
    maps: tuple[Any, ...]
    if not isinstance(engine, str) or engine not in _ENGINES:
        raise ParameterError(f"engine: expected one of {', '.join(_ENGINES)}; got {engine!r}")
    require("params", params, "KernelParams or Difference", isinstance(params, Estimator))
    farthest = farthest_depth(max_depth)
    if return_components and isinstance(params, Difference):
        raise ParameterError(
            "return_components: expected False with Difference, which has no map along the ray, got True"
        )
    torch = sys.modules.get("torch")  # if torch is not loaded, no argument is a tensor
    is_tensor = torch is not None and isinstance(depth, torch.Tensor)
    engine = _chosen(engine, depth if is_tensor else None, params)
    if engine == "triton":
        from .triton_engine import sigma_z2_strides

        (maps,) = sigma_z2_strides(depth, intrinsics, (1,), params, valid, farthest, components=return_components)
    elif engine == "torch":
        from .torch_engine import sigma_z2_maps

        maps = sigma_z2_maps(depth, intrinsics, params, valid, farthest, components=return_components)
        if not is_tensor:
            maps = tuple(m.numpy().astype(np.float32, copy=False) for m in maps)
    else:
        maps = _numba_maps(depth, intrinsics, params, valid, farthest, components=return_components)
        if torch is not None and is_tensor:
            maps = tuple(torch.from_numpy(m) for m in maps)
    return Components(*maps) if return_components else maps[0]


def auto_engine(device: str, params: Estimator) -> Engine:
    """Return what ``engine="auto"`` is for float32 depth: of arrays for "cpu", else of tensors on a device of torch."""
    if device == "cpu":
        return _chosen("auto", None, params)
    need_torch(f"device {device}")
    import torch

    return _chosen("auto", torch.empty(0, device=device), params)


def _chosen(engine: Engine, tensor: "Tensor | None", params: Estimator) -> Engine:
    """Return the engine for a tensor, or for an array (None); MissingLibraryError where that needs torch."""
    if params.compat is not None:
        rule = "'auto' or 'torch' with compat='pi3'"
        require("engine", engine, rule, engine in ("auto", "torch"))
        if tensor is None:
            need_torch("compat='pi3'")
        return "torch"
    if engine == "auto":
        if tensor is None:
            return "numba"
        on_gpu = tensor.device.type == "cuda"
        return "triton" if on_gpu and _why_not_triton(tensor) is None else "torch"
    if engine == "torch" and tensor is None:
        need_torch("engine='torch'")
    if engine == "numba" and tensor is not None:
        rule = "a tensor on the CPU for engine='numba'"
        require("depth", str(tensor.device), rule, tensor.device.type == "cpu")
    if engine == "triton":
        why_not = _why_not_triton(tensor)
        if why_not is not None:
            raise ParameterError(f"engine: 'triton' cannot run: {why_not}; use engine='auto' or 'torch'")
    return engine


def _why_not_triton(tensor: "Tensor | None") -> str | None:
    if tensor is None:
        return "an array is not on a GPU"
    if tensor.itemsize > 4:
        return f"it computes in float32, and the depth is {tensor.dtype}"
    try:
        from .triton_engine import why_not
    except ImportError as error:
        return f"Triton cannot be imported here ({error})"
    refusal: str | None = why_not(str(tensor.device))
    return refusal


def _numba_maps(
    depth: Any, intrinsics: Any, params: Estimator, valid: Any, farthest: float, *, components: bool
) -> tuple[NDArray[np.float32], ...]:
    from .numba_engine import sigma_z2_frame

    depth = as_array("depth", depth)
    valid = None if valid is None else as_array("valid", valid)
    cameras = as_intrinsics(intrinsics, depth.shape[-2:] if depth.ndim > 1 else None)
    is_view = depth.ndim == 2 and depth.dtype == np.float32 and depth.size > 0 and cameras.shape == (4,)
    if is_view and not components and (valid is None or (valid.dtype == np.bool_ and valid.shape == depth.shape)):
        # The fast path for a loader's view: everything is checked already.
        return (sigma_z2_frame(depth, cameras, params, farthest, valid),)
    check_input(depth, cameras.shape[:-1], valid)
    with np.errstate(over="ignore"):  # an overflow gives +inf, which is far
        depth = depth.astype(np.float32, copy=False)
    *batch, height, width = depth.shape
    out = np.empty((*batch, len(Components._fields) if components else 1, height, width), np.float32)
    cameras = np.broadcast_to(cameras, (*batch, 4))
    valid = None if valid is None else np.broadcast_to(valid, depth.shape)
    for i in np.ndindex(*batch):
        sigma_z2_frame(depth[i], cameras[i], params, farthest, None if valid is None else valid[i], out[i])
    return tuple(np.moveaxis(out, -3, 0))
