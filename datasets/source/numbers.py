"""Numbers of a frame from a file of a data set: intrinsics, a scale, a baseline."""

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import ParameterError

from . import arrays, lines, tables
from .containers import OpenFile, Place, format_of, read_file, stream
from .names import MAX_BYTES, Find, Pick

JSON = (".json", ".json.gz", ".jgz")
MOST_NUMBERS = 16  # of an array of numbers alone
MAX_TEXT_BYTES = 64 << 10  # of a text of numbers alone
SAVE_K = "save K as .npy, or its numbers alone as text (what follows a # is left out)"
WHICH_NUMBERS = "does the description name the file of these numbers?"
_NOT_IN = {
    "csv": ("rows",),
    "npy": ("key", "rows", "row_name"),
    "npz": ("row_name",),
    "mat": ("row_name",),
    "text": ("rows", "row_name"),
}


def _kind_of(file: str) -> str:
    kinds = {".npy": "npy", ".npz": "npz", ".mat": "mat", ".csv": "csv"} | dict.fromkeys(JSON, "json")
    return next((kind for suffix, kind in kinds.items() if file.lower().endswith(suffix)), "text")


@dataclass(frozen=True)
class NumbersRule:
    """Which numbers of a file are meant. ``key`` and ``row`` are templates with the placeholders of the paths.

    Attributes:
        file: template of the file. Its suffix decides how it is read: .npy, .npz, .mat, .json, .json.gz,
            .jgz, .csv; all others are text.
        key: names of the numbers, joined in this order. Arrays of .npz and .mat; dotted paths in JSON (``a.b.0``);
            columns of a CSV file; in text the first word of a line (``P_rect_02: …``, ``cam0=[…]``; where nothing
            follows the word, the lines below it), or ``line 2``: the second line that has content.
        rows: JSON: dotted path of a list of records, or of a table of records by name; ``.`` is the whole file. npz
            and mat: the array of the rows' names; ``scenes[ids] images`` are two words, the first one by its index.
        row_name: JSON: dotted path of a record's name; CSV: its column (default: the first). Several are separated
            by blanks, as in ``row``.
        row: the name of the row; several words are compared with several columns. Names are equal as text, or
            without folder and image suffix, or as numbers. Text without ``key``: the line that begins with these
            words. Text with ``key``: the last line of that key above the line that contains the word. Arrays without
            ``rows``, and JSON lists without ``row_name``: the index along the first axis, from 0.

    Raises:
        ParameterError: a field that the kind of file does not have, or one that is missing.
    """

    file: str
    key: tuple[str, ...] = ()
    rows: str | None = None
    row_name: str | None = None
    row: str | None = None

    def __post_init__(self) -> None:
        kind = _kind_of(self.file)
        for name in _NOT_IN.get(kind, ()):
            if getattr(self, name):
                raise ParameterError(f"{name}: a file of {_label(kind)} has none: remove it")
        if (self.rows or self.row_name) and not self.row:
            raise ParameterError('row: missing next to rows or row_name: add row = "{frame}"')
        if kind in ("npz", "mat") and not self.key:
            raise ParameterError(f"key: missing, the array's name in {_label(kind)}")
        if kind == "json" and self.row and not self.rows:
            raise ParameterError('rows: missing next to row in JSON: the path of the records, "." for the whole file')
        split = self.rows if kind in ("npz", "mat") else self.row_name
        if split and (self.words > 1 or split is self.rows) and len(split.split()) != self.words:
            raise ParameterError(f"row: expected as many words as '{split}' has, got '{self.row}'")
        if kind == "csv" and not self.key and not self.row:
            raise ParameterError("key: missing, the columns in CSV")

    @property
    def words(self) -> int:
        """The number of columns or paths that hold a row's name."""
        return len((self.row or "").split())


def _label(kind: str) -> str:
    return {"json": "JSON", "csv": "CSV", "text": "text"}.get(kind, f".{kind}")


class Table(NamedTuple):
    """The numbers of a file that was read once, for any of its rows."""

    pick: Pick
    find: Find | None

    def numbers(self, key: tuple[str, ...], row: str | None) -> NDArray[np.float64]:
        """Return (N,) float64, a matrix by rows.

        Args:
            key: of the rule, without placeholders.
            row: likewise; None where the rule has none.

        Raises:
            ParameterError: a name is missing, means several rows with different numbers, or means no numbers.
        """
        if row is None or self.find is None:
            return as_numbers(self.pick(key, None), key)
        first, *others = self.find(row)
        numbers = as_numbers(self.pick(key, first), key)
        if any(not np.array_equal(numbers, as_numbers(self.pick(key, each), key), equal_nan=True) for each in others):
            raise ParameterError(
                f"expected one row named '{row}', got {1 + len(others)} with different numbers: give more of its name "
                "in row"
            )
        return numbers


