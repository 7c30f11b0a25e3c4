"""Image registration: at which scale and shift a map of log σ² lies on its native frame, from coarse to fine."""

from collections.abc import Callable, Sequence
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from .agreement import Map, correlation

CELLS = 32  # across a view in the coarse search
FACTORS = 2.0 ** (np.arange(-6, 7) / 6)  # of scale in it: neighbours move a border by 2 cells
BLOCKS = 28  # across a view in the first fine steps, which find what lies within some 2 blocks
STEPS = 10  # of Gauss-Newton at each size of block
WELL = 0.95  # a correlation of blocks with which no other place is looked for


Place = NDArray[np.float64]
"""(2, 2): how far the first and the last border of a map lie from their place by the intrinsics; in x, right, and in y,
down, in pixels of the view before a flip."""
NOMINAL: Place = np.zeros((2, 2))  # by the intrinsics
Pair = NDArray[np.float64]  # of x and y
Registered = tuple[Place, float]  # and the correlation of the map with what the cache has there


def register(target: Map, look_up: Callable[[Place], Map], coarse: Callable[[], Sequence[Place]]) -> Registered:
    """Return the place where the cache fits a (h, w) map of log σ² best.

    ``look_up`` gives the cache's log σ² (h, w) at a place; ``coarse`` gives first guesses, for a map that fits nowhere
    near its nominal place.
    """
    block = max(1, min(max(target.shape) // BLOCKS, min(target.shape) // 2))
    found = _refined(target, look_up, NOMINAL, block)
    if found[1] < WELL:
        tried = [_refined(target, look_up, place, block) for place in coarse()]
        found = max(found, *tried, key=itemgetter(1))
    while block > 1:
        block = max(1, block // 3)
        found = _refined(target, look_up, found[0], block)
    return found


def coarse_places(target: Map, native: Map, stride: int, start: Pair, scale: Pair) -> list[Place]:
    """Return the two likeliest places of a (h, w) map on the whole frame, by correlation on a coarse grid.

    ``native`` is log σ² of the frame at ``stride``; by the intrinsics, the map's first pixel lies at native ``start``,
    and a pixel has ``scale`` native ones.
    """
    size = np.array(target.shape[::-1])
    cell = max(*(scale * size / CELLS), 2.0 * stride)  # in native pixels
    grid = _cells(native, *(np.arange(length) * stride / cell for length in native.shape))
    found = []
    for factor in FACTORS:
        columns, rows = (np.arange(length) * (along * factor / cell) for length, along in zip(size, scale, strict=True))
        score, top, left = _best_match(grid, _cells(target, rows, columns))
        first = (np.array([left, top]) * cell - start) / scale
        found.append((score, np.stack([first, first + (factor - 1) * (size - 1)], 1)))
    return [place for _, place in sorted(found, key=itemgetter(0), reverse=True)[:2]]


def _refined(target: Map, look_up: Callable[[Place], Map], place: Place, block: int) -> Registered:
    """Return the best place near one, by Gauss-Newton steps on means over blocks of pixels."""
    blocks, best = _blocks(target, block), (place, -np.inf)
    for _ in range(STEPS):
        here = _blocks(look_up(place), block)
        found = place, correlation(blocks, here)
        if found[1] <= best[1]:
            break
        best = found
        if (move := _step(blocks, here, block)) is None:
            break
        place = place + move
    return best


def _step(blocks: Map, here: Map, block: int) -> Place | None:
    """Return (2, 2) pixels by which each border moves, at most 3 blocks; None: hardly, or it cannot be estimated."""
    down, right = np.gradient(here, block)
    y, x = (np.linspace(0, 1, length) for length in here.shape)
    slopes = right * (1 - x), right * x, down * (1 - y)[:, None], down * y[:, None]
    terms = np.stack([np.ones_like(here), here, *slopes])
    used = np.isfinite(terms).all(0) & np.isfinite(blocks)
    terms, wanted = terms[:, used].astype(np.float64), blocks[used].astype(np.float64)
    if wanted.size < 2 * len(terms):
        return None
    _, gain, *move = np.linalg.lstsq(terms @ terms.T, terms @ wanted, rcond=1e-10)[0]
    if gain == 0 or np.abs(move).max() < 0.02 * block * abs(gain):
        return None
    step: Place = np.clip(np.reshape(move, (2, 2)) / gain, -3 * block, 3 * block)
    return step


def _blocks(values: Map, block: int) -> Map:
    """Return means over whole blocks of pixels."""
    if block == 1:
        return values
    rows, columns = (np.arange(length // block * block) / block for length in values.shape)
    return _cells(values[: rows.size, : columns.size], rows, columns)


def _cells(values: Map, rows: Map, columns: Map) -> Map:
    """Return means over the cells of a grid on which rows and columns lie; NaN where less than a third is known."""
    row, column = rows.astype(np.intp), columns.astype(np.intp)
    height, width = int(row[-1]) + 1, int(column[-1]) + 1
    cell, known = (row[:, None] * width + column).ravel(), np.isfinite(values).ravel()
    pixels, count, total = (
        np.bincount(cell, weights, height * width) for weights in (None, known, np.where(known, values.ravel(), 0))
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((3 * count >= pixels) & (count > 0), total / count, np.nan).reshape(height, width)


def _best_match(image: Map, template: Map) -> tuple[float, int, int]:
    """Return the highest correlation of a template with an image where three quarters overlap, and its row and column.

    Masked correlation by Fourier transforms: Padfield, Masked object registration in the Fourier domain, IEEE
    Transactions on Image Processing 21 (2012).
    """
    shape = [1 << int(a + b - 2).bit_length() for a, b in zip(image.shape, template.shape, strict=True)]
    (n1, a1, aa1), (n2, a2, aa2) = _spectra(image, shape), np.conj(_spectra(template, shape))
    n, a, b, aa, bb, ab = np.fft.irfft2(np.stack([n1 * n2, a1 * n2, n1 * a2, aa1 * n2, n1 * aa2, a1 * a2]), shape)
    enough = n > 0.75 * np.isfinite(template).sum()
    n = np.maximum(n, 1)
    spread = (aa - a * a / n) * (bb - b * b / n)
    enough &= spread > 1e-6 * spread.max()  # the rest is rounding
    score = np.where(enough, (ab - a * b / n) / np.sqrt(np.where(enough, spread, 1)), -1)
    at = np.unravel_index(int(score.argmax()), score.shape)
    top, left = (int(i) - (size if i >= full else 0) for i, size, full in zip(at, shape, image.shape, strict=True))
    return float(score.max()), top, left


def _spectra(values: Map, shape: Sequence[int]) -> NDArray[np.complex128]:
    """Return the spectra of the mask, the values less their mean, and their squares."""
    known = np.isfinite(values)
    centred = np.where(known, values - (values[known].mean() if known.any() else 0), 0)
    return np.fft.rfft2(np.stack([known.astype(np.float64), centred, centred**2]), shape)
