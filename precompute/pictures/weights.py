"""The weights that the losses would give the pixels of a frame."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from depthvar.loss import weights

Form = Literal["focus", "inverse_sigma", "inverse_sqrt_sigma", "relative", "inverse_sigma_and_depth", "inverse_depth"]
FORMS: tuple[Form, ...] = get_args(Form)
OF_SIGMA: tuple[Form, ...] = ("inverse_sigma", "inverse_sqrt_sigma")  # need no depth


def weight_map(depth: NDArray[np.float32], sigma: NDArray[np.float32], form: Form = "focus") -> NDArray[np.float32]:
    """Return the weight of each pixel with the default options of the loss; the mean over the usable pixels is 1.

    Args:
        depth: (h, w) in metres.
        sigma: (h, w), σ in metres; NaN where there is none, as ``Shown.sigma``.
        form: "focus" is that of ``focused_log_l1``, "inverse_depth" that of ``inverse_depth_l1``; the others are the
            weightings of ``weighted_l1``.

    Returns:
        (h, w) float32; NaN where there is no σ or no depth.
    """
    valid = np.isfinite(sigma) & (sigma > 0) & np.isfinite(depth) & (depth > 0)
    target, spread = np.where(valid, depth, 1.0), np.where(valid, sigma, 1.0)
    if form == "focus":
        weight = weights.focus_weight(spread, target, valid, weights.FOCUS, weights.RELATIVE_SIGMA, xp=np)
    elif form == "inverse_depth":
        weight = weights.mean_one(np.where(valid, weights.inverse_depth_weight(target, valid, xp=np), 0), valid, xp=np)
    else:
        weight = weights.mean_one(weights.sigma_weight(spread, target, valid, form, xp=np), valid, xp=np)
    return np.where(valid, weight, np.nan).astype(np.float32)
