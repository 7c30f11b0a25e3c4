"""What many frames hold, in a few numbers that add exactly in any order: the depth, and σ at stride 1.

And where the time of a run goes.
"""

import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.frame import Frame, valid_depths

_DROPPED_BITS = 20  # of a float32: what is left is its exponent and 3 bits, 8 bins from one power of two to the next
_INFINITE = 0x7F800000 >> _DROPPED_BITS  # the bin of +inf, above those of all numbers
_MANY_PIXELS = 1 << 16  # of larger maps only every 4th row and column goes into the histogram


@dataclass(frozen=True)
class DepthSummary:
    """Depth of some frames."""

    frames: int = 0
    pixels: int = 0  # those that are neither valid nor far are unknown
    valid: int = 0  # pixels
    far: int = 0  # pixels: sky, and beyond the maximum depth
    nearest: float = math.inf  # least valid depth in metres
    farthest: float = 0.0  # largest valid depth in metres

    @classmethod
    def of(cls, frame: Frame) -> "DepthSummary":
        """Summarise one frame."""
        from .passes import count_depth

        known, valid, nearest, farthest = count_depth(np.ascontiguousarray(frame.depth), *valid_depths(frame.max_depth))
        return cls(1, frame.depth.size, valid, known - valid, _float(nearest), _float(farthest))

    def __add__(self, other: "DepthSummary") -> "DepthSummary":
        return DepthSummary(
            self.frames + other.frames,
            self.pixels + other.pixels,
            self.valid + other.valid,
            self.far + other.far,
            min(self.nearest, other.nearest),
            max(self.farthest, other.farthest),
        )

    def to_json(self) -> dict[str, Any]:
        """Return frames, shares of the pixels, and metres; None where there is nothing to tell."""
        shares = {"valid": self.valid, "unknown": self.pixels - self.valid - self.far, "far": self.far}
        return {
            "frames": self.frames,
            **{f"{name}_share": count / self.pixels if self.pixels else None for name, count in shares.items()},
            "min_m": self.nearest if self.valid else None,
            "max_m": self.farthest if self.valid else None,
        }


@dataclass(frozen=True)
class SigmaSummary:
    """σ² at stride 1 of some frames."""

    frames: int = 0
    pixels: int = 0
    finite: int = 0  # pixels with a σ²; the others are unknown or far
    least: float = math.inf  # m²
    largest: float = 0.0  # m²
    histogram: Mapping[int, int] = field(default_factory=dict)  # number of values by the upper bits of their float32

    @classmethod
    def of(cls, sigma_z2: NDArray[np.float32]) -> "SigmaSummary":
        """Summarise one map (H, W) in m², ``+inf`` where there is no information."""
        from .passes import count_sigma

        finite, least, largest, places, counts = count_sigma(
            np.ascontiguousarray(sigma_z2), _step(sigma_z2), _DROPPED_BITS, _INFINITE
        )
        histogram = dict(zip(places.tolist(), counts.tolist(), strict=True))
        return cls(1, sigma_z2.size, finite, _float(least), _float(largest), histogram)

    @classmethod
    def by_numpy(cls, sigma_z2: NDArray[np.float32]) -> "SigmaSummary":
        """Return what ``of`` returns; for a few maps, which NumPy summarises in less time than Numba needs to load."""
        finite, step = sigma_z2 < np.inf, _step(sigma_z2)
        some = np.ascontiguousarray(sigma_z2[::step, ::step]).view(np.uint32) >> _DROPPED_BITS
        counts = np.bincount(some.ravel(), minlength=_INFINITE)[:_INFINITE]
        return cls(
            frames=1,
            pixels=sigma_z2.size,
            finite=int(np.count_nonzero(finite)),
            least=float(sigma_z2.min()),
            largest=float(sigma_z2.max(where=finite, initial=0)),
            histogram={place: int(counts[place]) for place in np.flatnonzero(counts).tolist()},
        )

    def __add__(self, other: "SigmaSummary") -> "SigmaSummary":
        return SigmaSummary(
            self.frames + other.frames,
            self.pixels + other.pixels,
            self.finite + other.finite,
            min(self.least, other.least),
            max(self.largest, other.largest),
            dict(Counter(self.histogram) + Counter(other.histogram)),
        )

    def quantile(self, share: float) -> float | None:
        """Return the σ in metres below which about ``share`` of the pixels lie; None without any."""
        left = share * sum(self.histogram.values())
        for each, count in sorted(self.histogram.items()):
            left -= count
            if left <= 0:
                middle = np.array((each << _DROPPED_BITS) | (1 << (_DROPPED_BITS - 1)), np.uint32).view(np.float32)
                return math.sqrt(min(max(float(middle), self.least), self.largest))
        return None

    def to_json(self) -> dict[str, Any]:
        """Return frames, the share of the pixels that have a σ, and metres; None where there is nothing to tell."""
        return {
            "frames": self.frames,
            "finite_share": self.finite / self.pixels if self.pixels else None,
            "min_m": math.sqrt(self.least) if self.finite else None,
            "p05_m": self.quantile(0.05),
            "median_m": self.quantile(0.5),
            "p95_m": self.quantile(0.95),
            "max_m": math.sqrt(self.largest) if self.finite else None,
        }


def _step(sigma_z2: NDArray[np.float32]) -> int:
    """Return of how many rows and columns one goes into the histogram."""
    return 4 if sigma_z2.size > _MANY_PIXELS else 1


def _float(bits: int) -> float:
    """Return the float32 of these bits, as int32."""
    return float(np.int32(bits).view(np.float32))


class Stopwatch:
    """Seconds of wall clock by stage of a task."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Add the time since the last lap to a stage."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._since
        self._since = now


def stage_seconds(spent: Mapping[str, float], wall: float, at_once: int | None) -> dict[str, float]:
    """Return the seconds of each stage, summed over what works at once, the longest first; then "idle".

    Args:
        spent: seconds by stage.
        wall: seconds of wall clock.
        at_once: threads or processes; None: unknown, so that idle time is too.
    """
    stages = sorted(spent.items(), key=lambda stage: -stage[1])
    if at_once is not None:
        stages.append(("idle", max(0.0, at_once * wall - sum(spent.values()))))
    return {stage: round(seconds, 3) for stage, seconds in stages}
