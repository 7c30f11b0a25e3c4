"""A data set on disk: its frames by key, decoded one at a time."""

import copy
import hashlib
import operator
import os
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import CONTROL, DescriptionError, ParameterError, SourceError, StoreError
from depthvar.datasets.frame import Frame
from depthvar.datasets.paths import key_text, root_path

from .camera import read_intrinsics
from .decode import read_mask, read_shape, read_stored, to_depth
from .description import Description
from .files import Bucket, Files, Folder
from .source import Source, SourceStat
from .templates import path_pattern


class _Files(NamedTuple):
    """Where the files of a frame are, relative to the root; None: the description names no such file."""

    key: str
    sequence: str
    intrinsics: str | None
    mask: str | None
    image: str | None


class DepthSource(Source):
    """The frames of a data set below a root. The size of its pickle does not depend on their number.

    At a URL the files are listed once, when the frames are first asked for. A change after that is an error where it is
    met; open the source again to see it.

    A frame's key is its depth file's path relative to the root, with forward slashes. Every method with a
    key raises SourceError where it does not match the layout of the data set.

    Args:
        name: the data set's name.
        description: what its files look like.
        root: the folder or URL that the description's paths are relative to.
        mixed_sizes: see :func:`~depthvar.datasets.open_source`.

    Raises:
        DescriptionError: the description has no intrinsics.
        StoreError: the root is a URL that nothing opens here.
    """

    def __init__(
        self, name: str, description: Description, root: str | os.PathLike[str], mixed_sizes: bool = False
    ) -> None:
        if description.intrinsics is None:
            raise DescriptionError(
                f"{name}: no intrinsics: pass --intrinsics fx,fy,cx,cy in pixels (Python: intrinsics=), "
                "or describe the data in a .toml with [intrinsics] constant or file"
            )
        self.name = name
        self.description = description
        self.max_depth = description.depth.max_depth
        where = root_path(root)
        self.root = where if isinstance(where, str) else Path(os.path.abspath(where))
        self.mixed_sizes = mixed_sizes
        self._located = lru_cache(maxsize=16)(self._locate)  # every step of a frame's work asks for them
        given = description.intrinsics
        camera_file = given if isinstance(given, str) else None
        self._constant = np.array([] if camera_file else given, np.float64)
        self._templates = camera_file, description.mask_path, description.image_path
        self._camera = lru_cache(maxsize=1024)(lambda file, state: read_intrinsics(self._disk.at(file)))
        read = [path for path in (description.depth_path, *self._templates[:2]) if path is not None]
        self._bucket = Bucket(self.root, tuple(read)) if isinstance(self.root, str) else None
        self._disk: Files = self._bucket or Folder(str(self.root))
        self._has_camera = self._bucket is not None and camera_file is not None
        self._sizes: dict[str, tuple[int, int]] = {}  # at a URL: what is taken for the size of a sequence's frames

    def __reduce__(self) -> tuple[Any, ...]:
        made = DepthSource, (self.name, self.description, self.root, self.mixed_sizes)
        if self._bucket is None or not self._bucket.is_part:
            return made
        return *made, {"_bucket": self._bucket, "_disk": self._bucket, "_sizes": self._sizes}

    def __str__(self) -> str:
        return str(self.root) if self._bucket is None else self._bucket.url

    def holding(self, keys: Iterable[str]) -> Source:
        """Return this source for a worker that reads only these frames; at a URL it need not list anything."""
        if self._bucket is None:
            return self
        part = copy.copy(self)
        frames = [self._files(key) for key in keys]
        paths = [path for files in frames for path in (files.key, files.mask, files.intrinsics) if path is not None]
        part._bucket = part._disk = self._bucket.part(paths)
        part._sizes = {files.sequence: self._sizes[files.sequence] for files in frames if files.sequence in self._sizes}
        return part

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
            keys = sorted(self._disk.list(self.description.depth_path))
            "".join(keys).encode()
        except UnicodeEncodeError as error:
            name = next(key for key in keys if key.encode(errors="ignore").decode() != key)
            shown = os.fsencode(name).decode(errors="backslashreplace")
            raise SourceError(f"{self}/{shown}: expected a name in UTF-8, got other bytes; rename it") from error
        except StoreError:
            raise
        except OSError as error:
            raise SourceError(f"{error.filename}: cannot be listed ({error.strerror}): check the folder") from error
        if CONTROL.search("".join(keys)):
            name = next(key for key in keys if CONTROL.search(key))
            raise SourceError(f"{self}/{name}: expected no control characters in file names; rename the file")
        if not keys:
            raise SourceError(
                f"{self}: no depth file matches '{self.description.depth_path}', found "
                f"{self._disk.found_instead(self.description.depth_path)}: "
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
        """Return (H, W) of a frame, from the header of its depth file; SourceError as :meth:`read`.

        At a URL, without ``mixed_sizes``: of the frame of its sequence that was first asked for.
        """
        files = self._files(key)
        if self._bucket is None or self.mixed_sizes:
            return read_shape(self._disk.head(files.key), self.description.depth)
        if files.sequence not in self._sizes:
            self._sizes[files.sequence] = read_shape(self._disk.head(files.key), self.description.depth)
        return self._sizes[files.sequence]

    def intrinsics(self, key: str) -> NDArray[np.float64]:
        """Return (4,) float64 fx, fy, cx, cy in pixels; SourceError if their file is missing or wrong."""
        file = self._files(key).intrinsics
        if file is None:
            return self._constant.copy()
        if self._bucket is not None:
            return self._camera(file, self._bucket.listed(file)).copy()
        if "{frame}" in str(self.description.intrinsics):
            return read_intrinsics(self._disk.at(file))
        return self._camera(file, self._disk.status(file)).copy()

    def image_path(self, key: str) -> str | None:
        """Return the path or URL of the frame's image; None where the description names no images."""
        image = self._files(key).image
        return None if image is None else f"{self.root}/{image}"

    def stat(self, key: str) -> SourceStat:
        """Return size, hash and newest modification time over every file that the frame is read from.

        Raises:
            SourceError: one of them is missing.
        """
        files = self._files(key)
        text, total_size, newest = "", 0, 0
        for path in (files.key, files.mask, files.intrinsics):
            if path is not None:
                size, version, mtime_ns = self._disk.status(path)
                text += f"{path}\0{size}\0{version}\n"
                total_size += size
                if mtime_ns > newest:
                    newest = mtime_ns
        digest = hashlib.sha256(text.encode()).digest()
        return SourceStat(total_size, int.from_bytes(digest[:8]) >> 1, newest, self._has_camera)

    def stored(self, key: str) -> NDArray[Any]:
        """Return the (H, W) numbers in a depth file before any unit; SourceError as :meth:`read`."""
        return read_stored(self._disk.at(self._files(key).key), self.description.depth)

    def read(self, key: str) -> Frame:
        """Return a decoded frame: 0 where unknown, ``+inf`` where far without a depth of its own.

        Raises:
            SourceError: a file of the frame is missing, damaged, or not as described.
        """
        files, rule = self._files(key), self.description.depth
        intrinsics, path = self.intrinsics(key), self._disk.at(files.key)
        stored = read_stored(path, rule)
        shape = stored.shape[0], stored.shape[1]
        if (size := self._sizes.get(files.sequence, shape)) != shape:
            raise DescriptionError(
                f"{path}: expected {size[0]}×{size[1]} pixels as in the first frame of its sequence, got {shape[0]}×"
                f"{shape[1]}: where frames of a sequence at a URL differ in size, pass --mixed-sizes (Python: "
                "mixed_sizes=True), which reads the header of each before"
            )
        usable = None if files.mask is None else read_mask(self._disk.at(files.mask), shape)
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
