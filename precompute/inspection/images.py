"""Images that do not belong to their depth: another shape, another place, another frame.

Law: where depth has an edge, an image mostly has one too. The mean strength of the image at the edges of the depth is
computed for every shift of the image by up to ``REACH`` pixels. It has its peak at no shift for the right image, and is
noise for any other one.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from depthvar.precompute.pictures.image import Colour

from .look import Look, Rule
from .verdict import Verdict, frames, ok, untold, warning

SIZE_CHECK, CHECK = "image size", "image"
STRETCH = 0.02  # relative difference of the sides' ratios
SIDE = 256  # pixels, of the maps that are compared
JUMP = 0.1  # relative, of depth in 3×3 pixels: an edge
SMALLEST = 32  # pixels along a side of these maps
REACH = 48  # pixels, of the shifts
DENSE, EDGES = 0.5, 0.01  # least share of known pixels, and of edges
FRAMES = 3  # that decide
SEEN, UNSEEN, ELSEWHERE, ALONE = 3.5, 2.5, 4.5, 4.5  # standard deviations of the noise


ROWS, COLUMNS = np.mgrid[-REACH : REACH + 1, -REACH : REACH + 1]
CLOSE, AWAY = np.hypot(ROWS, COLUMNS) <= 3, np.hypot(ROWS, COLUMNS) > 12  # shifts that are none; that are noise


class Match(NamedTuple):
    """How well edges of image and depth agree, in standard deviations of what large shifts of the image have.

    Attributes:
        frames: that could tell.
        here: the largest value close to no shift, all frames together.
        single: the largest of the frames that have their peak there.
        best: the largest of all shifts, all frames together.
        shift: rows and columns by which the image would then have to be moved, in pixels of the depth.
    """

    frames: int
    here: float
    single: float
    best: float
    shift: tuple[int, int]

    @property
    def fits(self) -> bool:
        """Whether the images belong to their depth."""
        return (self.here >= SEEN and self.here > self.best - 0.5) or self.single >= ALONE


def check_images(looks: Sequence[Look], rule: Rule) -> list[Verdict]:
    """Compare shape and edges of the images with those of their depth."""
    named = [look for look in looks if look.image_path]
    pairs = [(look, look.colour) for look in named if look.colour is not None]
    if not pairs:
        why = f"no image can be read at {named[0].image_path}" if named else "the data set names no images"
        return [untold(CHECK, why)]
    return [_shapes(pairs), _edges(pairs)]


def _shapes(pairs: Sequence[tuple[Look, Colour]]) -> Verdict:
    for look, colour in pairs:
        (height, width), (rows, columns) = look.size, colour.size
        if abs(width / height * rows / columns - 1) > STRETCH:
            return warning(
                SIZE_CHECK,
                f"{look.key}: depth has {width}×{height} pixels (width × height), its image {columns}×{rows}, another "
                "shape: they are of two frames, or one was cropped: check [files] image",
            )
    (height, width), (rows, columns) = pairs[0][0].size, pairs[0][1].size
    return ok(
        SIZE_CHECK,
        f"{columns}×{rows} (width × height)"
        + (", as the depth" if (rows, columns) == (height, width) else f", depth {width}×{height}: the same shape"),
    )


def _edges(pairs: Sequence[tuple[Look, Colour]]) -> Verdict:
    found = agreement(pairs)
    if found is None:
        return untold(
            CHECK, "the depth is sparse or has hardly an edge, so its edges and the image's cannot be compared"
        )
    if found.fits:
        most = max(found.here, found.single)
        return ok(CHECK, f"edges of image and depth agree ({most:.1f} standard deviations from chance)")
    number = f"{found.here:.1f} standard deviations from chance (right images: above {SEEN})"
    counted = frames(found.frames, found.frames)
    is_moved = found.best >= ELSEWHERE and found.best > found.here + 0.5
    if found.frames < FRAMES or (found.here > UNSEEN and not is_moved):
        return untold(CHECK, f"edges of image and depth: {number} in {counted}, which does not decide")
    return warning(
        CHECK, f"edges of image and depth do not agree in {counted}, {number}: {_cause(pairs, found, is_moved)}"
    )


def _cause(pairs: Sequence[tuple[Look, Colour]], found: Match, is_moved: bool) -> str:
    if is_moved:
        down, right = found.shift
        return f"the image has to be moved by about {right} columns and {down} rows: register image and depth"
    for name, turn in {"mirrored": np.s_[:, ::-1], "upside down": np.s_[::-1, :]}.items():
        turned = agreement([(look, Colour(colour.pixels[turn], colour.size)) for look, colour in pairs])
        if turned is not None and turned.fits:
            return f"one of the two is {name}: turn it"
    return "the images belong to other frames: check [files] image and the numbers of the frames"


def agreement(pairs: Sequence[tuple[Look, Colour]]) -> Match | None:
    """Return how well edges of images and depth agree, all frames together; None: no frame can tell."""
    maps = [found for look, colour in pairs if (found := _correlation(look, colour)) is not None]
    if not maps:
        return None
    noise = [_above_noise(each) for each in maps]
    pooled = _above_noise(np.mean(maps, axis=0))
    best = int(np.argmax(pooled))
    scale = float(np.median([look.stride * _step(look) for look, _ in pairs]))
    return Match(
        frames=len(maps),
        here=float(pooled[CLOSE].max()),
        single=max((float(each.max()) for each in noise if each[CLOSE].max() == each.max()), default=0.0),
        best=float(pooled.flat[best]),
        shift=(round(-int(ROWS.flat[best]) * scale), round(-int(COLUMNS.flat[best]) * scale)),
    )


def _correlation(look: Look, colour: Colour) -> NDArray[np.float64] | None:
    """Return (2 REACH + 1, 2 REACH + 1) mean image strength at the depth's edges, by shift; None: it cannot tell."""
    step = _step(look)
    known = (look.valid | look.far)[step // 2 :: step, step // 2 :: step]
    if known.mean() < DENSE:
        return None
    depth = np.where(look.far, 1e6, look.depth)[step // 2 :: step, step // 2 :: step]
    log_z = np.log(np.where(known, depth, 1))
    edges = known & _all_around(known) & (_around(log_z, np.maximum) - _around(log_z, np.minimum) > JUMP)
    if edges.mean() < EDGES or min(edges.shape) < SMALLEST:
        return None
    height, width = edges.shape
    gray = np.asarray(
        Image.fromarray(colour.pixels).convert("L").resize((width, height), Image.Resampling.BOX), np.float64
    )
    rows, columns = np.gradient(gray)
    strength = np.hypot(rows, columns).ravel()
    if strength.max() == 0:
        return None
    ranks = np.empty(strength.size)
    ranks[np.argsort(strength, kind="stable")] = np.linspace(-0.5, 0.5, strength.size)  # so that no bright edge rules
    padded = height + 2 * REACH, width + 2 * REACH
    product = np.fft.rfft2(ranks.reshape(height, width), padded) * np.conj(
        np.fft.rfft2(edges.astype(np.float64), padded)
    )
    sums = np.fft.irfft2(product, padded) / edges.sum()
    by_shift: NDArray[np.float64] = np.roll(sums, (REACH, REACH), (0, 1))[: 2 * REACH + 1, : 2 * REACH + 1]
    return by_shift


def _step(look: Look) -> int:
    """Return by how much the maps of a look are reduced."""
    return max(1, round(int(max(look.depth.shape)) / SIDE))


def _above_noise(by_shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the correlation of each shift in standard deviations from that of large ones."""
    noise = by_shift[AWAY]
    above: NDArray[np.float64] = (by_shift - noise.mean()) / max(float(noise.std()), 1e-12)
    return above


def _around(values: NDArray[np.float64], pick: np.ufunc) -> NDArray[np.float64]:
    """Return the least or largest of 3×3."""
    padded = np.pad(values, 1, mode="edge")
    height, width = values.shape
    parts = [padded[i : i + height, j : j + width] for i in range(3) for j in range(3)]
    found: NDArray[np.float64] = pick.reduce(parts)
    return found


def _all_around(known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return _around(known.astype(np.float64), np.minimum) > 0
