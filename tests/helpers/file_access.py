"""Which files and folders this process opens and lists."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def accesses(folder: Path) -> Iterator[list[tuple[str, str]]]:
    """Yield a list that grows by (event, path) as something below ``folder`` is opened or listed."""
    seen: list[tuple[str, str]] = []
    on = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if on and event in ("open", "os.scandir", "os.listdir") and isinstance(arguments[0], str | os.PathLike):
            path = os.fspath(arguments[0])
            if path.startswith(str(folder)):
                seen.append((event, path))

    sys.addaudithook(hook)  # nothing removes it
    try:
        yield seen
    finally:
        on = False
