"""σ² of another λ and α, point by point: a compiled loop, as those of :mod:`.interpolate`.

By the method (docs/method.md), σ_Z² = Z² g(x) with x = min(max(edge² + λ² tan²θ, 1e-8), α²). So what is stored, times
g(x) of the parameters that are wanted, divided by g(x) of those that are stored, needs neither the depth nor a window.
Step 6 of the method, x/3 − 4x² (12 − x) / (15 (3 + x)²), is the same as 3/5 x (x² − 2x + 5) / (3 + x)².
"""

import numpy as np
from numba import types
from numpy.typing import NDArray

from depthvar.datasets.compiled import njit

_MAP, _NUMBER = types.float32[:, ::1], types.float64
_TWO, _THREE, _FIVE, _FLOOR = np.float32(2), np.float32(3), np.float32(5), np.float32(1e-8)


@njit(types.void(_MAP, _MAP, _NUMBER, _NUMBER, _NUMBER, _NUMBER), cache=True, error_model="numpy")
def change_parameters(
    sigma_z2: NDArray[np.float32],
    edge: NDArray[np.float32],
    prior2: float,
    cap2: float,
    wanted_prior2: float,
    wanted_cap2: float,
) -> None:
    """Change σ² (h, w) in m² in place; it keeps its bits where x stays the same, and where it is +inf.

    Args:
        sigma_z2: as stored.
        edge: (h, w) half the range of the window as a part of the distance; +inf where σ² is.
        prior2, cap2: λ² tan²θ and α² of what is stored.
        wanted_prior2, wanted_cap2: the same of what is wanted.
    """
    prior, cap = np.float32(prior2), np.float32(cap2)
    other_prior, other_cap = np.float32(wanted_prior2), np.float32(wanted_cap2)
    for i in range(sigma_z2.shape[0]):
        for j in range(sigma_z2.shape[1]):
            edge2 = edge[i, j] * edge[i, j]
            x = min(max(_FLOOR, edge2 + prior), cap)
            y = min(max(_FLOOR, edge2 + other_prior), other_cap)
            above = y * (y * (y - _TWO) + _FIVE) * ((_THREE + x) * (_THREE + x))
            below = x * (x * (x - _TWO) + _FIVE) * ((_THREE + y) * (_THREE + y))
            sigma_z2[i, j] *= above / below
