"""A frame of ground-truth depth and its pinhole camera, and what holds for both wherever they come from.

Files, the command line and the API all check depth and intrinsics by the rules of this file. Which mistakes they find,
and which they cannot: docs/decisions/0008.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import ParameterError
from .scalars import number

# Metres (about 1e-12 and 1e15). What is less is unknown, as 0 is; what is more is far, as +inf is. Between them the
# squares of depth and distance, and σ² by any parameters (at least 3e-13 Z²), are normal float32 numbers. They are
# powers of two, so that float32 and float64 draw the line at the same depth.
SMALLEST_DEPTH, LARGEST_DEPTH = 2.0**-40, 2.0**50

# What may be off in entries of a matrix that are 0 or 1 in a pinhole camera: of the focal length in the first two rows,
# of 1 in the last. A matrix that went through float32 has 1e-7 of that kind; at 1e-6 no pixel of a frame of 1000
# moves by more than a thousandth of a pixel. Real skew is far larger.
ROUNDING = 1e-6
# Focal lengths that a pixel may be from the principal point, along an axis: 87° off the optical axis. Pinhole cameras
# end well below. A crop sees the rays that its frame had, so it passes however far outside its principal point is.
WIDEST = 20.0
# A native frame's principal point lies at least this part of a side away from its border: intrinsics of twice the
# resolution, the most common mistake, have it on the border.
BORDER = 1 / 16

# Beyond these a run warns: half of the true resolution puts the principal point at a quarter of a side.
UNUSUAL, STRETCHED = 0.3, 1.5

MAX_DEPTH_RULE = f"a number of metres above 0 and at most {LARGEST_DEPTH:.1g}, or inf or None for no maximum"


@dataclass(frozen=True, eq=False)
class Frame:
    """One depth frame, ready for the kernel.

    Attributes:
        key: path of the depth file relative to the root of the data set, with forward slashes.
        depth: (H, W) float32, planar depth in metres. 0 where unknown; ``+inf`` where far without a depth of
            its own (sky). A depth beyond ``max_depth`` is kept: it is far, and its neighbours need it. Other floats
            are converted; what is above 1e15 m counts as far.
        intrinsics: (4,) float64, fx, fy, cx, cy in pixels; integer coordinates are pixel centres. A list or a 3×3
            matrix is converted.
        max_depth: metres; depth beyond it is far, not valid. None: no maximum.

    Raises:
        ParameterError: depth is no (H, W) array of floats, or intrinsics cannot be those of the frame.
    """

    key: str
    depth: NDArray[np.float32]
    intrinsics: NDArray[np.float64]
    max_depth: float | None = None

    def __post_init__(self) -> None:
        depth = as_depth(self.depth)
        camera = as_intrinsics(self.intrinsics)
        if camera.shape != (4,):
            raise ParameterError(f"intrinsics: expected one camera, got those of shape {camera.shape[:-1]}")
        check_native(camera, (depth.shape[0], depth.shape[1]))
        object.__setattr__(self, "depth", depth)
        object.__setattr__(self, "intrinsics", camera)

    @property
    def valid(self) -> NDArray[np.bool_]:
        """(H, W) bool, the pixels with a depth that can be trained on (neither unknown nor far)."""
        return is_valid(self.depth, self.max_depth)


def is_valid(depth: NDArray[np.float32], max_depth: float | None) -> NDArray[np.bool_]:
    """Return where depth in metres is neither unknown nor far."""
    least, most = valid_depths(max_depth)
    return (depth >= least) & (depth <= most)


def valid_depths(max_depth: float | None) -> tuple[np.float32, np.float32]:
    """Return the least and the largest depth in metres that is neither unknown nor far."""
    return np.float32(SMALLEST_DEPTH), np.float32(LARGEST_DEPTH if max_depth is None else max_depth)


def as_depth(value: Any) -> NDArray[np.float32]:
    """Return (H, W) depth that a caller passes, as float32; ParameterError where it is none."""
    depth = as_array("depth", value)
    if depth.ndim != 2 or 0 in depth.shape or depth.dtype.kind != "f":
        raise ParameterError(
            f"depth: expected floats in metres of shape (H, W), got {depth.dtype} of shape {depth.shape}"
        )
    with np.errstate(over="ignore"):  # what no float32 holds is far, as +inf is
        return depth.astype(np.float32, copy=False)


def view_key(view: Mapping[str, Any]) -> Any:
    """Return ``view["key"]``, the frame's key in a view of a loader; ParameterError where it has none."""
    if "key" not in view:
        raise ParameterError(
            f'view: expected "key", the frame\'s key, got {sorted(map(str, view))}; '
            "pass key=, a function that tells it from a view"
        )
    return view["key"]


