"""Measures of predicted depth against super-sampled truth, and their names as columns of a result.

``PRIMARY`` was fixed before any run: what a loss must improve to be recommended. The rest explains.
"""

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rooms import Views
from scipy.ndimage import binary_dilation

PRIMARY = ("abs_rel_interior", "delta_1.01_interior", "abs_rel_edge", "boundary_f1", "abs_rel_beyond_10m")
REGIONS = ("interior", "edge", "below_3m", "3_to_10m", "beyond_10m")
ERRORS = ("abs_rel", "delta_1.01", "delta_1.05", "mae")
SECONDARY = (
    "abs_rel", "flying", "flying_share",
    *(name for error in ERRORS for region in REGIONS if (name := f"{error}_{region}") not in PRIMARY),
    "soft_edge_error",
)  # fmt: skip
LARGER_IS_BETTER = ("boundary_f1", *(name for name in (*PRIMARY, *SECONDARY) if name.startswith("delta")))
F1_RATIOS = (1.05, 1.10, 1.15, 1.20, 1.25)

Map = NDArray[Any]


def measure(pred: Map, views: Views) -> dict[str, float]:
    """Return every measure of ``PRIMARY`` and ``SECONDARY``, over the pixels of all views; NaN over none.

    Next to edges is within 3×3 of a pixel that mixes two surfaces, the interior is elsewhere; sky counts nowhere.
    ``mae`` is in metres. ``flying`` is, over mixed pixels whose two surfaces are finite, the mean distance of the
    prediction to the nearer of them, as a part of the gap between them: 0 on a surface, 0.5 half-way, more outside.
    ``flying_share`` is, over those of them with a gap of 10 % of the depth or more, the part that hangs in the air:
    between the surfaces, and a quarter of the gap or more from both. ``soft_edge_error`` is AbsRel next to edges, with
    the least error to any true depth of 3×3: a boundary one pixel off costs nothing (SMD-Nets, arXiv:2104.03866).

    Args:
        pred: (N, H, W) depth in metres, finite and above 0.
        views: of :func:`rooms.load`.
    """
    truth, mixed = views["truth"].astype(np.float64), views["mixed"]
    pred = pred.astype(np.float64)
    valid = np.isfinite(truth)
    beside = binary_dilation(mixed, np.ones((1, 3, 3), bool))
    regions = {
        "interior": valid & ~beside,
        "edge": valid & beside,
        "below_3m": valid & (truth < 3),
        "3_to_10m": valid & (truth >= 3) & (truth <= 10),
        "beyond_10m": valid & (truth > 10),
    }
    safe = np.where(valid, truth, 1.0)
    error = np.abs(pred - safe)
    relative, ratio = error / safe, np.maximum(pred / safe, safe / pred)
    near, far = views["near"].astype(np.float64), views["far"].astype(np.float64)
    between = mixed & np.isfinite(far)
    gap = np.where(between, far, 1) - np.where(between, near, 0)
    flying = np.minimum(np.abs(pred - near), np.abs(pred - np.where(between, far, near))) / gap
    in_the_air = (pred > near + gap / 4) & (pred < near + 3 * gap / 4)
    errors = {"abs_rel": relative, "delta_1.01": ratio < 1.01, "delta_1.05": ratio < 1.05, "mae": error}
    return {
        "abs_rel": _mean(relative, valid),
        "boundary_f1": boundary_f1(pred, truth),
        "flying": _mean(flying, between),
        "flying_share": _mean(in_the_air, between & (gap >= 0.1 * near)),
        "soft_edge_error": _mean(least_error(pred, truth) / safe, regions["edge"]),
        **{f"{name}_{region}": _mean(errors[name], where) for region, where in regions.items() for name in ERRORS},
    }


def least_error(pred: Map, truth: Map) -> Map:
    """Return the least ``|pred - truth|`` over the 3×3 truths around each pixel, (N, H, W); +inf is never the least."""
    _, height, width = truth.shape
    padded = np.pad(truth, ((0, 0), (1, 1), (1, 1)), constant_values=np.inf)
    near = (padded[:, v : v + height, u : u + width] for v in range(3) for u in range(3))
    return functools.reduce(np.minimum, (np.abs(pred - each) for each in near))


def boundary_f1(pred: Map, truth: Map) -> float:
    """Return the F1 of depth edges, averaged over ``F1_RATIOS`` with weights equal to the ratios, as Depth Pro does.

    An edge lies between two neighbours, in one of four directions, where one is farther by the ratio; a predicted one
    is right if truth has it at the same place and direction (Bochkovskii et al., arXiv:2410.02073, section 3.2). Pairs
    with sky count nowhere. Edges are counted over all views; without any, true or predicted, F1 is 0.
    """
    scores = []
    for ratio in F1_RATIOS:
        true_edges, predicted, both = 0, 0, 0
        for a, b in ((np.s_[:, :, 1:], np.s_[:, :, :-1]), (np.s_[:, 1:], np.s_[:, :-1])):
            known = np.isfinite(truth[a]) & np.isfinite(truth[b])
            for one, other in ((a, b), (b, a)):
                true = known & (truth[one] > ratio * np.where(known, truth[other], np.inf))
                found = known & (pred[one] > ratio * pred[other])
                true_edges, predicted, both = (
                    true_edges + true.sum(),
                    predicted + found.sum(),
                    both + (true & found).sum(),
                )
        scores.append(2 * both / max(true_edges + predicted, 1))
    return float(np.average(scores, weights=F1_RATIOS))


def _mean(values: Map, where: Map) -> float:
    return float(values[where].mean()) if where.any() else float("nan")
