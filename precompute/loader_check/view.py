"""One sample of a loader: its depth, its σ², the kernel's σ² on its depth, and what the cache has for it."""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import ParameterError
from depthvar.datasets.lookup.sample import Resize, sample
from depthvar.datasets.params import Estimator, params_from_json
from depthvar.precompute.kernel.api import sigma_z2

from .agreement import Map, weight_error
from .register import AS_TOLD, Axis, Place, Registered, coarse_places, register

DEPTH, INTRINSICS, VALID = ("depthmap", "depth"), ("camera_intrinsics", "intrinsics"), ("valid_mask", "valid")
SIGMA, PARAMS = "sigma_Z2", "sigma_Z2_params"
SLACK = 0.41  # pixels per native pixel beyond a whole number that are left: √2 − 1, so the rest is nearest to native


class Frames:
    """A cache, its maps kept in memory for a while: a view is looked up in them again and again."""

    def __init__(self, cache: SigmaCache) -> None:
        self.cache, self.parameters, self.strides = cache, cache.params, cache.strides
        self.params = params_from_json(self.parameters)
        self.level = lru_cache(32)(cache.read)
        self.intrinsics = lru_cache(32)(cache.intrinsics)

    def log_level(self, key: str, scale: float) -> tuple[int, Map]:
        """Return the stride nearest to a scale, and its log σ² (H, W)."""
        stride = min(self.strides, key=lambda stride: abs(np.log(stride / scale)))
        return stride, _log(self.level(key, stride))


