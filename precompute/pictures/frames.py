"""A frame as it is shown: image, depth, σ² and camera at one stride, from a cache or straight from a source."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import SourceError
from depthvar.datasets.frame import Frame
from depthvar.datasets.params import Estimator
from depthvar.datasets.source.source import Source, read_frame
from depthvar.precompute.kernel.api import sigma_z2

from .image import Colour, read_colour


@dataclass(frozen=True, eq=False)
class Shown:
    """One frame at one stride.

    Attributes:
        key: of the frame.
        stride: of the maps.
        image: None: there is none, or it cannot be read.
        depth: (h, w) float32, ``depth[::stride, ::stride]`` in metres; 0 where unknown, ``+inf`` where far without a
            depth; NaN everywhere where only σ² is known.
        valid: (h, w) bool, neither unknown nor far.
        sigma_z2: (h, w) float32, σ_Z² in m²; ``+inf`` where unknown or far.
        camera: (4,) float64, fx, fy, cx, cy in pixels of the maps.
    """

    key: str
    stride: int
    image: Colour | None
    depth: NDArray[np.float32]
    valid: NDArray[np.bool_]
    sigma_z2: NDArray[np.float32]
    camera: NDArray[np.float64]

    @property
    def has_depth(self) -> bool:
        """Whether more than σ² is known."""
        return not np.isnan(self.depth[0, 0])

    @property
    def far(self) -> NDArray[np.bool_]:
        """(h, w) bool: sky, and depth beyond the maximum."""
        return (self.depth > 0) & ~self.valid

    @cached_property
    def sigma(self) -> NDArray[np.float32]:
        """(h, w) float32, σ in m; NaN where there is none."""
        usable = np.isfinite(self.sigma_z2) & self.valid
        return np.where(usable, np.sqrt(np.where(usable, self.sigma_z2, 0)), np.float32(np.nan))


def frame_of_source(source: Source, key: str, params: Estimator, stride: int = 1) -> Shown:
    """Decode a frame and compute its σ²; SourceError where it cannot be read."""
    frame = read_frame(source, key)
    reduced = frame.depth[::stride, ::stride], frame.intrinsics / stride  # exact: pixel centres are integers
    return _shown(source, frame, stride, sigma_z2(*reduced, params, max_depth=frame.max_depth))


def frame_of_cache(cache: SigmaCache, source: Source, key: str, stride: int = 1) -> Shown:
    """Read the σ² of a frame from a cache, and its depth from the data.

    Raises:
        FrameNotFoundError, CacheError, ParameterError: as ``SigmaCache.read``.
        SourceError: the depth cannot be read, or has another size.
    """
    key = cache.relative_key(key)
    frame = read_frame(source, key)
    if (size := cache.shape(key)) != frame.depth.shape:
        got = "×".join(map(str, frame.depth.shape))
        raise SourceError(
            f"{source}/{key}: expected {size[0]}×{size[1]} pixels as in the cache, got {got}; run `precompute run`"
        )
    return _shown(source, frame, stride, cache.read(key, stride))


def sigma_of_cache(cache: SigmaCache, key: str, stride: int = 1) -> Shown:
    """Read the σ² of a frame from a cache, and nothing else; errors as :func:`frame_of_cache`."""
    key = cache.relative_key(key)
    variance = cache.read(key, stride)
    nothing = np.full_like(variance, np.nan)
    return Shown(key, stride, None, nothing, np.isfinite(variance), variance, cache.intrinsics(key) / stride)


def _shown(source: Source, frame: Frame, stride: int, variance: NDArray[np.float32]) -> Shown:
    depth, valid = frame.depth[::stride, ::stride], frame.valid[::stride, ::stride]
    image = read_colour(source.image_path(frame.key))
    return Shown(frame.key, stride, image, depth, valid, variance, frame.intrinsics / stride)
