"""What is wrong with a view, and what to do about it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from depthvar.datasets.cache.sigma_cache import SigmaCache

from .displacement import SEEN, Displacement, displacement, half_pixel
from .origin import Origin, origin_of_depth, origin_of_sigma
from .register import AS_TOLD
from .verdict import Judged
from .view import LoaderView

NEAR, FAR = 2, 128  # other frames to either side in the cache's list that are tried
MOST = 0.75  # of the weight error, which σ of another place must have too, if that is the cause
PATIENCE = 2  # views for which the far ones are tried in vain
POWERS = {0.5: "σ", -0.5: "1/σ", -1.0: "1/σ²"}
UNEXPLAINED, UNITS, DISPLACED = "unexplained", "other units", "displaced"
CONVERT = "pass depth along the optical axis"
TURN = "turn sigma_Z2 where the loader turns depth"
FLIP = "depth and sigma_Z2 are mirrored to each other; pass flip=True to annotate where depth is mirrored"
NO_VALUES = (
    "sigma_Z2 is NaN, 0 or +inf wherever depth is valid, so the view trains with weight 0; check that key and "
    "intrinsics are the view's own, and do not point outside of the frame"
)
NO_DEPTH = (
    "nowhere on its frame is the cache's σ like the kernel's on the view's depth; is key that of the depth, and the "
    "depth that of the frame, not filtered, and without noise added?"
)
NO_SIGMA = (
    "sigma_Z2 is not what annotate gives for the frame, also not moved, scaled, mirrored or of a frame nearby, nor "
    "what the kernel gives with other parameters; pass its values unchanged"
)
ONE_PLACE = "sigma_Z2 and depth lie at one place of the frame, but sigma_Z2 has other values than annotate gives"


class Cause(NamedTuple):
    """What is wrong with a view.

    Attributes:
        kind: in a word or two.
        text: what it is, and what to do; none where that depends on all views.
        origin: of σ or depth, by which it was found; none where nothing was looked for.
        moved: where σ and depth are displaced.
    """

    kind: str
    text: str = ""
    origin: Origin | None = None
    moved: Displacement | None = None


def plain_cause(view: LoaderView) -> Cause | None:
    """Return what is wrong with a view where that is seen without a comparison."""
    depth, sigma = view.shapes
    if sigma == depth[::-1] != depth:
        return Cause("transposed", f"sigma_Z2 is {sigma} where depth is {depth}; {TURN}")
    if sigma != depth:
        return Cause("another size", f"sigma_Z2 is {sigma} where depth is {depth}; annotate after the last resize")
    own = [view.params.window, view.params.lambda_prior, view.params.alpha_clamp]
    if view.stated_params is not None and not np.allclose(view.stated_params, own, rtol=1e-6):
        stated = [float(f"{value:.6g}") for value in view.stated_params]
        text = f"sigma_Z2_params is {stated}, the cache has {own}; pass the cache that annotates"
        return Cause("other parameters", text)
    if view.negative:
        return Cause("no depth", f"depth is below 0 at {view.negative} valid pixels, as log(depth) is; {CONVERT}")
    values = view.sigma[np.isfinite(view.online) & np.isfinite(view.sigma)]
    if view.pixels and not values.size:
        return Cause("no values", NO_VALUES)
    if values.size and values.min() == values.max():
        text = f"sigma_Z2 is {np.exp(float(values[0])):.4g} at every pixel compared, so it weights nothing; "
        return Cause("constant", text + "call cache.annotate, or leave this check out where that is meant")
    return None


def causes(wrong: Sequence[Judged], cache: SigmaCache) -> Iterator[tuple[Judged, Cause]]:
    """Yield what is wrong with each of some wrong views, at least one cause for each."""
    listed, keys, in_vain = cache.keys(), [one.view.key for one in wrong[:8]], 0
    for one in wrong:
        near = list(_others(one.view.key, listed, keys, NEAR))
        far = _others(one.view.key, listed, [], FAR if in_vain < PATIENCE else 0)
        sigma = origin_of_sigma(one, near, far)
        in_vain += sigma is None or sigma.place != AS_TOLD
        for cause in _causes(one, sigma, origin_of_depth(one, near)):
            yield one, cause


def _others(own: str, listed: list[str], first: list[str], around: int) -> Iterator[str]:
    """Yield keys of other frames: the first ones, then the nearest in the cache's list."""
    here = listed.index(own)
    nearest = sorted(range(max(0, here - around), min(len(listed), here + around + 1)), key=lambda i: abs(i - here))
    yield from (key for key in dict.fromkeys([*first, *(listed[i] for i in nearest)]) if key != own)


