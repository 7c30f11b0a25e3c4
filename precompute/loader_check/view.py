"""One sample of a loader: its depth, its σ², the kernel's σ² on its depth, and what the cache has for it."""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import ParameterError
from depthvar.datasets.frame import as_array
from depthvar.datasets.lookup.sample import Resize, sample
from depthvar.datasets.params import Estimator, params_from_json
from depthvar.precompute.kernel.api import sigma_z2

from .agreement import Map, weight_error
from .register import NOMINAL, Pair, Place, coarse_places, register

DEPTH, INTRINSICS, VALID = ("depthmap", "depth"), ("camera_intrinsics", "intrinsics"), ("valid_mask", "valid")
SIGMA, PARAMS = "sigma_Z2", "sigma_Z2_params"
SLACK = 0.41  # pixels per native pixel beyond a whole number that are left: √2 − 1, so the rest is nearest to native


class Frames:
    """A cache, its maps kept in memory for a while: a view is looked up in them again and again."""

    def __init__(self, cache: SigmaCache) -> None:
        self.cache, self.params, self.level = cache, params_from_json(cache.params), lru_cache(32)(cache.read)


class Lookup(NamedTuple):
    """What is looked up for a view: of which frame, mirrored or not, for which resize, and where."""

    key: str
    flip: bool = False
    resize: Resize = "nearest"
    place: Place = NOMINAL


