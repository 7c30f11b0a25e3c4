"""A data set on disk: its frames by key, decoded one at a time."""

import hashlib
import operator
import os
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import CONTROL, DescriptionError, ParameterError, SourceError
from depthvar.datasets.frame import Frame
from depthvar.datasets.paths import is_url, key_text, spelling_hint

from .camera import read_intrinsics
from .decode import read_mask, read_shape, read_stored, to_depth
from .description import Description
from .source import Source, SourceStat
from .templates import found_instead, path_pattern, walk


class _Files(NamedTuple):
    """Where the files of a frame are, relative to the root; None: the description names no such file."""

    key: str
    sequence: str
    intrinsics: str | None
    mask: str | None
    image: str | None


class DepthSource(Source):
    """The frames of a data set below a root. The size of its pickle does not depend on their number.

    A frame's key is its depth file's path relative to the root, with forward slashes. Every method with a
    key raises SourceError where it does not match the layout of the data set.

    Args:
        name: the data set's name.
        description: what its files look like.
        root: the folder that the description's paths are relative to.

    Raises:
        DescriptionError: the description has no intrinsics.
        SourceError: the root is a URL.
    """

    def __init__(self, name: str, description: Description, root: str | Path) -> None:
        if description.intrinsics is None:
            raise DescriptionError(
                f"{name}: no intrinsics: pass --intrinsics fx,fy,cx,cy in pixels (Python: intrinsics=), "
                "or describe the data in a .toml with [intrinsics] constant or file"
            )
        if is_url(root) and not os.path.exists(root):
            raise SourceError(
                f"{root}: expected a folder, got a URL: depth is read from folders only; mount the bucket or copy the "
                "files, and pass that folder as --root (a cache may be a URL: --out)"
            )
        self.name = name
        self.description = description
        self.max_depth = description.depth.max_depth
        self.root = Path(os.path.abspath(Path(root).expanduser()))
        self._below = f"{self.root}/"
        self._located = lru_cache(maxsize=16)(self._locate)  # every step of a frame's work asks for them
        given = description.intrinsics
        camera_file = given if isinstance(given, str) else None
        self._constant = np.array([] if camera_file else given, np.float64)
        self._templates = camera_file, description.mask_path, description.image_path
        self._cameras: dict[str, tuple[tuple[int, int], NDArray[np.float64]]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return DepthSource, (self.name, self.description, self.root)

    def __str__(self) -> str:
        return str(self.root)

    def describe(self) -> dict[str, Any]:
        """Return the tables of its description, JSON-ready."""
        return self.description.to_dict()

    def keys(self) -> list[str]:
        """Return the sorted keys of all frames, listed on the first call.

        Symlinked folders are followed, but not in circles. Names that begin with a dot, and folders that end in
        ``.zarr``, are left out.

        Raises:
            SourceError: there is no frame, a folder cannot be read, or a name is not UTF-8.
        """
        return list(self._listing)

    @cached_property
    def _listing(self) -> list[str]:
        try:
            keys = sorted(walk(f"{self.root}/", "", tuple(self.description.depth_path.split("/")), frozenset()))
            "".join(keys).encode()
        except UnicodeEncodeError as error:
            name = next(key for key in keys if key.encode(errors="ignore").decode() != key)
            shown = os.fsencode(name).decode(errors="backslashreplace")
            raise SourceError(f"{self.root}/{shown}: expected a name in UTF-8, got other bytes; rename it") from error
        except OSError as error:
            raise SourceError(f"{error.filename}: cannot be listed ({error.strerror}): check the folder") from error
        if CONTROL.search("".join(keys)):
            name = next(key for key in keys if CONTROL.search(key))
            raise SourceError(f"{self.root / name}: expected no control characters in file names; rename the file")
        if not keys:
            raise SourceError(
                f"{self.root}: no depth file matches '{self.description.depth_path}', found "
                f"{found_instead(self.root, self.description.depth_path)}: "
                "check --root, or --pattern and the description"
            )
        return keys

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._listing)

    def __iter__(self) -> Iterator[Frame]:
        """Return an iterator over all frames in the order of :meth:`keys`."""
        return map(self.read, self._listing)

    def __getitem__(self, index: int) -> Frame:
        """Return a frame by its place in :meth:`keys`; IndexError beyond the last."""
        return self.read(self._listing[operator.index(index)])

    def sequence(self, key: str) -> str:
        """Return the path of the folders that hold the frame's sequence; empty where the layout has no sequences."""
        return self._files(key).sequence

    def shape(self, key: str) -> tuple[int, int]:
        """Return (H, W) of a frame, from the header of its depth file; SourceError as :meth:`read`."""
        return read_shape(self._below + self._files(key).key, self.description.depth)

    def intrinsics(self, key: str) -> NDArray[np.float64]:
        """Return (4,) float64 fx, fy, cx, cy in pixels; SourceError if their file is missing or wrong."""
        file = self._files(key).intrinsics
        if file is None:
            return self._constant.copy()
        path = self._below + file
        if "{frame}" in str(self.description.intrinsics):
            return read_intrinsics(path)
        status = _status(path)
        state = status.st_size, status.st_mtime_ns
        if self._cameras.get(path, (None,))[0] != state:
            self._cameras[path] = state, read_intrinsics(path)
        return self._cameras[path][1].copy()

    def image_path(self, key: str) -> str | None:
        """Return the path of the frame's image; None where the description names no images."""
        image = self._files(key).image
        return None if image is None else self._below + image

    def stat(self, key: str) -> SourceStat:
        """Return size, hash and newest modification time over every file that the frame is read from.

        Raises:
            SourceError: one of them is missing.
        """
        files = self._files(key)
        text, total_size, newest = "", 0, 0
        for path in (files.key, files.mask, files.intrinsics):
            if path is not None:
                status = _status(self._below + path)
                size, mtime_ns = status.st_size, status.st_mtime_ns
                text += f"{path}\0{size}\0{mtime_ns}\n"
                total_size += size
                newest = max(newest, mtime_ns)
        digest = hashlib.sha256(text.encode()).digest()
        return SourceStat(total_size, int.from_bytes(digest[:8]) >> 1, newest)

    def read(self, key: str) -> Frame:
        """Return a decoded frame: 0 where unknown, ``+inf`` where far without a depth of its own.

        Raises:
            SourceError: a file of the frame is missing, damaged, or not as described.
        """
        files, rule = self._files(key), self.description.depth
        intrinsics, path = self.intrinsics(key), self._below + files.key
        stored = read_stored(path, rule)
        shape = stored.shape[0], stored.shape[1]
        usable = None if files.mask is None else read_mask(self._below + files.mask, shape)
        try:
            return Frame(files.key, to_depth(stored, rule, intrinsics, usable), intrinsics, rule.max_depth)
        except ParameterError as error:
            raise SourceError(f"{path}: {error}") from error

    def _files(self, key: str) -> _Files:
        return self._located(key if type(key) is str else key_text(key))

    def _locate(self, key: str) -> _Files:
        match = path_pattern(self.description.depth_path).fullmatch(key)
        if match is None:
            raise SourceError(
                f"'{key}': expected the key of a frame of {self.name}, a path like '{self.description.depth_path}' "
                "relative to its root"
            )
        parts = {"sequence": "", **match.groupdict()}
        return _Files(key, parts["sequence"], *[path and path.format_map(parts) for path in self._templates])


def _status(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as error:
        raise SourceError(
            f"{path}: cannot be read ({error.strerror}){spelling_hint(path)}: is the data set complete below its root?"
        ) from error
