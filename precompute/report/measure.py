"""What the frames of a report hold, as counts that add up: the memory does not grow with the number of frames."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.frame import Frame
from depthvar.precompute.pictures.weights import FORMS, weight_map
from depthvar.precompute.validation import limits, statistics

MANY_PIXELS = 1 << 15  # of larger frames, every n-th row and column is counted
OCTAVES = range(-7, 14)  # of depth: from 2^-7 m, and what is nearer, to 2^14 m
DISTANCES = (0, 1, 2, 4, 8)  # pixels from an edge: the last of each class, but of the last class
DISTANCE_NAMES = ("0", "1", "2", "3–4", "5–8", "9 or more")


@dataclass(frozen=True)
class Bins:
    """Equal steps on a logarithmic axis; what lies outside goes into the first and the last one."""

    first: int  # power of ten
    last: int
    per_decade: int

    @property
    def count(self) -> int:
        """How many there are."""
        return (self.last - self.first) * self.per_decade

    def ends(self) -> NDArray[np.float64]:
        """Return the count + 1 ends."""
        found: NDArray[np.float64] = 10.0 ** (self.first + np.arange(self.count + 1) / self.per_decade)
        return found

    def places(self, values: NDArray[np.float32]) -> NDArray[np.intp]:
        """Return the bin of each value, which is above 0."""
        found = np.floor((np.log10(values) - self.first) * self.per_decade)
        places: NDArray[np.intp] = np.clip(found, 0, self.count - 1).astype(np.intp)
        return places

    def quantiles(self, counts: NDArray[np.int64], shares: tuple[float, ...]) -> list[float] | None:
        """Return the values below which these shares of what was counted lie; None where nothing was."""
        if not (total := int(counts.sum())):
            return None
        below = np.concatenate([[0], np.cumsum(counts)]) / total
        return [float(value) for value in 10 ** np.interp(shares, below, np.log10(self.ends()))]


SIGMA, RATIO, WEIGHT = Bins(-7, 5, 10), Bins(-5, 1, 20), Bins(-4, 3, 20)


@dataclass(frozen=True)
class Looked:
    """One frame in a few numbers.

    Attributes:
        key, group: of the frame, and where the cache has it.
        share: of the pixels that have a σ.
        sigma: median σ in m; None: no pixel has one.
        least: the least σ² in m²; None: no pixel has one.
        depth: median depth in m; None as all below where the depth was not read.
        reach: least and largest valid depth in m.
        far: share of the pixels that are far.
        ratio: median σ/Z.
        edges: share of the pixels with a σ that lie at an edge of the depth.
        log_sigma: sums of log σ by kind of pixel.
        contradiction: what in σ² contradicts the depth; None: nothing.
    """

    key: str
    group: str
    share: float
    sigma: float | None
    least: float | None
    depth: float | None = None
    reach: tuple[float, float] | None = None
    far: float | None = None
    ratio: float | None = None
    edges: float | None = None
    log_sigma: statistics.LogSigma = field(default_factory=dict)
    contradiction: str | None = None

    @property
    def typical(self) -> dict[str, float]:
        """Typical σ in m by kind of pixel: edge, smooth, far, near."""
        return statistics.typical(self.log_sigma)


class Totals:
    """Counts over the frames that were added.

    Args:
        parameters: of the cache.

    Attributes:
        sigma, ratio: (bins,) pixels by σ and by σ/Z.
        weights: by form, (bins,) pixels.
        ratio_by: by "depth" and "distance", (classes, bins) pixels by σ/Z.
        weight_by: by "depth" and "distance", and by form, (classes,) sums of the weight.
        log_sigma: sums of log σ by kind of pixel.
        pixels: with a σ, in all rows and columns.
    """

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._parameters = parameters
        classes = {"depth": len(OCTAVES), "distance": len(DISTANCE_NAMES)}
        self.sigma, self.ratio = np.zeros(SIGMA.count, np.int64), np.zeros(RATIO.count, np.int64)
        self.weights = {form: np.zeros(WEIGHT.count, np.int64) for form in FORMS}
        self.ratio_by = {name: np.zeros((count, RATIO.count), np.int64) for name, count in classes.items()}
        self.weight_by = {name: {form: np.zeros(count) for form in FORMS} for name, count in classes.items()}
        self.log_sigma: statistics.LogSigma = {}
        self.pixels = 0

    def add(self, key: str, group: str, variance: NDArray[np.float32], frame: Frame | None) -> Looked:
        """Count a frame, σ_Z² (H, W) in m² as stored and its depth, and return it in a few numbers."""
        finite = np.isfinite(variance)
        self.pixels += int(finite.sum())
        step = max(1, math.isqrt(variance.size // MANY_PIXELS))
        some = np.s_[::step, ::step]
        sigma = np.sqrt(np.where(finite, variance, np.nan)[some])
        usable = sigma > 0
        self.sigma += _counts(SIGMA.places(sigma[usable]), SIGMA.count)
        least = float(variance.min(where=finite, initial=np.inf)) if finite.any() else None
        looked = Looked(key, group, float(finite.mean()), _median(sigma[usable]), least)
        return looked if frame is None else self._add_depth(looked, variance, frame, sigma, some)

    def _add_depth(
        self,
        looked: Looked,
        variance: NDArray[np.float32],
        frame: Frame,
        sigma: NDArray[np.float32],
        some: tuple[slice, slice],
    ) -> Looked:
        edges = statistics.edges(frame.depth)
        depth, valid = frame.depth[some], frame.valid
        usable = (sigma > 0) & valid[some]
        z = depth[usable]
        ratio = RATIO.places(sigma[usable] / z)
        self.ratio += _counts(ratio, RATIO.count)
        octaves = np.clip(np.floor(np.log2(z)) - OCTAVES.start, 0, len(OCTAVES) - 1).astype(np.intp)
        classes = {"depth": octaves, "distance": distance_classes(edges)[some][usable]}
        for name, places in classes.items():
            counts = self.ratio_by[name]
            counts += _counts(places * RATIO.count + ratio, counts.size).reshape(counts.shape)
        for form in FORMS:
            weight = weight_map(depth, np.where(usable, sigma, np.float32(np.nan)), form)[usable]
            self.weights[form] += _counts(WEIGHT.places(weight), WEIGHT.count)
            for name, places in classes.items():
                sums = self.weight_by[name][form]
                sums += np.bincount(places, weight, sums.size)
        log_sigma: statistics.LogSigma = {}
        statistics.add_frame(log_sigma, variance, frame.depth)
        for name, (total, count) in log_sigma.items():
            before = self.log_sigma.get(name, (0.0, 0))
            self.log_sigma[name] = before[0] + total, before[1] + count
        known, finite = frame.depth[valid], np.isfinite(variance)
        return replace(
            looked,
            depth=_median(z),
            reach=(float(known.min()), float(known.max())) if len(known) else None,
            far=float(((frame.depth > 0) & ~valid).mean()),
            ratio=_median(sigma[usable] / z),
            edges=float(edges[finite].mean()) if finite.any() else None,
            log_sigma=log_sigma,
            contradiction=limits.unlike_depth(variance, frame.depth, self._parameters, frame.intrinsics, 1),
        )


def distance_classes(edges: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the place in ``DISTANCE_NAMES`` of each pixel (H, W): its distance to the next edge.

    The distance is the larger of that along the columns and that along the rows.
    """
    found = np.full(edges.shape, len(DISTANCES), np.intp)
    masks = list(islice(_grown(edges), DISTANCES[-1] + 1))
    for place in reversed(range(len(DISTANCES))):
        found[masks[DISTANCES[place]]] = place
    return found


def _grown(mask: NDArray[np.bool_]) -> Iterator[NDArray[np.bool_]]:
    """Yield a mask, then the same with the 8 neighbours of its pixels, and so on."""
    while True:
        yield mask
        mask = mask.copy()
        for part in (mask, mask.T):
            before = part.copy()
            part[1:] |= before[:-1]
            part[:-1] |= before[1:]


def _counts(places: NDArray[np.intp], count: int) -> NDArray[np.int64]:
    return np.bincount(places, minlength=count).astype(np.int64)


def _median(values: NDArray[np.float32]) -> float | None:
    return float(np.median(values)) if len(values) else None