def as_numbers(value: Any, key: tuple[str, ...]) -> NDArray[np.float64]:
    """Return (N,) float64 of a number, nested lists of numbers, or an array; ParameterError where it is none."""
    flat: list[float] = []
    try:
        _flatten(value, flat)
        numbers = np.array(flat, np.float64)
    except (TypeError, OverflowError) as error:
        raise ParameterError(f"expected numbers{_of(key)}, got {error}") from None
    if not flat and key:
        raise ParameterError(f"expected numbers{_of(key)}, got none")
    return numbers


def _of(key: tuple[str, ...]) -> str:
    return f" of '{' '.join(key)}'" if key else ""


def _flatten(value: Any, flat: list[float]) -> None:
    """Append the numbers in ``value``; TypeError where there is something else."""
    kind = type(value)
    if kind is float or kind is int:
        flat.append(float(value))
    elif kind is list or kind is tuple:
        for each in value:
            _flatten(each, flat)
    elif isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "iuf":
        flat.extend(value.ravel().tolist())
    elif isinstance(value, np.ndarray | np.generic):
        raise TypeError(f"dtype {value.dtype}")
    else:
        raise TypeError({dict: "a table", type(None): "null"}.get(kind, repr(value)[:40]))


def read_table(path: Place, rule: NumbersRule) -> Table:
    """Return a file's numbers by key and row. The file is read once; :meth:`Table.numbers` then takes microseconds.

    Raises:
        SourceError: the file is missing, damaged, too large, or not of the kind that its suffix says.
        DescriptionError: a .mat file of version 7.3, which is HDF5, and h5py is not installed.
    """
    kind = _kind_of(rule.file)
    plain = kind in ("npy", "text") and not rule.key and not rule.row

    def read(file: OpenFile, start: bytes, size: int) -> Table:
        if size > MAX_BYTES and kind not in ("npz", "mat"):  # of those only the arrays that are asked for are read
            raise ParameterError(f"expected a file of at most {MAX_BYTES} bytes, got {size}; save the numbers alone")
        if kind == "text" and plain:
            values = _plain(file, start, size)
            return Table(lambda *_: values, None)
        if kind == "npy":
            most = MOST_NUMBERS if plain else None
            return Table(*arrays.npy_table(arrays.read_npy(file, start, size, most), not plain))
        wanted = arrays.wanted((*rule.key, *re.findall(r"[^][\s]+", rule.rows or "")))
        if kind == "npz":
            return Table(*arrays.arrays_table(arrays.read_npz(file, start, wanted), rule.rows, rule.words))
        if kind == "mat":
            return Table(*arrays.arrays_table(arrays.read_mat(file, start, size, wanted), rule.rows, rule.words))
        content = _whole(file, start, size)
        if kind == "json":
            return Table(*tables.json_table(tables.read_json(content), rule.rows, rule.row_name, rule.words))
        if kind == "csv":
            return Table(*tables.csv_table(*tables.read_csv(content), rule.row_name, rule.words))
        return Table(*lines.text_table(content, bool(rule.key), rule.words))

    return read_file(path, read, SAVE_K if plain else WHICH_NUMBERS)


def _plain(file: OpenFile, start: bytes, size: int) -> list[float]:
    """Return the numbers of a text that holds nothing else."""
    if found := format_of(start):
        raise _no_text(found)
    if size > MAX_TEXT_BYTES:
        raise _no_text(f"more than {MAX_TEXT_BYTES} bytes")
    values = lines.plain_numbers(_whole(file, start, size))
    if isinstance(values, str):
        raise _no_text(values)
    return values


def _no_text(got: str) -> ParameterError:
    return ParameterError(f"expected a text file of 4, 9 or 16 numbers (or .npy), got {got}; {SAVE_K}")


def _whole(file: OpenFile, start: bytes, size: int) -> bytes:
    """Return the bytes of an open file."""
    if size <= len(start):
        return start
    with stream(file) as content:
        content.seek(0)
        return content.read(size)
