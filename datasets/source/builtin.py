"""The files of the data sets that depthvar knows by name. It imports next to nothing: a shell completes the names."""

import tomllib
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "descriptions"


def load(file: Path) -> dict[str, Any]:
    """Return the tables of a file."""
    return tomllib.loads(file.read_text(encoding="utf-8"))


def builtin_tables() -> dict[str, tuple[str, dict[str, Any]]]:
    """Return data set name -> (file name, its tables), sorted by name."""
    tables = [(file.name, load(file)) for file in FOLDER.glob("*.toml")]
    return dict(sorted((name, (file, table)) for file, table in tables for name in table["names"]))
