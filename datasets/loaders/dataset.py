"""A complete training data set with σ²; around another data set: :mod:`depthvar.datasets.loaders.attach`."""

import math
from collections.abc import Callable
from io import BytesIO
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from depthvar.datasets.cache.attributes import differences
from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import ParameterError, SourceError, StoreError
from depthvar.datasets.frame import Frame, farthest_depth, is_valid
from depthvar.datasets.scalars import number, require, whole
from depthvar.datasets.source.files import read_url
from depthvar.datasets.source.source import Source

from .crop import Crop, choose_crop, crop_intrinsics, crop_nearest, image_box, is_same_view

SAME = "open the source as for `precompute run`, or run it again"
Sigma = Callable[[NDArray[np.float32], NDArray[np.float64]], NDArray[np.float32]]


class CachedDepthDataset(Dataset[dict[str, Any]]):
    """The frames of a source as training samples: image, depth, σ², validity and intrinsics.

    A sample is a dict of

    - ``image`` (3, h, w) float32 in [0, 1], antialiased; only where the source has images,
    - ``depth`` (h, w) float32 in metres, 0 where not valid,
    - ``sigma_Z2`` (h, w) float32 in m², ``+inf`` where there is no information,
    - ``valid`` (h, w) bool,
    - ``intrinsics`` (3, 3) float32 of this view, in pixels with integer coordinates at pixel centres,
    - ``key`` str.

    All of it shows one crop at one size, also where the image has another size than the depth (ARKitScenes: 640×480 and
    256×192). Both must have the same borders, and so the same aspect ratio, up to a pixel at each border. Where
    ``size`` is larger than the crop of the depth, several pixels get the same depth, and σ² is that of the larger one.

    It depends on (seed, epoch, index) only. Pickles, and works in DataLoader workers under fork, spawn and forkserver.

    Args:
        source: the frames, in the order of ``source.keys()``.
        sigma: where σ² comes from: the ``SigmaCache`` of the source; or a function of the view's own depth (h, w) and
            intrinsics (3, 3), by which it is computed in the loader. There, unknown depth is 0, and far depth is kept
            where it has a value, else ``+inf``. The kernel, for example:
            ``functools.partial(sigma_z2, max_depth=source.max_depth)``.
        size: (h, w) of the samples; None: that of each frame's depth, whatever the size of its image.
        augment: crop at random, and mirror every other sample. False: the largest crop, centred.
        zoom: the smallest side of a random crop as a part of the largest crop's, in (0, 1].
        resize: how depth is resized: ``"nearest"``, as ``cv2.INTER_NEAREST`` does (up to its rounding where ``u' r`` is
            an exact integer), or ``"median"``, by :func:`~depthvar.datasets.resize_depth`.
        seed: of the augmentation, 0 or more.
        lambda_prior, alpha_clamp: others than the cache was computed with; see ``SigmaCache.read``.

    Raises:
        ParameterError: a sigma, size, zoom or resize that is not one of these, or parameters for a function; when a
            sample is taken, a cache that was computed with another camera, rule of decoding or maximum depth than the
            source has.

    Example:
        >>> from depthvar.datasets import CachedDepthDataset, SigmaCache, open_source
        >>> source = open_source("hospital-sample", "data/hospital-sample")
        >>> cache = SigmaCache("data/hospital-sample/sigma_Z2.zarr")
        >>> sample = CachedDepthDataset(source, cache, size=(32, 32), augment=True)[0]
        >>> sample["depth"].shape, sample["sigma_Z2"].shape
        (torch.Size([32, 32]), torch.Size([32, 32]))
    """

    def __init__(
        self,
        source: Source,
        sigma: SigmaCache | Sigma,
        *,
        size: tuple[int, int] | None = None,
        augment: bool = False,
        zoom: float = 0.5,
        resize: Literal["nearest", "median"] = "nearest",
        seed: int = 0,
        lambda_prior: float | None = None,
        alpha_clamp: float | None = None,
    ) -> None:
        if not (isinstance(sigma, SigmaCache) or callable(sigma)):
            raise ParameterError(
                "sigma: expected a SigmaCache, or a function of depth and intrinsics such as "
                f"depthvar.precompute.sigma_z2, got {sigma!r}; open a cache by SigmaCache(path)"
            )
        if size is not None:
            rule = "(h, w) in pixels, two whole numbers of at least 1, or None"
            require("size", size, rule, np.shape(size) == (2,))
            height, width = (whole("size", side, rule, lambda pixels: pixels >= 1) for side in size)
            size = height, width
        zoom = number("zoom", zoom, "the smallest part of the largest crop, in (0, 1]", lambda part: 0 < part <= 1)
        seed = whole("seed", seed, "a whole number of 0 or more", lambda start: start >= 0)
        require("resize", resize, "'nearest' or 'median'", resize in ("nearest", "median"))
        self._params = {"lambda_prior": lambda_prior, "alpha_clamp": alpha_clamp}
        for name, value in self._params.items():
            is_used = value is None or isinstance(sigma, SigmaCache)
            require(name, value, "None with a function as sigma, which has its own", is_used)
        self.source = source
        self.sigma = sigma
        self.size = size
        self.augment = augment
        self.zoom = zoom
        self.resize = resize
        self._resize_depth = _load_resize() if resize == "median" else None
        self.seed = seed
        self._keys = source.keys()
        self._checked = False
        # In shared memory, so that workers which persist see the next epoch too.
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call] # a plain pickle carries the value alone

    def set_epoch(self, epoch: int) -> None:
        """Choose the augmentation of an epoch, 0 or more; call it before iterating, as with DistributedSampler."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._keys)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return a sample; IndexError beyond the last, SourceError for an image, and what source and cache raise."""
        index = range(len(self._keys))[index]
        frame = self.source.read(self._keys[index])
        native = frame.depth.shape[0], frame.depth.shape[1]
        size = self.size or native
        random = np.random.default_rng((self.seed, int(self._epoch), index)) if self.augment else None
        crop = choose_crop(native, size, self.zoom, random)
        depth = self._resized(frame, crop, size)
        valid = is_valid(depth, frame.max_depth)
        matrix = crop_intrinsics(frame.intrinsics, crop, size)
        if isinstance(self.sigma, SigmaCache):
            self._check_source(self.sigma, frame)
            sigma_z2 = self.sigma.sample(
                frame.key,
                matrix,
                size,
                "nearest" if self.resize == "nearest" else "linear",
                flip=crop.flip,
                valid=valid,
                **self._params,
            )
        else:
            sigma_z2 = self.sigma(depth, matrix)
        sample = {
            "depth": torch.from_numpy(np.where(valid, depth, np.float32(0))),
            "sigma_Z2": torch.from_numpy(sigma_z2),
            "valid": torch.from_numpy(valid),
            "intrinsics": torch.from_numpy(matrix.astype(np.float32)),
            "key": frame.key,
        }
        path = self.source.image_path(frame.key)
        if path is not None:
            sample["image"] = torch.from_numpy(_read_image(path, native, crop, size))
        return sample

    def _resized(self, frame: Frame, crop: Crop, size: tuple[int, int]) -> NDArray[np.float32]:
        """Return the depth (h, w) of a crop."""
        if self._resize_depth is None:
            return crop_nearest(frame.depth, crop, size)
        matrix = crop_intrinsics(frame.intrinsics, crop._replace(flip=False), size)
        depth = self._resize_depth(frame.depth, frame.intrinsics, matrix, size, self.resize)
        return np.ascontiguousarray(depth[:, ::-1]) if crop.flip else depth

    def _check_source(self, cache: SigmaCache, frame: Frame) -> None:
        """Raise ParameterError where the source has another camera, unit or maximum depth than the cache."""
        if not self._checked:
            params = cache.params
            stored = params["decode_rule"]
            rule = stored and self.source.describe().get("depth")  # nothing is known of a class of a user's own
            found = differences(stored, rule or stored)
            found = [difference for difference in found if difference[0] != "max_depth"]
            if farthest_depth(params["max_depth"]) != farthest_depth(self.source.max_depth):
                found.append(("max_depth", params["max_depth"], self.source.max_depth))
            if found:
                differs = ", ".join(f"{name} {old!r} (cache) and {new!r} (source)" for name, old, new in found)
                raise ParameterError(f"{cache.path}: expected depth as in {self.source}, got {differs}; {SAME}")
            self._checked = True
        stored_camera = cache.intrinsics(frame.key)
        pairs = zip(frame.intrinsics.tolist(), stored_camera.tolist(), strict=True)
        if not all(math.isclose(*pair, rel_tol=1e-6) for pair in pairs):
            raise ParameterError(
                f"{frame.key}: expected fx, fy, cx, cy as in {cache.path}, {stored_camera.tolist()}, got "
                f"{frame.intrinsics.tolist()} of the source; {SAME}"
            )


