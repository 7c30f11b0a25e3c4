"""Which of the frames looked at are shown, and why: typical, extreme and suspicious ones, by rules that people read."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from .measure import Looked

Kind = Literal["suspicious", "extreme", "typical"]
MOST: dict[Kind, int] = {"suspicious": 2, "extreme": 4, "typical": 2}  # frames shown
FEW_PIXELS = 0.1  # of a frame: fewer with a σ are suspicious
FAR_OFF, FACTOR = 5.0, 2.0  # median absolute deviations from the median of all frames, and how many times more or less

RULES: dict[Kind, str] = {
    "suspicious": f"a frame where fewer than {100 * FEW_PIXELS:g} % of the pixels have a σ, where σ contradicts the "
    "depth or is not larger at edges than elsewhere, or whose median σ/Z is more than "
    f"{FAR_OFF:g} median absolute deviations (of its logarithm) and more than {FACTOR:g} times away from that of the "
    "other frames",
    "extreme": "the frames of the largest and of the smallest median σ/Z, of the largest share of pixels at edges, and "
    "of the largest median depth",
    "typical": "the frames whose median σ/Z and share of pixels at edges are closest to the medians of all frames, in "
    "median absolute deviations",
}


_Measure = tuple[Callable[..., Any], str, Callable[[float], str]]  # the best by a field of Looked, in words


class Pick(NamedTuple):
    """A frame that is shown."""

    frame: Looked
    kind: Kind
    why: str


def choose(frames: Sequence[Looked]) -> tuple[list[Pick], int]:
    """Return the frames to show, each once, and how many suspicious ones are left out."""
    doubts = [(frame, ", ".join(found)) for frame in frames if (found := list(suspicions(frame, frames)))]
    shown = [Pick(frame, "suspicious", why) for frame, why in doubts[: MOST["suspicious"]]]
    others: dict[Kind, Iterator[tuple[Looked, str]]] = {"extreme": _extremes(frames), "typical": _typical(frames)}
    for kind, candidates in others.items():
        count = 0
        for frame, why in candidates:
            if count < MOST[kind] and all(pick.frame is not frame for pick in shown):
                shown.append(Pick(frame, kind, why))
                count += 1
    order = list(reversed(MOST))
    return sorted(shown, key=lambda pick: order.index(pick.kind)), max(0, len(doubts) - MOST["suspicious"])


def suspicions(frame: Looked, frames: Sequence[Looked]) -> Iterator[str]:
    """Yield what is suspicious about a frame, among all of those looked at."""
    if frame.share < FEW_PIXELS:
        yield f"only {percent(frame.share)} of the pixels have a σ"
    if frame.contradiction:
        yield f"σ² contradicts the depth: {frame.contradiction}"
    typical = frame.typical
    if "edge" in typical and "smooth" in typical and typical["edge"] <= typical["smooth"]:
        yield f"typical σ {typical['edge']:.2g} m at edges, {typical['smooth']:.2g} m elsewhere"
    if ratio := frame.ratio:
        middle, deviation = _middle([math.log(each.ratio) for each in frames if each.ratio])
        off = abs(math.log(ratio) - middle)
        if off > FAR_OFF * deviation and off > math.log(FACTOR):
            yield f"median σ/Z {ratio:.2g}, in the other frames {math.exp(middle):.2g}"


def _extremes(frames: Sequence[Looked]) -> Iterator[tuple[Looked, str]]:
    with_depth = any(frame.ratio for frame in frames)
    measures: tuple[_Measure, ...] = (
        (max, "ratio", lambda value: f"largest median σ/Z, {value:.2g}"),
        (min, "ratio", lambda value: f"smallest median σ/Z, {value:.2g}"),
        (max, "edges", lambda value: f"most pixels at edges, {percent(value)}"),
        (max, "depth", lambda value: f"largest median depth, {value:.3g} m"),
    )
    without: tuple[_Measure, ...] = (
        (max, "sigma", lambda value: f"largest median σ, {value:.2g} m"),
        (min, "sigma", lambda value: f"smallest median σ, {value:.2g} m"),
    )
    for best, name, text in measures if with_depth else without:
        known = [(value, -place) for place, frame in enumerate(frames) if (value := getattr(frame, name)) is not None]
        if known:
            value, place = best(known)
            yield frames[-place], text(value)


def _typical(frames: Sequence[Looked]) -> Iterator[tuple[Looked, str]]:
    known = [frame for frame in frames if frame.ratio and frame.edges is not None]
    if known:
        columns = np.array([(math.log(frame.ratio or 1), frame.edges) for frame in known])
    else:  # without depth
        known = [frame for frame in frames if frame.sigma]
        columns = np.array([(math.log(frame.sigma or 1),) for frame in known])
    off = np.zeros(len(known))
    for column in columns.T if known else ():
        middle, deviation = _middle(column.tolist())
        off += np.abs(column - middle) / (deviation or 1.0)
    for place in np.argsort(off, kind="stable").tolist():
        frame = known[place]
        edges = "" if frame.edges is None else f", {percent(frame.edges)} of the pixels at edges"
        yield frame, f"median σ{f'/Z {frame.ratio:.2g}' if frame.ratio else f' {frame.sigma:.2g} m'}{edges}"


def percent(share: float) -> str:
    """Return a share as people read it."""
    return f"{100 * share:.1f} %"


def _middle(values: Sequence[float]) -> tuple[float, float]:
    """Return the median of some values, not none, and their median absolute deviation from it."""
    middle = float(np.median(values))
    return middle, float(np.median(np.abs(np.array(values) - middle)))
