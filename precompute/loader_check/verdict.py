"""How far a view's σ is from the kernel on its depth, and how far that may be."""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple, get_args

import numpy as np

from depthvar.datasets.lookup.sample import Resize

from .agreement import Agreement, agreement, correlation, weight_error
from .register import AS_TOLD, Place, Registered
from .view import LoaderView

MODES: list[tuple[bool, Resize]] = list(product((False, True), get_args(Resize)))
EXACT = 0.999  # correlation of log σ with a lookup that rounding to half precision leaves, and no other place
ROUNDING = 2.0**-8  # of stored σ
LARGEST_RATIO = 1.5  # of two σ in the same units: between neighbouring strides σ changes by so much
ALONE = 1.5  # times its limit: then a view is wrong, whatever the mean over the views is


class Judged(NamedTuple):
    """A view, and its weight errors against the kernel on the view's depth.

    Attributes:
        view: the view.
        flip, resize: of the lookup as told that its σ is most like; the flip of its depth where it is like none.
        likeness: the correlation of log σ with that.
        place: where its depth lies.
        given: how its σ agrees with the kernel.
        best: error of a lookup there: what strides, resize and noise cost.
        limit: of the worst of four lookups half a pixel from there in x and in y: as far as a resize displaces.
        elsewhere: the mean over four lookups an eighth of the view from there, where other things are.
    """

    view: LoaderView
    flip: bool
    resize: Resize
    likeness: float
    place: Registered
    given: Agreement
    best: float
    limit: float
    elsewhere: float

    @property
    def ratio(self) -> float:
        """σ divided by the kernel's; of a view finer than the frame, for pixels of the same size."""
        scale = self.view.scale[0]
        return self.given.ratio * scale / max(1.0, scale / self.view.every)

    @property
    def scaled(self) -> bool:
        """Whether its σ and the kernel's are in different units."""
        return not is_same(self.ratio)


def is_same(ratio: float) -> bool:
    """Say whether two σ of this ratio may be in the same units."""
    return 1 / LARGEST_RATIO < ratio < LARGEST_RATIO


def judge(view: LoaderView) -> Judged:
    """Return the errors of a view."""
    likeness, flip, resize = 0.0, *MODES[0]
    for mode in MODES:
        found = correlation(view.sigma, view.look_up(*mode))
        if abs(found) > abs(likeness):
            likeness, (flip, resize) = found, mode
        if abs(likeness) > EXACT:
            break

    def error(flip: bool, place: Place) -> float:
        return weight_error(view.look_up(flip, resize, place), view.online)

    def error_elsewhere(flip: bool, place: Place) -> float:
        far = max(view.online.shape) / 8
        moved = (place.moved(x, y) for x, y in ((-far, 0), (far, 0), (0, -far), (0, far)))
        maps = [view.look_up(flip, resize, one) for one in moved]
        inside = (np.where(np.isnan(one), np.nan, view.online) for one in maps)
        return float(np.mean([weight_error(one, online) for one, online in zip(maps, inside, strict=True)]))

    tried: list[tuple[float, bool, Registered]] = []
    for one in (flip, not flip):
        as_told = Registered(AS_TOLD, correlation(view.online, view.look_up(one, resize)))
        registered = view.register(view.online, one, resize)
        tried += [(error(one, place.place), one, place) for place in (as_told, registered)]
        best, flip, place = min(tried, key=lambda one: one[0])
        elsewhere = error_elsewhere(flip, place.place)
        if abs(likeness) > EXACT or best <= elsewhere / 2:  # else its flip, too, is open
            break
    half = (error(flip, place.place.moved(x, y)) for x, y in product((-0.5, 0.5), repeat=2))
    given = agreement(view.sigma, view.online)
    return Judged(view, flip, resize, likeness, place, given, best, max(ROUNDING, *half), elsewhere)


def wrong_views(judged: Sequence[Judged]) -> list[Judged]:
    """Return the views that are wrong.

    Those in other units; and those over their limit, or over half of their error elsewhere: by half as much again, or
    by anything where the mean over all views is over it.
    """
    errors = np.array([one.given.weight_error for one in judged])
    wrong = np.array([one.scaled for one in judged], dtype=np.bool_)
    for limits in (np.array([one.limit for one in judged]), np.array([one.elsewhere / 2 for one in judged])):
        wrong |= errors > (1.0 if errors.sum() > limits.sum() else ALONE) * limits
    return [one for one, is_wrong in zip(judged, wrong, strict=True) if is_wrong]
