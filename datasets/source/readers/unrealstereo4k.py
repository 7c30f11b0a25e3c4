"""UnrealStereo4K: the metres between its cameras are the distance of two poses."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import ParameterError, SourceError
from depthvar.datasets.source.decode import FrameNumbers
from depthvar.datasets.source.depth_source import DepthSource, FrameFiles
from depthvar.datasets.source.numbers import NumbersRule, read_table

POSE = ("line 2",)  # 3×4, world to camera, by rows; line 1 is K


class UnrealStereo4K(DepthSource):
    """The frames of UnrealStereo4K. The baseline is |C0 - C1|, the distance of the centres of both cameras."""

    more_files = ("{sequence}/Extrinsics0/{frame}.txt", "{sequence}/Extrinsics1/{frame}.txt")

    def _frame_numbers(self, files: FrameFiles) -> FrameNumbers:
        left, right = (self._centre(template.format_map(files.fields)) for template in self.more_files)
        baseline = float(np.linalg.norm(left - right))
        if not 0 < baseline < np.inf:
            raise SourceError(
                f"{self}/{files.depth}: expected two cameras with a distance above 0, got {baseline:g} m; fetch the "
                "files of its folders Extrinsics0 and Extrinsics1 again"
            )
        return replace(super()._frame_numbers(files), baseline=baseline)

    def _centre(self, file: str) -> NDArray[np.float64]:
        """Return where a camera is: C = -Rᵀ t."""
        place = self._disk.at(file)
        try:
            pose = read_table(place, NumbersRule(file, POSE)).numbers(POSE, None)
            if pose.size != 12:
                raise ParameterError(f"expected the 12 numbers of a pose in line 2, got {pose.size}")
        except ParameterError as error:
            raise SourceError(f"{place}: {error}; fetch the file again") from error
        rotation, translation = np.hsplit(pose.reshape(3, 4), [3])
        centre: NDArray[np.float64] = -(rotation.T @ translation).ravel()
        return centre
