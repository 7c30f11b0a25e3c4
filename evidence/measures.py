"""Measures of predicted depth against super-sampled truth, and their names as columns of a result.

``PRIMARY`` was fixed before any run: what a loss must improve to be recommended. The rest explains.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rooms import Views
from scipy.ndimage import binary_dilation

PRIMARY = ("abs_rel_interior", "delta_1.01_interior", "abs_rel_edge", "boundary_f1", "abs_rel_beyond_10m")
SECONDARY = (
    "abs_rel", "delta_1.05_interior", "mae_interior_m", "abs_rel_below_3m", "abs_rel_3_to_10m", "flying",
)  # fmt: skip
LARGER_IS_BETTER = ("delta_1.01_interior", "delta_1.05_interior", "boundary_f1")
F1_RATIOS = (1.05, 1.10, 1.15, 1.20, 1.25)

Map = NDArray[Any]


def measure(pred: Map, views: Views) -> dict[str, float]:
    """Return every measure of ``PRIMARY`` and ``SECONDARY``, over the pixels of all views; NaN over none.

    Beside edges is within 3×3 of a pixel that mixes two surfaces, the interior is elsewhere; sky counts nowhere.
    ``flying`` is, over mixed pixels whose two surfaces are finite, the mean distance of the prediction to the nearer of
    them, as a part of the gap between them: 0 on a surface, 0.5 half-way.

    Args:
        pred: (N, H, W) depth in metres, finite and above 0.
        views: of :func:`rooms.load`.
    """
    truth, mixed = views["truth"].astype(np.float64), views["mixed"]
    pred = pred.astype(np.float64)
    valid = np.isfinite(truth)
    beside = binary_dilation(mixed, np.ones((1, 3, 3), bool))
    interior, edge = valid & ~beside, valid & beside
    safe = np.where(valid, truth, 1.0)
    error = np.abs(pred - safe)
    relative, ratio = error / safe, np.maximum(pred / safe, safe / pred)
    near, far = views["near"].astype(np.float64), views["far"].astype(np.float64)
    between = mixed & np.isfinite(far)
    gap = np.where(between, far, 1) - np.where(between, near, 0)
    flying = np.minimum(np.abs(pred - near), np.abs(pred - np.where(between, far, near))) / gap
    return {
        "abs_rel_interior": _mean(relative, interior),
        "delta_1.01_interior": _mean(ratio < 1.01, interior),
        "abs_rel_edge": _mean(relative, edge),
        "boundary_f1": boundary_f1(pred, truth),
        "abs_rel_beyond_10m": _mean(relative, valid & (truth > 10)),
        "abs_rel": _mean(relative, valid),
        "delta_1.05_interior": _mean(ratio < 1.05, interior),
        "mae_interior_m": _mean(error, interior),
        "abs_rel_below_3m": _mean(relative, valid & (truth < 3)),
        "abs_rel_3_to_10m": _mean(relative, valid & (truth >= 3) & (truth <= 10)),
        "flying": _mean(flying, between),
    }


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
