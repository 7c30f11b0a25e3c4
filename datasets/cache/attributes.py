"""The attributes of a cache's groups: sealed by a checksum, and what they may hold, whoever wrote them."""

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from depthvar.datasets.errors import CONTROL, CacheError, DamagedError, ParameterError
from depthvar.datasets.params import params_from_json
from depthvar.datasets.source.templates import stays_below

FORMAT = "depthvar-sigma_Z2"
FORMAT_VERSION = 1
MAX_STRIDES = 64


def canonical_json(value: object) -> bytes:
    """Return the one JSON text of ``value``: sorted keys, no spaces, no NaN or infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return (name, value, other value) of every parameter that differs as JSON; of a table, of its entries.

    Parameters that only one of two estimators has are left out: that the estimators differ is enough.
    """
    names = dict.fromkeys((*one, *other))
    if one.get("estimator") != other.get("estimator"):
        names = dict.fromkeys(name for name in names if name in one and name in other)
    found = []
    for name in names:
        left, right = one.get(name), other.get(name)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found += differences(left, right)
        elif canonical_json(left) != canonical_json(right):
            found.append((name, left, right))
    return found


def seal(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``attributes`` with a ``checksum``: the SHA-256 of the canonical JSON of the others."""
    content = {name: value for name, value in attributes.items() if name != "checksum"}
    return content | {"checksum": hashlib.sha256(canonical_json(content)).hexdigest()}


def unseal(attributes: object, where: str) -> dict[str, Any]:
    """Return the attributes without their checksum.

    Raises:
        DamagedError: the checksum is missing or does not match: a byte of the metadata has changed.
    """
    if not isinstance(attributes, Mapping):
        raise DamagedError(where, f"attributes: expected a JSON object, got {type(attributes).__name__}")
    try:
        expected = seal(attributes)["checksum"]
    except (ValueError, TypeError, RecursionError) as error:  # NaN, lone surrogates, no end of nesting
        raise DamagedError(where, f"attributes: expected JSON, got {type(error).__name__}") from error
    if attributes.get("checksum") != expected:
        raise DamagedError(where, f"attributes: expected checksum {expected}, got {attributes.get('checksum')}")
    return {name: value for name, value in attributes.items() if name != "checksum"}


def check_root(attributes: object, where: str) -> dict[str, Any]:
    """Return the root's attributes after checking format, version, checksum, and that they can be used.

    Raises:
        CacheError: not a cache of this format, a version that this depthvar does not know, or damaged attributes.
    """
    known = attributes if isinstance(attributes, Mapping) else {}
    if known.get("format") != FORMAT:
        raise CacheError(
            f"{where}: not a depthvar cache: expected format {FORMAT!r}, got {known.get('format')!r}; check the path"
        )
    if known.get("format_version") != FORMAT_VERSION:
        raise CacheError(
            f"{where}: format version {known.get('format_version')!r}, this depthvar reads {FORMAT_VERSION}; "
            "install the depthvar that wrote it, or compute the cache again with --overwrite"
        )
    try:
        content = unseal(known, where)
        _check_content(content, where)
    except DamagedError as error:
        raise CacheError(
            f"{where}: damaged ({error.reason}); restore its zarr.json from a copy, or compute the cache again with "
            "--overwrite"
        ) from error
    return content


def _is_line(value: Any) -> bool:
    return isinstance(value, str) and not CONTROL.search(value)


def _is_positive(value: Any) -> bool:
    return type(value) in (int, float) and sys.float_info.min <= value <= sys.float_info.max


def _are_strides(value: Any) -> bool:
    whole = isinstance(value, list) and all(type(stride) is int for stride in value)
    return whole and value[:1] == [1] and value == sorted(set(value)) and len(value) <= MAX_STRIDES


def _stay_below(names: list[Any]) -> bool:
    """Return whether all are names that stay below the root, which one name made of them shows."""
    return all(isinstance(name, str) for name in names) and (not names or stays_below("/".join(names)))


_PARAMETERS: dict[str, Callable[[Any], bool]] = {
    "strides": _are_strides,
    "keepbits": lambda value: type(value) is int and 1 <= value <= 23,
    "max_depth": lambda value: value is None or _is_positive(value),
    "with_depth": lambda value: type(value) is bool,
    "decode_rule": lambda value: isinstance(value, dict),
}
_OPTIONAL: dict[str, Callable[[Any], bool]] = {"keep": lambda value: value == ["edge"]}  # recorded where it is used
_ATTRIBUTES: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("dataset", "camera_model", "fingerprint", "engine"), _is_line),
    "source": lambda value: isinstance(value, dict) and isinstance(value.get("files", {}), dict),
    "software": lambda value: isinstance(value, dict) and all(map(_is_line, value.values())),
    "groups": lambda value: isinstance(value, list) and _stay_below(value),
    "parameters": lambda value: isinstance(value, dict),
}


def _check_content(attributes: Mapping[str, Any], where: str) -> None:
    """Raise DamagedError where the root's attributes hold what no run writes; a checksum proves no good will."""
    for checks in (_ATTRIBUTES, _PARAMETERS, _OPTIONAL):
        values = attributes if checks is _ATTRIBUTES else attributes["parameters"]
        for name, possible in checks.items():
            if name not in values and checks is _OPTIONAL:
                continue
            if name not in values or not possible(values[name]):
                got = repr(values.get(name, "missing"))[:200]
                raise DamagedError(where, f"{name} is {got}, which no run writes")
    try:
        params_from_json(attributes["parameters"])
    except ParameterError as error:
        raise DamagedError(where, f"{error}, which no run writes") from error
