"""UniDepth's and UniK3D's packed data sets: HDF5 files of PNGs, with lists of the frames and their cameras inside.

The layout is what ``unidepth/datasets/image_dataset.py`` and ``sequence_dataset.py`` of lpiccinelli-eth/UniDepth read.
The lists of ``name_0.hdf5`` are those of ``name_1.hdf5`` and so on, too.
"""

import os
import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import ParameterError, SourceError
from depthvar.datasets.source.camera import pinhole
from depthvar.datasets.source.containers import Member
from depthvar.datasets.source.depth_source import DepthSource, FrameFiles
from depthvar.datasets.source.templates import path_pattern, stays_below

from .unik3d_lists import Cameras, listed_cameras

FRAME = "/{frame}"  # the end of the path of depth: a path in the file


class UniK3D(DepthSource):
    """The frames that the lists in HDF5 files name. A key is the path of the file, and that of the depth in it."""

    finds_intrinsics = True
    on_disk_only = True

    def _key_pattern(self) -> re.Pattern[str]:
        file = path_pattern(self.description.depth_path.removesuffix(FRAME)).pattern
        return re.compile(rf"{file}/(?P<frame>[^/\\\0][^\\\0]*)")

    def _keys(self) -> Iterator[str]:
        for file in self._disk.list(self.description.depth_path.removesuffix(FRAME)):
            first, number = self._first(file)
            yield from (f"{file}/{path}" for of, path in self._cameras(first) if of == number and stays_below(path))

    def _file_of(self, key: str, fields: dict[str, str]) -> str:
        return key[: -len(fields["frame"]) - 1]

    def _member_of(self, fields: dict[str, str]) -> Member:
        return Member(fields["frame"])

    def _read_from(self, files: FrameFiles) -> tuple[str, ...]:
        return tuple({files.depth: None, self._first(files.depth)[0]: None})  # each once

    def _first(self, file: str) -> tuple[str, int]:
        """Return the file that holds the lists, and the number by which they mean this one."""
        found = re.fullmatch(r"(.*_)(\d+)(\.\w+)", file)
        first = f"{found[1]}0{found[3]}" if found else file
        return (first, int(found[2])) if found and os.path.exists(f"{self.root}/{first}") else (file, 0)

    def _cameras(self, first: str) -> Cameras:
        return listed_cameras(f"{self.root}/{first}", self._disk.status(first))

    def intrinsics(self, key: str) -> NDArray[np.float64]:
        """Return (4,) float64 fx, fy, cx, cy in pixels; SourceError where the lists have none, or wrong ones."""
        if self.description.intrinsics is not None:
            return super().intrinsics(key)
        files = self._files(key)
        first, number = self._first(files.depth)
        path = files.fields["frame"]
        try:
            numbers = np.array(self._cameras(first).get((number, path), ()), np.float64)
            if numbers.size not in (4, 9, 12):
                raise ParameterError(
                    f"expected a pinhole camera of 4, 9 or 12 numbers in the lists of the file, got {numbers.size}; "
                    "pass --intrinsics"
                )
            return pinhole(numbers if numbers.size == 4 else numbers.reshape(3, -1)[:, :3])
        except (ParameterError, TypeError, ValueError) as error:
            raise SourceError(f"{self.root}/{files.depth}: '{path}': {error}") from error
