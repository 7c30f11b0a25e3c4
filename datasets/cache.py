"""SigmaCache: the reader of a cache. Picklable; opens its store lazily, once per process."""

import os
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .content import check_key
from .errors import CacheError, FrameNotFoundError, ParameterError, hide_credentials
from .format import (
    FAILED,
    NOT_DONE,
    GroupLayout,
    check_root,
    checked_array,
    decode_keys,
    find_node,
    level_name,
    level_shape,
)
from .shard import open_level, read_row

READ_ATTEMPTS = 10  # of a frame that runs compute again and again meanwhile


@dataclass
class _Group:
    """The open arrays of one group, and where each of its frames is."""

    node: Any
    layout: GroupLayout
    rows: dict[str, int]
    digests: Any  # the open array, and what it held
    digest: NDArray[np.uint8]
    intrinsics: NDArray[np.float64]
    levels: dict[int, Any] = field(default_factory=dict)

    def level(self, stride: int) -> Any:
        if stride not in self.levels:
            array = checked_array(self.node, level_name(stride), self.layout, (stride,))
            self.levels[stride] = open_level(array, self.layout, stride)
        return self.levels[stride]


class SigmaCache:
    """The σ² maps that ``precompute run`` wrote.

    Args:
        path: the cache, a folder or any URL that Zarr opens (``s3://…`` needs ``fsspec`` and its driver).
        root: the folder below which absolute paths are taken as keys; by default the one that holds the cache.

    Safe in DataLoader workers: a pickled or forked copy opens its own handles when first used.

    Raises:
        CacheError: at first use, where the path is no cache, is damaged, or of an unknown format version.
    """

    def __init__(self, path: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> None:
        self.path = os.fspath(path)
        self.root = Path(root) if root is not None else Path(hide_credentials(self.path)).parent
        self._pid: int | None = None
        self._node: Any = None
        self._attributes: dict[str, Any] = {}
        self._groups: dict[str, _Group | None] = {}
        self._by_sequence: dict[str, list[str]] = {}

    def __repr__(self) -> str:
        return f"SigmaCache({hide_credentials(self.path)!r}, root={str(self.root)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return SigmaCache, (self.path, self.root)

    def _open(self) -> dict[str, Any]:
        """Open the store in this process, and return the attributes of its root."""
        if self._pid != os.getpid():
            import zarr

            try:
                node = zarr.open_group(self.path, mode="r", zarr_format=3)
            except FileNotFoundError:
                raise CacheError(
                    f"{self.path}: no cache is there; write one with `precompute run`, or check the path"
                ) from None
            except Exception as error:  # whatever a damaged zarr.json or a remote store raises
                raise CacheError(f"{self.path}: cannot be opened as a Zarr group: {error}") from error
            attributes = check_root(node.attrs.asdict(), self.path)
            # The process id last: a thread that sees it finds the rest. Groups of the parent process are dropped.
            self._node, self._attributes, self._groups, self._by_sequence = node, attributes, {}, {}
            for name in attributes["groups"]:
                self._by_sequence.setdefault(_sequence(name), []).append(name)
            self._pid = os.getpid()
        return self._attributes

    @property
    def params(self) -> dict[str, Any]:
        """All that decided the stored values: window, lambda_prior, alpha_clamp, strides, max_depth and so on."""
        return dict(self._open()["parameters"])

    @property
    def strides(self) -> tuple[int, ...]:
        """The strides that are stored, ascending; 1 is always among them."""
        return tuple(self._open()["parameters"]["strides"])

    @property
    def attributes(self) -> dict[str, Any]:
        """The root's attributes: format, dataset, parameters, fingerprint, engine, software, source, groups."""
        return dict(self._open())

    def keys(self) -> list[str]:
        """Return the keys of all frames that can be read, by group and row."""
        found = (self._group(name) for name in self._open()["groups"])
        return [
            key
            for group in found
            if group is not None
            for key, row in group.rows.items()
            if group.digest[row].tobytes() not in (NOT_DONE, FAILED)
        ]

    def intrinsics(self, key: str | os.PathLike[str]) -> NDArray[np.float64]:
        """Return (4,) float64: the native fx, fy, cx, cy of a frame, in pixels."""
        group, row = self._find(self.relative_key(key))
        values: NDArray[np.float64] = group.intrinsics[row].copy()
        return values

    def shape(self, key: str | os.PathLike[str]) -> tuple[int, int]:
        """Return (H, W) of a frame at stride 1."""
        layout = self._find(self.relative_key(key))[0].layout
        return layout.height, layout.width

    def read(self, key: str | os.PathLike[str], stride: int = 1) -> NDArray[np.float32]:
        """Return the stored map of one frame.

        Args:
            key: the depth file's path relative to the root of the data set, or an absolute path below ``root``.
            stride: one of ``strides``: the σ² of ``depth[::stride, ::stride]`` with the intrinsics divided by it.

        Returns:
            (ceil(H / stride), ceil(W / stride)) float32, σ_Z² in m²; ``+inf`` where unknown or far.

        Raises:
            FrameNotFoundError: the cache does not list the frame, or has not computed it, or failed to.
            CacheError: the stored bytes are damaged or lost.
            ParameterError: the stride is not stored.
        """
        name = self.relative_key(key)
        if stride not in self.strides:
            raise ParameterError(f"stride: expected one of {self.strides}, got {stride}")
        group, row = self._find(name)
        return self._read(group, row, name, stride)

    def sample(
        self,
        key: str | os.PathLike[str],
        intrinsics: ArrayLike,
        size: Sequence[int],
        resize: Literal["nearest", "linear"] = "nearest",
        flip: bool = False,
        valid: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        """Return σ² at the pixels of a cropped and resized view of a frame.

        Args:
            key: as for ``read``.
            intrinsics: (3, 3) or (4,) of the view, in its pixels: they say what was cropped and resized.
            size: (h, w) of the view.
            resize: how the pipeline resized the depth. "nearest": like ``cv2.INTER_NEAREST``; "linear": at
                pixel centres.
            flip: the view was mirrored left to right after the crop and resize (intrinsics cannot say it).
            valid: (h, w) bool, where the view has depth. Elsewhere no time is spent on a pixel whose neighbours in
                the cache are invalid: it is ``+inf``.

        Returns:
            (h, w) float32, σ_Z² in m²; ``+inf`` where unknown, far or outside the frame.

        Raises:
            ParameterError: intrinsics that say something else than a crop and a zoom.
            FrameNotFoundError, CacheError: as for ``read``.
        """
        from .sample import sample  # loads numba, which reading does not need

        name = self.relative_key(key)
        for _ in range(READ_ATTEMPTS):
            group, row = self._find(name)
            view = sample(
                lambda stride, rows: self._read(group, row, name, stride, rows),  # noqa: B023 - called within this round
                self.strides,
                group.intrinsics[row].tolist(),
                (group.layout.height, group.layout.width),
                intrinsics,
                (int(size[0]), int(size[1])),
                resize,
                flip,
                self._open()["parameters"]["window"],
                valid,
            )
            # A run that computes a frame again takes its digest back first: while it stands, all levels are of one map.
            if read_row(group.digests, row) == group.digest[row].tobytes():
                return view
            self._groups.clear()
        raise CacheError(f"{self.path}: {key}: changes while it is read; wait until the run that writes it has ended")

    def annotate(
        self,
        view: MutableMapping[str, Any],
        key: str | os.PathLike[str],
        resize: Literal["nearest", "linear"] = "nearest",
        flip: bool = False,
    ) -> None:
        """Add σ² to a view of a DUSt3R-like loader, from its ``camera_intrinsics`` and its ``depthmap``'s shape.

        Sets ``view["sigma_Z2"]`` (h, w) float32 in m², and ``view["sigma_Z2_params"]``, float64
        [window, lambda_prior, alpha_clamp], by which a loss can check that it trains with what was computed.
        Where ``depthmap`` is not above 0, a pixel whose neighbours in the cache are invalid is ``+inf``.
        """
        depth = np.asarray(view["depthmap"])
        view["sigma_Z2"] = self.sample(key, view["camera_intrinsics"], depth.shape, resize, flip, depth > 0)
        params = self._open()["parameters"]
        view["sigma_Z2_params"] = np.array([params["window"], params["lambda_prior"], params["alpha_clamp"]])

    def relative_key(self, key: str | os.PathLike[str]) -> str:
        """Return a key as ``keys`` lists it; FrameNotFoundError for an absolute path that is not below ``root``."""
        text = os.fspath(key)
        if not os.path.isabs(text):
            tidy = "//" not in text and "./" not in text and text[-1:] not in ("/", ".")
            return text if tidy else PurePosixPath(text).as_posix()  # which takes longer than finding the frame
        for path, root in ((Path(text), self.root.absolute()), (Path(text).resolve(), self.root.resolve())):
            if path.is_relative_to(root):
                return path.relative_to(root).as_posix()
        raise FrameNotFoundError(f"{text}: not below the root {self.root}; pass root= to SigmaCache, or a relative key")

    def _find(self, key: str) -> tuple[_Group, int]:
        for name in self._candidates(key):
            group = self._group(name)
            if group is None or (row := group.rows.get(key)) is None:
                continue
            digest = group.digest[row].tobytes()
            if digest == FAILED:
                raise FrameNotFoundError(
                    f"{self.path}: {key} could not be read when the cache was written; mend the file and run "
                    "`precompute run` again"
                )
            if digest != NOT_DONE:
                return group, row
        raise FrameNotFoundError(
            f"{self.path}: frame {key!r} is not in the cache, or not computed yet; keys look like "
            f"{next(iter(self.keys()), '(the cache is empty)')!r}; `precompute run` adds what is missing"
        )

    def _candidates(self, key: str) -> Iterator[str]:
        """Yield all groups; first those of a sequence that the key begins with, so that a worker opens few of them."""
        names = self._open()["groups"]
        folder = key
        while folder:
            folder = folder.rpartition("/")[0]
            yield from self._by_sequence.get(folder, ())
        yield from (name for name in names if not key.startswith(_sequence(name) + "/"))

    def _group(self, name: str) -> _Group | None:
        """Return a group and its index, or None where a run has listed but not yet created it."""
        if name not in self._groups:
            where = f"{self.path}/{name}"
            try:
                node = find_node(self._node, name)
                if node is None or find_node(node, "digest") is None:
                    self._groups[name] = None
                    return None
                _, layout = GroupLayout.from_attributes(node.attrs.asdict(), where)
                digests = checked_array(node, "digest", layout)
                digest = digests[:]
                keys = decode_keys(checked_array(node, "key", layout)[: len(digest)])
                intrinsics = checked_array(node, "intrinsics", layout)[: len(digest)]
                done = digest.any(1) & (digest != FAILED[0]).any(1)
                if not _are_intrinsics(intrinsics[done]) or not all(compress(keys, done)):
                    raise ValueError("the intrinsics or keys of frames that are done are missing")
                for key in keys:
                    check_key(key, where)
            except CacheError:
                raise
            except Exception as error:
                raise CacheError(_damaged(where, error)) from error
            rows = {key: row for row, key in enumerate(keys) if key}
            self._groups[name] = _Group(node, layout, rows, digests, digest, intrinsics)
        return self._groups[name]

    def _read(self, group: _Group, row: int, key: str, stride: int, rows: slice = slice(None)) -> NDArray[np.float32]:
        """Return some rows of a map, not none; CacheError where one is damaged or lost."""
        height, width = level_shape(group.layout.height, group.layout.width, stride)
        where = f"{self.path}: {key}, stride {stride}"
        try:
            values: NDArray[np.float32] = np.asarray(group.level(stride)[row, rows], dtype=np.float32)
        except Exception as error:  # whatever codecs raise on damaged bytes
            raise CacheError(_damaged(where, error)) from error
        if values.shape != (len(range(height)[rows]), width) or not values.min() >= 0:
            raise CacheError(_damaged(where, "stored values are missing, or negative"))  # a NaN is the smallest
        return values


def _sequence(group: str) -> str:
    """Return the sequence that the name of a group begins with; a further size of frames follows behind an @."""
    return group.split("@")[0]


def _are_intrinsics(values: NDArray[np.float64]) -> bool:
    return bool(np.isfinite(values).all() and (values[:, :2] > 0).all())


def _damaged(where: str, error: object) -> str:
    return f"{where}: damaged ({error}); `precompute validate --clear` and then `precompute run` repair it"