def is_max_depth(metres: float) -> bool:
    """Return whether a number follows :data:`MAX_DEPTH_RULE`."""
    return 0 < metres <= LARGEST_DEPTH or metres == math.inf


def farthest_depth(max_depth: Any) -> float:
    """Return the metres beyond which depth is far, for a maximum depth that a caller passes, or None.

    Raises:
        ParameterError: it breaks :data:`MAX_DEPTH_RULE`.
    """
    if max_depth is None:
        return LARGEST_DEPTH
    if type(max_depth) in (int, float) and 0 < max_depth <= LARGEST_DEPTH:  # at once, as in every view of a loader
        return float(max_depth)
    return min(number("max_depth", max_depth, MAX_DEPTH_RULE, is_max_depth), LARGEST_DEPTH)


def as_array(name: str, value: Any) -> NDArray[Any]:
    """Return what a caller passes as an array: of a NumPy array or a tensor in the CPU's memory without a copy.

    Raises:
        ParameterError: it is no array, a tensor of another device, or a masked array (whose mask would be lost).
    """
    if type(value) is np.ndarray:
        return value
    if isinstance(value, np.ndarray) and hasattr(value, "mask"):
        raise ParameterError(f"{name}: expected a plain array, got a masked one; pass its .data, and valid=~its.mask")
    try:
        if hasattr(value, "detach"):  # a torch tensor, without an import of torch
            value = value.detach()
            if str(value.dtype) == "torch.bfloat16":  # which NumPy lacks
                value = value.float()
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        what = f"{type(value).__name__}{f' on {value.device}' if hasattr(value, 'device') else ''}"
        first = str(error).partition("\n")[0]
        raise ParameterError(f"{name}: expected an array in the memory of the CPU, got a {what} ({first})") from error


def as_numbers(name: str, value: Any) -> NDArray[Any]:
    """Return integers or floats that a caller passes as an array.

    Raises:
        ParameterError: as :func:`as_array`, or they are text, bool, complex numbers or objects.
    """
    given = as_array(name, value)
    if given.dtype.kind not in "iuf":
        got = "None" if value is None else f"{given.dtype} of shape {given.shape}"
        raise ParameterError(f"{name}: expected numbers, got {got}")
    return given


def as_intrinsics(intrinsics: ArrayLike, size: tuple[int, int] | None = None) -> NDArray[np.float64]:
    """Return intrinsics as (..., 4) float64 fx, fy, cx, cy.

    Args:
        intrinsics: (..., 3, 3) pinhole matrices without skew (up to :data:`ROUNDING`), or (..., 4) as fx, fy, cx, cy,
            in pixels.
        size: (H, W) of the depth that they go with, where it is known: that shows intrinsics in other units.

    Raises:
        ParameterError: another shape or dtype, skew, a last row that is not 0 0 1, a focal length that is not finite
            and above 0, a principal point that is not finite, or a pixel more than :data:`WIDEST` focal lengths
            from it.
    """
    if intrinsics is None:
        raise ParameterError("intrinsics: expected fx, fy, cx, cy or a 3×3 matrix, in pixels, got None")
    given = as_numbers("intrinsics", intrinsics).astype(np.float64, copy=False)
    if given.shape[-2:] == (3, 3):
        cameras = [camera_of(matrix) for matrix in given.reshape(-1, 9).tolist()]
    elif given.shape[-1:] == (4,):
        cameras = given.reshape(-1, 4).tolist()
    else:
        raise ParameterError(
            f"intrinsics: expected shape (..., 3, 3), or (..., 4) as fx, fy, cx, cy; got shape {given.shape}"
        )
    for camera in cameras:
        check_camera(camera, size)
    return given if given.shape[-1:] == (4,) else np.array(cameras).reshape(*given.shape[:-2], 4)