def _causes(one: Judged, sigma: Origin | None, depth: Origin | None) -> list[Cause]:
    """Return what is wrong with a view, given what its σ and its depth are."""
    found = [*_of_sigma(one.view.key, sigma), *_of_depth(one.view.key, depth)]
    if not found and sigma and depth and sigma.flip != depth.flip:
        found.append(Cause("flip", FLIP, depth))
    if found:
        left = depth.error if depth else one.best
        return [each._replace(origin=each.origin._replace(error=left)) for each in found if each.origin]
    if depth is None:
        return [Cause(UNEXPLAINED, NO_DEPTH)]
    if one.scaled and one.given.weight_error <= one.limit:
        noise_may_do_it = 0.1 < one.ratio < 10 and one.best > one.elsewhere / 4
        return [Cause(UNITS, "", depth._replace(rest=depth.correlation if noise_may_do_it else 0.0))]
    if sigma is None:
        return [Cause(UNEXPLAINED, NO_SIGMA)]
    moved = displacement(one, sigma, depth)
    if moved.matters and sigma.error > MOST * one.given.weight_error:
        return [Cause(DISPLACED, "", depth, moved)]
    return [Cause(UNEXPLAINED, ONE_PLACE)]


def _of_sigma(own: str, sigma: Origin | None) -> Iterator[Cause]:
    if sigma and (params := sigma.params):
        named = f"window={params.window}, lambda_prior={params.lambda_prior:g}"
        if params.estimator == "difference":
            named = "estimator='difference'"
        text = f"sigma_Z2 fits the kernel with {named}, unlike the cache; use the same for both"
        yield Cause("other parameters", text, sigma)
    if sigma and sigma.key != own:
        text = f"the view of {own} holds that of {sigma.key}; pass annotate its own key"
        yield Cause("another frame's σ", text, sigma)
    if sigma and sigma.transposed:
        yield Cause("transposed", f"rows are taken for columns; {TURN}", sigma)
    if sigma and sigma.power != 1:
        power = POWERS.get(sigma.power, f"σ² to the power of {sigma.power}")
        text = f"sigma_Z2 holds {power} in place of σ²; pass what annotate gives: the losses make the weights"
        yield Cause("values", text, sigma)


def _of_depth(own: str, depth: Origin | None) -> Iterator[Cause]:
    if depth and depth.key != own:
        text = f"the view of {own} holds that of {depth.key}; key must name the frame of the depth"
        yield Cause("another frame's depth", text, depth)
    if depth and depth.form:
        text = f"the view holds {depth.form} in place of depth; {CONVERT}"
        yield Cause("no depth", text, depth)


def small_shift(judged: Sequence[Judged]) -> list[tuple[Judged, Cause]]:
    """Return a cause for all views where each is within its limit, but all are shifted alike, as by another resize."""
    moved = []
    for one in judged:
        sigma = Origin(one.view.key, one.flip)
        moved.append(displacement(one, sigma, sigma._replace(place=one.place.place)))
    if not moved or not half_pixel(moved, SEEN):
        return []
    origins = (Origin(one.view.key, one.flip, error=one.best, rest=1.0) for one in judged)
    return [(one.judged, Cause(DISPLACED, "", origin, one)) for one, origin in zip(moved, origins, strict=True)]
