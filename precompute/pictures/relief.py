"""The relief of a depth map, which stands in for an image that is not there."""

import numpy as np
from numpy.typing import NDArray

STEEPEST = 0.97  # of the pixels that are less steep than what is drawn black


def relief(depth: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return (h, w, 3) uint8: dark where 1 / depth, which is affine on planes, is steep; white where unknown."""
    inverse = np.where(valid, 1 / np.where(valid, depth, 1), np.nan)
    if min(depth.shape) < 2:
        return np.full((*depth.shape, 3), 255, np.uint8)
    steep = np.nan_to_num(np.hypot(*np.gradient(inverse)), nan=0)
    known = steep[steep > 0]
    most = np.quantile(known, STEEPEST) if len(known) else 1
    grey = (255 * (1 - np.sqrt(np.clip(steep / most, 0, 1)))).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)
