"""Numba's ``njit``, also where there is no folder to keep what it has compiled."""

from collections.abc import Callable
from typing import Any

import numba


def njit(*signature: Any, cache: bool = False, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return Numba's decorator. Without a writable folder beside the module, or in the home, nothing is kept.

    Numba itself would end in an error there (a read-only installation used without a home); so every process compiles
    anew.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        if cache:
            try:
                return numba.njit(*signature, cache=True, **options)(function)
            except RuntimeError as error:
                if "no locator available" not in str(error):
                    raise
        return numba.njit(*signature, **options)(function)

    return decorate
