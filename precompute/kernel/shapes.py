"""Whether depth, intrinsics and mask fit each other, for every engine: shapes and dtypes."""

from typing import Any

import numpy as np

from depthvar.datasets.scalars import require


def check_input(depth: Any, cameras: tuple[int, ...], valid: Any) -> None:
    """Raise ParameterError where depth, the leading dimensions of the intrinsics (``cameras``) or the mask do not fit.

    Arrays or tensors; no value is read, since a tensor may be on a GPU.
    """
    shape = tuple(depth.shape)
    rule = "floating-point metres of at most 64 bits; convert the dtype and the unit first"
    require("depth", str(depth.dtype), rule, _is_float(depth.dtype))
    require("depth", shape, "shape (..., H, W) of at least one pixel", len(shape) >= 2 and 0 not in shape[-2:])
    require(
        "intrinsics", cameras, f"leading dimensions that broadcast to those of the depth, {shape[:-2]}",
        _broadcasts(cameras, shape[:-2]),
    )  # fmt: skip
    if valid is not None:
        require("valid", str(valid.dtype), "dtype bool", str(valid.dtype) in ("bool", "torch.bool"))
        require(
            "valid", tuple(valid.shape), f"a shape that broadcasts to the depth's, {shape}",
            _broadcasts(tuple(valid.shape), shape),
        )  # fmt: skip


def _is_float(dtype: Any) -> bool:
    """Return whether the engines accept a dtype, of NumPy or torch."""
    if isinstance(dtype, np.dtype):
        return dtype.kind == "f" and dtype.itemsize <= 8
    return bool(dtype.is_floating_point and dtype.itemsize >= 2)  # the 8-bit floats have no common type with float32


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    trailing = to[len(to) - len(shape) :]
    return len(shape) <= len(to) and all(a in (1, b) for a, b in zip(shape, trailing, strict=True))
