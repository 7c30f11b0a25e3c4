"""From a file to depth: stored values are checked against the rule of their data set and converted to metres."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import ParameterError
from depthvar.datasets.frame import LARGEST_DEPTH, SMALLEST_DEPTH

from .containers import (
    CONTAINERS,
    WHICH_MASK,
    ForeignFileError,
    Header,
    Member,
    OpenFile,
    Place,
    container_of,
    read_file,
)

KINDS = ("z", "ray")


@dataclass(frozen=True)
class DepthRule:
    """How the stored values of a data set become planar depth; the fields of ``[depth]`` in a description.

    Attributes:
        container: a name in :data:`CONTAINERS`.
        dtype: names of the dtypes that a file may hold.
        view: dtype as which the bytes of a pixel are read (TartanAir V2 stores a float in four channels).
        units_per_metre: a stored value divided by this is in metres. ``dtype`` contains integers only if the
            description or an option gives a unit, or the container has one (16-bit PNG).
        kind: ``"z"`` is planar depth, ``"ray"`` the distance along the ray of the pixel.
        max_depth: metres; depth beyond it is far. None: no maximum.
        unknown: stored values without a depth, in addition to 0, negative and non-finite ones.
        far: stored values of far pixels without a depth; they become ``+inf``.
    """

    container: str
    dtype: tuple[str, ...]
    units_per_metre: float
    view: str | None = None
    kind: str = "z"
    max_depth: float | None = None
    unknown: tuple[float, ...] = (0,)
    far: tuple[float, ...] = ()


@lru_cache(maxsize=64)
def _check(header: Header, rule: DepthRule) -> tuple[int, int]:
    """Return (H, W) of a file with this header, without a last axis of length 1; an error where the rule differs."""
    if header.dtype.name not in rule.dtype:
        message = f"expected dtype {' or '.join(rule.dtype)}, got {header.dtype.name}"
        if rule.container == "png" and header.dtype == np.uint8:
            look = "a preview" if len(header.shape) == 2 else "a colour"
            raise ForeignFileError(f"{message}, which looks like {look} image")
        if header.dtype.kind in "iu" and not any(np.dtype(name).kind in "iu" for name in rule.dtype):
            raise ParameterError(
                f"{message}, which has no unit: give --units-per-metre ([depth] units_per_metre; 1000 for mm)"
            )
        raise ParameterError(f"{message}; save it as one of these, or correct [depth] dtype")
    shape = header.shape
    if rule.view is not None:
        channels = shape[2] if len(shape) == 3 else 1
        expected, got = np.dtype(rule.view).itemsize, channels * header.dtype.itemsize
        if expected != got:
            raise ParameterError(
                f"expected {expected} bytes per pixel for view {rule.view}, got {got} (shape {shape}); correct "
                "[depth] view, or [files] depth"
            )
        shape = shape[:2] if len(shape) == 3 else shape
    elif shape[2:] == (1,):
        shape = shape[:2]
    if len(shape) != 2:
        raise ParameterError(f"expected shape (height, width), got {shape}; save one map of depth in a file")
    return shape[0], shape[1]


def read_shape(path: Place, rule: DepthRule) -> tuple[int, int]:
    """Return (H, W) of a depth file from its header alone; SourceError as :func:`read_stored`."""
    header = CONTAINERS[rule.container].header
    return read_file(path, lambda file, start, size: _check(header(file, start, size, Member()), rule))


def read_stored(path: Place, rule: DepthRule) -> NDArray[Any]:
    """Return the stored values of a depth file.

    Returns:
        (H, W) of one of the dtypes of the rule, or of its ``view``.

    Raises:
        SourceError: missing, empty, truncated, not the container, or another dtype or shape than the rule's.
    """
    container = CONTAINERS[rule.container]

    def read(file: OpenFile, start: bytes, size: int) -> NDArray[Any]:
        header = container.header(file, start, size, Member())
        shape = _check(header, rule)
        stored = container.pixels(file, header, Member())
        if rule.view is not None:  # the bytes have the order of the view, not of the file
            stored = np.ascontiguousarray(stored, stored.dtype.newbyteorder("<")).view(rule.view)
        return stored.reshape(shape)

    return read_file(path, read)


def read_mask(path: Place, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return (H, W) bool, True where a mask file is nonzero: usable; SourceError as :func:`read_stored`."""
    container = CONTAINERS[container_of(path)]

    def read(file: OpenFile, start: bytes, size: int) -> NDArray[np.bool_]:
        header = container.header(file, start, size, Member())
        if header.dtype.kind not in "biuf":
            raise ParameterError(f"expected a mask of numbers, got dtype {header.dtype}; save it as bool")
        if header.shape not in (shape, (*shape, 1)):
            raise ParameterError(
                f"expected a mask of the shape of the depth {shape}, got {header.shape}; save it in that shape"
            )
        mask = container.pixels(file, header, Member()).reshape(shape)
        if mask.dtype.kind == "f" and np.isnan(mask).any():
            raise ParameterError(
                "expected a mask without NaN: 0 where the depth is not usable, another number where it is"
            )
        usable: NDArray[np.bool_] = mask != 0
        return usable

    return read_file(path, read, WHICH_MASK)


