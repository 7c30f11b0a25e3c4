"""What is wrong with the views, and what to do about it: one finding for each kind of cause."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from depthvar.datasets.cache.sigma_cache import SigmaCache

from .displacement import SEEN, Displacement
from .explain import CONVERT, FORMS, NO_DEPTH, TRANSPOSE, Explanation, explain_depth, explain_sigma, held_as
from .verdict import Judged, is_same
from .view import LoaderView, Lookup

AROUND, BATCH = 8, 8  # other frames that are tried: to either side in the cache's list, and of the wrong views
MOST = 0.75  # of the weight error, which σ of another place must have too, if that is the cause
UNEXPLAINED, UNITS, DISPLACED = "unexplained", "other units", "displaced"
FLIP = "depth and sigma_Z2 are mirrored to each other; pass flip=True to annotate where depth is mirrored"
NO_VALUES = (
    "sigma_Z2 is NaN, 0 or +inf wherever depth is valid, so the view trains with weight 0; check that key and "
    "intrinsics are the view's own, and do not point outside of the frame"
)
CONSTANT = (
    "sigma_Z2 is {:.4g} at every pixel compared, so it weights nothing; call cache.annotate, or leave this check out "
    "where that is meant"
)
SAME_CACHE = "pass the cache that annotates"
OTHER_DEPTH = (
    "nowhere on its frame is the cache's σ like the kernel's on the view's depth; check that key names the frame of "
    "the depth, and pass depth unfiltered and without noise"
)
NO_SIGMA = (
    "sigma_Z2 is not what annotate gives for the frame, also not moved, scaled, mirrored or of a frame nearby, nor "
    "what the kernel gives with other parameters; pass its values unchanged"
)
ONE_PLACE = (
    "sigma_Z2 and depth lie at one place of the frame, but sigma_Z2 has other values than annotate gives; pass its "
    "values unchanged"
)

Wrong = tuple[LoaderView | Judged, Explanation]


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


def plain_cause(view: LoaderView) -> Explanation | None:
    """Return what is wrong with a view where that is seen without a comparison."""

    def cause(kind: str, text: str) -> Explanation:
        return Explanation(kind, text, Lookup(view.key))

    depth, sigma = view.shapes
    if sigma == depth[::-1] != depth:
        return cause("transposed", f"sigma_Z2 is {sigma} where depth is {depth}; {TRANSPOSE}")
    if sigma != depth:
        return cause("another size", f"sigma_Z2 is {sigma} where depth is {depth}; annotate after the last resize")
    params = view.frames.params
    own = [params.window, params.lambda_prior, params.alpha_clamp]
    if view.stated_params is not None and not np.allclose(view.stated_params, own, rtol=1e-6):
        stated = [float(f"{value:.6g}") for value in view.stated_params]
        return cause("other parameters", f"sigma_Z2_params is {stated}, the cache has {own}; {SAME_CACHE}")
    if view.negative:
        return cause(NO_DEPTH, f"depth is below 0 at {view.negative} valid pixels, as log(depth) is; {CONVERT}")
    values = view.sigma[np.isfinite(view.online) & np.isfinite(view.sigma)]
    if view.pixels and not values.size:
        return cause("no values", NO_VALUES)
    if values.size and values.min() == values.max():
        return cause("constant", CONSTANT.format(np.exp(float(values[0]))))
    return None


def causes(wrong: Sequence[Judged], cache: SigmaCache) -> list[Wrong]:
    """Return what is wrong with each of some wrong views, at least one cause for each."""
    listed, keys, found = cache.keys(), [one.view.key for one in wrong[:BATCH]], []
    for one in wrong:
        here = listed.index(one.view.key)
        nearest = [*listed[here + 1 : here + 1 + AROUND], *listed[max(0, here - AROUND) : here]]
        others = [key for key in dict.fromkeys([*keys, *nearest]) if key != one.view.key]
        found += [(one, cause) for cause in _causes(one, others)]
    return _of_one_form(found)


def _of_one_form(found: list[tuple[Judged, Explanation]]) -> list[Wrong]:
    """Let one form of depth explain all views that other units and forms share, where that leaves less error.

    A view alone may not tell log(depth) from log(1 + depth) or, with the noise of a sensor, from other units.
    """
    shared = [(one, cause) for one, cause in found if cause.kind in (NO_DEPTH, UNITS)]
    texts = {cause.text if cause.kind == NO_DEPTH else UNITS for _, cause in shared}
    best = [cause for _, cause in shared]
    for form in FORMS if len(texts) > 1 else ():
        tried = [held_as(one, form)._replace(rest=max(cause.fit, cause.rest)) for one, cause in shared]
        less = sum(cause.error for cause in tried) < sum(cause.error for cause in best)
        best = tried if less and all(is_same(cause.ratio) for cause in tried) else best
    instead = {id(cause): better for (_, cause), better in zip(shared, best, strict=True)}
    return [(one, instead.get(id(cause), cause)) for one, cause in found]


def _causes(one: Judged, others: Sequence[str]) -> list[Explanation]:
    """Return what is wrong with a view, given keys of other frames to try."""
    sigma, depth = explain_sigma(one, others), explain_depth(one, others)
    found = [each for each in (sigma, depth) if each and each.kind]
    if not found and sigma and depth and sigma.lookup.flip != depth.lookup.flip:
        found = [depth._replace(kind="flip", text=FLIP)]
    if found:
        return [each._replace(error=depth.error if depth else one.best) for each in found]
    unexplained = Explanation(UNEXPLAINED, OTHER_DEPTH, one.nominal)
    if depth is None:
        return [unexplained]
    if one.scaled and one.given.weight_error <= one.limit:
        noise_may_do_it = 0.1 < one.ratio < 10 and one.best > one.elsewhere / 4
        return [depth._replace(kind=UNITS, rest=depth.fit if noise_may_do_it else 0.0)]
    if sigma is None:
        return [unexplained._replace(text=NO_SIGMA)]
    moved = Displacement([one], [sigma.lookup], [depth.lookup])
    if moved.matters and sigma.error > MOST * one.given.weight_error:
        return [depth._replace(kind=DISPLACED, sigma=sigma.lookup)]
    return [unexplained._replace(text=ONE_PLACE)]


def small_shift(judged: Sequence[Judged]) -> list[Wrong]:
    """Return a cause for all views where each is within its limit, but all are shifted alike, as by another resize."""
    sigma, depth = [one.nominal for one in judged], [one.fitting for one in judged]
    if not judged or not Displacement(judged, sigma, depth).half_pixel(SEEN):
        return []
    return [(one, Explanation(DISPLACED, "", one.fitting, error=one.best, sigma=one.nominal)) for one in judged]


def findings(wrong: Iterable[Wrong], of: int) -> tuple[Finding, ...]:
    """Return one finding for each kind of cause, given the number of all views."""
    groups: dict[str, list[Wrong]] = defaultdict(list)
    for each in wrong:
        groups[each[1].kind].append(each)
    return tuple(_finding(group, of) for group in groups.values())


def _finding(wrong: Sequence[Wrong], of: int) -> Finding:
    causes, judged = [cause for _, cause in wrong], [one for one, _ in wrong if isinstance(one, Judged)]
    kind, texts = causes[0].kind, list(dict.fromkeys(cause.text for cause in causes))
    text = "; ".join(texts[:2]) + (f"; and {len(texts) - 2} more" if len(texts) > 2 else "")
    sure = kind != UNEXPLAINED and all(cause.sure for cause in causes)
    if sigma := [cause.sigma for cause in causes if cause.sigma]:
        kind, text, alike = Displacement(judged, sigma, [cause.lookup for cause in causes]).describe()
        sure = sure and alike
    elif kind == UNITS:
        text = _units([1 / one.ratio for one in judged], sure)
    evidence = f"in {len(wrong)} of {of} views"
    if judged:
        evidence += f"; weight error {np.mean([one.given.weight_error for one in judged]):.2f}"
    if explained := [(cause.error, cause.fit, cause.rest) for cause in causes if np.isfinite(cause.error)]:
        error, fit, rest = np.mean(explained, axis=0)
        evidence += f", {error:.2f} without it"
        if rest > 0:
            evidence += f"; correlation {fit:.3f}, of the next best explanation {rest:.3f}"
    keys = (one.view.key if isinstance(one, Judged) else one.key for one, _ in wrong)
    return Finding(kind, text, sure, tuple(keys), evidence)


def _units(ratios: Sequence[float], sure: bool) -> str:
    ratio, low, high = float(np.median(ratios)), min(ratios), max(ratios)
    text = f"the loader's depth gives {ratio:.4g} times the σ of the cache{'' if sure else ', or has noise added'}"
    if not is_same(high / low):
        return f"{text}, {low:.4g} to {high:.4g} by view; pass as scale what each view's depth was divided by"
    decimal = 10.0 ** round(np.log10(ratio))
    factor = decimal if decimal != 1 and is_same(ratio / decimal) else ratio
    return f"{text}; pass scale={1 / factor:.4g} to the loss, or keep depth in metres"
