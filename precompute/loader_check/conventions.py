"""The ways to look σ² up for a sample of a loader, right and wrong, and how each agrees with the sample's depth."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import ParameterError
from depthvar.datasets.lookup.sample import Resize
from depthvar.datasets.params import params_from_json
from depthvar.precompute.kernel.api import sigma_z2

Map = NDArray[np.float32]

ENOUGH_PIXELS, MOST_PIXELS = 100, 5000
MOST_FRAMES = 256  # that are looked through for the one a view's σ² is of
SHIFTS = [(dx, dy) for dy in range(-2, 3) for dx in range(-2, 3) if dx or dy]


class Agreement(NamedTuple):
    """How well two maps of σ agree.

    Attributes:
        correlation: of log σ. Conventions are compared by it: edges tell more of a place than the noise of surfaces.
        rank: Spearman's rank correlation.
        weight_error: mean |w₁ − w₂| of the weights 1/σ, each divided by its mean.
    """

    correlation: float
    rank: float
    weight_error: float


class Convention(NamedTuple):
    """A way to look σ² up.

    Attributes:
        resize: as for ``SigmaCache.sample``.
        half_pixel: added to intrinsics that were scaled without it.
        flip: mirrored in the views that fit better so.
        transposed: in the views that fit better so.
        other_frame: the one that fits best, of those nearby and of the other views.
        shift: (x, y) by which the lookup is moved, in native pixels.
    """

    resize: Resize
    half_pixel: bool = False
    flip: bool = False
    transposed: bool = False
    other_frame: bool = False
    shift: tuple[int, int] = (0, 0)

    def __str__(self) -> str:
        """Return the resize, and what else is not the default."""
        return ", ".join(f"{name}={value!r}" for name, value in self._asdict().items() if value not in (False, (0, 0)))


class LoaderView:
    """One sample of a loader, the kernel's σ² on its depth, and where the two can be compared.

    Args:
        view: see :func:`check_loader`.
        cache: from which its ``sigma_Z2`` was taken.
        key: of its frame, or an absolute path to it.

    Raises:
        ParameterError: it has no ``sigma_Z2``.
        FrameNotFoundError, CacheError: as ``SigmaCache.sample``.
    """

    def __init__(self, view: Mapping[str, Any], cache: SigmaCache, key: str) -> None:
        if "sigma_Z2" not in view:
            raise ParameterError(
                'view: expected "sigma_Z2", got none; add cache.annotate(view, key) after the crop and resize'
            )
        self.cache, self.key = cache, cache.relative_key(key)
        self.depth = np.asarray(view["depthmap"], dtype=np.float32)
        self.sigma_z2 = np.asarray(view["sigma_Z2"], dtype=np.float32)
        self.intrinsics = np.array(view["camera_intrinsics"], dtype=np.float64)
        valid = np.isfinite(self.depth) & (self.depth > 0)
        if "valid_mask" in view:
            valid &= np.asarray(view["valid_mask"], dtype=np.bool_)
        if self.intrinsics[0, 0] == self.intrinsics[1, 1] == 0:  # a portrait view that was turned
            self.depth, self.sigma_z2, valid = self.depth.T, self.sigma_z2.T, valid.T
            self.intrinsics = self.intrinsics[[1, 0, 2]]
        params = params_from_json(cache.params)
        upright = np.where(np.eye(3) == 1, np.abs(self.intrinsics), self.intrinsics)  # a flip by a negative fx
        # Without a maximum depth, which is in metres while the loader's depth may not be: it only hides pixels.
        self.online = sigma_z2(np.where(valid, self.depth, np.float32(0)), upright, params)
        self.known = _whole_windows(valid, params.window)
        self.compared = self.known
        if self.sigma_z2.shape == self.depth.shape:
            self.compared = self.known & np.isfinite(self.sigma_z2)
        self.others: list[str] = []

    def find_others(self, keys: list[str]) -> None:
        """Note a few other frames of the same size: of ``keys``, and the neighbours in the cache."""
        listed, size = self.cache.keys(), self.cache.shape(self.key)
        here = listed.index(self.key)
        near = dict.fromkeys([*keys[:8], *listed[max(0, here - 1) : here + 2]])
        self.others = [key for key in near if key != self.key and self.cache.shape(key) == size]

    def frames_around(self) -> list[str]:
        """Return the other frames of the same size in the cache, the nearest in its list first, 256 at most."""
        listed, size = self.cache.keys(), self.cache.shape(self.key)
        here = listed.index(self.key)
        by_distance = (listed[i] for i in sorted(range(len(listed)), key=lambda i: abs(i - here)) if i != here)
        return list(islice((key for key in by_distance if self.cache.shape(key) == size), MOST_FRAMES))

    def is_of(self, key: str) -> bool:
        """Return whether σ² is, value for value, what the cache gives for a frame, mirrored or not."""
        return any(np.array_equal(values, self.sigma_z2) for values in self._as_annotated(key))

    def likeness(self, key: str) -> float:
        """Return how well σ² correlates with what the cache gives for a frame, mirrored or not."""
        return max(compare(self.sigma_z2, values, self.compared).correlation for values in self._as_annotated(key))

    def _as_annotated(self, key: str) -> Iterator[Map]:
        for resize in get_args(Resize):
            yield from self.look_up(Convention(resize, flip=True), key)

    def look_up(self, convention: Convention, key: str | None = None) -> list[Map]:
        """Return the maps (h, w) of σ² that a convention allows for a frame, by default the view's own."""
        native, moved = self.cache.intrinsics(self.key), self.intrinsics.copy()
        for axis in (0, 1):
            scale = native[axis] / abs(moved[axis, axis])
            moved[axis, 2] += (0.5 / scale - 0.5) * convention.half_pixel - convention.shift[axis] / scale
        found = [
            self.cache.sample(self.key if key is None else key, moved, self.depth.shape, convention.resize, flip)
            for flip in (False, True)[: 1 + convention.flip]
        ]
        return found + [values.T for values in found if convention.transposed]

    def agreement(self, convention: Convention, target: Map) -> Agreement:
        """Return how well σ² by a convention agrees with a map, at its best."""
        keys = self.others if convention.other_frame else [self.key]
        return max(compare(target, values, self.compared) for key in keys for values in self.look_up(convention, key))


