"""What a view's σ is, and what its depth is: of which frame, mirrored or not, where on it, and in which form."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.params import Difference, Estimator, KernelParams

from .agreement import Map, agreement, correlation, weight_error
from .register import AS_TOLD, WELL, Place
from .verdict import EXACT, MODES, Judged, is_same
from .view import LoaderView

CLEARLY = 0.5  # of an error, or of what a correlation leaves to 1: an explanation that leaves no more is believed
SAME = 0.02  # mean difference of log σ² that rounding to half precision leaves
FORMS: dict[str, Callable[[NDArray[np.float64]], Any]] = {  # in which a loader may hold depth, and the way back
    "log(depth)": np.exp,
    "log10(depth)": lambda values: 10.0**values,
    "log(1 + depth)": np.expm1,
    "1 / depth (a disparity)": lambda values: 1 / values,
}


class Origin(NamedTuple):
    """What a view's σ, or its depth, was found to be.

    Attributes:
        key: of its frame.
        flip: whether it is mirrored.
        place: on the frame.
        correlation: of log σ with what the cache has there.
        rest: the same for the next best explanation.
        error: weight error, against the kernel, of what the cache has there.
        ratio: σ that the cache has there, divided by the kernel's.
        transposed: of σ: rows for columns.
        power: of σ: the power of the cache's σ² that it is.
        params: of σ: those of the kernel, where they are not the cache's.
        form: of depth: what it is in place of depth.
    """

    key: str
    flip: bool
    place: Place = AS_TOLD
    correlation: float = 1.0
    rest: float = 0.0
    error: float = 0.0
    ratio: float = 1.0
    transposed: bool = False
    power: float = 1.0
    params: Estimator | None = None
    form: str = ""

    @property
    def sure(self) -> bool:
        """Whether the next best explanation leaves clearly more."""
        return 1 - self.correlation <= CLEARLY * (1 - self.rest)


def origin_of_sigma(judged: Judged, near: Iterable[str], far: Iterable[str]) -> Origin | None:
    """Return what a view's σ is; None: nothing that was tried.

    Args:
        judged: the view.
        near: keys of other frames to try early.
        far: and of those to try late.
    """
    view, flip, resize = judged.view, judged.flip, judged.resize
    if abs(judged.likeness) > EXACT:
        stored = view.look_up(flip, resize)
        return Origin(view.key, flip, error=judged.given.weight_error, power=_power(view.sigma, stored))
    return (
        _by_kernel(judged) or _transposed(view) or _of_frame(view, near) or _of_frame(view, far) or _elsewhere(judged)
    )


def _power(sigma: Map, stored: Map) -> float:
    """Return the power of stored σ² that a map is, to two decimals; 1 where it is about that."""
    both = np.isfinite(sigma) & np.isfinite(stored)
    slope = np.polyfit(stored[both].astype(np.float64), sigma[both].astype(np.float64), 1)[0]
    return 1.0 if abs(slope - 1) < 0.1 else round(float(slope), 2)


def _by_kernel(judged: Judged) -> Origin | None:
    """Return the origin of σ that is the kernel's on the view's depth, by parameters other than the cache's."""
    view, own = judged.view, judged.view.params
    base = own if isinstance(own, KernelParams) and own.compat is None else KernelParams()
    pairs = product((3, 5, 7), (0.0, 0.1, 0.25, 0.5, 1.0, 2.0))
    tried: list[Estimator] = [
        own,
        Difference(),
        *(replace(base, window=window, lambda_prior=prior) for window, prior in pairs),
    ]
    maps = {each: view.by_kernel(view.depth, each) for each in dict.fromkeys(tried)}
    away = {each: float(np.nanmean(np.abs(view.sigma - online))) for each, online in maps.items()}
    best = min(away, key=lambda each: away[each])
    error = weight_error(view.sigma, maps[best])
    likely = error <= min(judged.limit, CLEARLY * judged.given.weight_error)
    if best == own or not (likely or away[best] < SAME):
        return None
    return Origin(view.key, judged.flip, correlation=float(away[best] < SAME), error=judged.best, params=best)


def _transposed(view: LoaderView) -> Origin | None:
    if view.sigma.shape[0] != view.sigma.shape[1]:
        return None
    fits = (flip for flip, resize in MODES if correlation(view.sigma.T, view.look_up(flip, resize)) > EXACT)
    return next((Origin(view.key, flip, transposed=True) for flip in fits), None)


def _of_frame(view: LoaderView, keys: Iterable[str]) -> Origin | None:
    """Return the origin of σ that annotate gives for another frame."""
    for key, (flip, resize) in product(keys, MODES):
        if correlation(view.sigma, view.look_up(flip, resize, key=key)) > EXACT:
            return Origin(key, flip)
    return None


def _elsewhere(judged: Judged) -> Origin | None:
    """Return the origin of σ that lies elsewhere on its frame than told."""
    view, resize = judged.view, judged.resize
    for flip in (judged.flip, not judged.flip):
        place, likeness = view.register(view.sigma, flip, resize)
        if likeness > WELL:
            error = weight_error(view.look_up(flip, resize, place), view.online)
            return Origin(view.key, flip, place, likeness, abs(judged.likeness), error)
    return None


def origin_of_depth(judged: Judged, near: Iterable[str]) -> Origin | None:
    """Return what a view's depth is; None: nothing that was tried.

    Args:
        judged: the view.
        near: keys of other frames to try.
    """
    view, flip, resize = judged.view, judged.flip, judged.resize

    def at(online: Map, flip: bool, place: Place = AS_TOLD, key: str = view.key, form: str = "") -> Origin:
        stored = view.look_up(flip, resize, place, key)
        if np.isfinite(online).sum() <= view.pixels / 2:
            return Origin(key, flip, correlation=0.0, error=np.inf)
        error, _, ratio = agreement(stored, online)
        return Origin(key, flip, place, correlation(online, stored), error=error, ratio=ratio, form=form)

    place = judged.place.place
    plain = at(view.by_kernel(view.depth, place=place), flip, place)
    others = []
    if plain.correlation < WELL:
        others = [at(view.online, not flip, view.register(view.online, not flip, resize).place)]
        others += [at(view.online, one, key=key) for key, one in product(near, (flip, not flip))]
    values = np.where(view.depth == 0, np.nan, view.depth)
    with np.errstate(all="ignore"):
        maps = {form: view.by_kernel(to_depth(values)) for form, to_depth in FORMS.items()}
    others += [at(online, flip, form=form) for form, online in maps.items()]

    def believed(one: Origin) -> bool:
        clear = 1 - one.correlation < CLEARLY * (1 - plain.correlation)
        better = one.correlation > plain.correlation and one.error < min(plain.error, judged.elsewhere / 2)
        return better and (clear or not one.form or (judged.scaled and is_same(one.ratio)))

    as_told = [] if plain.place == AS_TOLD else [at(view.online, flip)]
    best = max([plain, *filter(believed, others)], key=lambda one: one.correlation)
    rest = max(one.correlation for one in (plain, *others, *as_told) if one is not best)
    return best._replace(rest=rest) if best.error <= judged.elsewhere / 2 else None
