"""Numbers in JSON and CSV, looked up by path or column and by the name of a row."""

import csv
import gzip
import io
import json
import zlib
from functools import lru_cache
from typing import Any

from depthvar.datasets.errors import ParameterError

from .containers import ForeignFileError, format_of
from .lines import as_floats, decode
from .names import MAX_BYTES, Find, Names, Pick, by_index, nearest


def read_json(content: bytes) -> Any:
    """Return what a JSON file holds, packed by gzip or not; ValueError where it is damaged."""
    found = format_of(content)
    if found == "a gzip archive":
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as archive:
                content = archive.read(MAX_BYTES + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"cannot unpack gzip ({error})") from error
        if len(content) > MAX_BYTES:
            raise ParameterError(f"expected at most {MAX_BYTES} bytes unpacked, got more; save the numbers alone")
    elif found:
        raise ForeignFileError(f"expected JSON, got {found}")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"cannot parse JSON ({error})") from error


def at(value: Any, path: str) -> Any:
    """Return what is at a dotted path, ``a.b.0``, in JSON values. A name may itself have dots: the longest wins.

    Raises:
        ParameterError: nothing is there.
    """
    if type(value) is dict and path in value:
        return value[path]
    for head, rest in _cuts(path):
        if type(value) is dict and head in value:
            return at(value[head], rest)
    head, _, rest = path.partition(".")
    if type(value) is list and rest and _is_index(head, value):
        return at(value[int(head)], rest)
    if type(value) is list and _is_index(path, value):
        return value[int(path)]
    if type(value) is dict:
        raise ParameterError(f"expected '{path}', got a table without it{nearest(path, list(value)[:1000])}")
    got = f"a list of {len(value)}" if type(value) is list else repr(value)[:40]
    raise ParameterError(f"expected something at '{path}', got {got}")


@lru_cache(maxsize=1024)
def _cuts(path: str) -> list[tuple[str, str]]:
    """Return a path as a name and the rest, the longest name first."""
    parts = path.split(".")
    return [(".".join(parts[:count]), ".".join(parts[count:])) for count in range(len(parts) - 1, 0, -1)]


def _holder(record: dict[str, Any], top: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the record, or the top of the file where only that has what a path begins with."""
    heads = {path, *(head for head, _ in _cuts(path))}
    return record if heads & record.keys() or not heads & top.keys() else top


def _is_index(text: str, value: list[Any]) -> bool:
    return text.isascii() and text.isdecimal() and int(text) < len(value)


def json_table(root: Any, rows: str | None, row_name: str | None, words: int) -> tuple[Pick, Find | None]:
    """Return how to look up dotted paths in JSON values: in all of them, or in the record of a name.

    Args:
        root: as :func:`read_json` returns it. If it is a table, keys that a record lacks are looked up in it, as
            nerfstudio does.
        rows: path of the records; ``.`` is the root; None: no records.
        row_name: path of a record's name in it, several with a blank between them; None: records of a table have
            their names there, those of a list are counted.
        words: of a row's name.
    """
    if rows is None:
        return lambda key, _: [at(root, each) for each in key] if key else root, None
    found = root if rows == "." else at(root, rows)
    if not isinstance(found, list | dict):
        raise ParameterError(f"expected a list of records at '{rows}', got {repr(found)[:40]}; correct rows")
    records = list(found.values()) if isinstance(found, dict) else found
    top = root if isinstance(root, dict) and found is not root else {}

    def pick(key: tuple[str, ...], row: int | None) -> Any:
        record = records[row or 0]
        if type(record) is dict and key:  # as at, which a call for each name would make twice as slow
            return [record[each] if each in record else at(_holder(record, top, each), each) for each in key]
        return [at(record, each) for each in key] if key else record

    if row_name is None and isinstance(found, list):
        return pick, by_index(len(records))
    if row_name is None:
        return pick, Names(found, words).find
    paths = row_name.split() if words > 1 else [row_name]
    return pick, Names((" ".join([str(at(record, path)) for path in paths]) for record in records), words).find


def read_csv(content: bytes) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a CSV file that commas, semicolons or tabs separate; ValueError: damaged."""
    if found := format_of(content):
        raise ForeignFileError(f"expected CSV, got {found}")
    text = decode(content)
    first = text.partition("\n")[0]
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True))
    except csv.Error as error:
        raise ValueError(f"cannot parse CSV ({error})") from error
    header, *rows = [[cell.strip() for cell in row] for row in rows if row] or [[]]
    if short := next((row for row in rows if len(row) != len(header)), None):
        raise ValueError(
            f"expected {len(header)} columns, as in the header, got {len(short)}: {','.join(short)[:60]!r}"
        )
    return header, rows


def csv_table(header: list[str], rows: list[list[str]], row_name: str | None, words: int) -> tuple[Pick, Find | None]:
    """Return how to look up columns of a CSV file in the row of a name, or in the only row.

    Args:
        header: names of the columns.
        rows: the cells, as text.
        row_name: columns of the rows' names, with blanks between several; None: the first ones.
        words: of a row's name; 0: there is one row.
    """
    columns = {name: place for place, name in enumerate(header) if header.count(name) == 1}

    def column(name: str) -> int:
        if name not in columns:
            got = header.count(name) or f"none{nearest(name, header)}"
            raise ParameterError(f"expected one column '{name}', got {got}")
        return columns[name]

    given = row_name.split() if row_name and words > 1 else [row_name] if row_name else header[:words]
    named = [column(name) for name in given]
    others = tuple(name for name in header if name not in given)

    def pick(key: tuple[str, ...], row: int | None) -> list[float]:
        if row is None and len(rows) != 1:
            raise ParameterError(f'expected one row, got {len(rows)}: add row = "{{frame}}" to the description')
        cells = rows[row or 0]
        return as_floats([cells[column(name)] for name in key or others], " ".join(key) or "the row")

    return pick, Names((" ".join([row[place] for place in named]) for row in rows), words).find if words else None
