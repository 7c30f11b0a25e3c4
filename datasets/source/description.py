"""The description of a data set on disk: a TOML file, checked strictly."""

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from depthvar.datasets.errors import DescriptionError, StoreError

from .containers import DEPTH_CONTAINERS, Container, container_of
from .decode import DepthRule
from .files import read_url
from .schema import nearest, read_fields
from .templates import placeholders, suffix_of

Tables = Mapping[str, Any]


@dataclass(frozen=True)
class Description:
    """A data set: where its files are below its root, how depth is stored, and the camera.

    Paths are templates relative to the root, with forward slashes (see ``templates.py``).

    Attributes:
        summary: one line for people.
        names: all names of the data set, for ``--dataset``.
        depth_path: template of the depth files; a frame's key is a path that matches it.
        depth: how stored values become metres.
        homepage: where to get it; empty for none.
        image_path: template of the images; None for none.
        mask_path: template of masks, nonzero where usable; None for none.
        intrinsics: fx, fy, cx, cy in pixels, or the template of the files that hold them; None if the user must
            give them.
    """

    summary: str
    names: tuple[str, ...]
    depth_path: str
    depth: DepthRule
    homepage: str = ""
    image_path: str | None = None
    mask_path: str | None = None
    intrinsics: tuple[float, ...] | str | None = None

    @classmethod
    def from_dict(cls, tables: Tables, where: str) -> "Description":
        """Check the tables of a TOML file and return what they describe.

        If ``[depth]`` names no container, the suffix of the depth files decides it. The container decides dtype and
        units unless they are given.

        Args:
            tables: as ``tomllib`` or ``json`` returns them.
            where: the file's name, for the errors.

        Raises:
            DescriptionError: a field is unknown, missing or impossible.
        """
        top = read_fields(tables, "", where)
        files = read_fields(top.get("files", {}), "files", where)
        camera = read_fields(top.get("intrinsics", {}), "intrinsics", where)
        if len(camera) > 1:
            raise DescriptionError(f"{where}: [intrinsics]: expected constant or file, got both: remove one")
        derived = {"[files] image": files.get("image"), "[files] mask": files.get("mask")}
        for label, path in {**derived, "[intrinsics] file": camera.get("file")}.items():
            if extra := set(placeholders(path or "")) - set(placeholders(files["depth"])):
                raise DescriptionError(
                    f"{where}: {label}: expected only placeholders of [files] depth '{files['depth']}', "
                    f"got {{{extra.pop()}}} in '{path}'"
                )
        return cls(
            summary=top["summary"],
            names=top["names"],
            depth_path=files["depth"],
            depth=_depth_rule(read_fields(top.get("depth", {}), "depth", where), files["depth"], where),
            homepage=top.get("homepage", ""),
            image_path=files.get("image"),
            mask_path=files.get("mask"),
            intrinsics=camera.get("constant", camera.get("file")),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return tables, JSON-ready, from which :meth:`from_dict` makes an equal description."""
        camera = "file" if isinstance(self.intrinsics, str) else "constant"
        tables = {
            "summary": self.summary,
            "homepage": self.homepage,
            "names": self.names,
            "files": {"depth": self.depth_path, "image": self.image_path, "mask": self.mask_path},
            "depth": asdict(self.depth),
            "intrinsics": {camera: self.intrinsics},
        }
        written: dict[str, Any] = _jsonable(tables)
        return written


def _depth_rule(fields: dict[str, Any], depth_path: str, where: str) -> DepthRule:
    if (name := fields.setdefault("container", container_of(depth_path))) not in DEPTH_CONTAINERS:
        raise DescriptionError(f"{where}: [files] depth: {_not_read(depth_path)}")
    dtypes: tuple[str, ...] = fields.setdefault("dtype", DEPTH_CONTAINERS[name].dtype)
    far = fields.get("far", ())
    # One uint16 among the dtypes suffices: a float copy of a uint16 map still holds its 65535.
    default = (0.0, 65535.0) if "uint16" in dtypes and "view" not in fields else (0.0,)
    unknown = fields.setdefault("unknown", tuple(value for value in default if value not in far))
    if both := set(unknown) & set(far):
        raise DescriptionError(f"{where}: [depth] far: {min(both):g} is in unknown too: remove it from one")
    if "units_per_metre" not in fields:
        _default_unit(fields, DEPTH_CONTAINERS[name], where)
    if fields.get("max_depth") == np.inf:
        del fields["max_depth"]
    return DepthRule(**fields)


def _not_read(depth_path: str) -> str:
    """Return what is wrong with a template whose suffix is that of no container, and what to do."""
    way_out = "convert the files, or write a Source class (docs/python.md)"
    if not suffix_of(depth_path):
        way_out += "; where their names have no suffix, describe the data in a .toml with [depth] container"
    read = " ".join(suffix for container in DEPTH_CONTAINERS.values() for suffix in container.suffixes)
    return f"expected a path ending in one of {read}, the formats that are read, got '{depth_path}'; {way_out}"


def _default_unit(fields: dict[str, Any], container: Container, where: str) -> None:
    """Set the unit if none is given: metres for floats; for integers that of the container, if it has one.

    If integers have no unit, the files may hold floats only.
    """
    values = (fields["view"],) if "view" in fields else fields["dtype"]
    floats = tuple(name for name in values if np.dtype(name).kind == "f")
    if len(floats) == len(values):
        fields["units_per_metre"] = 1.0
    elif container.units_per_metre is not None and values == container.dtype:
        fields["units_per_metre"] = container.units_per_metre
    elif floats:
        fields |= {"units_per_metre": 1.0, "dtype": floats}
    else:
        raise DescriptionError(
            f"{where}: missing field [depth] units_per_metre: {' or '.join(values)} has no unit: add "
            "units_per_metre = 1000.0 for millimetres (--units-per-metre)"
        )


def _jsonable(value: Any) -> Any:
    """Return plain JSON values without unset entries: no tuples, and no infinity, which JSON cannot hold."""
    if isinstance(value, Mapping):
        written = {name: _jsonable(entry) for name, entry in value.items()}
        return {name: entry for name, entry in written.items() if entry not in (None, "", [], {})}
    if isinstance(value, tuple):
        return [_jsonable(entry) for entry in value]
    return str(value) if value in (np.inf, -np.inf) else value


def builtin_descriptions() -> dict[str, Description]:
    """Return data set name -> description for all data sets of the package, sorted by name."""
    return {name: Description.from_dict(tables, file) for name, (file, tables) in _builtin_tables().items()}


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
        builtin = _builtin_tables()
        if dataset not in builtin:
            raise DescriptionError(f"unknown data set '{dataset}'{_meant(dataset, builtin)}")
        where, tables = builtin[dataset]
    given = {name: fields for name, fields in (overrides or {}).items() if fields}
    pattern = given.get("files", {}).get("depth")
    is_template = isinstance(pattern, str) and "{frame}" in pattern
    if (
        is_template
        and container_of(str(pattern)) not in DEPTH_CONTAINERS
        and "container" not in tables.get("depth", {})
    ):
        raise DescriptionError(f"--pattern (Python: pattern=): {_not_read(str(pattern))}")
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


def _builtin_tables() -> dict[str, tuple[str, Tables]]:
    """Return data set name -> (file name, its tables), sorted by name."""
    files = (Path(__file__).parents[1] / "descriptions").glob("*.toml")
    tables = [(file.name, tomllib.loads(file.read_text(encoding="utf-8"))) for file in files]
    return dict(sorted((name, (file, table)) for file, table in tables for name in table["names"]))


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
