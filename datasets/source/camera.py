"""Intrinsics as data sets write them: four numbers, a 3×3 matrix, or a 4×4 one."""

import math
from codecs import BOM_UTF16_BE, BOM_UTF16_LE

import numpy as np
from numpy.typing import ArrayLike, NDArray

from depthvar.datasets.errors import ParameterError
from depthvar.datasets.frame import ROUNDING, as_intrinsics

from .containers import CONTAINERS, Member, OpenFile, Place, container_of, format_of, read_file, stream

MAX_TEXT_BYTES = 64 << 10
SAVE_K = "save K as .npy, or its numbers alone as text (what follows a # is left out)"


def pinhole(numbers: ArrayLike) -> NDArray[np.float64]:
    """Return intrinsics as (4,) float64 fx, fy, cx, cy in pixels.

    Args:
        numbers: 4 (fx fy cx cy), 9 (a 3×3 matrix by rows), or 16 (a 3×3 matrix in a 4×4 identity).

    Raises:
        ParameterError: another count, skew, a translation, or a focal length below one pixel or not finite.
    """
    given = np.asarray(numbers, dtype=np.float64).ravel()
    if given.size == 16:
        matrix = given.reshape(4, 4)
        if not np.allclose(matrix[[0, 1, 2, 3, 3, 3, 3], [3, 3, 3, 0, 1, 2, 3]], [0] * 6 + [1], rtol=0, atol=ROUNDING):
            raise ParameterError(
                f"intrinsics: expected 3×3 in a 4×4 identity, got {matrix.tolist()}; give the 3×3 part alone"
            )
        given = matrix[:3, :3].ravel()
    if given.size not in (4, 9):
        raise ParameterError(
            f"intrinsics: expected 4 (fx fy cx cy), 9 or 16 numbers, got {given.size}; "
            "give those alone, with decimal points"
        )
    intrinsics = as_intrinsics(given if given.size == 4 else given.reshape(3, 3))
    if intrinsics[:2].min() < 1:
        raise ParameterError(
            f"intrinsics: expected pixels, got fx {intrinsics[0]:g} and fy {intrinsics[1]:g}, which look "
            "normalised: multiply fx and cx by the width, fy and cy by the height"
        )
    return intrinsics


def read_intrinsics(path: Place) -> NDArray[np.float64]:
    """Return :func:`pinhole` of the numbers in a .npy or a text file (``#`` begins a comment).

    Blanks, tabs, commas, semicolons, brackets or line ends separate the numbers.

    Raises:
        SourceError: the file is missing, or holds something else or impossible intrinsics.
    """

    def read(file: OpenFile, start: bytes, size: int) -> NDArray[np.float64]:
        if container_of(path) == "npy":
            npy = CONTAINERS["npy"]
            header = npy.header(file, start, size, Member())
            if header.dtype.kind not in "iuf" or math.prod(header.shape) > 16:
                raise ParameterError(
                    f"expected 4, 9 or 16 numbers, got {header.dtype} of shape {header.shape}; save K alone"
                )
            return pinhole(npy.pixels(file, header, Member()))
        if found := format_of(start):
            raise _no_text(found)
        if size > MAX_TEXT_BYTES:
            raise _no_text(f"more than {MAX_TEXT_BYTES} bytes")
        if size <= len(start):  # as they are
            return pinhole(_numbers(start))
        with stream(file) as content:
            content.seek(0)
            return pinhole(_numbers(content.read(MAX_TEXT_BYTES)))

    return read_file(path, read, SAVE_K)


def _no_text(got: str) -> ParameterError:
    return ParameterError(f"expected a text file of 4, 9 or 16 numbers (or .npy), got {got}; {SAVE_K}")


def _numbers(content: bytes) -> list[float]:
    """Return the numbers in a text file, UTF-8, or UTF-16 with a byte-order mark; comments may have any encoding."""
    encoding = "utf-16" if content[:2] in (BOM_UTF16_LE, BOM_UTF16_BE) else "utf-8-sig"
    lines = (line.split("#")[0] for line in content.decode(encoding, errors="replace").splitlines())
    numbers = []
    for word in " ".join(lines).translate(str.maketrans(",;[](){}", " " * 8)).split():
        try:
            numbers.append(float(word))
        except ValueError:
            is_text = "\ufffd" not in word and word.isprintable()
            raise _no_text(f"the text {word[:40]!r}" if is_text else "binary data") from None
    return numbers
