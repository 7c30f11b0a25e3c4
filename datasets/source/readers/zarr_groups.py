"""Zarr groups with an array of depth, whose first axis counts frames."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import ParameterError
from depthvar.datasets.source.camera import pinhole
from depthvar.datasets.source.containers import Opened, open_zarr, read_file, zarr_attribute, zarr_chunks, zarr_values
from depthvar.datasets.source.depth_source import DepthSource, FrameFiles
from depthvar.datasets.source.templates import key_template, path_pattern

METADATA = ("zarr.json", ".zarray", ".zattrs")  # of version 3, and of version 2
ONE = (4,), (3, 3)  # shapes of a camera


class ZarrGroups(DepthSource):
    """The frames of all arrays that match the path of depth, in which ``{sequence}`` may also be no folder.

    An array ``intrinsics`` next to the depth, or else an attribute of the group, has the shape (4,) or (3, 3) in
    pixels, or (N, 4) or (N, 3, 3) with one for each frame. A chunk that is not there holds the array's fill value.
    """

    finds_intrinsics = True
    on_disk_only = True

    def _key_pattern(self) -> re.Pattern[str]:
        path = self.description.depth_path
        below = path_pattern(key_template(path.removeprefix("{sequence}/"))).pattern
        folders = f"(?:{path_pattern('{sequence}').pattern}/)?" if path.startswith("{sequence}/") else ""
        return re.compile(folders + below)

    def _keys(self) -> Iterator[str]:
        path = self.description.depth_path
        for template, name in product({path, path.removeprefix("{sequence}/")}, METADATA[:2]):
            for found in self._disk.list(f"{template}/{name}"):
                file = found.removesuffix(f"/{name}")
                yield from (f"{file}/{index:06}" for index in range(self._header(file)[0]))

    def _place(self, file: str) -> Opened:
        return Opened(f"{self.root}/{file}", lambda: self._kept(open_zarr, file))

    def _kept(self, read: Callable[[str], Any], folder: str, chunks: Iterable[str] = ()) -> Any:
        """Return what is read of a folder, which this process keeps as long as its metadata and chunks are the same."""
        states = [self._disk.status(path) for path in self._there(folder, chunks)]
        return _read(read, f"{self.root}/{folder}", os.getpid(), tuple(states))

    def _there(self, folder: str, chunks: Iterable[str] = ()) -> list[str]:
        """Return the paths of a folder's metadata and chunks, those that are there."""
        paths = [f"{folder}/{name}".lstrip("/") for name in (*METADATA, *chunks)]
        return [path for path in paths if os.path.lexists(f"{self.root}/{path}")]

    def _chunks(self, file: str, index: int | None = None) -> list[str]:
        return read_file(self._place(file), lambda array, *_: zarr_chunks(array, index))

    def _read_from(self, files: FrameFiles) -> list[str]:
        group, camera = self._camera_of(files)
        depth = self._there(files.depth, self._chunks(files.depth, int(files.fields["frame"])))
        return [*depth, *self._there(group), *(self._there(camera, self._chunks(camera)) if camera else ())]

    def _camera_of(self, files: FrameFiles) -> tuple[str, str]:
        """Return the group of a frame, and its array of intrinsics; empty where there is none."""
        group = files.depth.rpartition("/")[0]
        camera = f"{group}/intrinsics".lstrip("/")
        return group, camera if self._there(camera) else ""

    def intrinsics(self, key: str) -> NDArray[np.float64]:
        """Return (4,) float64 fx, fy, cx, cy in pixels; SourceError where the group has none, or wrong ones."""
        if self.description.intrinsics is not None:
            return super().intrinsics(key)
        files = self._files(key)
        group, camera = self._camera_of(files)
        index, count = int(files.fields["frame"]), self._header(files.depth)[0]

        def values() -> Any:
            return self._kept(zarr_values, camera, self._chunks(camera)) if camera else self._kept(_attribute, group)

        def pick(stored: Any, *_: Any) -> NDArray[np.float64]:
            if index >= count:
                raise ParameterError(f"expected a frame from 0 to {count - 1}, got {index}; list the frames again")
            if stored.shape in ONE:
                return pinhole(stored)
            if stored.shape[:1] != (count,) or stored.shape[1:] not in ONE:
                shapes = f"(4,), (3, 3), ({count}, 4) or ({count}, 3, 3)"
                raise ParameterError(f"expected intrinsics of shape {shapes}, got {stored.shape}; pass --intrinsics")
            return pinhole(stored[index])

        return read_file(Opened(f"{self.root}/{camera or group}".rstrip("/"), values), pick)


@lru_cache(maxsize=64)
def _read(read: Callable[[str], Any], path: str, process: int, states: tuple[Any, ...]) -> Any:
    return read(path)


def _attribute(path: str) -> NDArray[Any]:
    stored = zarr_attribute(path, "intrinsics")
    try:
        return np.asarray(() if stored is None else stored, np.float64)
    except (TypeError, ValueError):
        raise ParameterError(f"expected numbers as attribute intrinsics, got {repr(stored)[:60]}; correct it") from None
