"""Intrinsics as data sets write them: four numbers, a 3×3 matrix, or a 4×4 one."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from depthvar.datasets.errors import ParameterError
from depthvar.datasets.frame import as_intrinsics

from .decode import CONTAINERS, reading

MAX_TEXT_BYTES = 64 << 10


def pinhole(numbers: ArrayLike) -> NDArray[np.float64]:
    """Return intrinsics as (4,) float64 fx, fy, cx, cy in pixels.

    Args:
        numbers: 4 of them (fx fy cx cy), 9 (a 3×3 matrix by rows), or 16 (a 4×4 identity that holds one).

    Raises:
        ParameterError: another count, skew, a translation, or a focal length below one pixel or not finite.
    """
    given = np.asarray(numbers, dtype=np.float64).ravel()
    if given.size == 16:
        matrix = given.reshape(4, 4)
        if matrix[:3, 3].any() or (matrix[3] != (0, 0, 0, 1)).any():
            raise ParameterError(f"intrinsics: expected 3×3 in a 4×4 identity, got {matrix.tolist()}")
        given = matrix[:3, :3].ravel()
    if given.size not in (4, 9):
        raise ParameterError(f"intrinsics: expected 4 (fx fy cx cy), 9 or 16 numbers, got {given.size}")
    intrinsics = as_intrinsics(given if given.size == 4 else given.reshape(3, 3))
    if intrinsics[:2].min() < 1:
        raise ParameterError(
            f"intrinsics: expected pixels, got fx {intrinsics[0]:g} and fy {intrinsics[1]:g}, which look "
            "normalised: multiply fx and cx by the width, fy and cy by the height"
        )
    return intrinsics


def read_intrinsics(path: str | Path) -> NDArray[np.float64]:
    """Return what :func:`pinhole` makes of the numbers in a .npy or a text file (``#`` begins a comment).

    Raises:
        SourceError: the file is missing, holds something else, or impossible intrinsics.
    """
    with reading(path) as file:
        if Path(path).suffix == ".npy":
            npy = CONTAINERS["npy"]
            header = npy.header(file)
            if header.dtype.kind not in "iuf" or math.prod(header.shape) > 16:
                raise ValueError(f"expected 4, 9 or 16 numbers, got {header.dtype} of shape {header.shape}")
            return pinhole(npy.pixels(file, header))
        text = file.read(MAX_TEXT_BYTES + 1)
        if len(text) > MAX_TEXT_BYTES:
            raise ValueError(f"expected at most {MAX_TEXT_BYTES} bytes of text, got more")
        lines = (line.split("#")[0].replace(",", " ") for line in text.decode().splitlines())
        return pinhole([float(word) for line in lines for word in line.split()])
