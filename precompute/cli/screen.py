"""What a terminal shows of a text: its columns, the cells of a character, and lines that end between words."""

import json
import os
import re
import sys
from collections.abc import Callable
from typing import IO, Any
from unicodedata import combining, east_asian_width

import click

from depthvar.datasets.errors import hide_credentials, one_line

DEFAULT_COLUMNS = 80
LABEL_CELLS = 40  # of a label that the lines below it stand clear of, at most

_LABEL = re.compile(r" *(?:\S+(?: \S+)?(?: +\* | {2,})|\w+: )?")


def show(text: str) -> None:
    """Print a result to stdout."""
    click.echo(fold(text, columns(sys.stdout)))


def print_result(as_json: bool, facts: dict[str, Any], text: Callable[[dict[str, Any]], str]) -> None:
    """Print the result of a command to stdout, as one JSON object or as text; credentials are left out of both."""
    if as_json:
        click.echo(hide_credentials(json.dumps(facts, ensure_ascii=False)))
    else:
        show("\n".join(one_line(line) for line in hide_credentials(text(facts)).split("\n")))


def say(text: str) -> None:
    """Print what is no result to stderr."""
    click.echo(fold(text, columns(sys.stderr)), err=True)


def columns(stream: IO[Any]) -> int | None:
    """Return the columns of a terminal; None where a stream is none: lines stay whole in a file or a pipe."""
    if not stream.isatty():
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or DEFAULT_COLUMNS  # 0: it does not know
    except (OSError, ValueError):
        return DEFAULT_COLUMNS


def cells(text: str) -> int:
    """Return how many cells of a terminal a text needs: Chinese, Japanese and Korean letters need two."""
    return sum(0 if combining(each) else 2 if east_asian_width(each) in "WF" else 1 for each in text)


def fold(text: str, width: int | None) -> str:
    """Return lines of at most ``width`` cells, divided between words.

    A word that is longer, such as a path, stays whole, so that it can be copied. What follows stands below what its
    line says after the label.
    """
    if width is None:
        return text
    return "\n".join(part for line in text.split("\n") for part in _fold_line(line, width))


def _fold_line(line: str, width: int) -> list[str]:
    if cells(line) <= width:
        return [line]
    label = _LABEL.match(line)[0]  # type: ignore[index] # it matches nothing, too
    start = len(label) - len(label.lstrip())
    hang = cells(label) if start < cells(label) <= min(LABEL_CELLS, width // 2) else start + 2
    parts, part = [], ""
    for word in re.findall(r" *[^ ]+", line):
        if part.strip() and cells(part) + cells(word) > width:
            parts.append(part)
            part = " " * min(hang, width // 2) + word.lstrip()
        else:
            part += word
    return [*parts, part]
