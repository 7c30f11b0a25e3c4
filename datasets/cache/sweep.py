"""σ² for another λ or α than a cache was computed with, point by point; docs/sweeps.md."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import ParameterError
from depthvar.datasets.params import Estimator, KernelParams

from .format import EDGE
from .index import OpenGroup


def wanted_params(
    stored: Estimator, keep: Sequence[str], where: str, lambda_prior: float | None, alpha_clamp: float | None
) -> Estimator:
    """Return the parameters that a reader asks for; where they are those that are stored, that very object.

    Args:
        stored: those of the cache.
        keep: what the cache keeps with σ².
        where: the cache as people read it.
        lambda_prior, alpha_clamp: as of :class:`~depthvar.datasets.params.KernelParams`.

    Raises:
        ParameterError: a value is out of range, or the cache does not have what σ² of it needs.
    """
    asked = {"lambda_prior": lambda_prior, "alpha_clamp": alpha_clamp}
    asked = {name: value for name, value in asked.items() if value is not None}
    if not asked:
        return stored
    got = ", ".join(f"{name}={value!r}" for name, value in asked.items())
    if not isinstance(stored, KernelParams) or stored.compat is not None:
        kind = "estimator 'difference'" if not isinstance(stored, KernelParams) else f"compat={stored.compat!r}"
        raise ParameterError(
            f"{where}: expected neither lambda_prior nor alpha_clamp of a cache with {kind}, got {got}; leave them out"
        )
    wanted = replace(stored, **asked)  # type: ignore[arg-type] # its checks are what is asked for
    if wanted == stored:
        return stored
    if EDGE not in keep:
        raise ParameterError(
            f"{where}: expected lambda_prior={stored.lambda_prior} and alpha_clamp={stored.alpha_clamp}, with which it "
            f"was computed, got {got}; for any others compute it with `precompute run --keep edge`"
        )
    return wanted


def read_level(
    group: OpenGroup, row: int, stride: int, where: str, rows: slice, stored: Estimator, wanted: Estimator
) -> NDArray[np.float32]:
    """Return some rows of σ² of a level, (rows, ceil(W / stride)) float32 in m²; DamagedError where it is damaged."""
    sigma_z2 = group.read(row, stride, where, rows)
    if wanted is stored:
        return sigma_z2
    assert isinstance(stored, KernelParams)
    assert isinstance(wanted, KernelParams)
    from depthvar.datasets.lookup.parameters import change_parameters  # compiled code that few readers need

    fx, fy = (group.intrinsics[row, :2] / stride).tolist()
    tan2 = (0.5 / fx) ** 2 + (0.5 / fy) ** 2
    limits = [(params.lambda_prior**2 * tan2, params.alpha_clamp**2) for params in (stored, wanted)]
    change_parameters(sigma_z2, group.read(row, stride, where, rows, EDGE), *limits[0], *limits[1])
    return sigma_z2
