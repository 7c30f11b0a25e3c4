"""Charts as inline SVG: read by people in a page of any colours, and by screen readers, which get title and text.

Colours are those of CSS classes, so that they follow the page; every text is made here and holds no foreign characters.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from .measure import Bins

LEFT, RIGHT, TOP, BOTTOM = 50, 12, 24, 44  # margins
SHOWN_SHARE = 1e-4  # of what was counted: less of it at either end of a histogram is cut off


class Log:
    """A logarithmic axis from one place of the picture to another."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high, self._start, self._end = low, high, start, end

    def __call__(self, value: float) -> float:
        part = math.log(value / self.low) / max(math.log(self.high / self.low), 1e-9)
        return self._start + min(max(part, 0.0), 1.0) * (self._end - self._start)

    def ticks(self) -> list[float]:
        """Return the powers of ten within; where they are few, twice and five times them, too."""
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        factors = (1,) if last - first > 3 else (1, 2, 5)
        found = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
        inside = [value for value in found if self.low * 0.999 <= value <= self.high * 1.001]
        return inside[:: -(-len(inside) // 8)] if len(inside) > 8 else inside


def histogram(title: str, bins: Bins, counts: NDArray[np.int64], unit: str, width: int = 560) -> str:
    """Return the shares of what was counted by bin, with a line at the median; "" where nothing was."""
    if (quantiles := bins.quantiles(counts, (0.05, 0.5, 0.95))) is None:
        return ""
    height = 230
    share, ends = counts / counts.sum(), bins.ends()
    inside = np.flatnonzero((np.cumsum(share) > SHOWN_SHARE) & (np.cumsum(share[::-1])[::-1] > SHOWN_SHARE))
    first, last = int(inside[0]), int(inside[-1]) + 1
    x = Log(float(ends[first]), float(ends[last]), LEFT, width - RIGHT)
    most = float(share.max())
    floor = height - BOTTOM

    def y(value: float) -> float:
        return floor - value / most * (floor - TOP)

    steps = [f"V{y(share[place]):.1f}H{x(ends[place + 1]):.1f}" for place in range(first, last)]
    low, median, high = quantiles
    text = f"Median {number(median)}{unit}; 90 % from {number(low)} to {number(high)}{unit}."
    at, note = x(median), f"median {number(median)}"
    side = (at + 5, "start") if at < width - 110 else (at - 5, "end")
    parts = [
        _x_axis(x, width, height, f"{title.partition(':')[0]}{f' in{unit}' if unit else ''}"),
        _text("tick", LEFT - 6, TOP + 4, f"{100 * most:.2g} %", "end"),
        f'<path class="area" d="M{x(ends[first]):.1f} {floor}{"".join(steps)}V{floor}Z"/>',
        _line("median", (at, at), (TOP - 6, floor)),
        _text("note", side[0], TOP - 8, note, side[1]),
    ]
    return _svg(title, text, width, height, parts)


def spans(title: str, axis: str, names: Sequence[str], values: Sequence[Sequence[float]], width: int = 560) -> str:
    """Return, for each class, a bar from the 5 % to the 95 % quantile with a dot at the median: (low, median, high)."""
    if not values:
        return ""
    height = 250
    y = Log(min(each[0] for each in values), max(each[2] for each in values), height - BOTTOM, TOP)
    x = _classes(len(names), width)
    text = "; ".join(
        f"{name}: {number(each[1])} ({number(each[0])} to {number(each[2])})"
        for name, each in zip(names, values, strict=True)
    )
    parts = [_y_axis(y, width), _x_names(names, x, height, axis, width)]
    for place, (low, median, high) in enumerate(values):
        parts += [
            _line("span", (x(place), x(place)), (y(low), y(high))),
            f'<circle class="dot" cx="{x(place):.1f}" cy="{y(median):.1f}" r="4.5"/>',
        ]
    return _svg(title, f"Median, and 5 % to 95 %: {text}.", width, height, parts)


def lines(title: str, axis: str, names: Sequence[str], series: Mapping[str, Sequence[float]], width: int = 560) -> str:
    """Return a line for each series over the classes, each of another colour and dash, with a legend below."""
    known = [value for values in series.values() for value in values if value > 0]
    if not known:
        return ""
    height = 290
    y = Log(min([*known, 0.8]), max([*known, 1.25]), height - BOTTOM, TOP)
    x = _classes(len(names), width)
    parts = [_y_axis(y, width), _x_names(names, x, height, axis, width)]
    parts.append(_line("one", (LEFT, width - RIGHT), (y(1), y(1))))
    for place, values in enumerate(series.values()):
        points = [(x(column), y(value)) for column, value in enumerate(values) if value > 0]
        path = " ".join(f"{left:.1f},{top:.1f}" for left, top in points)
        parts.append(f'<polyline class="series s{place}" points="{path}"/>')
        parts += [f'<circle class="mark s{place}" cx="{left:.1f}" cy="{top:.1f}" r="3"/>' for left, top in points]
    text = "; ".join(
        f"{form}: {', '.join(f'{name} {number(v)}' for name, v in zip(names, values, strict=True))}"
        for form, values in series.items()
    )
    return _svg(title, text, width, height, parts)


def number(value: float) -> str:
    """Return a number as people read it."""
    if value == 0:
        return "0"
    if 0.001 <= abs(value) < 10000:
        digits = max(0, 1 - math.floor(math.log10(abs(value))))
        return f"{value:.{digits}f}" if digits < 2 or abs(value) < 1 else f"{value:.2g}"
    mantissa, _, power = f"{value:.1e}".partition("e")
    return f"{mantissa}·10{str(int(power)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def _tick(value: float) -> str:
    power = math.log10(value)
    if abs(power - round(power)) < 1e-9 and not 0.001 <= value <= 1000:
        return f"10{str(round(power)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
    return f"{value:g}" if 1e-4 < value < 1e5 else f"{value:.0e}"


def _classes(count: int, width: int) -> Callable[[int], float]:
    step = (width - LEFT - RIGHT) / count
    return lambda place: LEFT + (place + 0.5) * step


def _x_axis(x: Log, width: int, height: int, label: str) -> str:
    floor = height - BOTTOM
    parts = [_line("axis", (LEFT, width - RIGHT), (floor, floor)), _label(label, width, height)]
    for value in x.ticks():
        parts += [
            _line("axis", (x(value), x(value)), (floor, floor + 4)),
            _text("tick", x(value), floor + 18, _tick(value)),
        ]
    return "".join(parts)


def _y_axis(y: Log, width: int) -> str:
    return "".join(
        _line("grid", (LEFT, width - RIGHT), (y(value), y(value)))
        + _text("tick", LEFT - 6, y(value) + 4, _tick(value), "end")
        for value in y.ticks()
    )


def _x_names(names: Sequence[str], x: Callable[[int], float], height: int, axis: str, width: int) -> str:
    ticks = (_text("tick", x(place), height - BOTTOM + 18, name) for place, name in enumerate(names))
    return "".join(ticks) + _label(axis, width, height)


def _label(text: str, width: int, height: int) -> str:
    return _text("label", (LEFT + width - RIGHT) / 2, height - 5, text)


def _line(kind: str, x: tuple[float, float], y: tuple[float, float]) -> str:
    return f'<line class="{kind}" x1="{x[0]:.1f}" x2="{x[1]:.1f}" y1="{y[0]:.1f}" y2="{y[1]:.1f}"/>'


def _text(kind: str, x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(title: str, text: str, width: int, height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(f"{title}. {text}")}">'
        f"<title>{escape(title)}</title><desc>{escape(text)}</desc>{''.join(parts)}</svg>"
    )
