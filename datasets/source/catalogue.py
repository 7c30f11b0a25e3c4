"""The data sets that depthvar knows by name, and descriptions in files of a user's own."""

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from depthvar.datasets.errors import DescriptionError, StoreError

from .builtin import FOLDER, builtin_tables, load
from .containers import DEPTH_CONTAINERS, container_of
from .description import Description, Tables, not_read
from .files import read_url
from .names import nearest


def builtin_descriptions() -> dict[str, Description]:
    """Return data set name -> description for all data sets of the package, sorted by name."""
    return {name: Description.from_dict(tables, file) for name, (file, tables) in builtin_tables().items()}


def find_description(dataset: str, overrides: Mapping[str, Tables] | None = None) -> Description:
    """Return the description of a data set, with single fields replaced before it is checked.

    Args:
        dataset: a name in :func:`builtin_descriptions`, or the path of a file that ends in ``.toml``.
        overrides: table name -> field -> value. A depth path also removes the image path; intrinsics replace the
            whole table.

    Raises:
        DescriptionError: the name is unknown, or the description is wrong, also because of an override.
    """
    if is_file(dataset):
        where, tables = dataset, _load_tables(dataset)
    else:
        where, tables = _builtin(dataset)
    given = {name: fields for name, fields in (overrides or {}).items() if fields}
    pattern = given.get("files", {}).get("depth")
    is_template = isinstance(pattern, str) and "{frame}" in pattern
    is_known = container_of(str(pattern)) in DEPTH_CONTAINERS or "container" in tables.get("depth", {})
    if is_template and not is_known:
        raise DescriptionError(f"--pattern (Python: pattern=): {not_read(str(pattern), DEPTH_CONTAINERS)}")
    merged = {name: {**tables.get(name, {}), **fields} for name, fields in given.items()}
    if pattern is not None:
        merged["files"].pop("image", None)
    if "intrinsics" in given:
        merged["intrinsics"] = dict(given["intrinsics"])
    return Description.from_dict({**tables, **merged}, f"{where} with the options given" if given else where)


def _meant(dataset: str, builtin: Iterable[str]) -> str:
    """Return what an unknown data set may have been meant for, and what to do."""
    if os.path.isfile(f"{dataset}.toml"):
        return f": did you mean {dataset}.toml?"
    if os.path.isdir(dataset):
        return f"{nearest(dataset, builtin)}: to read a folder: --dataset folder --root {dataset}"
    return (
        f"{nearest(dataset, builtin)}: see `precompute datasets` for all, "
        "or pass the path of a description that ends in .toml"
    )


def is_file(dataset: str) -> bool:
    """Return whether ``dataset`` is the path of a description rather than a name."""
    return dataset.lower().endswith(".toml")


def _builtin(dataset: str) -> tuple[str, Tables]:
    """Return the file name and tables of a built-in data set, whose file mostly has its name."""
    file = FOLDER / f"{dataset}.toml"
    if re.fullmatch(r"[\w.-]+", dataset) and file.is_file() and dataset in (tables := load(file))["names"]:
        return file.name, tables
    builtin = builtin_tables()
    if dataset not in builtin:
        raise DescriptionError(f"unknown data set '{dataset}'{_meant(dataset, builtin)}")
    return builtin[dataset]


def _load_tables(path: str) -> Tables:
    try:
        content = read_url(path) if "://" in path else Path(path).read_bytes()
        return tomllib.loads(content.decode("utf-8-sig"))  # editors on Windows write a byte-order mark
    except StoreError:
        raise
    except OSError as error:
        raise DescriptionError(
            f"{path}: cannot be read ({error.strerror or 'no such object'}): pass another path"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DescriptionError(f"{path}: expected TOML, got something else ({error}): correct the file") from error
