"""What many frames hold, in a few numbers that add exactly in any order: the depth, and σ at stride 1."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.frame import Frame

_DROPPED_BITS = 20  # of a float32: what is left is its exponent and 3 bits, 8 bins from one power of two to the next
_MANY_PIXELS = 1 << 16  # of larger maps only every 4th row and column goes into the histogram, which takes longest


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
        valid = frame.valid
        depth = frame.depth[valid]
        return cls(
            frames=1,
            pixels=frame.depth.size,
            valid=depth.size,
            far=int(np.count_nonzero(frame.depth > 0)) - depth.size,
            nearest=float(depth.min(initial=np.inf)),
            farthest=float(depth.max(initial=0)),
        )

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
        values = sigma_z2[np.isfinite(sigma_z2)]
        step = 4 if sigma_z2.size > _MANY_PIXELS else 1
        some = np.ascontiguousarray(sigma_z2[::step, ::step])
        bins, counts = np.unique(some[np.isfinite(some)].view(np.uint32) >> _DROPPED_BITS, return_counts=True)
        return cls(
            frames=1,
            pixels=sigma_z2.size,
            finite=values.size,
            least=float(values.min(initial=np.inf)),
            largest=float(values.max(initial=0)),
            histogram=dict(zip(bins.tolist(), counts.tolist(), strict=True)),
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
