"""How well planes explain depth, under one reading of the stored numbers or another.

In a pinhole image of a plane, 1 / z is an affine function of the pixel, whatever the plane and the focal length. So
where a window of the image shows a plane, the right reading of the stored numbers makes 1 / z affine there, and a
wrong one bends it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BLOCKS = 8  # along a side of a window; each is the mean of its pixels, which averages noise
WINDOWS = (2.0, 3.0, 4.5, 6.5)  # how many of them fit in the shorter side of the frame
FILLED = 0.7  # of the blocks of a window, which need
SAMPLES = 0.05  # of their pixels
FLAT = 0.01  # largest error of a window that counts as a plane, relative to depth
FLOOR = 1e-4  # error below which two readings are equally good
BETTER = 1.5  # by this factor of the mean square, with about 60 blocks and 3 parameters

Map = NDArray[np.float64]


def plane_errors(parts: Sequence[Map], readings: Map, known: NDArray[np.bool_]) -> tuple[Map, Map]:
    """Fit a plane to every window, once for each reading.

    Args:
        parts: (h, w) each; log z of a reading is a sum of them.
        readings: (readings, parts) factors of that sum.
        known: (h, w) bool.

    Returns:
        (N, readings): the mean square of the relative error of z; and the variance of log z. N windows, maybe 0.
    """
    found = [_of_size(parts, readings, known, int(min(known.shape) / fit / BLOCKS)) for fit in WINDOWS]
    errors, spreads = ([np.empty((0, len(readings))), *(pair[i] for pair in found if pair)] for i in (0, 1))
    return np.concatenate(errors), np.concatenate(spreads)


def _of_size(parts: Sequence[Map], readings: Map, known: NDArray[np.bool_], block: int) -> tuple[Map, Map] | None:
    if block < 2:
        return None
    counts = _block_sums(known.astype(np.float64), block)
    good = counts >= max(2.0, SAMPLES * block * block)
    if min(good.shape) < BLOCKS:
        return None
    weight = _windows(good.astype(np.float64))
    kept = weight.mean(1) >= FILLED
    weight = weight[kept]
    if not len(weight):
        return None
    counts = np.maximum(counts, 1)
    # A block that is known in part is where its known pixels are, not at its centre.
    places = np.broadcast_arrays(*np.ogrid[: known.shape[0], : known.shape[1]])
    means = [_windows(_block_sums(np.where(known, part, 0), block) / counts)[kept] for part in (*parts, *places)]
    down, across = ((each - each.mean(1, keepdims=True)) / (BLOCKS * block) for each in means[len(parts) :])
    basis = np.stack([np.ones_like(down), down, across], -1)
    logs = np.tensordot(readings, np.stack(means[: len(parts)]), 1)
    fits = [_fit(log_z, weight, basis) for log_z in logs]
    return np.stack([error for error, _ in fits], 1), np.stack([spread for _, spread in fits], 1)


def _fit(log_z: Map, weight: Map, basis: Map) -> tuple[Map, Map]:
    """Return mean square error and variance of (N, blocks) log z for the least-squares plane in 1 / z."""
    total = weight.sum(1)
    log_z = log_z - ((log_z * weight).sum(1) / total)[:, None]
    inverse = np.exp(-np.clip(log_z, -3, 3))
    by = weight / inverse**2  # errors relative to depth
    normal = np.einsum("ni,nia,nib->nab", by, basis, basis) + 1e-9 * np.eye(3)
    right = np.einsum("ni,nia,ni->na", by, basis, inverse)
    plane = np.einsum("nia,na->ni", basis, np.linalg.solve(normal, right[..., None])[..., 0])
    error = plane / inverse - 1
    return (error * error * weight).sum(1) / (total - 3), (log_z * log_z * weight).sum(1) / total


def _block_sums(values: Map, block: int) -> Map:
    height, width = (side // block for side in values.shape)
    sums: Map = values[: height * block, : width * block].reshape(height, block, width, block).sum((1, 3))
    return sums


def _windows(blocks: Map) -> Map:
    """Return (N, BLOCKS²) windows, which overlap by half."""
    half = BLOCKS // 2
    views = np.lib.stride_tricks.sliding_window_view(blocks, (BLOCKS, BLOCKS))[::half, ::half]
    return views.reshape(-1, BLOCKS * BLOCKS)


def votes(errors: Map, flat: Map | None = None) -> NDArray[np.intp]:
    """Count the windows that are planes by one reading and by none of the others.

    Args:
        errors: (N, readings), mean squares to compare.
        flat: (N, readings), mean squares of relative depth that decide what is a plane; None: the same.

    Returns:
        (readings,) counts.
    """
    is_plane = (errors if flat is None else flat) < FLAT**2
    floored = errors + FLOOR**2
    ordered = np.sort(floored, 1)
    is_best = (floored == ordered[:, :1]) & (ordered[:, 1:2] > BETTER * ordered[:, :1])
    counts: NDArray[np.intp] = (is_best & is_plane).sum(0)
    return counts