class LoaderView:
    """One sample, upright, at most as fine as its native frame.

    In a finer view the kernel sees what the loader's resize made up, while the cache has stride 1: of such a view every
    second (third, …) pixel is compared, unless its σ is the kernel's on the view itself.

    Attributes:
        key: as the cache lists it.
        native: fx, fy, cx, cy of the frame.
        shapes: of the view's depth and of its ``sigma_Z2``.
        stated_params: ``sigma_Z2_params`` where the view has it.
        negative: number of pixels whose depth is below 0 though the view's mask calls them valid.
        depth: (h, w) float64.
        sigma: (h, w) log σ² of the sample.
        online: (h, w) log σ² by the kernel on its depth, where a whole window is known: there the two are compared.
        every: one of so many pixels in x and in y is compared.
        scale: native pixels per pixel, in x and y.
    """

    def __init__(self, view: Mapping[str, Any], frames: Frames, key: str) -> None:
        depth, matrix, sigma = _read(view, *DEPTH), _read(view, *INTRINSICS), _read(view, SIGMA)
        self.stated_params = _read(view, PARAMS, dimensions=1) if PARAMS in view else None
        self.frames, self.key = frames, frames.cache.relative_key(key)
        self.native = frames.cache.intrinsics(self.key)
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
            got = matrix.tolist() if matrix.size < 17 else f"shape {matrix.shape}"
            raise ParameterError(f"{key}: intrinsics: expected a 3×3 matrix of finite numbers in pixels, got {got}")
        valid, self.negative = np.isfinite(depth), 0
        if any(name in view for name in VALID):
            valid &= _read(view, *VALID) != 0
            self.negative = int((valid & (depth < 0)).sum())
        if matrix[0, 0] == matrix[1, 1] == 0:  # a portrait view that was turned, as DUSt3R's are
            depth, sigma, valid, matrix = depth.T, sigma.T, valid.T, matrix[[1, 0, 2]]
        self.shapes = depth.shape, sigma.shape
        upright = np.where(np.eye(3) == 1, np.abs(matrix), matrix)  # a negative fx is a flip
        self._keep(1, depth, upright, valid, sigma)
        every = math.ceil(upright[0, 0] / self.native[0] - SLACK)
        if every > 1 and depth.shape == sigma.shape:
            error = weight_error(self.sigma, self.online)
            self._keep(every, depth, upright, valid, sigma)
            if error < weight_error(self.sigma, self.online):
                self._keep(1, depth, upright, valid, sigma)

    def _keep(self, every: int, depth: Map, matrix: Map, valid: NDArray[np.bool_], sigma: Map) -> None:
        self.every, self.matrix = every, matrix / [[every], [every], [1]]
        self.depth, self.sigma = depth[::every, ::every], _log(sigma[::every, ::every])
        self.valid = valid[::every, ::every]
        self.scale = self.native[:2] / np.diag(self.matrix)[:2]
        self.online = self.by_kernel(self.depth)
        limit = self.frames.cache.params["max_depth"]
        if limit is not None and self.sigma.shape == self.depth.shape:
            self.online[(self.depth > limit) & np.isnan(self.sigma)] = np.nan  # far: it has no σ, and needs none

    @property
    def pixels(self) -> int:
        """How many pixels are compared."""
        return int(np.isfinite(self.online).sum())

    def start(self, flip: bool) -> Pair:
        """Return native x and y of the first pixel; of the view mirrored back where it is mirrored."""
        x, y = self.matrix[:2, 2]
        start: Pair = self.native[2:] - self.scale * (self.depth.shape[1] - 1 - x if flip else x, y)
        return start

    def intrinsics_at(self, lookup: Lookup) -> NDArray[np.float64]:
        """Return the (3, 3) intrinsics that the view would have at the place of a lookup."""
        moved: NDArray[np.float64] = self.matrix.copy()
        (left, right), y = lookup.place
        first, last = np.transpose([(-right, -left) if lookup.flip else (left, right), y])
        stretch = np.maximum(1 + (last - first) / np.maximum(1, np.array(self.depth.shape[::-1]) - 1), 1e-3)
        moved[:2, 2] = (moved[:2, 2] - first) / stretch
        moved[[0, 1], [0, 1]] /= stretch
        return moved

    def by_kernel(self, depth: Map, params: Estimator | None = None, matrix: Map | None = None) -> Map:
        """Return log σ² of (h, w) depth, where a whole window is known.

        Without a maximum depth, which is in metres while the loader's depth may not be: it only hides pixels.
        """
        known, own = self.valid & (depth > 0) & (depth < np.finfo(np.float32).max), self.frames.params
        whole = sliding_window_view(np.pad(known, own.window // 2), (own.window, own.window)).all((2, 3))
        used = np.where(known, depth, 0).astype(np.float32)
        values = sigma_z2(used, self.matrix if matrix is None else matrix, params or own)
        return np.where(whole, _log(values), np.float32(np.nan))

    def look_up(self, lookup: Lookup) -> Map:
        """Return the cache's log σ² (h, w); NaN everywhere where the frame can have none there."""
        cache, level, key = self.frames.cache, self.frames.level, lookup.key
        matrix = self.intrinsics_at(lookup) * [[self.every], [self.every], [1]]
        try:
            found = sample(
                lambda stride, rows: level(key, stride)[rows], cache.strides, cache.intrinsics(key).tolist(),
                cache.shape(key), matrix, self.shapes[0], lookup.resize, lookup.flip, self.frames.params.window,
            )  # fmt: skip
        except ParameterError:  # no plausible zoom
            return np.full(self.depth.shape, np.float32(np.nan))
        return _log(found[:: self.every, :: self.every])

    def register(self, target: Map, lookup: Lookup) -> tuple[Lookup, float]:
        """Return a lookup at the place of its frame where a (h, w) map of log σ² lies, and its correlation."""
        stride = min(self.frames.cache.strides, key=lambda stride: abs(math.log(stride / self.scale[0])))
        native, turn = _log(self.frames.level(lookup.key, stride)), slice(None, None, -1 if lookup.flip else 1)
        place, fit = register(
            target[:, turn],
            lambda place: self.look_up(lookup._replace(place=place))[:, turn],
            lambda: coarse_places(target[:, turn], native, stride, self.start(lookup.flip), self.scale),
        )
        return lookup._replace(place=place), fit


def _read(view: Mapping[str, Any], *names: str, dimensions: int = 2) -> NDArray[np.float64]:
    """Return an array or a tensor of a view; ParameterError where it is missing, or has other dimensions."""
    name = next((name for name in names if name in view), None)
    if name is None:
        way_out = "add cache.annotate(view, key) after the crop and resize" if SIGMA in names else "rename it to that"
        expected = " or ".join(f'"{name}"' for name in names)
        raise ParameterError(f"view: expected {expected}, got {sorted(map(str, view))}; {way_out}")
    array = as_array(name, view[name]).astype(np.float64)
    if array.ndim != dimensions:
        raise ParameterError(
            f'view: expected "{name}" of {dimensions} dimensions, got shape {array.shape}; pass single views of the '
            "data set, such as dataset[0], before a DataLoader collates them into a batch"
        )
    return array


def _log(sigma_z2: Map) -> Map:
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Map = np.log(sigma_z2.astype(np.float32))
    found[~np.isfinite(found)] = np.nan
    return found
