"""σ and depth of views lie at two places of their frames: by which scale and shift, and what that looks like."""

from collections.abc import Sequence

import numpy as np

from .verdict import Judged
from .view import Lookup

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


class Displacement:
    """Where depth of n views lies, seen from their σ: (n, 2) arrays, right and down, in pixels before a flip.

    Attributes:
        first: how far the first pixel lies off.
        last: and the last.
        centre: and the principal point.
        corner: and the frame's first pixel.
        scale: of depth, divided by that of σ; above 1, the focal length is too large.
    """

    def __init__(self, judged: Sequence[Judged], sigma: Sequence[Lookup], depth: Sequence[Lookup]) -> None:
        """Compare the lookups that give the views' σ with those that fit their depth."""
        self.size = np.array([one.view.depth.shape[::-1] for one in judged])
        self.per_pixel = np.array([one.view.scale for one in judged])  # native pixels
        self.nearest = all(one.nominal.resize == "nearest" for one in judged)
        places = np.array([[lookup.place for lookup in lookups] for lookups in (sigma, depth)])
        self.nominal = not places[0].any()
        self.first, self.last = np.moveaxis(places[1] - places[0], 2, 0)
        self.scale = np.divide(*(self.size - 1 + np.diff(places)[::-1, ..., 0]))
        start = np.array([one.view.start(lookup.flip) for one, lookup in zip(judged, sigma, strict=True)])
        slope = (self.last - self.first) / self.per_pixel / (self.size - 1)
        self.centre = self.first + slope * (np.array([one.view.native[2:] for one in judged]) - start)
        self.corner = self.first - slope * start

    @property
    def matters(self) -> bool:
        """Whether it is more than another resize displaces."""
        return bool(np.abs([self.first, self.last]).max() > PIXEL / 2)

    def half_pixel(self, least: float = 0.0) -> str:
        """Return what to do where depth lies about half a pixel from σ in x and y, as another resize puts it; or "".

        Of all views, which have at least so many native pixels per pixel. A rounded size shifts one border by up to a
        pixel and hardly the other: the one that is shifted less counts.
        """
        smaller = np.where(np.abs(self.first) < np.abs(self.last), self.first, self.last)
        x, y = shift = np.where(self.first * self.last > 0, smaller, 0).mean(0)
        if self.per_pixel.mean(0).min() < least or x * y <= 0 or (np.abs(np.abs(shift) - 0.5) > ABOUT).any():
            return ""
        where = f"depth lies ({x:+.2f}, {y:+.2f}) pixels from sigma_Z2"
        if x > 0:
            return f"{where}: {NOT_SCALED}" + ("; or pass resize='linear' to annotate" if self.nearest else "")
        return f"{where}: {TOO_FAR}" if self.nearest else f"{where}: pass resize='nearest' to annotate; or {TOO_FAR}"

    def describe(self) -> tuple[str, str, bool]:
        """Return kind and text of the finding that views are displaced, and whether most are displaced alike."""
        shifts, size = self.centre * self.per_pixel, self.size.mean(0)
        scale, shift = np.median(self.scale, axis=0), np.median(shifts, axis=0)
        stretched = bool((np.abs(scale - 1) * size > PIXEL).any())
        away = np.maximum(np.abs(self.scale - scale) * self.size, np.abs(shifts - shift) / self.per_pixel).max(1)
        alike = bool(np.mean(away < 2 * PIXEL) > 0.5)
        if not stretched and (text := self.half_pixel()):
            return "half pixel", text, False
        parts = []
        if stretched and np.abs(scale[0] - scale[1]) * size.mean() < 2 * PIXEL:
            parts.append(f"focal length {scale.mean():.4g} times what fits the depth")
        elif stretched:
            parts.append(f"focal lengths {scale[0]:.4g} (x) and {scale[1]:.4g} (y) times what fits the depth")
        if not parts or (np.abs(shift) / self.per_pixel.mean(0) > PIXEL / 2).any():
            parts.append(f"principal point off by ({shift[0]:+.1f}, {shift[1]:+.1f}) native pixels")
        if not alike:
            most = np.abs(shifts - shift).max(0)
            parts.append(f"in some views ({most[0]:.0f}, {most[1]:.0f}) more or less, as where a crop is not recorded")
        text = ", ".join(parts)
        if not self.nominal:
            way_out = "annotate after the last crop and resize, and crop and resize sigma_Z2 with depth after that"
            return "sigma_Z2 displaced", f"as if looked up with {text}; {way_out}", alike
        fixed = [name for name in FIXED if (np.abs(np.median(getattr(self, name), axis=0)) < 2 * PIXEL).all()]
        if stretched and len(fixed) < len(FIXED):
            text += "".join(FIXED[name] for name in fixed)
        return "camera_intrinsics", f"{text}; correct them before annotate", alike
