"""The checks of a report: what σ of most scenes obeys, with the numbers by which people judge it."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from depthvar.precompute.validation import limits, statistics

from .charts import number
from .measure import Looked, Totals

State = Literal["holds", "look", "not checked"]


class Check(NamedTuple):
    """A check: its name, what became of it, the numbers, and what it means where it does not hold."""

    name: str
    state: State
    numbers: str
    meaning: str


MEANINGS = {
    "edge": "Else the scenes have hardly an edge, or the data set is not described as it is stored (unit, intrinsics).",
    "far": "Else far pixels are smooth and near ones are not, as in a view of foliage before a wall; or the depth is "
    "disparity.",
}


def checks(totals: Totals, frames: Sequence[Looked], damaged: Sequence[tuple[str, str]], no_depth: str) -> list[Check]:
    """Return all checks; ``damaged`` are frames that cannot be read, ``no_depth`` why there is no depth, or ""."""
    typical = statistics.typical(totals.log_sigma)
    found = []
    for more, less, what in statistics.EXPECTED:
        name, meaning = f"σ is larger {what}", MEANINGS[more]
        if more in typical and less in typical:
            known = [frame.typical for frame in frames if more in frame.typical and less in frame.typical]
            hold = sum(each[more] > each[less] for each in known)
            numbers = (
                f"Typically {typical[more]:.2g} m there, {typical[less]:.2g} m elsewhere "
                f"({typical[more] / typical[less]:.1f} times); so in {hold} of {len(known)} frames"
            )
            found.append(Check(name, "holds" if typical[more] > typical[less] else "look", numbers, meaning))
        else:
            found.append(Check(name, "not checked", no_depth or f"no pixel is {more} or none is {less}", meaning))
    least = min((frame.least for frame in frames if frame.least is not None), default=None)
    numbers = f"{totals.pixels:,} pixels with a σ² in {len(frames)} frames"
    numbers += "" if least is None else f", the least {number(least)} m²"
    wrong = [f"{key}: {message}" for key, message in damaged]
    wrong += [f"{frame.key}: σ² of 0" for frame in frames if frame.least is not None and frame.least <= 0]
    found.append(
        Check(
            "σ² is never negative, 0 or missing",
            "look" if wrong else "holds" if frames else "not checked",
            "; ".join([numbers, *wrong[:3], *([f"and {len(wrong) - 3} more"] if len(wrong) > 3 else [])]),
            "Else the cache is damaged: precompute validate names the repair.",
        )
    )
    compared = [frame for frame in frames if frame.far is not None]
    unlike = [f"{frame.key}: {frame.contradiction}" for frame in frames if frame.contradiction]
    found.append(
        Check(
            "σ² fits the depth",
            "look" if unlike else "holds" if compared else "not checked",
            "; ".join([f"{limits.EXPECTED}: in {len(compared) - len(unlike)} of {len(compared)} frames", *unlike[:3]])
            if compared
            else no_depth,
            "Else the depth has changed since the run, or is not that of the cache: precompute validate compares them.",
        )
    )
    return found