def conventions(views: list[LoaderView], resize: Resize = "nearest", flip: bool = False) -> list[Convention]:
    """Return what can be tried on all of the views, the simplest first.

    Args:
        views: their shapes, and whether there are other frames, decide.
        resize: of all but the simplest. Shifts by linear lookups, which smooth, would fit noisy depth better.
        flip: whether the views' own σ² is mirrored in some.
    """
    plain = [Convention(resize), *(Convention(other) for other in get_args(Resize) if other != resize)]
    base = [one._replace(flip=flip) for one in plain]
    found = [*plain, *base, base[0]._replace(half_pixel=True), plain[0]._replace(flip=True)]
    if all(view.depth.shape[0] == view.depth.shape[1] for view in views):
        found.append(base[0]._replace(transposed=True))
    if all(view.others for view in views):
        found.append(base[0]._replace(other_frame=True))
    return list(dict.fromkeys(found + [base[0]._replace(shift=shift) for shift in SHIFTS]))


def compare(one: Map, two: Map, compared: NDArray[np.bool_]) -> Agreement:
    """Compare two maps of σ² (h, w) where both have information; no agreement where hardly any pixel is left."""
    used = np.flatnonzero(compared & np.isfinite(one) & np.isfinite(two))
    if used.size < max(ENOUGH_PIXELS, compared.sum()) / 2:
        return Agreement(0.0, 0.0, np.inf)
    used = used[:: 1 + used.size // MOST_PIXELS]
    a, b = (1 / np.sqrt(values.ravel()[used], dtype=np.float64) for values in (one, two))
    if not (np.ptp(a) and np.ptp(b)):  # a constant correlates with nothing
        return Agreement(0.0, 0.0, np.inf)
    correlation = float(np.corrcoef(np.log(a), np.log(b))[0, 1])
    rank = float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])
    return Agreement(correlation, rank, float(np.abs(a / a.mean() - b / b.mean()).mean()))


def mean(agreements: list[Agreement]) -> Agreement:
    """Return the mean of each figure."""
    return Agreement(*(float(value) for value in np.mean(agreements, axis=0)))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.intp]:
    ranks = np.empty(values.size, np.intp)
    ranks[values.argsort()] = np.arange(values.size)
    return ranks


def _whole_windows(valid: NDArray[np.bool_], window: int) -> NDArray[np.bool_]:
    """Return where the whole window lies inside the image and is valid."""
    half = window // 2
    whole = np.zeros(valid.shape, np.bool_)
    if min(valid.shape) >= window:
        inner = np.lib.stride_tricks.sliding_window_view(valid, (window, window)).all((2, 3))
        whole[half:-half, half:-half] = inner
    return whole
