"""Is σ² attached to the right pixels? A user's own samples against the kernel run on their own depth."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import ParameterError
from depthvar.datasets.frame import view_key

from .agreement import Agreement
from .cause import Cause, causes, plain_cause, small_shift
from .finding import Finding, findings
from .verdict import Judged, judge, wrong_views
from .view import Frames, LoaderView

Key = Callable[[Mapping[str, Any]], str | PathLike[str]]

ENOUGH_PIXELS = 256  # of a view, to compare it


@dataclass(frozen=True)
class LoaderCheck:
    """What :func:`check_loader` found. The figures are means over the views compared, NaN where there are none.

    Attributes:
        findings: what is wrong, one line each as ``str``; empty: the samples are right.
        agreement: of the samples' σ with the kernel's.
        best: weight error of the best lookup that was found for the same views.
        limit: weight error up to which they are right.
        elsewhere: weight error of lookups an eighth of the view from there.
        pixels: compared, over all views.
        views: compared: those with enough pixels.
    """

    findings: tuple[Finding, ...]
    agreement: Agreement
    best: float
    limit: float
    elsewhere: float
    pixels: int
    views: int

    @property
    def right(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def __str__(self) -> str:
        """Return a line per finding, or one that says that all is right."""
        if self.findings:
            return "\n".join(map(str, self.findings))
        return (
            f"right: σ agrees with the kernel on the loader's depth at {self.pixels} pixels of {self.views} views: "
            f"weight error {self.agreement.weight_error:.3f} (limit {self.limit:.3f}, elsewhere {self.elsewhere:.3f}), "
            f"rank correlation {self.agreement.rank:.3f}"
        )


def check_loader(views: Iterable[Mapping[str, Any]], cache: SigmaCache, key: Key = view_key) -> LoaderCheck:
    """Compare σ² in samples of a loader with the kernel run on the samples' own depth. TODO."""
    frames = Frames(cache)
    samples = [LoaderView(view, frames, str(key(view))) for view in views]
    if not samples:
        raise ParameterError("check_loader: expected some views, got none; pass a few samples of the loader")
    plain = {index: cause for index, sample in enumerate(samples) if (cause := plain_cause(sample))}
    rest = [sample for index, sample in enumerate(samples) if index not in plain]
    judged = [judge(sample) for sample in rest if sample.pixels >= ENOUGH_PIXELS]
    if not (judged or plain):
        raise ParameterError(
            f"check_loader: expected a view with at least {ENOUGH_PIXELS} pixels in whole windows of depth above 0, "
            f"got {max(sample.pixels for sample in samples)} at most; pass dense depth: sparse depth, as a LiDAR's, "
            "cannot be checked"
        )
    wrong = wrong_views(judged)
    found: list[tuple[LoaderView | Judged, Cause]] = [(samples[index], cause) for index, cause in plain.items()]
    found += causes(wrong, cache) if wrong else small_shift(judged)
    figures = [(*one.given, one.best, one.limit, one.elsewhere) for one in judged] or [(np.nan,) * 6]
    error, rank, ratio, best, limit, elsewhere = np.mean(figures, axis=0).tolist()
    return LoaderCheck(
        findings(found, len(samples)), Agreement(error, rank, ratio), best, min(limit, elsewhere / 2), elsewhere,
        pixels=sum(one.view.pixels for one in judged), views=len(judged),
    )  # fmt: skip
