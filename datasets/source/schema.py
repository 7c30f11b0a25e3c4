"""The fields of a description's TOML file, and the check of each one's value."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from depthvar.datasets.errors import CONTROL, DescriptionError, ParameterError
from depthvar.datasets.frame import MAX_DEPTH_RULE, is_max_depth
from depthvar.datasets.scalars import as_float

from .camera import pinhole
from .containers import CONTAINERS, DEPTH_CONTAINERS, container_of
from .decode import KINDS
from .templates import placeholders, stays_below

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64")
VIEWS = ("<u2", "<u4", "<f2", "<f4", "<f8")

Check = Callable[[Any], Any]
"""Returns a field's value as it is kept; ValueError or ParameterError: what was expected of it."""


def read_fields(table: Mapping[str, Any], section: str, where: str) -> dict[str, Any]:
    """Return the checked fields of a table (section "": the top of a file), with tuples for lists, floats for numbers.

    Raises:
        DescriptionError: a field is unknown, or required and missing, or its value is not possible.
    """
    known, fields = FIELDS[section], {}
    label = f"[{section}] {{}}" if section else "{}"
    for name, value in table.items():
        if name not in known:
            raise DescriptionError(
                f"{where}: unknown field {label.format(name)}{nearest(name, known)}; "
                f"expected one of {', '.join(known)}: correct or remove it"
            )
        try:
            fields[name] = known[name](value)
        except (ValueError, ParameterError) as error:
            raise DescriptionError(f"{where}: {label.format(name)}: {error}; got {repr(value)[:200]}") from error
    # Without a container, the one of the suffix is used, with its dtype and units.
    for name, example in REQUIRED.get(section, {}).items():
        if name not in fields and (section != "depth" or "container" in fields):
            raise DescriptionError(f"{where}: missing field {label.format(name)}: add {name} = {example}")
    return fields


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean x or y?)"`` with the known names closest to ``name``, or nothing."""
    close = get_close_matches(name, list(known), n=3)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def _rule(expected: str, holds: Callable[[Any], object], first: Check = lambda value: value) -> Check:
    """Return a check that a rule holds for what another check returns."""

    def check(value: Any) -> Any:
        if not holds(kept := first(value)):
            raise ValueError(f"expected {expected}")
        return kept

    return check


def _one_of(known: Iterable[str]) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in known:
            raise ValueError(f"expected one of {', '.join(known)}{nearest(str(value), known)}")
        return value

    return check


def _list_of(item: Check) -> Check:
    entries = _rule("a list with at least one entry", lambda value: isinstance(value, list | tuple) and value)
    return lambda value: tuple(map(item, entries(value)))


def _dtype(value: Any) -> Any:
    return _list_of(_one_of(DTYPES))([value] if isinstance(value, str) else value)


def _as_number(value: Any) -> float:
    return float(value) if isinstance(value, str) and value in ("inf", "-inf") else as_float(value)  # JSON has no inf


def _constant(value: Any) -> tuple[float, ...]:
    rows = isinstance(value, list | tuple) and all(isinstance(row, list | tuple) for row in value)
    return tuple(pinhole(_list_of(_number)([number for row in value for number in row] if rows else value)).tolist())


def _has_one_frame(template: str) -> bool:
    found = placeholders(template)
    return found.count("frame") == 1 and found.count("sequence") <= 1 and not template.endswith("{sequence}")


_number = _rule("a number", lambda number: not math.isnan(number), _as_number)
_text = _rule("one line of text", lambda text: isinstance(text, str) and text.strip() and not CONTROL.search(text))
_name = _rule(
    "names of letters, digits, '-', '_' and '.'",
    lambda name: re.fullmatch(r"\w[\w.-]*", name) and not name.lower().endswith(".toml"),
    _text,
)
_path = _rule("a path relative to the root, with forward slashes and without '..'", stays_below, _text)
_known_path = _rule(
    "no placeholders but {sequence} and {frame}",
    lambda path: not re.search("[{}]", re.sub(r"\{(sequence|frame)\}", "", path)),
    _path,
)
_template = _rule(
    "{sequence} to be whole folders, not a part of a name",
    lambda path: all(part == "{sequence}" or "{sequence}" not in part for part in path.split("/")),
    _known_path,
)
_depth_template = _rule("{frame} once, and {sequence} at most once and as a folder", _has_one_frame, _template)
_pixel_path = _rule(
    f"a path that ends in one of {' '.join(suffix for each in CONTAINERS.values() for suffix in each.suffixes)}",
    container_of,
    _template,
)
_table = _rule("a table", lambda value: isinstance(value, Mapping))

FIELDS: dict[str, dict[str, Check]] = {
    "": {
        "summary": _text,
        "homepage": _text,
        "names": _list_of(_name),
        "files": _table,
        "depth": _table,
        "intrinsics": _table,
    },
    "files": {"depth": _depth_template, "image": _template, "mask": _pixel_path},
    "depth": {
        "container": _one_of(DEPTH_CONTAINERS),
        "dtype": _dtype,
        "view": _one_of(VIEWS),
        "units_per_metre": _rule("a number from 1e-9 to 1e9", lambda units: 1e-9 <= units <= 1e9, _number),
        "kind": _one_of(KINDS),
        "max_depth": _rule(MAX_DEPTH_RULE, is_max_depth, _number),
        "unknown": _list_of(_number),
        "far": _list_of(_number),
    },
    "intrinsics": {"constant": _constant, "file": _template},
}

REQUIRED = {  # with an example that the error message shows
    "": {"summary": '"what it is, in one line"', "names": '["my-data"]'},
    "files": {"depth": '"{sequence}/depth/{frame}.png"'},
    "depth": {"dtype": '"uint16"', "units_per_metre": "1000.0"},
}
