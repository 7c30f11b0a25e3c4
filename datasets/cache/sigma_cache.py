"""SigmaCache: the reader of a cache. Picklable; opens its store lazily, once per process."""

import math
import os
import warnings
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from depthvar.datasets.errors import (
    CacheError,
    DepthVarError,
    FrameNotFoundError,
    ParameterError,
    hide_credentials,
    one_line,
)
from depthvar.datasets.frame import as_numbers
from depthvar.datasets.params import Estimator
from depthvar.datasets.paths import cache_path, folder_above, key_text, root_path
from depthvar.datasets.scalars import number, whole

from .format import DEPTH
from .index import OpenCache, OpenGroup
from .pinned import ChangedError
from .sweep import read_level, wanted_params

READ_ATTEMPTS = 10  # of a frame that runs compute again and again meanwhile

Value = TypeVar("Value")


class SigmaCache:
    """The σ² maps that ``precompute run`` wrote.

    Args:
        path: the cache, a folder or any URL that fsspec opens (``s3://…`` needs its driver, s3fs).
        root: the folder or URL of the data. Paths and URLs that lead below it are keys too. None: what holds the cache.
        read_cache: a folder on the local disk that keeps what is read from ``s3://…``, for all processes of this
            machine and for later ones. None: nothing is kept.
        read_cache_gb: the most that it may hold, in 10⁹ bytes; then the oldest entries are removed.

    Safe in DataLoader workers: a pickled or forked copy opens its own handles when first used. The compiled code of
    ``sample`` is loaded here (about a second; some 5 s when a machine compiles it for the first time), so that
    workers which are forked later have it already.

    Raises:
        ParameterError: a ``read_cache`` for a cache that is not at ``s3://…``: only there each answer has an ETag.
        CacheError: at first use, where the path is no cache, is damaged, or of an unknown format version; or the
            folder of the read cache cannot be created.

    Example:
        >>> from depthvar.datasets import SigmaCache
        >>> cache = SigmaCache("data/hospital-sample/sigma_Z2.zarr")
        >>> key = cache.keys()[0]
        >>> cache.read(key, stride=2).shape == cache.read(key)[::2, ::2].shape
        True
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        root: str | os.PathLike[str] | None = None,
        read_cache: str | os.PathLike[str] | None = None,
        read_cache_gb: float = 10,
    ) -> None:
        self.path = cache_path(path)
        gigabytes = number("read_cache_gb", read_cache_gb, "gigabytes, above 0", lambda size: 0 < size < math.inf)
        self.read_cache: tuple[str, float] | None = None
        if read_cache is not None:
            if not self.path.startswith(("s3://", "s3a://")):
                raise ParameterError(
                    "read_cache: expected a cache at s3://…, whose objects have ETags, got "
                    f"{hide_credentials(self.path)}; leave it out"
                )
            self.read_cache = os.path.abspath(os.path.expanduser(read_cache)), gigabytes
        self.root: Path | str | None = folder_above(self.path) if "://" in self.path else Path(self.path).parent
        if root is not None:
            self.root = root_path(root)
        self._below_root = f"{self.root}/".replace("//", "/")  # what a path below it begins with
        self._is_absolute = os.path.isabs(self._below_root)
        self._opened: OpenCache | None = None
        self._parameters: dict[str, Any] | None = None  # of the first opening: a reader never changes them
        self._look_up = _lookup()

    def __repr__(self) -> str:
        return f"SigmaCache({hide_credentials(self.path)!r}, root={self.root and hide_credentials(str(self.root))!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return SigmaCache, (self.path, self.root, *(self.read_cache or ()))

    def _open(self) -> OpenCache:
        """Return the cache as this process has opened it; CacheError where that is of other parameters by now."""
        opened = self._opened
        if opened is None or opened.pid != os.getpid():  # the handles of a parent process are not ours
            read_cache = self.read_cache and (self.read_cache[0], int(self.read_cache[1] * 1e9))
            opened = OpenCache(self.path, self._parameters, read_cache)
            self._opened, self._parameters = opened, opened.parameters
        return opened

    def _take(
        self, key: str | os.PathLike[str], take: Callable[[str, OpenGroup, int], Value], of_maps: bool = False
    ) -> Value:
        """Return what ``take`` reads of a frame, given its relative key, group and row: all of one state of the cache.

        Maps by ETags are of one state without a further look. A file's tag says less: its digest is read again.

        Raises:
            FrameNotFoundError: the cache has no σ² of the frame.
            CacheError: the cache was removed, is damaged, of other parameters by now, or changes again and again.
            ParameterError: by ``take``.
        """
        asked = self.relative_key(key)
        for _ in range(READ_ATTEMPTS):
            name, group, row = self._open().find(asked)
            try:
                value = take(name, group, row)
            except ChangedError:
                pass
            except DepthVarError:
                if group.is_current(row):
                    raise
            else:
                if (of_maps and group.has_etags) or group.is_current(row):
                    return value
            self._opened = None  # its root, too: the whole cache may have been computed again
        raise CacheError(f"{self.path}: {key}: changes while it is read; wait until the run that writes it has ended")

    @property
    def params(self) -> dict[str, Any]:
        """All that decided the stored values, such as estimator, window, lambda_prior, strides and max_depth."""
        return dict(self._open().parameters)

    @property
    def strides(self) -> tuple[int, ...]:
        """The strides that are stored, ascending; 1 is always among them."""
        return self._open().strides

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes of the root (format, dataset, parameters, fingerprint, engine, software, source, groups)."""
        return dict(self._open().attributes)

    def keys(self) -> list[str]:
        """Return the keys of all frames that can be read, by group and row."""
        return self._open().keys()

    def intrinsics(self, key: str | os.PathLike[str]) -> NDArray[np.float64]:
        """Return (4,) float64: the native fx, fy, cx, cy of a frame, in pixels."""
        return self._take(key, lambda _, group, row: group.intrinsics[row].copy())

    def shape(self, key: str | os.PathLike[str]) -> tuple[int, int]:
        """Return (H, W) of a frame at stride 1."""
        return self._take(key, lambda _, group, row: (group.layout.height, group.layout.width))

    def _wanted(self, lambda_prior: float | None, alpha_clamp: float | None) -> Estimator:
        opened = self._open()
        return wanted_params(opened.estimator, opened.keep, opened.path, lambda_prior, alpha_clamp)

    def read(
        self,
        key: str | os.PathLike[str],
        stride: int = 1,
        *,
        lambda_prior: float | None = None,
        alpha_clamp: float | None = None,
    ) -> NDArray[np.float32]:
        """Return the map of one frame.

        Args:
            key: the depth file's path relative to the root of the data set, or a path that leads below ``root``.
            stride: one of ``strides``: the σ² of ``depth[::stride, ::stride]`` with the intrinsics divided by it.
            lambda_prior, alpha_clamp: of a cache that was computed with ``--keep edge``: σ² as with these, of the
                ranges of :class:`~depthvar.precompute.KernelParams` (docs/sweeps.md). None: as the cache was computed.

        Returns:
            (ceil(H / stride), ceil(W / stride)) float32, σ_Z² in m²; ``+inf`` where unknown or far.

        Raises:
            FrameNotFoundError: the cache does not list the frame, or has not computed it, or failed to.
            CacheError: the stored bytes are damaged, lost or cannot be read; or the cache has been computed again with
                other parameters since this reader first read it.
            ParameterError: the stride is not stored; or σ² of other parameters is asked of a cache without what it
                needs, or out of range.
        """
        strides, stored = self.strides, self._open().estimator
        stride = whole("stride", stride, f"one of {strides}", lambda number: number in strides)
        wanted, rows = self._wanted(lambda_prior, alpha_clamp), slice(None)
        return self._take(
            key,
            lambda name, group, row: read_level(group, row, stride, f"{self.path}: {name}", rows, stored, wanted),
            of_maps=True,
        )

    def depth(self, key: str | os.PathLike[str]) -> NDArray[np.float32]:
        """Return the stored depth of one frame, of a cache that was computed ``with_depth``.

        Args:
            key: as for ``read``.

        Returns:
            (H, W) float32 in metres: 0 where unknown, ``+inf`` where far without a depth.

        Raises:
            FrameNotFoundError, CacheError: as for ``read``; or the cache holds no depth.
        """
        if not self.params["with_depth"]:
            raise CacheError(f"{self.path}: holds no depth; `precompute run --overwrite --with-depth` stores it")
        return self._take(
            key, lambda name, group, row: group.read(row, 1, f"{self.path}: {name}", quantity=DEPTH), of_maps=True
        )

    def sample(
        self,
        key: str | os.PathLike[str],
        intrinsics: ArrayLike,
        size: Sequence[int],
        resize: Literal["nearest", "linear"] = "nearest",
        flip: bool = False,
        valid: NDArray[np.bool_] | None = None,
        *,
        lambda_prior: float | None = None,
        alpha_clamp: float | None = None,
    ) -> NDArray[np.float32]:
        """Return σ² at the pixels of a cropped and resized view of a frame.

        Args:
            key: as for ``read``.
            intrinsics: (3, 3) or (4,) of the view, in its pixels: they define the crop and the resize.
            size: (h, w) of the view.
            resize: how the pipeline resized the depth. "nearest": like ``cv2.INTER_NEAREST``; "linear": at
                pixel centres.
            flip: the view was mirrored left to right after the crop and resize (intrinsics cannot show that).
            valid: (h, w) bool, where the view has depth. Elsewhere no time is spent on a pixel whose neighbours in
                the cache are invalid: it is ``+inf``.
            lambda_prior, alpha_clamp: as for ``read``.

        Returns:
            (h, w) float32, σ_Z² in m²; ``+inf`` where unknown, far or outside the frame.

        Raises:
            ParameterError: the intrinsics are not those of a crop and a zoom; or as for ``read``.
            FrameNotFoundError, CacheError: as for ``read``.
        """
        opened, wanted = self._open(), self._wanted(lambda_prior, alpha_clamp)
        stored = opened.estimator
        return self._take(
            key,
            lambda name, group, row: self._look_up(
                lambda stride, rows: read_level(group, row, stride, f"{self.path}: {name}", rows, stored, wanted),
                opened.strides,
                group.intrinsics[row].tolist(),
                (group.layout.height, group.layout.width),
                intrinsics,
                size,
                resize,
                flip,
                stored.window,
                valid,
                opened.each,
            ),
            of_maps=True,
        )

    def annotate(
        self,
        view: MutableMapping[str, Any],
        key: str | os.PathLike[str],
        resize: Literal["nearest", "linear"] = "nearest",
        flip: bool = False,
        *,
        lambda_prior: float | None = None,
        alpha_clamp: float | None = None,
    ) -> None:
        """Add σ² to a view of a DUSt3R-like loader, from its ``camera_intrinsics`` and its ``depthmap``'s shape.

        Sets ``view["sigma_Z2"]`` (h, w) float32 in m², and ``view["sigma_Z2_params"]``, float32
        [window, lambda_prior, alpha_clamp], by which a loss can check that it trains with what was computed.
        Where ``depthmap`` is not above 0, a pixel whose neighbours in the cache are invalid is ``+inf``.
        ``lambda_prior`` and ``alpha_clamp`` are as for ``read``.

        Warns (UserWarning) where the view has depth, but no pixel of it a finite σ²: it would train with weight 0; and
        where more than 1 % of its depth lies outside of the native frame.
        """
        if not isinstance(view, (dict, MutableMapping)) or not {"depthmap", "camera_intrinsics"} <= view.keys():
            got = sorted(map(str, view)) if isinstance(view, MutableMapping) else type(view).__name__
            raise ParameterError(f"view: expected a dict with 'depthmap' and 'camera_intrinsics', got {got}")
        depth = as_numbers("depthmap", view["depthmap"])
        if depth.ndim != 2:
            raise ParameterError(
                f"depthmap: expected one view (h, w), got shape {depth.shape}; annotate views before they are collated"
            )
        valid = depth > 0
        params = self._wanted(lambda_prior, alpha_clamp)
        sigma_z2 = view["sigma_Z2"] = self.sample(
            key, view["camera_intrinsics"], depth.shape, resize, flip, valid,
            lambda_prior=lambda_prior, alpha_clamp=alpha_clamp,
        )  # fmt: skip
        opened = self._open()
        if sigma_z2[::16, ::16].min() == np.inf and sigma_z2.min() == np.inf and valid.any():  # a few pixels first
            warnings.warn(_no_values(key, int(valid.sum()), opened.parameters["max_depth"]), stacklevel=2)
        stated = params.window, params.lambda_prior, params.alpha_clamp
        view["sigma_Z2_params"] = np.array(stated, np.float32)  # DUSt3R-like bases refuse float64

    def relative_key(self, key: str | os.PathLike[str]) -> str:
        """Return a key as ``keys`` lists it, of a key or of a path or URL that leads below ``root``.

        A relative path that begins with a relative root (``data/x/a/0.npy`` for a cache in ``data/x``) is one below the
        root, unless the cache lists that very key.

        Raises:
            FrameNotFoundError: an absolute path or a URL that is not below ``root``, its links resolved or not.
            ParameterError: it is no text and no path.
        """
        text, is_url = key_text(key), False
        if "//" in text or "./" in text or text[-1:] in ("/", "."):
            is_url = "://" in text
            text = PurePosixPath(text).as_posix()  # slower than finding the frame; ".." stays
        if self.root is not None and text.startswith(self._below_root):
            below = text[len(self._below_root) :]
            if ".." not in below:
                return below if self._is_absolute or not self._open().groups_near(text) else text
        if not (is_url or os.path.isabs(text)):
            return text
        if self.root is None:
            raise FrameNotFoundError(
                f"{key}: {hide_credentials(self.path)} has no root; pass root= to SigmaCache, or a relative key"
            )
        for seen_from_here in (Path.resolve,) if ".." in text else (Path.absolute, Path.resolve):
            if is_url or isinstance(self.root, str):
                break
            path, root = seen_from_here(Path(text)), seen_from_here(self.root)
            if path.is_relative_to(root):
                return path.relative_to(root).as_posix()
        raise FrameNotFoundError(f"{key}: not below the root {self.root}; pass root= to SigmaCache, or a relative key")


def _lookup() -> Callable[..., NDArray[np.float32]]:
    """Return what ``sample`` runs; Numba and its compiled code are loaded in the process that makes a reader."""
    from depthvar.datasets.compiled import announced

    with announced("the lookup of σ²", 4):
        from depthvar.datasets.lookup.sample import sample
    return sample


def _no_values(key: str | os.PathLike[str], pixels: int, max_depth: float | None) -> str:
    beyond = "" if max_depth is None else f", or all of its depth is beyond the maximum of {max_depth:g} m"
    return one_line(
        f"{os.fspath(key)}: σ² is +inf at every pixel of a view with depth at {pixels}, so it trains with weight 0: "
        "camera_intrinsics point outside of the frame (a mirrored view with fx < 0 has cx' = w - 1 - cx), the key is "
        f"that of another frame{beyond}"
    )
