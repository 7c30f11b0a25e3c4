"""Ground truth with the faults of real pipelines, from the exact depth of :mod:`rooms`, and its σ².

``clean``: the central ray of each pixel. ``mixed``: at pixels that mix two surfaces, the mean of their rays (flying
pixels). ``noise``: standard deviation 0.003 Z². ``misaligned``: each view shifted by a random -1, 0 or +1 pixel; what
comes in is unknown.
``resized``: every second pixel of a depth map of twice the resolution, as a nearest resize takes it, half a pixel off.
``all``: these four together.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rooms import HEIGHT, INTRINSICS, NATIVE_INTRINSICS, WIDTH, Views

from depthvar.datasets.lookup.sample import Resize, sample
from depthvar.precompute import sigma_z2

TRUTHS = ("clean", "mixed", "noise", "misaligned", "resized", "all")
NOISE = 0.003  # 1/m: a Kinect's, standard deviation over squared depth

Depth = NDArray[np.float32]


class GroundTruth(NamedTuple):
    """What a training is given, (N, H, W) float32 each: planar depth in metres, 0 unknown, +inf for sky; σ² in m².

    Attributes:
        depth: the supervised depth.
        online: σ² by the kernel on that depth, as in a loader.
        cached: σ² by the kernel on the depth of twice the resolution, looked up at the pixels, as from a cache. A
            nearest resize by 2 falls on stride 2: with ``resized`` and ``all`` it is the loader's but for the rays.
        native: (N, 2H, 2W) the depth of twice the resolution. With ``resized`` and ``all`` every second pixel of it is
            supervised; elsewhere it lies half of its pixels off.
    """

    depth: Depth
    online: Depth
    cached: Depth
    native: Depth

    @property
    def valid(self) -> NDArray[np.bool_]:
        """(N, H, W): where there is a depth to train on."""
        return np.isfinite(self.depth) & (self.depth > 0)


def ground_truth(kind: str, views: Views, seed: int = 0) -> GroundTruth:
    """Return the ground truth of one of ``TRUTHS`` for views of :func:`rooms.load`, the same for the same seed."""
    if kind not in TRUTHS:
        raise ValueError(f"ground truth: expected one of {', '.join(TRUTHS)}; got {kind!r}")
    everything = kind == "all"
    faults = {fault: everything or kind == fault for fault in ("mixed", "noise", "misaligned")}
    native = degrade(views["native"], views["native_mean"], views["native_mixed"], seed, step=2, **faults)
    if everything or kind == "resized":
        depth = np.ascontiguousarray(native[:, ::2, ::2])
        return GroundTruth(depth, sigma_z2(depth, INTRINSICS), look_up(native, "nearest"), native)
    depth = degrade(views["centre"], views["mean"], views["mixed"], seed, **faults)
    return GroundTruth(depth, sigma_z2(depth, INTRINSICS), look_up(native, "linear"), native)


def degrade(
    centre: Depth, mean: Depth, is_mixed: NDArray[np.bool_], seed: int, *, mixed: bool, noise: bool, misaligned: bool,
    step: int = 1,
) -> Depth:  # fmt: skip
    """Return depth with faults, (N, H, W): mixed pixels first, then noise, then a shift of each view.

    Args:
        centre: (N, H, W) depth of the central rays.
        mean: (N, H, W) mean depth of the rays of each pixel.
        is_mixed: (N, H, W).
        seed: of noise and shifts; the shifts are the same at every resolution.
        mixed, noise, misaligned: which faults.
        step: pixels of a shift.
    """
    depth = np.where(is_mixed, mean, centre) if mixed else centre.copy()
    if noise:
        error = np.random.default_rng((seed, step)).standard_normal(depth.shape, np.float32)
        with np.errstate(invalid="ignore"):
            depth = np.where(np.isfinite(depth), np.maximum(depth + NOISE * depth**2 * error, 0.1), depth)
    if misaligned:
        for one, (dv, du) in zip(depth, np.random.default_rng(seed).integers(-1, 2, (len(depth), 2)), strict=True):
            one[:] = shift(one, step * int(dv), step * int(du))
    return depth


def cleaned(given: GroundTruth) -> GroundTruth:
    """Return the ground truth with a depth that is the lower median of the known native depths under each pixel."""
    blocks = np.where(given.native == 0, np.float32("nan"), given.native)
    blocks = blocks.reshape(-1, HEIGHT, 2, WIDTH, 2).transpose(0, 1, 3, 2, 4).reshape(-1, HEIGHT, WIDTH, 4)
    middle = (~np.isnan(blocks)).sum(-1, keepdims=True).clip(1) - 1
    depth = np.take_along_axis(np.sort(blocks, -1), middle // 2, -1)[..., 0]  # NaN last
    depth = np.nan_to_num(depth, nan=0.0, posinf=np.inf)
    return given._replace(depth=depth, online=sigma_z2(depth, INTRINSICS))


def shift(depth: Depth, dv: int, du: int) -> Depth:
    """Return (H, W) moved by whole pixels; what comes in is 0, unknown: a border repeated would look flat."""
    height, width = depth.shape
    v, u = np.arange(height)[:, None] - dv, np.arange(width) - du
    inside = (v >= 0) & (v < height) & (u >= 0) & (u < width)
    return np.where(inside, depth[v.clip(0, height - 1), u.clip(0, width - 1)], np.float32(0))


def look_up(native: Depth, resize: Resize) -> Depth:
    """Return σ² (N, H, W) at the views from (N, 2H, 2W) depth, as a cache gives it."""
    fx, fy, cx, cy = NATIVE_INTRINSICS

    def one(depth: Depth) -> Depth:
        def read_level(s: int, rows: slice) -> Depth:
            return sigma_z2(np.ascontiguousarray(depth[::s, ::s]), (fx / s, fy / s, cx / s, cy / s))[rows]

        return sample(read_level, (1, 2), NATIVE_INTRINSICS, depth.shape, INTRINSICS, (HEIGHT, WIDTH), resize)

    return np.stack([one(depth) for depth in native])
