"""Codes of stored values: what a data set packs into the pixels of an image, unpacked into numbers.

The rules are those of datasets and their toolboxes: ``rgb24`` of UniK3D's HDF5 files, ``rotate3`` of SUN RGB-D (the
three low bits of millimetres are stored as the highest), ``log`` of MoGe's PNG files, ``kinect`` of the raw frames of
NYU Depth v2.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import ParameterError

ENCODINGS = ("rgb24", "rotate3", "log", "kinect")
DTYPES = {"rgb24": "uint8", "rotate3": "uint16", "log": "uint16", "kinect": "uint16"}
FAR_CODES = {"log": (np.inf,)}  # what a code has for pixels without a depth that are far
LOG_FAR = 65535  # MoGe: 0 is unknown, 65535 far, and 1 to 65534 are depth
KINECT = 351.3, 1092.5  # of the toolbox of NYU Depth v2: metres = 351.3 / (1092.5 - code)


def unpack(stored: NDArray[Any], encoding: str, text: Mapping[str, str]) -> NDArray[Any]:
    """Return the numbers that coded pixels stand for.

    Args:
        stored: (H, W, 3) uint8 for ``rgb24``, else (H, W) uint16.
        encoding: one of :data:`ENCODINGS`.
        text: of the PNG file; ``log`` needs ``near`` and ``far``, metres, and may have ``unit``, a factor.

    Returns:
        (H, W): uint32 for ``rgb24``, uint16 for ``rotate3``, float32 metres for the others (0 where unknown, ``+inf``
        where far).

    Raises:
        ParameterError: ``near`` or ``far`` is missing, or not a distance.
    """
    if encoding == "rgb24":
        red, green, blue = np.moveaxis(stored.astype(np.uint32), -1, 0)
        return np.asarray(red | green << 8 | blue << 16)
    if encoding == "rotate3":
        return np.asarray((stored >> 3) | (stored << 13))
    if encoding == "kinect":
        scale, offset = KINECT
        codes = stored.byteswap().astype(np.float32)  # the files hold little-endian numbers in a big-endian format
        with np.errstate(divide="ignore"):
            return np.asarray(np.float32(scale) / (np.float32(offset) - codes))
    near, far = _distance(text, "near"), _distance(text, "far")
    unit = _distance(text, "unit") if "unit" in text else 1.0
    table = _log_table(near, far, unit)
    depth: NDArray[np.float32] = table[stored]
    return depth


def _log_table(near: float, far: float, unit: float) -> NDArray[np.float32]:
    """Return the depth of every code: near^(1 - x) far^x with x = (code - 1) / 65533."""
    x = (np.arange(65536) - 1) / (LOG_FAR - 2)
    table = unit * near ** (1 - x) * far**x
    table[0], table[LOG_FAR] = 0, np.inf
    return table.astype(np.float32)


def _distance(text: Mapping[str, str], name: str) -> float:
    try:
        value = float(text[name])
    except (KeyError, ValueError):
        value = np.nan
    if not 0 < value < np.inf:
        got = repr(text[name]) if name in text else "none"
        raise ParameterError(
            f"expected the PNG's text {name!r} to be a distance, which its logarithmic code needs, got {got}; "
            "write it with MoGe's tools, or correct [depth] encoding"
        )
    return value
