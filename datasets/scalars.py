"""Numbers that a caller passes, as Python's own: one rule for the API, the command line and descriptions."""

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np

from .errors import ParameterError


def as_float(value: Any) -> float:
    """Return a real number of Python or NumPy as a Python float.

    A float16 or float32 becomes the shortest decimal that it is nearest to: ``np.float32(0.3)`` is 0.3, as its caller
    wrote it. ``float()`` would make it 0.30000001192092896, which no cache of 0.3 is equal to.

    Raises:
        ValueError: a bool, text, None, an array, a tensor, or an integer that no float holds.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError("expected a number")
    try:
        single = isinstance(value, (np.float16, np.float32))  # a tuple: torch.compile knows no union of them
        return float(str(value)) if single else float(value)
    except OverflowError:
        raise ValueError("expected a number that a float can hold") from None


def number(name: str, value: Any, rule: str, holds: Callable[[float], bool]) -> float:
    """Return a parameter as a Python float; ParameterError where it is none, or ``holds`` is false.

    NaN breaks every rule that is a comparison.
    """
    try:
        found = as_float(value)
    except ValueError:
        found = float("nan")
    require(name, value, rule, holds(found))
    return found


def whole(name: str, value: Any, rule: str, holds: Callable[[int], bool]) -> int:
    """Return a parameter as a Python int; ParameterError where it is none (5.0 is none), or it breaks the rule."""
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    require(name, value, rule, is_whole and holds(int(value)))
    return int(value)


def require(name: str, value: Any, rule: str, holds: bool) -> None:
    """Raise ParameterError where a rule does not hold."""
    if not holds:
        raise ParameterError(f"{name}: expected {rule}, got {repr(value)[:200]}")
