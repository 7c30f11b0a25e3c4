"""Names: the rows of a table that one means, and what a wrong one may have been meant for."""

from bisect import bisect
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import cached_property
from typing import Any

from depthvar.datasets.errors import ParameterError

# Of images and depth. What follows the last point of another name, as in 41069021_1234.567, belongs to it.
SUFFIXES = tuple(
    f".{name}"
    for name in (
        *("bmp", "dpt", "exr", "h5", "hdf5", "jpeg", "jpg", "mat", "npy", "npz"),
        *("pfm", "pgm", "png", "ppm", "raw", "tif", "tiff", "webp"),
    )
)
MAX_BYTES = 512 << 20  # of a file of numbers, unpacked; CO3D's frame_annotations.jgz have a fifth of it
MOST_COMPARED = 200  # names before and after a wrong one in the alphabet: more would take seconds

Pick = Callable[[tuple[str, ...], int | None], Any]
"""Returns the values of keys in a row, or of the file without rows: numbers, nested lists or arrays of them."""
Find = Callable[[str], list[int]]
"""Returns the rows that a name means, at least one; ParameterError where there is none."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean x or y?)"`` with the known names closest to ``name``, or nothing."""
    close = get_close_matches(name, [each for each in known if each.isprintable()], n=3)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def bare(name: str) -> str:
    """Return a name without folder and image suffix, and a number in one spelling: ``a/0010.png`` is ``10``."""
    name = name.replace("\\", "/").rpartition("/")[2]
    if name.lower().endswith(SUFFIXES):
        name = name[: name.rindex(".")]
    whole, point, part = name.partition(".")
    if name.isascii() and whole.isdecimal() and (part.isdecimal() or not point):
        part = part.rstrip("0")
        return f"{whole.lstrip('0') or '0'}{'.' if part else ''}{part}"
    return name


class Names:
    """The rows of a table by name.

    Names are equal as text, else without folder and image suffix, else as numbers (:func:`bare`).

    Args:
        names: of each row in order; those of several columns are words with a blank between them.
        words: the number of these columns.
    """

    def __init__(self, names: Iterable[str], words: int = 1) -> None:
        self._words = words
        self._rows: dict[str, list[int]] = {}
        for row, name in enumerate(names):
            self._rows.setdefault(name, []).append(row)

    @cached_property
    def _bare_rows(self) -> dict[str, list[int]]:
        rows: dict[str, list[int]] = {}
        for name, found in self._rows.items():
            rows.setdefault(self._bare(name), []).extend(found)
        return rows

    def _bare(self, name: str) -> str:
        return bare(name) if self._words == 1 else " ".join(map(bare, name.split(" ")))

    def find(self, name: str) -> list[int]:
        """Return the rows that a name means: one, or several with the same name; ParameterError where there is none."""
        if (found := self._rows.get(name) or self._bare_rows.get(self._bare(name))) is None:
            known = sorted(self._rows)
            place = bisect(known, name)
            close = nearest(name, known[max(0, place - MOST_COMPARED) : place + MOST_COMPARED])
            raise ParameterError(f"expected a row named '{name}', found none in {len(known)} rows{close}")
        return found


def by_index(count: int | None = None) -> Find:
    """Return how to find rows by their number from 0, below ``count`` where that is known."""

    def find(row: str) -> list[int]:
        if not (row.isascii() and row.isdecimal()):
            raise ParameterError(f"expected the number of a row, got '{row}': correct row in the description")
        if count is not None and int(row) >= count:
            raise ParameterError(f"expected a row from 0 to {count - 1}, got '{row}'")
        return [int(row)]

    return find
