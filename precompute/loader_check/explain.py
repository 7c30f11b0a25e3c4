"""What explains a view's σ, and its depth: of which frame, mirrored or not, where on it, and in which form."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import product
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.params import Difference, Estimator, KernelParams

from .agreement import Map, agreement, correlation, weight_error
from .register import WELL
from .verdict import EXACT, MODES, Judged, is_same
from .view import LoaderView, Lookup

CLEARLY = 0.5  # of an error, or of what a correlation leaves to 1: an explanation that leaves no more is believed
SAME = 0.02  # mean difference of log σ² that rounding to half precision leaves
POWERS = {0.5: "σ", -0.5: "1/σ", -1.0: "1/σ²"}
FORMS: dict[str, Callable[[NDArray[np.float64]], Any]] = {  # in which a loader may hold depth, and the way back
    "log(depth)": np.exp,
    "log10(depth)": lambda values: 10.0**values,
    "log(1 + depth)": np.expm1,
    "1 / depth (a disparity)": lambda values: 1 / values,
}
NO_DEPTH = "no depth"
CONVERT = "pass depth along the optical axis"
TRANSPOSE = "transpose sigma_Z2 where the loader transposes depth"


class Explanation(NamedTuple):
    """One explanation of a view's σ, or of its depth."""

    kind: str  # what is wrong by it; empty: nothing but, maybe, the place and the flip
    text: str  # what that is, and what to do
    lookup: Lookup  # that gives the σ, or the σ of the depth
    fit: float = 1.0  # correlation of log σ with that
    rest: float = 0.0  # the same for the next best explanation
    error: float = np.nan  # weight error of that lookup, against the kernel
    ratio: float = 1.0  # σ of that lookup, divided by the kernel's
    sigma: Lookup | None = None  # that gives the σ, where this one fits the depth and the two are displaced

    @property
    def sure(self) -> bool:
        """Whether the next best explanation leaves clearly more."""
        return 1 - self.fit <= CLEARLY * (1 - self.rest)


def explain_sigma(judged: Judged, others: Sequence[str]) -> Explanation | None:
    """Return what explains a view's σ, given keys of other frames to try; None: nothing that was tried."""
    if abs(judged.likeness) > EXACT:
        return _as_stored(judged)
    return _by_kernel(judged) or _exchanged(judged, others) or _elsewhere(judged)


def _as_stored(judged: Judged) -> Explanation:
    """Return the explanation of σ that the nominal lookup gives, maybe to another power."""
    stored, explained = judged.view.look_up(judged.nominal), Explanation("", "", judged.nominal)
    both = np.isfinite(judged.view.sigma) & np.isfinite(stored)
    slope = np.polyfit(stored[both].astype(np.float64), judged.view.sigma[both].astype(np.float64), 1)[0]
    if abs(slope - 1) < 0.1:
        return explained._replace(error=judged.given.weight_error)
    power = POWERS.get(round(float(slope), 2), f"σ² to the power of {slope:.2f}")
    text = f"sigma_Z2 holds {power} in place of σ²; pass what annotate gives: the losses make the weights"
    return explained._replace(kind="values", text=text)


def _by_kernel(judged: Judged) -> Explanation | None:
    """Return the explanation of σ that is the kernel's on the view's depth, by parameters other than the cache's."""
    view, own = judged.view, judged.view.frames.params
    base = own if isinstance(own, KernelParams) and own.compat is None else KernelParams()
    pairs = product((3, 5, 7), (0.0, 0.1, 0.25, 0.5, 1.0, 2.0))
    tried = (replace(base, window=window, lambda_prior=prior) for window, prior in pairs)
    others = dict.fromkeys((own, replace(own, quantisation_step=0.0), Difference(), *tried))
    maps: dict[Estimator, Map] = {each: view.by_kernel(view.depth, each) for each in others}
    away = {each: float(np.nanmean(np.abs(view.sigma - online))) for each, online in maps.items()}
    best = min(away, key=lambda each: away[each])
    likely = weight_error(view.sigma, maps[best]) <= min(judged.limit, CLEARLY * judged.given.weight_error)
    if best == own or not (likely or away[best] < SAME):
        return None
    named = f"estimator={best.estimator!r}"
    if isinstance(best, KernelParams):
        named = f"window={best.window}, lambda_prior={best.lambda_prior:g}"
    if best.quantisation_step != own.quantisation_step:
        named += f", quantisation_step={best.quantisation_step:g}"
    text = f"sigma_Z2 fits the kernel with {named}, unlike the cache; use the same for both"
    return Explanation("other parameters", text, judged.nominal, fit=float(away[best] < SAME))