def camera_of(matrix: list[float]) -> list[float]:
    """Return fx, fy, cx, cy of the nine numbers of a matrix, by rows; ParameterError where it is not a pinhole's.

    Python's numbers: for one camera NumPy is three times slower.
    """
    fx, skew, cx, turn, fy, cy, x, y, one = matrix
    if (skew or turn or x or y or one != 1) and not is_pinhole(matrix):
        rows = [matrix[:3], matrix[3:6], matrix[6:]]
        if not all(map(math.isfinite, matrix)):
            raise ParameterError(f"intrinsics: expected finite numbers, got {rows}")
        raise ParameterError(
            f"intrinsics: expected a pinhole matrix [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], got {rows}; "
            "skewed, turned or distorted cameras are not supported: rectify the depth first"
        )
    return [fx, fy, cx, cy]


def check_camera(camera: list[float], size: tuple[int, int] | None) -> None:
    """Raise ParameterError where fx, fy, cx, cy cannot be those of a view of (H, W), or of any where that is None."""
    fx, fy, cx, cy = camera
    if not (0 < fx < math.inf and 0 < fy < math.inf and math.isfinite(cx) and math.isfinite(cy)):
        raise ParameterError(f"intrinsics: expected finite fx, fy, cx, cy in pixels with fx, fy > 0, got {camera}")
    if size is not None and not (_is_narrow(fx, cx, size[1]) and _is_narrow(fy, cy, size[0])):
        raise ParameterError(
            f"intrinsics: expected fx, fy, cx, cy in pixels of a view of {size[1]}×{size[0]} (width × height), got "
            f"{camera}, by which it sees more than 87° off the optical axis; check their order, and multiply "
            "normalised fx and cx by the width, fy and cy by the height"
        )


def is_pinhole(matrix: list[float]) -> bool:
    """Return whether the nine numbers of a matrix, by rows, are 0 and 1 where a pinhole camera has 0 and 1."""
    fx, skew, _, turn, fy, _, x, y, one = matrix
    upright = abs(skew) <= ROUNDING * abs(fx) and abs(turn) <= ROUNDING * abs(fy)
    return upright and abs(x) <= ROUNDING and abs(y) <= ROUNDING and abs(one - 1) <= ROUNDING


def _is_narrow(f: float, c: float, length: int) -> bool:
    """Return whether all pixels along an axis lie within ``WIDEST`` focal lengths of the principal point."""
    return max(abs(c), abs(length - 1 - c)) <= WIDEST * f


def check_native(intrinsics: NDArray[np.float64], size: tuple[int, int]) -> None:
    """Raise ParameterError where (4,) fx, fy, cx, cy cannot be those of a whole frame of (H, W), as it is stored."""
    as_intrinsics(intrinsics, size)
    cx, cy = intrinsics[2:].tolist()
    if not all(BORDER <= (c + 0.5) / length <= 1 - BORDER for c, length in ((cx, size[1]), (cy, size[0]))):
        raise ParameterError(
            f"intrinsics: expected the principal point (cx, cy) well inside a frame of {size[1]}×{size[0]} (width × "
            f"height), got ({cx:g}, {cy:g}); are they of another resolution, or in another order than fx, fy, cx, cy?"
        )


def camera_doubt(intrinsics: tuple[float, ...], size: tuple[int, int]) -> str | None:
    """Return what is unusual about a camera that passes :func:`check_native`, for a warning; None: nothing."""
    fx, fy, cx, cy = intrinsics
    places = (cx + 0.5) / size[1], (cy + 0.5) / size[0]
    if all(UNUSUAL <= place <= 1 - UNUSUAL for place in places) and 1 / STRETCHED <= fx / fy <= STRETCHED:
        return None
    return (
        f"unusual intrinsics fx {fx:g}, fy {fy:g}, cx {cx:g}, cy {cy:g} for a frame of {size[1]}×{size[0]} (width × "
        "height): check that they are of this resolution, and in this order"
    )
