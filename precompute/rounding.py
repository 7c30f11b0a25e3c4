"""Rounding of mantissas: what makes a map of variances compress."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from depthvar.datasets.errors import ParameterError

_MANTISSA_BITS = 23


@njit(nogil=True, cache=True)
def _round(bits, drop):  # type: ignore[no-untyped-def]
    half = np.uint32((1 << (drop - 1)) - 1)
    last = np.uint32(drop)
    mask = np.uint32(0xFFFFFFFF) << last
    for i in range(bits.size):
        odd = (bits[i] >> last) & np.uint32(1)
        bits[i] = (bits[i] + half + odd) & mask


def round_mantissa(values: NDArray[np.float32], keepbits: int) -> None:
    """Round in place to ``keepbits`` bits of mantissa, half to even: bit for bit numcodecs' ``BitRound``.

    ``+inf`` stays ``+inf``. A finite value above the largest that ``keepbits`` can hold becomes ``+inf``, and NaN may.

    Args:
        values: float32 of any shape, C contiguous; changed in place.
        keepbits: bits of mantissa to keep, 1 to 23 (23: nothing is rounded).

    Raises:
        ParameterError: ``keepbits`` is out of range, or ``values`` is not a writeable C-contiguous float32 array.
    """
    if not 1 <= keepbits <= _MANTISSA_BITS:
        raise ParameterError(f"keepbits: expected 1 to {_MANTISSA_BITS} bits of mantissa, got {keepbits}")
    if values.dtype != np.float32 or not values.flags.c_contiguous or not values.flags.writeable:
        raise ParameterError(
            f"values: expected a writeable C-contiguous float32 array, got {values.dtype} with strides "
            f"{values.strides}; np.ascontiguousarray makes one"
        )
    if keepbits < _MANTISSA_BITS:
        _round(values.reshape(-1).view(np.uint32), _MANTISSA_BITS - keepbits)
