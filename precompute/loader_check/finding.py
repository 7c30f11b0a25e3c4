"""Findings: the causes of all views, put together by kind."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .cause import UNEXPLAINED, UNITS, Cause
from .displacement import describe
from .verdict import Judged, is_same
from .view import LoaderView


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: "flip", "camera_intrinsics", "other units", …
        text: what it is, and what to do.
        sure: whether nothing else that was tried explains it nearly as well; otherwise it is likely.
        views: keys of the views' frames.
        evidence: in how many views; weight error, and what is left of it without this cause.
    """

    kind: str
    text: str
    sure: bool
    views: tuple[str, ...]
    evidence: str

    def __str__(self) -> str:
        """Return one line."""
        sure = "" if self.kind == UNEXPLAINED else "certain; " if self.sure else "likely; "
        return f"{self.kind}: {self.text} ({sure}{self.evidence})"


def findings(wrong: Iterable[tuple[LoaderView | Judged, Cause]], of: int) -> tuple[Finding, ...]:
    """Return one finding for each kind of cause, given the number of all views."""
    groups: dict[str, tuple[list[LoaderView | Judged], list[Cause]]] = defaultdict(lambda: ([], []))
    for one, cause in wrong:
        groups[cause.kind][0].append(one)
        groups[cause.kind][1].append(cause)
    return tuple(_finding(views, causes, of) for views, causes in groups.values())


def _finding(views: Sequence[LoaderView | Judged], causes: Sequence[Cause], of: int) -> Finding:
    judged = [one for one in views if isinstance(one, Judged)]
    origins = [cause.origin for cause in causes if cause.origin]
    kind, texts = causes[0].kind, list(dict.fromkeys(cause.text for cause in causes))
    text, sure = "; ".join(texts[:2]), kind != UNEXPLAINED and all(origin.sure for origin in origins)
    if len(texts) > 2:
        text += f"; and {len(texts) - 2} more"
    if moved := [cause.moved for cause in causes if cause.moved]:
        kind, text, alike = describe(moved)
        sure = sure and alike
    elif kind == UNITS:
        text = _units([1 / one.ratio for one in judged], sure)
    evidence = f"in {len(views)} of {of} views"
    if judged:
        evidence += f"; weight error {np.mean([one.given.weight_error for one in judged]):.2f}"
    if origins:
        error, fit, rest = np.mean([(one.error, one.correlation, one.rest) for one in origins], axis=0)
        evidence += f", {error:.2f} without it"
        if rest > 0:
            evidence += f"; correlation {fit:.3f}, of the next best explanation {rest:.3f}"
    keys = (one.view.key if isinstance(one, Judged) else one.key for one in views)
    return Finding(kind, text, sure, tuple(keys), evidence)


def _units(ratios: Sequence[float], sure: bool) -> str:
    ratio, low, high = float(np.median(ratios)), min(ratios), max(ratios)
    text = f"the loader's depth gives {ratio:.4g} times the σ of the cache"
    if not sure:
        text += ", or has noise added"
    if not is_same(high / low):
        return f"{text}, {low:.4g} to {high:.4g} by view; pass as scale what each view's depth was divided by"
    decimal = 10.0 ** round(np.log10(ratio))
    divided_by = 1 / (decimal if is_same(ratio / decimal) and decimal != 1 else ratio)
    return f"{text}; pass scale={divided_by:.4g} to the loss, or keep depth in metres"