class LoaderView:
    """One sample, upright, at most as fine as its native frame.

    In a finer view the kernel sees what the loader's resize made up, while the cache has stride 1: of such a view every
    second (third, …) pixel is compared, unless its σ is the kernel's on the view itself.

    Args:
        view: see :func:`check_loader`.
        frames: the cache that its ``sigma_Z2`` was taken from.
        key: of its frame, or an absolute path to it.

    Attributes:
        key: as the cache lists it.
        shapes: of depth and of ``sigma_Z2``, as they were given.
        stated_params: ``sigma_Z2_params`` where the view has it.
        negative: at how many pixels depth is below 0 though the view's mask calls them valid.
        depth: (h, w) float64.
        sigma: (h, w) log σ² of the sample.
        online: (h, w) log σ² by the kernel on its depth, where a whole window is known: there the two are compared.
        scale: native pixels per pixel, in x and y.

    Raises:
        ParameterError: it lacks something, or that has other dimensions.
        FrameNotFoundError, CacheError: as ``SigmaCache.read``.
    """

    def __init__(self, view: Mapping[str, Any], frames: Frames, key: str) -> None:
        self.frames, self.key, self.params = frames, frames.cache.relative_key(key), frames.params
        self.stated_params = _read(view, PARAMS, dimensions=1) if PARAMS in view else None
        depth, matrix, sigma = _read(view, *DEPTH), _read(view, *INTRINSICS), _read(view, SIGMA)
        valid, self.negative = np.isfinite(depth), 0
        if any(name in view for name in VALID):
            valid &= _read(view, *VALID) != 0
            self.negative = int((valid & (depth < 0)).sum())
        if matrix[0, 0] == matrix[1, 1] == 0:  # a portrait view that was turned, as DUSt3R's are
            depth, sigma, valid, matrix = depth.T, sigma.T, valid.T, matrix[[1, 0, 2]]
        self.shapes = depth.shape, sigma.shape
        upright = np.where(np.eye(3) == 1, np.abs(matrix), matrix)  # a negative fx is a flip
        self._take(depth, upright, valid, sigma, 1)
        every = math.ceil(upright[0, 0] / self.frames.intrinsics(self.key)[0] - SLACK)
        if every > 1 and depth.shape == sigma.shape:
            error = weight_error(self.sigma, self.online)
            self._take(depth, upright, valid, sigma, every)
            if error < weight_error(self.sigma, self.online):
                self._take(depth, upright, valid, sigma, 1)

    def _take(
        self, depth: NDArray[np.float64], matrix: NDArray[np.float64], valid: NDArray[np.bool_],
        sigma: NDArray[np.float64], every: int,
    ) -> None:  # fmt: skip
        """Take every so-many-th pixel."""
        self.every, self.matrix = every, matrix / [[every], [every], [1]]
        self.depth, self.sigma = depth[::every, ::every], _log(sigma[::every, ::every])
        self.valid = valid[::every, ::every]
        native = self.frames.intrinsics(self.key)
        self.scale = float(native[0] / self.matrix[0, 0]), float(native[1] / self.matrix[1, 1])
        self.online = self.by_kernel(self.depth)
        limit = self.frames.parameters["max_depth"]
        if limit is not None and self.sigma.shape == self.depth.shape:
            self.online[(self.depth > limit) & np.isnan(self.sigma)] = np.nan  # far depth has no σ, and needs none
        wanted = np.isfinite(self.online).repeat(every, 0).repeat(every, 1)
        self._wanted = wanted[: depth.shape[0], : depth.shape[1]]

    @property
    def pixels(self) -> int:
        """How many pixels are compared."""
        return int(np.isfinite(self.online).sum())

    def axes(self, flip: bool) -> tuple[Axis, Axis]:
        """Return where the columns and rows lie; those of the view mirrored back where it is mirrored."""
        centre, (height, width) = self.frames.intrinsics(self.key)[2:], self.depth.shape
        own = self.matrix[0, 2] if not flip else width - 1 - self.matrix[0, 2]
        x = Axis(float(centre[0] - self.scale[0] * own), self.scale[0], width)
        return x, Axis(float(centre[1] - self.scale[1] * self.matrix[1, 2]), self.scale[1], height)

    def intrinsics_at(self, place: Place) -> NDArray[np.float64]:
        """Return the (3, 3) intrinsics that the view would have at a place."""
        moved = self.matrix.copy()
        for axis, (first, last) in enumerate((place[:2], place[2:])):
            length = self.depth.shape[1 - axis] - 1
            stretch = max(1 + (last - first) / length, 1e-3)
            moved[axis, 2] = (moved[axis, 2] - first) / stretch
            moved[axis, axis] /= stretch
        return moved

    def by_kernel(self, depth: Map, params: Estimator | None = None, place: Place = AS_TOLD) -> Map:
        """Return log σ² of (h, w) depth, where a whole window is known.

        Without a maximum depth, which is in metres while the loader's depth may not be: it only hides pixels.
        """
        known, matrix = self.valid & (depth > 0) & (depth < np.finfo(np.float32).max), self.intrinsics_at(place)
        found = _log(sigma_z2(np.where(known, depth, 0).astype(np.float32), matrix, params or self.params))
        return np.where(_whole_windows(known, self.params.window), found, np.float32(np.nan))

    def look_up(self, flip: bool, resize: Resize, place: Place = AS_TOLD, key: str | None = None) -> Map:
        """Return log σ² (h, w) of the view's frame, or of another, at a place; nowhere any where none can be there."""
        key, moved = key or self.key, self.intrinsics_at(place)
        moved[:2] *= self.every
        try:
            found = sample(
                lambda stride, rows: self.frames.level(key, stride)[rows], self.frames.strides,
                self.frames.intrinsics(key).tolist(), self.frames.level(key, 1).shape, moved, self.shapes[0], resize,
                flip, self.params.window, self._wanted,
            )  # fmt: skip
        except ParameterError:  # no plausible zoom
            return np.full(self.depth.shape, np.float32(np.nan))
        return _log(found[:: self.every, :: self.every])

    def register(self, target: Map, flip: bool, resize: Resize) -> Registered:
        """Return where on the view's own frame a map of log σ² (h, w) lies."""

        def coarse(scales: int) -> list[Place]:
            upright, level = target[:, ::-1] if flip else target, lambda scale: self.frames.log_level(self.key, scale)
            found = coarse_places(upright, level, *self.axes(flip), scales)
            return [place.mirrored() if flip else place for place in found]

        return register(target, lambda place: self.look_up(flip, resize, place), coarse)


def _read(view: Mapping[str, Any], *names: str, dimensions: int = 2) -> NDArray[np.float64]:
    """Return an array or a tensor of a view; ParameterError where it is missing, or has other dimensions."""
    name = next((name for name in names if name in view), None)
    if name is None:
        way_out = "add cache.annotate(view, key) after the crop and resize" if SIGMA in names else "rename it to that"
        expected = " or ".join(f'"{name}"' for name in names)
        raise ParameterError(f"view: expected {expected}, got {sorted(map(str, view))}; {way_out}")
    values = view[name]
    if hasattr(values, "detach"):  # a tensor
        values = values.detach().cpu().double()
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != dimensions:
        raise ParameterError(
            f'view: expected "{name}" of {dimensions} dimensions, got shape {array.shape}; pass single views, no batch'
        )
    return array


def _log(sigma_z2: Map) -> Map:
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Map = np.log(sigma_z2.astype(np.float32))
    found[~np.isfinite(found)] = np.nan
    return found


def _whole_windows(known: NDArray[np.bool_], window: int) -> NDArray[np.bool_]:
    """Return where the whole window lies inside the image and is known."""
    half = window // 2
    whole = np.zeros(known.shape, np.bool_)
    if min(known.shape) >= window:
        inner = np.lib.stride_tricks.sliding_window_view(known, (window, window)).all((2, 3))
        whole[half:-half, half:-half] = inner
    return whole
