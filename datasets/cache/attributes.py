"""What the metadata of a cache may hold, whoever wrote it: a checksum shows damage, not good will."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from depthvar.datasets.errors import CONTROL, CacheError
from depthvar.datasets.source.templates import stays_below

MAX_STRIDES = 64  # how many there may be


def check_key(key: str, where: str) -> str:
    """Return the key of a row, or raise CacheError where it leads out of the root of the data set."""
    if key and not stays_below(key):
        raise CacheError(f"{where}: expected keys below the root of the data set, got {key!r}; do not trust this cache")
    return key


def _is_number(value: Any, low: float, high: float) -> bool:
    return type(value) in (int, float) and low <= value <= high


def _is_line(value: Any) -> bool:
    return isinstance(value, str) and not CONTROL.search(value)


def _are_strides(value: Any) -> bool:
    whole = isinstance(value, list) and all(type(stride) is int for stride in value)
    return whole and value[:1] == [1] and value == sorted(set(value)) and len(value) <= MAX_STRIDES


_PARAMETERS: dict[str, Callable[[Any], bool]] = {
    "strides": _are_strides,
    "window": lambda value: type(value) is int and value in (3, 5, 7),
    "lambda_prior": lambda value: _is_number(value, 0, sys.float_info.max),
    "alpha_clamp": lambda value: _is_number(value, sys.float_info.min, 1),
    "min_valid": lambda value: type(value) is int and value >= 1,
    "keepbits": lambda value: type(value) is int and 1 <= value <= 23,
    "max_depth": lambda value: value is None or _is_number(value, sys.float_info.min, sys.float_info.max),
    "compat": lambda value: value is None or _is_line(value),
    "with_depth": lambda value: type(value) is bool,
    "decode_rule": lambda value: isinstance(value, dict),
}
_ATTRIBUTES: dict[str, Callable[[Any], bool]] = {
    "dataset": _is_line,
    "camera_model": _is_line,
    "fingerprint": _is_line,
    "engine": _is_line,
    "source": lambda value: isinstance(value, dict),
    "software": lambda value: isinstance(value, dict) and all(map(_is_line, value.values())),
    "groups": lambda value: isinstance(value, list) and all(isinstance(g, str) and stays_below(g) for g in value),
    "parameters": lambda value: isinstance(value, dict),
}


def check_content(attributes: Mapping[str, Any], where: str) -> None:
    """Raise CacheError where the root's attributes hold what no run writes; the checksum proves no good will."""
    parts: list[tuple[dict[str, Callable[[Any], bool]], Any]]
    parts = [(_ATTRIBUTES, attributes), (_PARAMETERS, attributes.get("parameters"))]
    for checks, values in parts:
        for name, possible in checks.items():
            if name not in values or not possible(values[name]):
                raise CacheError(
                    f"{where}: attributes are damaged: {name} is {repr(values.get(name, 'missing'))[:200]}, which no "
                    "run writes; compute the cache anew with --overwrite"
                )
