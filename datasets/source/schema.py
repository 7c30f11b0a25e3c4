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
from .containers import CONTAINERS, container_of
from .decode import KINDS
from .templates import placeholders, stays_below

_INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
DTYPES = (*_INTEGERS, "float16", "float32", "float64")
VIEWS = ("<u2", "<u4", "<f2", "<f4", "<f8")


def read_fields(table: Mapping[str, Any], section: str, where: str) -> dict[str, Any]:
    """Check the fields of one table of a description.

    Args:
        table: field name -> value as TOML or JSON gives it.
        section: the table's name; empty for the top of the file.
        where: the file's name, for error messages.

    Returns:
        field name -> value, with tuples for lists and floats for numbers; missing fields are not added.

    Raises:
        DescriptionError: a field is unknown, or required and missing, or its value is not possible.
    """
    known, fields = FIELDS[section], {}
    for name, value in table.items():
        if name not in known:
            raise DescriptionError(
                f"{where}: unknown field {_label(section, name)}{nearest(name, known)}; "
                f"expected one of {', '.join(known)}: correct or remove it"
            )
        try:
            fields[name] = known[name](value)
        except (ValueError, ParameterError) as error:
            raise DescriptionError(f"{where}: {_label(section, name)}: {error}; got {repr(value)[:200]}") from error
    # Without a container, the one of the suffix is used, with its dtype and units.
    for name, example in REQUIRED.get(section, {}).items():
        if name not in fields and (section != "depth" or "container" in fields):
            raise DescriptionError(f"{where}: missing field {_label(section, name)}: add {example}")
    return fields


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean x or y?)"`` with the known names closest to ``name``, or nothing."""
    close = get_close_matches(name, list(known), n=3)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def _label(section: str, name: str) -> str:
    return f"[{section}] {name}" if section else name


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or CONTROL.search(value):
        raise ValueError("expected one line of text")
    return value


def _number(value: Any) -> float:
    if isinstance(value, str) and value in ("inf", "-inf"):  # JSON has no infinity
        return float(value)
    if math.isnan(number := as_float(value)):
        raise ValueError("expected a number")
    return number


def _max_depth(value: Any) -> float:
    if not is_max_depth(number := _number(value)):
        raise ValueError(f"expected {MAX_DEPTH_RULE}")
    return number


def _units(value: Any) -> float:
    if not 1e-9 <= (number := _number(value)) <= 1e9:
        raise ValueError("expected a number from 1e-9 to 1e9")
    return number


def _list_of(item: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    def check(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple) or not value:
            raise ValueError("expected a list with at least one entry")
        return tuple(item(entry) for entry in value)

    return check


def _one_of(known: Iterable[str]) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in known:
            raise ValueError(f"expected one of {', '.join(known)}{nearest(str(value), known)}")
        return value

    return check


def _dtype(value: Any) -> tuple[str, ...]:
    return _list_of(_one_of(DTYPES))([value] if isinstance(value, str) else value)


def _name(value: Any) -> str:
    if not re.fullmatch(r"\w[\w.-]*", _text(value)) or value.lower().endswith(".toml"):
        raise ValueError("expected names of letters, digits, '-', '_' and '.'")
    return str(value)


def _template(value: Any) -> str:
    parts = _text(value).split("/")
    rest = re.sub(r"\{(sequence|frame)\}", "", value)
    if not stays_below(value):
        raise ValueError("expected a path relative to the root, with forward slashes and without '..'")
    if "{" in rest or "}" in rest:
        raise ValueError("expected no placeholders but {sequence} and {frame}")
    if any("{sequence}" in part and part != "{sequence}" for part in parts):
        raise ValueError("expected {sequence} to be whole folders, not a part of a name")
    return str(value)


def _depth_template(value: Any) -> str:
    found = placeholders(_template(value))
    if found.count("frame") != 1 or found.count("sequence") > 1 or value.endswith("{sequence}"):
        raise ValueError("expected {frame} once, and {sequence} at most once and as a folder")
    return str(value)


def _pixel_path(value: Any) -> str:
    if not container_of(_template(value)):
        raise ValueError(f"expected a path that ends in .{' or .'.join(CONTAINERS)}")
    return str(value)


def _constant(value: Any) -> tuple[float, ...]:
    rows = isinstance(value, list | tuple) and all(isinstance(row, list | tuple) for row in value)
    return tuple(pinhole(_list_of(_number)([number for row in value for number in row] if rows else value)).tolist())


def _table(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("expected a table")
    return value


FIELDS: dict[str, dict[str, Callable[[Any], Any]]] = {
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
        "container": _one_of(CONTAINERS),
        "dtype": _dtype,
        "view": _one_of(VIEWS),
        "units_per_metre": _units,
        "kind": _one_of(KINDS),
        "max_depth": _max_depth,
        "unknown": _list_of(_number),
        "far": _list_of(_number),
    },
    "intrinsics": {"constant": _constant, "file": _template},
}

REQUIRED = {  # with an example that the error message shows
    "": {"summary": 'summary = "what it is, in one line"', "names": 'names = ["my-data"]'},
    "files": {"depth": 'depth = "{sequence}/depth/{frame}.png"'},
    "depth": {"dtype": 'dtype = "uint16"', "units_per_metre": "units_per_metre = 1000.0"},
}