@lru_cache(maxsize=4)
def _ray_z(shape: tuple[int, int], fx: float, fy: float, cx: float, cy: float) -> NDArray[np.float32]:
    """Return d_z, the z component of the unit ray of every pixel, float32."""
    x, y = (np.arange(shape[1]) - cx) / fx, (np.arange(shape[0]) - cy) / fy
    d_z: NDArray[np.float32] = (1 / np.sqrt(x * x + (y * y)[:, None] + 1)).astype(np.float32)
    return d_z


def _equals(stored: NDArray[Any], value: float) -> NDArray[np.bool_] | None:
    """Return where ``stored`` equals ``value``; None if its dtype cannot hold it (65535 as a float16 would be inf)."""
    if stored.dtype.kind in "iu":
        limits = np.iinfo(stored.dtype)
        return stored == int(value) if limits.min <= value <= limits.max and value == int(value) else None
    return stored == value if np.isinf(value) or abs(value) <= float(np.finfo(stored.dtype).max) else None


def to_depth(
    stored: NDArray[Any],
    rule: DepthRule,
    intrinsics: NDArray[np.float64],
    usable: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Turn stored values into planar depth with the three states of a pixel: valid, unknown and far.

    Args:
        stored: (H, W) as :func:`read_stored` returns it; the result may reuse its memory.
        rule: how to read the values.
        intrinsics: (4,) fx, fy, cx, cy in pixels; used only if the rule's kind is ``"ray"``.
        usable: (H, W) bool; False makes a pixel unknown, even a far one.

    Returns:
        (H, W) float32 in metres: 0 where unknown, ``+inf`` where far without a depth of its own. Depth below
        ``SMALLEST_DEPTH`` is unknown. With a maximum depth, a finite depth that float32 cannot hold becomes the largest
        float32; it is far.

    Raises:
        ParameterError: a depth above ``LARGEST_DEPTH`` that is neither unknown nor far. Either the bytes are decoded
            wrongly, or the value has a meaning that the description must give.
    """
    far, unknown = (
        [mask for value in values if (mask := _equals(stored, value)) is not None]
        for values in (rule.far, [value for value in rule.unknown if value != 0])
    )
    wide = rule.units_per_metre < 1 or np.result_type(stored, np.float32) == np.float64
    depth: NDArray[Any] = stored.astype(np.float64 if wide else np.float32, copy=wide or not stored.flags.writeable)
    with np.errstate(invalid="ignore", over="ignore"):  # in pixels that are unknown
        if rule.units_per_metre != 1:
            depth /= rule.units_per_metre
        bounded = stored.dtype.kind == "u" and np.iinfo(stored.dtype).max <= LARGEST_DEPTH * rule.units_per_metre
        if not bounded and not (depth.min() >= SMALLEST_DEPTH and depth.max() <= LARGEST_DEPTH):  # NaN fails it too
            unknown.append(~((depth >= SMALLEST_DEPTH) & (stored < np.inf)))
            if rule.max_depth is None:
                _check_largest(depth, [*unknown, *far], usable)
        if wide:
            depth = np.clip(depth, 0, float(np.finfo(np.float32).max), out=depth).astype(np.float32)
    if rule.kind == "ray":
        depth *= _ray_z((stored.shape[0], stored.shape[1]), *map(float, intrinsics))
    for mask in unknown:
        depth[mask] = 0
    for mask in far:
        depth[mask] = np.inf
    if usable is not None:
        depth[~usable] = 0
    return np.ascontiguousarray(depth)


def _check_largest(depth: NDArray[Any], explained: list[NDArray[np.bool_]], usable: NDArray[np.bool_] | None) -> None:
    """Raise ParameterError for a depth above ``LARGEST_DEPTH`` outside the masks of unknown and far pixels."""
    beyond = depth > LARGEST_DEPTH
    for mask in explained if usable is None else [*explained, ~usable]:
        beyond &= ~mask
    if beyond.any():
        row, column = np.argwhere(beyond)[0]
        raise ParameterError(
            f"expected depth of at most {LARGEST_DEPTH:.1g} m, got {depth[row, column]:g} m at row {row}, column "
            f"{column} ({beyond.sum()} such pixels); if that is the sky, pass --max-depth; if it is not a depth, list "
            "it in [depth] unknown; else correct dtype, view or units_per_metre"
        )
