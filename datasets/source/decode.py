"""From a file to depth: stored values are checked against the rule of their data set and converted to metres."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import ParameterError
from depthvar.datasets.frame import LARGEST_DEPTH, SMALLEST_DEPTH

from .containers import CONTAINERS, ForeignFileError, Header, Member, OpenFile, Place, png_text, read_file
from .encodings import FAR_CODES, unpack

KINDS = ("z", "ray", "disparity", "inverse")


@dataclass(frozen=True)
class DepthRule:
    """How the stored values of a data set become planar depth; the fields of ``[depth]`` in a description.

    Attributes:
        container: a name in :data:`CONTAINERS`.
        dtype: names of the dtypes that a file may hold.
        units_per_metre: a stored value divided by this is in metres (kind disparity: in pixels; inverse: in 1/m).
            ``dtype`` contains integers only if the description or an option gives a unit, or the container has one
            (16-bit PNG).
        key: the array, data set, variable or channel in the file, where it has several; may hold placeholders.
        stack: a file holds many frames, along the first axis of the key (MATLAB: the last).
        channel: index in the last axis of (H, W, C).
        shape: (H, W) of files without a header.
        view: dtype as which the bytes of a pixel are read (TartanAir V2 stores a float in four channels).
        encoding: a code in :data:`~depthvar.datasets.source.encodings.ENCODINGS`.
        every: every so many rows and columns are read.
        metric: False where the unit is known to be unknown: depth is in scene units, not metres.
        kind: ``"z"`` is planar depth, ``"ray"`` the distance along the ray of the pixel, ``"disparity"`` pixels, with
            z = baseline · fx / (disparity + doffs), ``"inverse"`` 1 / z.
        max_depth: metres; depth beyond it is far. None: no maximum.
        unknown: stored values without a depth, in addition to 0, negative and non-finite ones.
        far: stored values of far pixels without a depth; they become ``+inf``.
        unknown_above: metres (before the scale, along the ray where the kind is ray); deeper pixels are unknown.
        unknown_from: the same for those at that depth or deeper.
        far_from: the same, but these are far.
        step: metres between two stored depths, where it does not follow from integers and their unit.
    """

    container: str
    dtype: tuple[str, ...]
    units_per_metre: float
    key: str | None = None
    stack: bool = False
    channel: int | None = None
    shape: tuple[int, int] | None = None
    view: str | None = None
    encoding: str | None = None
    every: int = 1
    metric: bool = True
    kind: str = "z"
    max_depth: float | None = None
    unknown: tuple[float, ...] = (0,)
    far: tuple[float, ...] = ()
    unknown_above: float | None = None
    unknown_from: float | None = None
    far_from: float | None = None
    step: float | None = None

    def __hash__(self) -> int:  # of few fields: it is asked for with every header
        return hash((self.container, self.dtype, self.units_per_metre))

    @property
    def quantisation_step(self) -> float | None:
        """Metres between two stored depths; None: not the same everywhere, or not known."""
        is_integer = all(np.dtype(name).kind in "iu" for name in self.dtype) and self.view is None
        is_linear = self.kind in ("z", "ray") and self.encoding not in ("log", "kinect")
        return self.step or (1 / self.units_per_metre if is_integer and is_linear else None)


@dataclass(frozen=True)
class FrameNumbers:
    """Numbers of a frame that decoding needs next to its pixels.

    Attributes:
        scale: depth is multiplied by it.
        baseline: metres between the two cameras, for disparity.
        doffs: pixels that are added to a disparity: cx of the right camera less that of the left.
    """

    scale: float = 1.0
    baseline: float = 1.0
    doffs: float = 0.0


PLAIN = FrameNumbers()
ALL = Member()  # what is meant of a file that holds one array


@lru_cache(maxsize=64)
def _check(header: Header, rule: DepthRule) -> tuple[int, ...]:
    """Return (H, W) of a file with this header, or (N, H, W) of a stack; an error where the rule differs."""
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
    stack, shape = header.shape[: int(rule.stack)], header.shape[int(rule.stack) :]
    if rule.encoding == "rgb24":
        if shape[2:] != (3,):
            raise ForeignFileError(f"expected three 8-bit channels for encoding rgb24, got shape {shape}")
        shape = shape[:2]
    elif rule.channel is not None and len(shape) == 3:
        if not -shape[2] <= rule.channel < shape[2]:
            raise ParameterError(f"expected a channel {rule.channel}, got {shape[2]} channels; correct [depth] channel")
        shape = shape[:2]
    elif rule.view is not None:
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
    return (*stack, *(-(-length // rule.every) for length in shape))


def read_shape(path: Place, rule: DepthRule, member: Member = ALL) -> tuple[int, ...]:
    """Return (H, W) of a depth file, or (N, H, W) of a stack, from its header; SourceError as :func:`read_stored`."""
    header = CONTAINERS[rule.container].header
    return read_file(path, lambda file, start, size: _check(header(file, start, size, member), rule))


def read_stored(path: Place, rule: DepthRule, member: Member = ALL) -> NDArray[Any]:
    """Return the stored numbers of a depth file, unpacked where they are coded.

    Returns:
        (H, W) of one of the dtypes of the rule, of its ``view``, or of what its ``encoding`` gives.

    Raises:
        SourceError: missing, empty, truncated, not the container, or another dtype or shape than the rule's.
    """
    container = CONTAINERS[rule.container]

    def read(file: OpenFile, start: bytes, size: int) -> NDArray[Any]:
        header = container.header(file, start, size, member)
        frames, *_ = _check(header, rule)
        if member.index is not None and member.index >= frames:
            raise ParameterError(f"expected a frame from 0 to {frames - 1}, got {member.index}; list the frames again")
        stored = container.pixels(file, header, member)
        if rule.view is not None:  # the bytes have the order of the view, not of the file
            stored = np.ascontiguousarray(stored, stored.dtype.newbyteorder("<")).view(rule.view)
        if rule.channel is not None and stored.ndim == 3:
            stored = stored[..., rule.channel]
        if rule.encoding is not None:
            stored = unpack(stored, rule.encoding, png_text(start) if rule.container == "png" else {})
        stored = stored.reshape(stored.shape[:2])
        return stored if rule.every == 1 else stored[:: rule.every, :: rule.every]

    return read_file(path, read)


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
    sky: NDArray[np.bool_] | None = None,
    numbers: FrameNumbers = PLAIN,
) -> NDArray[np.float32]:
    """Turn stored values into planar depth with the three states of a pixel: valid, unknown and far.

    Args:
        stored: (H, W) as :func:`read_stored` returns it; the result may reuse its memory.
        rule: how to read the values.
        intrinsics: (4,) fx, fy, cx, cy in pixels; used only if the rule's kind is ``"ray"`` or ``"disparity"``.
        usable: (H, W) bool; False makes a pixel unknown, even a far one.
        sky: (H, W) bool; True makes a pixel far, whatever is stored there.
        numbers: scale, baseline and offset of the frame.

    Returns:
        (H, W) float32 in metres: 0 where unknown, ``+inf`` where far without a depth of its own. Depth below
        ``SMALLEST_DEPTH`` is unknown. With a maximum depth, a finite depth that float32 cannot hold becomes the largest
        float32; it is far.

    Raises:
        ParameterError: a depth above ``LARGEST_DEPTH`` that is neither unknown nor far. Either the bytes are decoded
            wrongly, or the value has a meaning that the description must give.
    """
    far_values = (*rule.far, *FAR_CODES.get(rule.encoding or "", ()))
    far, unknown = (
        [mask for value in values if (mask := _equals(stored, value)) is not None]
        for values in (far_values, [value for value in rule.unknown if value != 0])
    )
    if sky is not None:
        far.append(sky)
    is_plain = rule.kind in ("z", "ray") and numbers.scale == 1
    wide = not is_plain or rule.units_per_metre < 1 or np.result_type(stored, np.float32) == np.float64
    depth: NDArray[Any] = stored.astype(np.float64 if wide else np.float32, copy=wide or not stored.flags.writeable)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):  # in pixels that are unknown
        if rule.units_per_metre != 1:
            depth /= rule.units_per_metre
        if rule.kind in ("disparity", "inverse"):
            depth = _from_disparity(depth, rule, float(intrinsics[0]), numbers)
        for limit, states, compare in (
            (rule.unknown_above, unknown, np.greater),
            (rule.unknown_from, unknown, np.greater_equal),
            (rule.far_from, far, np.greater_equal),
        ):
            if limit is not None:
                states.append(compare(depth, limit) & ((depth < np.inf) | (states is far)))
        if numbers.scale != 1:
            depth *= numbers.scale
        bounded = is_plain and (
            stored.dtype.kind == "u" and np.iinfo(stored.dtype).max <= LARGEST_DEPTH * rule.units_per_metre
        )
        if not bounded and not (depth.min() >= SMALLEST_DEPTH and depth.max() <= LARGEST_DEPTH):  # NaN fails it too
            finite = stored if rule.kind in ("z", "ray") else depth
            unknown.append(~((depth >= SMALLEST_DEPTH) & (finite < np.inf)))
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


def _from_disparity(values: NDArray[Any], rule: DepthRule, fx: float, numbers: FrameNumbers) -> NDArray[Any]:
    """Return depth of disparities in pixels, or of inverse depth, in place."""
    factor = 1.0
    if rule.kind == "disparity":
        values += numbers.doffs
        factor = numbers.baseline * fx
    np.divide(factor, values, out=values)
    return values


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