def _exchanged(judged: Judged, others: Sequence[str]) -> Explanation | None:
    """Return the explanation of σ that annotate gives for the frame, transposed, or for another frame."""
    view = judged.view
    height, width = view.sigma.shape
    for key, mode in product([view.key, *others] if height == width else others, MODES):
        lookup, own = Lookup(key, *mode), key == view.key
        if correlation(view.sigma.T if own else view.sigma, view.look_up(lookup)) > EXACT:
            if own:
                return Explanation("transposed", f"rows are exchanged with columns; {TRANSPOSE}", lookup)
            text = f"the view of {view.key} holds that of {key}; pass annotate its own key"
            return Explanation("another frame's σ", text, lookup)
    return None


def _elsewhere(judged: Judged) -> Explanation | None:
    """Return the explanation of σ that lies elsewhere on its frame than by the intrinsics."""
    view = judged.view
    for flip in (judged.nominal.flip, not judged.nominal.flip):
        lookup, fit = view.register(view.sigma, judged.nominal._replace(flip=flip))
        if fit > WELL:
            error = weight_error(view.look_up(lookup), view.online)
            return Explanation("", "", lookup, fit, abs(judged.likeness), error)
    return None


def held_as(judged: Judged, form: str) -> Explanation:
    """Return the explanation of a view's depth by a form in ``FORMS``."""
    view = judged.view
    with np.errstate(all="ignore"):
        online = view.by_kernel(FORMS[form](np.where(view.depth == 0, np.nan, view.depth)))
    text = f"the view holds {form} in place of depth; {CONVERT}"
    return _explained(view, online, judged.nominal, NO_DEPTH, text)


def _explained(view: LoaderView, online: Map, lookup: Lookup, kind: str = "", text: str = "") -> Explanation:
    if np.isfinite(online).sum() <= view.pixels / 2:
        return Explanation(kind, text, lookup, fit=0.0, error=np.inf)
    stored = view.look_up(lookup)
    error, _, ratio = agreement(stored, online)
    return Explanation(kind, text, lookup, correlation(online, stored), error=error, ratio=ratio)


def explain_depth(judged: Judged, others: Iterable[str]) -> Explanation | None:
    """Return what explains a view's depth, given keys of other frames to try; None: nothing that was tried."""
    view, fitting, nominal = judged.view, judged.fitting, judged.nominal
    mirrored = nominal._replace(flip=not nominal.flip)

    plain = _explained(view, view.by_kernel(view.depth, matrix=view.intrinsics_at(fitting)), fitting)
    as_given = [_explained(view, view.online, nominal)] if fitting.place.any() else []
    tried = []
    if plain.fit < WELL:
        tried.append(_explained(view, view.online, view.register(view.online, mirrored)[0]))
        for key, lookup in product(others, (nominal, mirrored)):
            text = f"the view of {view.key} holds that of {key}; key must name the frame of the depth"
            tried.append(_explained(view, view.online, lookup._replace(key=key), "another frame's depth", text))
    tried += [held_as(judged, form) for form in FORMS]

    def believed(one: Explanation) -> bool:
        better = one.fit > plain.fit and one.error < min(plain.error, judged.elsewhere / 2)
        clear = 1 - one.fit < CLEARLY * (1 - plain.fit) or (judged.scaled and is_same(one.ratio))
        return better and (clear or one.kind != NO_DEPTH)

    best = max([plain, *filter(believed, tried)], key=attrgetter("fit"))
    rest = max(one.fit for one in (plain, *tried, *as_given) if one is not best)
    return best._replace(rest=rest) if best.error <= judged.most else None
