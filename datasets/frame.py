"""A frame of ground-truth depth, and the pinhole intrinsics that go with it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import ParameterError


@dataclass(frozen=True)
class Frame:
    """One depth frame as the kernel takes it.

    Attributes:
        key: path of the depth file relative to the root of the data set, with forward slashes.
        depth: (H, W) float32, planar depth in metres. 0 where unknown; ``+inf`` where far without a depth of
            its own (sky). A depth beyond ``max_depth`` is kept: it is far, and its neighbours need it.
        intrinsics: (4,) float64, fx, fy, cx, cy in pixels; integer coordinates are pixel centres.
        max_depth: metres; depth beyond it is far, not valid. None: no maximum.
    """

    key: str
    depth: NDArray[np.float32]
    intrinsics: NDArray[np.float64]
    max_depth: float | None = None

    @property
    def valid(self) -> NDArray[np.bool_]:
        """(H, W) bool: pixels with a depth that can be trained on (neither unknown nor far)."""
        limit = np.float32(np.inf if self.max_depth is None else self.max_depth)
        return (self.depth > 0) & np.isfinite(self.depth) & (self.depth <= limit)


def view_key(view: Mapping[str, Any]) -> Any:
    """Return ``view["key"]``, the frame's key in a view of a loader; ParameterError where it has none."""
    if "key" not in view:
        raise ParameterError(
            f'view: expected "key", the frame\'s key, got {sorted(map(str, view))}; '
            "pass key=, a function that tells it from a view"
        )
    return view["key"]


def as_intrinsics(intrinsics: ArrayLike) -> NDArray[np.float64]:
    """Return intrinsics as (..., 4) float64 fx, fy, cx, cy.

    Args:
        intrinsics: (..., 3, 3) pinhole matrices without skew, or (..., 4) as fx, fy, cx, cy, in pixels.

    Raises:
        ParameterError: another shape, skew, a last row that is not 0 0 1, a focal length that is not finite and
            above 0, or a principal point that is not finite.
    """
    given = np.asarray(intrinsics, dtype=np.float64)
    if given.shape[-2:] == (3, 3):
        matrices = given.reshape(-1, 9).tolist()  # Python's numbers: for one camera NumPy takes three times as long
        for _, skew, _, turn, _, _, *last in matrices:
            if skew or turn or last != [0, 0, 1]:
                raise ParameterError(
                    "intrinsics: expected a pinhole matrix [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], got "
                    f"{given.tolist()}; skewed, turned or distorted cameras are not supported: rectify the depth first"
                )
        cameras = [[fx, fy, cx, cy] for fx, _, cx, _, fy, cy, *_ in matrices]
    elif given.shape[-1:] == (4,):
        cameras = given.reshape(-1, 4).tolist()
    else:
        raise ParameterError(
            f"intrinsics: expected shape (..., 3, 3), or (..., 4) as fx, fy, cx, cy; got shape {given.shape}"
        )
    for fx, fy, cx, cy in cameras:
        if not (0 < fx < math.inf and 0 < fy < math.inf and math.isfinite(cx) and math.isfinite(cy)):
            raise ParameterError(
                f"intrinsics: expected finite fx, fy, cx, cy in pixels with fx, fy > 0, got {[fx, fy, cx, cy]}"
            )
    return given if given.shape[-1:] == (4,) else np.array(cameras).reshape(*given.shape[:-2], 4)
