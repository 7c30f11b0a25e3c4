"""Numbers of a frame from a file of a data set: intrinsics, a scale, a baseline."""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import ParameterError

from . import arrays, colmap, lines, tables
from .containers import OpenFile, Place, format_of, read_file, stream
from .names import MAX_BYTES, Find, Pick
from .templates import placeholders, suffix_of

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
    "colmap": ("rows", "row_name"),
}
_SUFFIXES = {".npy": "npy", ".npz": "npz", ".mat": "mat", ".csv": "csv"} | dict.fromkeys(JSON, "json")
SINTEL = b"PIEH"  # 202021.25 as float32, with which the binary files of Sintel begin
Rows = Callable[[str | None], tuple[Pick, Find | None]]
"""Returns how to look up numbers, given the rows of the rule with its placeholders filled in."""


@dataclass(frozen=True)
class NumbersRule:
    """Which numbers of a file are meant. ``key``, ``rows`` and ``row`` are templates, as the paths are.

    Attributes:
        file: template of the file. Its suffix decides how it is read: .npy, .npz, .mat, .json, .json.gz,
            .jgz, .csv; all others are text, but for Sintel's binary .cam, and for JSON without a suffix that begins
            with a brace. ``cameras.txt`` or ``cameras.bin`` with ``row`` and without ``key`` is a COLMAP model
            (:mod:`.colmap`), whose ``row`` is the name of an image.
        key: names of the numbers, joined in this order. Arrays of .npz and .mat; dotted paths in JSON (``a.b.0``);
            columns of a CSV file; in text the first word of a line (``P_rect_02: …``, ``cam0=[…]``; where nothing
            follows the word, the lines below it), or ``line 2``: the second line that has content.
        rows: JSON: dotted path of a list of records, or of a table of records by name; ``.`` is the whole file. A key
            that a record lacks is looked up at the top of the file. npz and mat: the array of the rows' names;
            ``scenes[ids] images`` are two words, the first one by its index.
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
        kind = self.kind
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

    @cached_property
    def kind(self) -> str:
        """How the file is read: npy, npz, mat, csv, json, colmap or text."""
        if self.row and not self.key and colmap.is_cameras(self.file):
            return "colmap"
        return next((kind for suffix, kind in _SUFFIXES.items() if self.file.lower().endswith(suffix)), "text")

    @property
    def words(self) -> int:
        """The number of columns or paths that hold a row's name."""
        return len((self.row or "").split())


def _label(kind: str) -> str:
    return {"json": "JSON", "csv": "CSV", "text": "text", "colmap": "COLMAP"}.get(kind, f".{kind}")


def files_of(rule: NumbersRule, file: str) -> tuple[str, ...]:
    """Return all files that are read for the numbers of ``file``: of a COLMAP model also that of its images."""
    return (file, colmap.images_of(file)) if rule.kind == "colmap" else (file,)


class Table(NamedTuple):
    """The numbers of a file that was read once, for any of its rows."""

    part: Rows

    def numbers(self, key: tuple[str, ...], row: str | None, rows: str | None = None) -> NDArray[np.float64]:
        """Return (N,) float64, a matrix by rows.

        Args:
            key: of the rule, without placeholders.
            row: the same; None where the rule has none.
            rows: the same; needed where those of the rule have placeholders.

        Raises:
            ParameterError: a name is missing, means several rows with different numbers, or means no numbers.
        """
        pick, find = self.part(rows)
        if row is None or find is None:
            return as_numbers(pick(key, None), key)
        first, *others = find(row)
        numbers = as_numbers(pick(key, first), key)
        if any(not np.array_equal(numbers, as_numbers(pick(key, each), key), equal_nan=True) for each in others):
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


def read_table(path: Place, rule: NumbersRule, images: Place | None = None) -> Table:
    """Return a file's numbers by key and row. The file is read once; :meth:`Table.numbers` then takes microseconds.

    Args:
        path: where the file is.
        rule: which numbers are meant.
        images: where the second file of :func:`files_of` is.

    Raises:
        SourceError: the file is missing, damaged, too large, or not of the kind that its suffix says.
        MissingLibraryError: a .mat file of version 7.3, which is HDF5, and h5py is not installed.
    """
    if images is not None:
        return Table(_same(*colmap.model_table(path, images, WHICH_NUMBERS)))
    plain = rule.kind in ("npy", "text") and not rule.key and not rule.row

    def read(file: OpenFile, start: bytes, size: int) -> Table:
        rows = _rows(file, start, size, rule, plain)
        if placeholders(rule.rows or ""):
            return Table(lru_cache(maxsize=None)(rows))
        return Table(_same(*rows(rule.rows)))

    return read_file(path, read, SAVE_K if plain else WHICH_NUMBERS)


def _same(pick: Pick, find: Find | None) -> Rows:
    return lambda _: (pick, find)


def _rows(file: OpenFile, start: bytes, size: int, rule: NumbersRule, plain: bool) -> Rows:
    """Return how to look up numbers in an open file."""
    kind, words = rule.kind, rule.words
    if size > MAX_BYTES and kind not in ("npz", "mat"):  # of those only the arrays that are asked for are read
        raise ParameterError(f"expected a file of at most {MAX_BYTES} bytes, got {size}; save the numbers alone")
    if kind == "text" and plain:
        values = _plain(file, start, size, rule.file)
        return _same(lambda *_: values, None)
    if kind == "npy":
        array = arrays.read_npy(file, start, size, MOST_NUMBERS if plain else None)
        return _same(*arrays.npy_table(array, not plain))
    if kind in ("npz", "mat"):
        wanted = arrays.wanted((*rule.key, *re.findall(r"[^][\s]+", rule.rows or "")))
        read = arrays.read_npz(file, start, wanted) if kind == "npz" else arrays.read_mat(file, start, size, wanted)
        return lambda rows: arrays.arrays_table(read, rows, words)
    content = _whole(file, start, size)
    if kind == "json" or (rule.key and not rule.row and not suffix_of(rule.file) and start.lstrip()[:1] == b"{"):
        root = tables.read_json(content)
        return lambda rows: tables.json_table(root, rows, rule.row_name, words)
    if kind == "csv":
        return _same(*tables.csv_table(*tables.read_csv(content), rule.row_name, words))
    return _same(*lines.text_table(content, bool(rule.key), words))


def _plain(file: OpenFile, start: bytes, size: int, name: str) -> list[float]:
    """Return the numbers of a text that holds nothing else, or the 3×3 matrix of Sintel's .cam."""
    if name.lower().endswith(".cam") and start.startswith(SINTEL):
        if size != 4 + 21 * 8:  # the tag, K, and a 3×4 pose, as sintel_io.py of the data set's tools has it
            raise ValueError(f"expected the {4 + 21 * 8} bytes of a camera of Sintel, got {size}")
        return list(struct.unpack_from("<9d", start, 4))
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
