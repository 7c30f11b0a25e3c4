"""Numbers as colours: which limits, which table, and what has no number."""

from math import ceil, floor, log10
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

UNKNOWN, FAR = (232, 232, 232), (140, 180, 232)
# The tables of each quantity, dark is small: of matplotlib, perceptually uniform and safe for the colour-blind.
TABLES = {"depth": "viridis_r", "sigma": "inferno", "weight": "cividis"}


class Scale(NamedTuple):
    """From numbers to places in a table of colours: ``low`` is its first colour, ``high`` its last."""

    low: float
    high: float
    is_log: bool = True
    table: str = "inferno"

    def parts(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return where between the limits each number is: 0 is ``low``, 1 is ``high``."""
        low, high = (np.log(end) for end in (self.low, self.high)) if self.is_log else (self.low, self.high)
        numbers = np.asarray(values, np.float64)  # float32 would place ``high`` just below 1
        with np.errstate(divide="ignore", invalid="ignore"):
            found: NDArray[np.float64] = ((np.log(numbers) if self.is_log else numbers) - low) / max(high - low, 1e-12)
        return found

    def places(self, values: NDArray[np.floating]) -> NDArray[np.uint8]:
        """Return which of the 256 colours each number has, those beyond the limits the last ones; 0 for NaN."""
        found: NDArray[np.uint8] = np.nan_to_num(np.clip(self.parts(values) * 255, 0, 255), nan=0).astype(np.uint8)
        return found

    def colours(self, values: NDArray[np.floating]) -> NDArray[np.uint8]:
        """Return (h, w, 3) uint8."""
        return table(self.table)[self.places(values)]


def table(name: str) -> NDArray[np.uint8]:
    """Return (256, 3) uint8 of a colour map of the library cmap; ValueError where it has none of that name."""
    from cmap import Colormap

    return np.round(Colormap(name).lut(256)[:, :3] * 255).astype(np.uint8)


def limits(values: NDArray[np.floating], is_log: bool = True) -> tuple[float, float]:
    """Return what the colours of finite values span: the 1st to the 99th percentile; (1, 10) without any value.

    On a logarithmic scale only values above 0 count, and the span is at least a tenth more than the lower end.
    """
    known = values[np.isfinite(values) & ((values > 0) | (not is_log))]
    if not len(known):
        return 1.0, 10.0
    low, high = np.quantile(known, [0.01, 0.99]).tolist()
    least = low * 1.1 if is_log else low + 1e-6 * max(abs(low), 1.0)
    return low, max(high, least)


def coloured(values: NDArray[np.floating], far: NDArray[np.bool_], scale: Scale) -> NDArray[np.uint8]:
    """Return (h, w, 3) uint8: the colours of the finite values, ``FAR`` where far, ``UNKNOWN`` elsewhere."""
    colours = scale.colours(values)
    colours[~np.isfinite(values)] = UNKNOWN
    colours[far] = FAR
    return colours


def ticks(scale: Scale, most: int) -> list[float]:
    """Return 2 to ``most`` (4 or more) round numbers within the limits of a scale."""
    low, high = scale.low, scale.high
    powers = range(floor(log10(low)), ceil(log10(high)) + 1) if scale.is_log else range(0)
    for heads, step in [((1, 1.5, 2, 3, 5, 7), 1), ((1, 2, 5), 1), *(((1,), 1 + more) for more in range(len(powers)))]:
        numbers = [float(f"{head}e{power}") for power in powers[::step] for head in heads]
        found = [number for number in numbers if low <= number <= high]
        if 2 <= len(found) <= most:
            return found
    power = floor(log10(high - low)) - 1
    widths = [float(f"{head}e{power + more}") for more in range(3) for head in (1, 2, 2.5, 5)]
    width = next(width for width in widths if floor(high / width) - ceil(low / width) < most)
    return [number * width for number in range(ceil(low / width), floor(high / width) + 1)]
