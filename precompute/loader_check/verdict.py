"""How far a view's σ is from the kernel on its depth, and how far that may be."""

from collections.abc import Sequence
from itertools import product
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from depthvar.datasets.lookup.sample import RESIZES

from .agreement import Agreement, agreement, correlation, weight_error
from .view import LoaderView, Lookup

MODES = list(product((False, True), RESIZES))  # flip and resize
EXACT = 0.999  # correlation of log σ with a lookup that rounding to half precision leaves, and no other place
ROUNDING = 2.0**-8  # of stored σ
LARGEST_RATIO = 1.5  # of two σ in the same units: between neighbouring strides σ changes by so much
ALONE = 1.5  # times its limit: then a view is wrong, whatever the mean over the views is
LARGE = 0.12  # a weight error: smaller ones are also found elsewhere on a view with little structure


class Judged(NamedTuple):
    """A view, and weight errors of lookups against the kernel on its depth."""

    view: LoaderView
    nominal: Lookup  # by its intrinsics, that its σ is most like; with the flip of its depth where it is like none
    likeness: float  # correlation of its log σ with that
    fitting: Lookup  # that fits its depth
    given: Agreement  # of its own σ with the kernel
    best: float  # error of the fitting lookup: what strides, resize and noise cost
    limit: float  # the worst of four lookups half a pixel from there in x and in y: as far as a resize displaces
    elsewhere: float  # the mean over four lookups an eighth of the view from there, where other things are

    @property
    def most(self) -> float:
        """Error up to which σ and depth may be of the same things."""
        return max(self.elsewhere / 2, LARGE)

    @property
    def ratio(self) -> float:
        """σ divided by the kernel's; of a view finer than the frame, for pixels of the same size."""
        scale = float(self.view.scale[0])
        return self.given.ratio * scale / max(1.0, scale / self.view.every)

    @property
    def scaled(self) -> bool:
        """Whether its σ and the kernel's are in different units."""
        return not is_same(self.ratio)


def is_same(ratio: float) -> bool:
    """Return whether two σ of this ratio may be in the same units."""
    return 1 / LARGEST_RATIO < ratio < LARGEST_RATIO


def judge(view: LoaderView) -> Judged:
    """Return the errors of a view."""
    modes = ((correlation(view.sigma, view.look_up(one)), one) for one in (Lookup(view.key, *mode) for mode in MODES))
    likeness, nominal = max(modes, key=lambda mode: abs(mode[0]))

    def error(lookup: Lookup, x: float = 0.0, y: float = 0.0, inside: bool = False) -> float:
        stored = view.look_up(lookup._replace(place=lookup.place + np.array([[x], [y]])))
        return weight_error(stored, np.where(np.isnan(stored), np.nan, view.online) if inside else view.online)

    far = max(view.online.shape) / 8
    tried: list[tuple[float, Lookup]] = []
    for flip in (nominal.flip, not nominal.flip):
        one = nominal._replace(flip=flip)
        tried += [(error(lookup), lookup) for lookup in (one, view.register(view.online, one)[0])]
        best, fitting = min(tried, key=itemgetter(0))
        moves = ((-far, 0), (far, 0), (0, -far), (0, far))
        elsewhere = float(np.mean([error(fitting, x, y, inside=True) for x, y in moves]))
        if abs(likeness) > EXACT or best <= elsewhere / 2:  # else its flip, too, is open
            break
    limit = max(ROUNDING, *(error(fitting, x, y) for x, y in product((-0.5, 0.5), repeat=2)))
    given, nominal = agreement(view.sigma, view.online), nominal._replace(flip=fitting.flip)
    return Judged(view, nominal, likeness, fitting, given, best, limit, elsewhere)


def wrong_views(judged: Sequence[Judged]) -> list[Judged]:
    """Return the views that are wrong.

    Those in other units; and those over their limit, or over the most that they may have: by half as much again, or by
    anything where the mean over all views is over it.
    """
    errors, *allowed = np.reshape([(one.given.weight_error, one.limit, one.most) for one in judged], (-1, 3)).T
    wrong = np.array([one.scaled for one in judged], dtype=np.bool_)
    for limits in allowed:
        wrong |= errors > (1.0 if errors.sum() > limits.sum() else ALONE) * limits
    return [one for one, is_wrong in zip(judged, wrong, strict=True) if is_wrong]
