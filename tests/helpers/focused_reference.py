"""The definition of the focused loss and its parts: plain loops over the pixels of one image, in float64."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Map = NDArray[Any]


def log_error(pred: float, target: float) -> float:
    """log(pred / target), and its tangent at a hundredth of the target below that."""
    ratio = float(pred) / float(target)
    return math.log(ratio) if ratio > 0.01 else math.log(0.01) + (ratio - 0.01) / 0.01


def focus_weight(sigma_z2: Map, target: Map, valid: Map, focus: float, relative_sigma: float) -> Map:
    """The weights of an image: (H, W), 0 where invalid; all arguments in the same units."""
    weight = np.zeros(target.shape)
    for at in zip(*np.nonzero(valid), strict=True):
        edge = sigma_z2[at] / (sigma_z2[at] + (relative_sigma * target[at]) ** 2)
        weight[at] = 1 + focus * edge
    return weight / weight[valid].mean() if valid.any() else weight


def gradient_matching(error: Map, valid: Map, weight: Map, scales: int) -> float:
    """The loss of an image, from the errors of log depth."""
    total = 0.0
    for step in (2**s for s in range(scales)):
        pairs, roots = 0.0, 0.0
        for y in range(0, error.shape[0], step):
            for x in range(0, error.shape[1], step):
                if not valid[y, x]:
                    continue
                roots += math.sqrt(weight[y, x])
                for other in ((y, x + step), (y + step, x)):
                    if other[0] < error.shape[0] and other[1] < error.shape[1] and valid[other]:
                        pairs += math.sqrt(weight[y, x] * weight[other]) * abs(error[other] - error[y, x])
        total += pairs / roots if roots else 0.0
    return total


def focused_log_l1(
    pred: Map, target: Map, sigma_z2: Map, valid: Map, focus: float, relative_sigma: float, gradient: float, scales: int
) -> float:
    """The loss of an image; 0 without any valid pixel."""
    if not valid.any():
        return 0.0
    weight = focus_weight(sigma_z2, target, valid, focus, relative_sigma)
    error = np.zeros(target.shape)
    for at in zip(*np.nonzero(valid), strict=True):
        error[at] = log_error(pred[at], target[at])
    data = float((weight * np.abs(error)).sum()) / int(valid.sum())
    return data + gradient * gradient_matching(error, valid, weight, scales)
