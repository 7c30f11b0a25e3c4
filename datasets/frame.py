"""A frame of ground-truth depth, and the pinhole intrinsics that go with it."""

from dataclasses import dataclass

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


# Of the nine entries of a pinhole matrix, row by row: those that must be 0 0 0 0 1, and fx, fy, cx, cy.
_FIXED, _FIXED_VALUES = np.array([1, 3, 6, 7, 8]), np.array([0.0, 0, 0, 0, 1])
_FREE = np.array([0, 4, 2, 5])


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
        flat = given.reshape(*given.shape[:-2], 9)
        if (flat[..., _FIXED] != _FIXED_VALUES).any():
            raise ParameterError(
                f"intrinsics: expected a pinhole matrix [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], got {given.tolist()}; "
                "skewed, turned or distorted cameras are not supported: rectify the depth first"
            )
        given = flat[..., _FREE]
    elif given.shape[-1:] != (4,):
        raise ParameterError(
            f"intrinsics: expected shape (..., 3, 3), or (..., 4) as fx, fy, cx, cy; got shape {given.shape}"
        )
    if not (np.isfinite(given).all() and (given[..., :2] > 0).all()):
        raise ParameterError(
            f"intrinsics: expected finite fx, fy, cx, cy in pixels with fx, fy > 0, got {given.tolist()}"
        )
    return given
