"""A data set on disk: its frames by key, decoded one at a time."""

import copy
import hashlib
import operator
import os
import re
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import DescriptionError, ParameterError, SourceError
from depthvar.datasets.frame import Frame
from depthvar.datasets.paths import key_text, root_path

from .containers import CONTAINERS, Member, Place
from .decode import FrameNumbers, read_shape, read_stored, to_depth
from .description import Description
from .files import Bucket, Files, Folder
from .listing import checked_keys
from .masks import read_masks
from .number_files import NumberFiles, number_files
from .source import Source, SourceStat
from .templates import key_template, path_pattern, sequence_of


class FrameFiles(NamedTuple):
    """A frame by its key: where its depth is, relative to the root, and what the placeholders of the layout stand for.

    ``member`` is what of the depth file is meant. ``read`` are all files that the frame is read from, relative to the
    root, each once.
    """

    key: str
    depth: str
    member: Member
    sequence: str
    fields: dict[str, str]
    read: tuple[str, ...]


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

    What a class in ``readers/`` overrides is below, each with what it is for descriptions alone.

    Attributes:
        finds_intrinsics: :meth:`intrinsics` needs no ``[intrinsics]``.
        on_disk_only: the root may not be a URL.
        more_files: templates of other files that a frame is read from.
    """

    finds_intrinsics: ClassVar[bool] = False
    on_disk_only: ClassVar[bool] = False
    more_files: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, name: str, description: Description, root: str | os.PathLike[str], mixed_sizes: bool = False
    ) -> None:
        if description.intrinsics is None and not self.finds_intrinsics:
            raise DescriptionError(
                f"{name}: no intrinsics: pass --intrinsics fx,fy,cx,cy in pixels (Python: intrinsics=), "
                "or describe the data in a .toml with [intrinsics] constant or file"
            )
        self.name = name
        self.description = description
        self._depth = rule = description.depth
        self._whole = Member(shape=rule.shape)  # of a file that holds one array
        self._needs_size = description.intrinsics is not None and description.intrinsics.needs_size
        self.max_depth = rule.max_depth
        where = root_path(root)
        self.root = where if isinstance(where, str) else Path(os.path.abspath(where))
        self.mixed_sizes = mixed_sizes
        self._located = lru_cache(maxsize=16)(self._locate)  # every step of a frame's work asks for them
        self._match = self._key_pattern().fullmatch
        read = [*(mask.file for mask in description.masks), *number_files(description), *self.more_files]
        self._templates = tuple(dict.fromkeys(read))
        every = description.depth_path, *self._templates
        self._bucket = Bucket(self.root, every) if isinstance(self.root, str) else None
        self._disk: Files = self._bucket or Folder(str(self.root))
        if self._bucket is not None and self.on_disk_only:
            raise DescriptionError(
                f"{self._bucket.url}: expected a folder, since {name} is not read at a URL: copy it to a disk"
            )
        self._in_head = CONTAINERS[rule.container].in_head
        camera = description.intrinsics
        self._has_camera = self._bucket is not None and camera is not None and camera.numbers is not None
        # Equal stats then also mean equal intrinsics, which are not read: another rule must be another stat.
        self._stat_begins = f"{camera}\0" if self._has_camera else ""
        self._sizes: dict[str, tuple[int, int]] = {}  # at a URL: what is taken for the size of a sequence's frames

    def __reduce__(self) -> tuple[Any, ...]:
        made = type(self), (self.name, self.description, self.root, self.mixed_sizes)
        if self._bucket is None or not self._bucket.is_part:
            return made
        return *made, {"_bucket": self._bucket, "_disk": self._bucket, "_sizes": self._sizes}

    def __str__(self) -> str:
        return str(self.root) if self._bucket is None else self._bucket.url

    @cached_property
    def _numbers(self) -> NumberFiles:
        return NumberFiles(self.description, self._disk, keep_all=self._bucket is not None)

    def holding(self, keys: Iterable[str]) -> Source:
        """Return this source for a worker that reads only these frames; at a URL it need not list anything."""
        if self._bucket is None:
            return self
        part = copy.copy(self)
        frames = [self._files(key) for key in keys]
        part._bucket = part._disk = self._bucket.part([path for files in frames for path in files.read])
        part.__dict__.pop("_numbers", None)
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
        template = self.description.depth_path
        return checked_keys(self._keys, str(self), template, lambda: self._disk.found_instead(template))

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
            return self._shape(files)
        if files.sequence not in self._sizes:
            self._sizes[files.sequence] = self._shape(files)
        return self._sizes[files.sequence]

    def intrinsics(self, key: str) -> NDArray[np.float64]:
        """Return (4,) float64 fx, fy, cx, cy in pixels; SourceError if their file is missing or wrong."""
        size = self.shape(key) if self._needs_size else None
        return self._numbers.camera(self._files(key).fields, size).copy()

    def image_path(self, key: str) -> str | None:
        """Return the path or URL of the frame's image; None where the description names no images."""
        template = self.description.image_path
        return None if template is None else f"{self.root}/{template.format_map(self._files(key).fields)}"

    def stat(self, key: str) -> SourceStat:
        """Return size, hash and newest modification time over every file that the frame is read from.

        Raises:
            SourceError: one of them is missing.
        """
        text, total_size, newest = self._stat_begins, 0, 0
        for path in self._read_from(self._files(key)):
            size, version, mtime_ns = self._disk.status(path)
            text += f"{path}\0{size}\0{version}\n"
            total_size += size
            if mtime_ns > newest:
                newest = mtime_ns
        digest = hashlib.sha256(text.encode()).digest()
        return SourceStat(total_size, int.from_bytes(digest[:8]) >> 1, newest, self._has_camera)

    def stored(self, key: str) -> NDArray[Any]:
        """Return (H, W) numbers as they are stored, before any unit; SourceError as :meth:`read`."""
        files = self._files(key)
        return read_stored(self._place(files.depth), self._depth, files.member)

    def read(self, key: str) -> Frame:
        """Return a decoded frame: 0 where unknown, ``+inf`` where far without a depth of its own.

        Raises:
            SourceError: a file of the frame is missing, damaged, or not as described.
        """
        files, rule = self._files(key), self._depth
        intrinsics, path = self.intrinsics(key), self._place(files.depth)
        stored = read_stored(path, rule, files.member)
        shape = stored.shape[0], stored.shape[1]
        if (size := self._sizes.get(files.sequence, shape)) != shape:
            raise DescriptionError(
                f"{path}: expected {size[0]}×{size[1]} pixels as in the first frame of its sequence, got {shape[0]}×"
                f"{shape[1]}: where frames of a sequence at a URL differ in size, pass --mixed-sizes (Python: "
                "mixed_sizes=True), which reads the header of each before"
            )
        usable, sky = read_masks(self.description.masks, self._disk.at, files.fields, shape)
        numbers = self._frame_numbers(files)
        try:
            depth = to_depth(stored, rule, intrinsics, usable, sky, numbers)
            return Frame(files.key, depth, intrinsics, rule.max_depth)
        except ParameterError as error:
            raise SourceError(f"{path}: {error}") from error

    def _shape(self, files: FrameFiles) -> tuple[int, int]:
        shape = self._header(files.depth, files.member)
        return shape if len(shape) == 2 else (shape[-2], shape[-1])  # a million frames may share one tuple

    def _header(self, file: str, member: Member | None = None) -> tuple[int, ...]:
        """Return (H, W) of a depth file, or (N, H, W) of one with many frames."""
        place = self._disk.head(file) if self._in_head else self._place(file)
        return read_shape(place, self._depth, member or Member(self._depth.key, None, stack=True))

    def _files(self, key: str) -> FrameFiles:
        return self._located(key if type(key) is str else key_text(key))

    def _locate(self, key: str) -> FrameFiles:
        match = self._match(key)
        if match is None or (self._depth.stack and not match["frame"].isdecimal()):
            raise SourceError(
                f"'{key}': expected the key of a frame of {self.name}, a path like "
                f"'{key_template(self.description.depth_path)}' relative to its root"
            )
        fields = match.groupdict("")
        depth, member = self._file_of(key, fields), self._member_of(fields)
        read: tuple[str, ...] = (depth,)
        if self._templates:
            read = (depth, *dict.fromkeys([template.format_map(fields) for template in self._templates]))
        return FrameFiles(key, depth, member, sequence_of(fields), fields, read)

    # The following are what classes in readers/ override.

    def _key_pattern(self) -> re.Pattern[str]:
        """Return the pattern that keys match, with a group for each placeholder."""
        return path_pattern(key_template(self.description.depth_path))

    def _keys(self) -> Iterable[str]:
        """Return the keys of all frames, in any order; OSError where a folder cannot be listed."""
        files = self._disk.list(self.description.depth_path)
        if not self._depth.stack:
            return files
        return [f"{file}/{index:06}" for file in files for index in range(self._header(file)[0])]

    def _file_of(self, key: str, fields: dict[str, str]) -> str:
        """Return the path of the depth file of a frame, relative to the root."""
        return key.rpartition("/")[0] if self._depth.stack else key

    def _member_of(self, fields: dict[str, str]) -> Member:
        """Return what of the depth file is meant."""
        rule = self._depth
        if not rule.stack and rule.key is None:
            return self._whole
        index = int(fields["frame"]) if rule.stack else None
        return Member(rule.key and rule.key.format_map(fields), index, rule.stack, rule.shape)

    def _place(self, file: str) -> Place:
        """Return where a depth file is, for its container."""
        return self._disk.at(file)

    def _read_from(self, files: FrameFiles) -> Iterable[str]:
        """Return the paths of all files whose change may change the frame, relative to the root."""
        return files.read

    def _frame_numbers(self, files: FrameFiles) -> FrameNumbers:
        """Return scale, baseline and offset of a frame; SourceError as :meth:`read`."""
        return self._numbers.of_frame(files.fields)
