"""The fields of a description's TOML file, and the check of each one's value."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from depthvar.datasets.errors import CONTROL, DescriptionError, ParameterError
from depthvar.datasets.frame import MAX_DEPTH_RULE, is_max_depth
from depthvar.datasets.scalars import as_float

from .camera import UNITS
from .containers import CONTAINERS, DEPTH_CONTAINERS
from .decode import KINDS
from .encodings import ENCODINGS
from .masks import MARKS
from .names import nearest
from .templates import placeholders, stays_below

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64")
VIEWS = ("<u2", "<u4", "<f2", "<f4", "<f8")
QUALITIES = ("rendered", "laser", "lidar", "rgbd", "stereo", "mvs", "mixed")

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
    for name, example in REQUIRED.get(section, {}).items():
        if name not in fields:
            raise DescriptionError(f"{where}: missing field {label.format(name)}: add {name} = {example}")
    return fields


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
    rows = isinstance(value, list | tuple) and value and all(isinstance(row, list | tuple) for row in value)
    numbers: tuple[float, ...] = _list_of(_number)([number for row in value for number in row] if rows else value)
    return numbers


def _has_one_frame(template: str) -> bool:
    found = placeholders(template)
    return found.count("frame") <= 1 and found.count("sequence") <= 1 and not template.endswith("{sequence}")


def _int(value: Any) -> int:
    return int(_whole(value))


def _strings(value: Any) -> Any:
    return _list_of(_words)([value] if isinstance(value, str) else value)


_number = _rule("a number", lambda number: not math.isnan(number), _as_number)
_positive = _rule("a number above 0", lambda number: 0 < number < math.inf, _number)
_whole = _rule("a whole number", float.is_integer, _number)
_flag = _rule("true or false", lambda value: isinstance(value, bool))
_text = _rule("one line of text", lambda text: isinstance(text, str) and text.strip() and not CONTROL.search(text))
_name = _rule(
    "names of letters, digits, '-', '_' and '.'",
    lambda name: re.fullmatch(r"\w[\w.-]*", name) and not name.lower().endswith(".toml"),
    _text,
)
_words = _rule(
    "no braces but those of placeholders such as {frame}",
    lambda text: not re.search("[{}]", re.sub(r"\{[a-z_]+\}", "", text)),
    _text,
)
_path = _rule("a path relative to the root, with forward slashes and without '..'", stays_below, _words)
_template = _rule(
    "{sequence} to be whole folders, not a part of a name",
    lambda path: all(part == "{sequence}" or "{sequence}" not in part for part in path.split("/")),
    _path,
)
_depth_template = _rule("{frame} once, and {sequence} at most once and as a folder", _has_one_frame, _template)
_unit = _rule("a number from 1e-9 to 1e9", lambda units: 1e-9 <= units <= 1e9, _number)
_metres = _rule(MAX_DEPTH_RULE, is_max_depth, _number)
_size = _rule(
    "two whole numbers above 0",
    lambda pair: len(pair) == 2 and min(pair) > 0,
    _list_of(_int),
)
_count = _rule("a whole number above 0", lambda number: number > 0, _int)
_table = _rule("a table", lambda value: isinstance(value, Mapping))

NUMBERS: dict[str, Check] = {"file": _template, "key": _strings, "rows": _words, "row_name": _text, "row": _words}
MEMBER: dict[str, Check] = {"key": _words, "channel": _int, "every": _count}

FIELDS: dict[str, dict[str, Check]] = {
    "": {
        "summary": _text,
        "names": _list_of(_name),
        "homepage": _text,
        "licence": _text,
        "citation": _text,
        "size": _text,
        "quality": _one_of(QUALITIES),
        "verified": _flag,
        "notes": _list_of(_text),
        "warning": _text,
        "reader": _name,
        "files": _table,
        "depth": _table,
        "scale": _table,
        "baseline": _table,
        "doffs": _table,
        "masks": _list_of(_table),
        "intrinsics": _table,
    },
    "files": {"depth": _depth_template, "image": _template},
    "depth": {
        "container": _one_of(DEPTH_CONTAINERS),
        **MEMBER,
        "stack": _flag,
        "shape": _size,
        "dtype": _dtype,
        "view": _one_of(VIEWS),
        "encoding": _one_of(ENCODINGS),
        "units_per_metre": _unit,
        "metric": _flag,
        "kind": _one_of(KINDS),
        "max_depth": _metres,
        "unknown": _list_of(_number),
        "far": _list_of(_number),
        "unknown_above": _positive,
        "unknown_from": _positive,
        "far_from": _positive,
        "step": _positive,
    },
    "scale": {"constant": _positive, **NUMBERS, "inverse": _flag, "units_per_metre": _unit},
    "baseline": {"constant": _positive, **NUMBERS, "units_per_metre": _unit},
    "doffs": {"constant": _number, **NUMBERS},
    "masks": {
        "file": _template,
        "marks": _one_of(MARKS),
        "container": _one_of(CONTAINERS),
        **MEMBER,
        "at_least": _number,
        "at_most": _number,
        "values": _list_of(_number),
    },
    "intrinsics": {
        "constant": _constant,
        **NUMBERS,
        "numbers": _text,
        "unit": _one_of(UNITS),
        "size": _size,
    },
}

REQUIRED = {  # with an example that the error message shows
    "": {"summary": '"what it is, in one line"', "names": '["my-data"]'},
    "files": {"depth": '"{sequence}/depth/{frame}.png"'},
    "masks": {"file": '"{sequence}/mask/{frame}.png"'},
}
