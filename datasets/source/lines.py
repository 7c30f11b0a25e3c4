"""Numbers in a text: alone, after a key, or in a line that begins with the name of a row."""

from bisect import bisect
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator

from depthvar.datasets.errors import ParameterError

from .containers import ForeignFileError, format_of
from .names import Find, Names, Pick, nearest

_SEPARATORS = str.maketrans(",;[](){}", " " * 8)


def decode(content: bytes) -> str:
    """Return text that is UTF-8, or UTF-16 with a byte-order mark; comments may have any encoding."""
    encoding = "utf-16" if content[:2] in (BOM_UTF16_LE, BOM_UTF16_BE) else "utf-8-sig"
    return content.decode(encoding, errors="replace")


def plain_numbers(content: bytes) -> list[float] | str:
    """Return the numbers of a text that holds nothing else; else what it holds."""
    lines = (line.split("#")[0] for line in decode(content).splitlines())
    numbers = []
    for word in " ".join(lines).translate(_SEPARATORS).split():
        try:
            numbers.append(float(word))
        except ValueError:
            is_text = "\ufffd" not in word and word.isprintable()
            return f"the text {word[:40]!r}" if is_text else "binary data"
    return numbers


def text_table(content: bytes, has_key: bool, words: int) -> tuple[Pick, Find | None]:
    """Return how to look up numbers in a text: of keys; of the row of a name; or of keys above the line of a word.

    Args:
        content: of the file.
        has_key: whether keys are given.
        words: the number of words of a row's name; 0: the rows have none.
    """
    lines = Lines(content)
    if not has_key:
        names, rows = lines.rows(words)
        return lambda _, row: as_floats(rows[row or 0], "the row"), Names(names, words).find
    if not words:
        return lambda key, _: [lines.numbers(each) for each in key], None
    found = list(lines.words())
    named = Names(word for word, _ in found)
    return (
        lambda key, place: [lines.numbers(each, found[place or 0][1]) for each in key],
        named.find,
    )


class Lines:
    """The lines of a text without comments: of a key, of a name, or by number.

    Args:
        content: of the file.
    """

    def __init__(self, content: bytes) -> None:
        if found := format_of(content):
            raise ForeignFileError(f"expected text, got {found}")
        self._lines = [line.partition("#")[0].strip() for line in decode(content).splitlines()]
        self._filled = [place for place, line in enumerate(self._lines) if line]
        self._keys: dict[str, list[int]] = {}
        for place in self._filled:
            self._keys.setdefault(_cut(self._lines[place])[0], []).append(place)

    def rows(self, words: int) -> tuple[list[str], list[list[str]]]:
        """Return the first words of each line with content, joined by blanks, and its other words."""
        split = [self._lines[place].translate(_SEPARATORS).split() for place in self._filled]
        return [" ".join(row[:words]) for row in split], [row[words:] for row in split]

    def words(self) -> Iterator[tuple[str, int]]:
        """Yield each word that is no number, and its line."""
        for place in self._filled:
            for word in self._lines[place].split():
                if not _is_number(word):
                    yield word, place

    def numbers(self, key: str, above: int | None = None) -> list[float]:
        """Return the numbers of a key, the last one above a line where that is given.

        Raises:
            ParameterError: there is none, several lines differ, or one has something other than numbers.
        """
        word, _, number = key.partition(" ")
        if word == "line" and number.isascii() and number.isdecimal():
            if not 1 <= int(number) <= len(self._filled):
                raise ParameterError(f"expected '{key}', got {len(self._filled)} lines")
            return as_floats(self._lines[self._filled[int(number) - 1]].translate(_SEPARATORS).split(), key)
        places = self._keys.get(key, [])
        if above is not None:
            places = places[max(0, bisect(places, above) - 1) : bisect(places, above)]
        if not places:
            where = "" if above is None else f" above {self._lines[above][:60]!r}"
            raise ParameterError(f"expected a line that begins with '{key}'{where}, got none{self._near(key)}")
        first, *others = [self._below(place, key) for place in places]
        if any(other != first for other in others):
            raise ParameterError(f"expected one line that begins with '{key}', got {len(places)} with other numbers")
        return first

    def _near(self, key: str) -> str:
        return nearest(key, [word for word in list(self._keys)[:1000] if not _is_number(word)])

    def _below(self, place: int, key: str) -> list[float]:
        """Return the numbers after a line's key, or of the lines below it where nothing follows the key."""
        rest = _cut(self._lines[place])[1].translate(_SEPARATORS).split()
        if rest:
            return as_floats(rest, key)
        numbers: list[float] = []
        columns = 0
        for line in self._lines[place + 1 :]:
            row = line.translate(_SEPARATORS).split()
            if (columns and len(row) != columns) or (row and not all(map(_is_number, row))):
                break
            columns = len(row)
            numbers += map(float, row)
        return numbers


def _cut(line: str) -> tuple[str, str]:
    """Return a line's key and the rest: ``K: 1 2``, ``K = 1 2``, ``K=[1 2]`` and ``K 1 2`` are the same."""
    end = min((place for mark in " \t:=" if (place := line.find(mark)) >= 0), default=len(line))
    return line[:end], line[end:].lstrip(" \t:=")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def as_floats(words: list[str], what: str) -> list[float]:
    """Return words as numbers; ParameterError where one is none."""
    try:
        return [float(word) for word in words]
    except ValueError:
        word = next(word for word in words if not _is_number(word))
        got = f"the text {word[:40]!r}" if "\ufffd" not in word and word.isprintable() else "binary data"
        raise ParameterError(f"expected numbers of '{what}', got {got}") from None
