"""σ and depth of a view lie at two places of its frame: by which scale and shift, and what that looks like."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .register import NOMINAL, Pair, Place
from .verdict import Judged

ABOUT = 0.3  # pixels from half a pixel that count as half a pixel: it is 0.5 − 0.5 / s, and more where sizes are odd
PIXEL = 1.0  # of the view: a rounded size stretches it by no more, another resize shifts it by half of that
SEEN = 4.0  # native pixels per pixel from which half a pixel differs from the bias of a sensor's depth
NOT_SCALED = "camera_intrinsics were scaled without it: use cx' = (cx + 0.5) / s − 0.5, and the same for cy"
TOO_FAR = "camera_intrinsics lie half a pixel too far to the top left"
FIXED = {  # what a stretch looks like, by the point that it leaves in place
    "centre": " (or those of the cache are wrong)",
    "first": " (as if they were not scaled with the view)",
    "corner": " (as if the cache had those of another resolution)",
}


class Displacement(NamedTuple):
    """Where depth of a view lies, seen from its σ: right and down, in pixels of the view before a flip."""

    judged: Judged
    nominal: bool  # σ lies at its place by the intrinsics
    scale: Pair  # of depth, divided by that of σ; above 1, the focal length is too large
    first: Pair  # how far the first pixel lies off
    last: Pair  # and the last
    centre: Pair  # and the principal point
    corner: Pair  # and the frame's first pixel

    @property
    def matters(self) -> bool:
        """Whether it is more than another resize displaces."""
        return bool(np.abs([self.first, self.last]).max() > PIXEL / 2)


def displacement(judged: Judged, flip: bool, sigma: Place, depth: Place) -> Displacement:
    """Return where depth of a view lies, seen from its σ."""
    view = judged.view
    start, length = view.start(flip), np.array(view.depth.shape[::-1]) - 1
    a, b = (np.reshape(place.mirrored() if flip else place, (2, 2)) for place in (sigma, depth))
    first, last = (b - a).T
    centre, corner = (first + (last - first) * (at - start) / view.scale / length for at in (view.native[2:], 0.0))
    sizes = [length + place[:, 1] - place[:, 0] for place in (a, b)]
    return Displacement(judged, sigma == NOMINAL, sizes[1] / sizes[0], first, last, centre, corner)


def describe(moved: Sequence[Displacement]) -> tuple[str, str, bool]:
    """Return kind and text of the finding that views are displaced, and whether most are displaced alike."""
    size = np.array([one.judged.view.depth.shape[::-1] for one in moved])
    per_pixel = np.array([one.judged.view.scale for one in moved])
    scales, shifts = _all(moved, "scale"), _all(moved, "centre") * per_pixel
    scale, shift = np.median(scales, axis=0), np.median(shifts, axis=0)
    stretched = bool((np.abs(scale - 1) * size.mean(0) > PIXEL).any())
    away = np.maximum(np.abs(scales - scale) * size, np.abs(shifts - shift) / per_pixel).max(1)
    alike = bool(np.mean(away < 2 * PIXEL) > 0.5)
    if not stretched and (text := half_pixel(moved)):
        return "half pixel", text, False
    said = []
    if stretched and np.abs(scale[0] - scale[1]) * size.mean() < 2 * PIXEL:
        said.append(f"focal length {scale.mean():.4g} times what fits the depth")
    elif stretched:
        said.append(f"focal lengths {scale[0]:.4g} (x) and {scale[1]:.4g} (y) times what fits the depth")
    if not said or (np.abs(shift) / per_pixel.mean(0) > PIXEL / 2).any():
        said.append(f"principal point off by ({shift[0]:+.1f}, {shift[1]:+.1f}) native pixels")
    if not alike:
        most = np.abs(shifts - shift).max(0)
        said.append(f"in some views ({most[0]:.0f}, {most[1]:.0f}) more or less, as where a crop is not recorded")
    text = ", ".join(said)
    if not all(one.nominal for one in moved):
        way_out = "annotate after the last crop and resize, and crop and resize sigma_Z2 with depth after that"
        return "sigma_Z2 displaced", f"as if looked up with {text}; {way_out}", alike
    fixed = [name for name in FIXED if (np.abs(np.median(_all(moved, name), axis=0)) < 2 * PIXEL).all()]
    if stretched and len(fixed) < len(FIXED):
        text += "".join(FIXED[name] for name in fixed)
    return "camera_intrinsics", f"{text}; correct them before annotate", alike


def half_pixel(moved: Sequence[Displacement], least: float = 0.0) -> str:
    """Return what to do where depth lies about half a pixel from σ in x and y, as another resize puts it; or nothing.

    Args:
        moved: all views.
        least: native pixels per pixel.

    A rounded size shifts one border by up to a pixel and hardly the other: the one that is shifted less counts.
    """
    first, last = _all(moved, "first"), _all(moved, "last")
    smaller = np.where(np.abs(first) < np.abs(last), first, last)
    shift = np.where(first * last > 0, smaller, 0).mean(0)
    per_pixel = np.mean([one.judged.view.scale for one in moved], axis=0)
    if per_pixel.min() < least or shift[0] * shift[1] <= 0 or (np.abs(np.abs(shift) - 0.5) > ABOUT).any():
        return ""
    nearest = all(one.judged.nominal.resize == "nearest" for one in moved)
    where = f"depth lies ({shift[0]:+.2f}, {shift[1]:+.2f}) pixels from sigma_Z2"
    if shift[0] > 0:
        return f"{where}: {NOT_SCALED}" + ("; or pass resize='linear' to annotate" if nearest else "")
    return f"{where}: {TOO_FAR}" if nearest else f"{where}: pass resize='nearest' to annotate; or {TOO_FAR}"


def _all(moved: Sequence[Displacement], name: str) -> NDArray[np.float64]:
    return np.array([getattr(one, name) for one in moved])