def _load_resize() -> Callable[..., NDArray[np.float32]]:
    """Return resize_depth; Numba and its compiled code are loaded here, for forked workers to inherit."""
    from depthvar.datasets.compiled import announced

    with announced("the resize of depth", 3):
        from depthvar.datasets.lookup.resize import resize_depth
    return resize_depth


def _read_image(path: str, native: tuple[int, int], crop: Crop, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return the (3, h, w) float32 image of the crop, in [0, 1]; SourceError where it doesn't fit the depth."""
    try:
        with Image.open(BytesIO(read_url(path)) if "://" in path else path) as image:
            full = image.height, image.width
            if not is_same_view(native, full):
                raise SourceError(
                    f"{path}: expected an image of the depth's aspect ratio, that of {native[1]}×{native[0]}, got "
                    f"{full[1]}×{full[0]}: register the depth to the image, or name no image"
                )
            box = image_box(crop, native, full)
            rgb = image if image.mode == "RGB" else image.convert("RGB")  # a copy, where it is RGB
            resized = rgb.resize(size[::-1], Image.Resampling.BICUBIC, box=box)
    except (SourceError, StoreError):
        raise
    except (OSError, SyntaxError) as error:  # Pillow raises both for damaged files
        raise SourceError(f"{path}: cannot be read as an image ({error}): is the data set complete?") from error
    pixels = np.asarray(resized)[:, :: -1 if crop.flip else 1]
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32) / np.float32(255)
