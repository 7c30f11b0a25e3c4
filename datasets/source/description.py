"""The description of a data set on disk: a TOML file, checked strictly."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from depthvar.datasets.errors import DescriptionError, ParameterError

from . import colmap
from .camera import CameraRule, pinhole
from .containers import CONTAINERS, DEPTH_CONTAINERS, Container, container_of
from .decode import DepthRule
from .encodings import DTYPES as CODE_DTYPES
from .masks import MaskRule
from .numbers import NumbersRule
from .schema import read_fields
from .templates import placeholders, suffix_of

Tables = Mapping[str, Any]
DECODING = ("scale", "baseline", "doffs", "masks")  # tables that decide depth, next to [depth]
FACTS = ("homepage", "licence", "citation", "size", "quality", "verified", "notes", "warning", "reader")


@dataclass(frozen=True)
class ScalarRule:
    """A number that decoding needs next to the pixels: ``[scale]``, ``[baseline]`` or ``[doffs]`` in a description.

    Attributes:
        constant: the number; None: it is in a file.
        numbers: where it is in a file.
        inverse: the depth is divided by it, not multiplied.
        units_per_metre: the number divided by this counts.
    """

    constant: float | None = None
    numbers: NumbersRule | None = None
    inverse: bool = False
    units_per_metre: float = 1.0

    def value(self, number: float) -> float:
        """Return what counts of the number as it is stored."""
        number /= self.units_per_metre
        return 1 / number if self.inverse else number


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
        licence: of the data.
        citation: the paper.
        size: of the download.
        quality: how the depth was made: rendered, laser, lidar, rgbd, stereo, mvs or mixed.
        verified: whether the rule was checked against a real file of the data set.
        notes: what its users should know.
        warning: what a run must not begin without saying; empty for nothing.
        reader: name of the class in ``readers/`` that reads it; empty: what is written here says all.
        image_path: template of the images; None for none.
        masks: files that say which pixels are usable, unknown or far.
        scale: the depth is multiplied by it; None for 1.
        baseline: metres between the two cameras of a disparity.
        doffs: pixels that are added to a disparity.
        intrinsics: where fx, fy, cx, cy are; None if the user must give them.
    """

    summary: str
    names: tuple[str, ...]
    depth_path: str
    depth: DepthRule
    homepage: str = ""
    licence: str = ""
    citation: str = ""
    size: str = ""
    quality: str = ""
    verified: bool = False
    notes: tuple[str, ...] = ()
    warning: str = ""
    reader: str = ""
    image_path: str | None = None
    masks: tuple[MaskRule, ...] = ()
    scale: ScalarRule | None = None
    baseline: ScalarRule | None = None
    doffs: ScalarRule | None = None
    intrinsics: CameraRule | None = None

    @property
    def quantisation_step(self) -> float | None:
        """Metres between two stored depths; None: not the same everywhere (as with a scale), or not known."""
        return None if self.scale is not None else self.depth.quantisation_step

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
        masks = [read_fields(mask, "masks", where) for mask in top.get("masks", ())]
        tables_of = {name: read_fields(top.get(name, {}), name, where) for name in ("scale", "baseline", "doffs")}
        camera = read_fields(top.get("intrinsics", {}), "intrinsics", where)
        depth = read_fields(top.get("depth", {}), "depth", where)
        _check_paths(files, masks, {**tables_of, "intrinsics": camera}, depth, where)
        description = cls(
            summary=top["summary"],
            names=top["names"],
            depth_path=files["depth"],
            depth=_depth_rule(depth, files["depth"], where),
            image_path=files.get("image"),
            masks=tuple(MaskRule(**mask) for mask in masks),
            **{name: _made(_scalar_rule, given, name, where) for name, given in tables_of.items()},
            intrinsics=_made(_camera_rule, camera, "intrinsics", where),
            **{name: top[name] for name in FACTS if name in top},
        )
        if description.depth.kind == "disparity" and description.baseline is None and not description.reader:
            raise DescriptionError(
                f"{where}: missing table [baseline]: kind disparity needs the metres between the cameras: add "
                "[baseline] constant = 0.1 (or file and key)"
            )
        return description

    def to_dict(self) -> dict[str, Any]:
        """Return tables, JSON-ready, from which :meth:`from_dict` makes an equal description."""
        tables = {
            "summary": self.summary,
            "names": self.names,
            **{name: getattr(self, name) or None for name in FACTS},
            "files": {"depth": self.depth_path, "image": self.image_path},
            "depth": _table(self.depth, always=("kind", "unknown")),
            "masks": [_table(mask) for mask in self.masks],
            **{name: _with_numbers(getattr(self, name)) for name in ("scale", "baseline", "doffs", "intrinsics")},
        }
        written: dict[str, Any] = _jsonable(tables)
        return written


def _table(rule: Any, always: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the fields of a rule that differ from their defaults."""
    values = {each.name: (getattr(rule, each.name), each.default) for each in fields(rule)}
    return {name: value for name, (value, default) in values.items() if name in always or value != default}


def _with_numbers(rule: ScalarRule | CameraRule | None) -> dict[str, Any]:
    """Return the table of a rule, with those fields that say where numbers are in a file."""
    if rule is None:
        return {}
    table = _table(rule)
    if (numbers := table.pop("numbers", None)) is not None:
        table |= _table(numbers)
    if "names" in table:
        table["numbers"] = " ".join(table.pop("names"))
    return table


def _check_paths(
    files: dict[str, Any], masks: list[dict[str, Any]], numbers: dict[str, dict[str, Any]], depth: Tables, where: str
) -> None:
    """Raise DescriptionError where a path, key or row has placeholders that the depth files lack, or both are given."""
    known = set(placeholders(files["depth"])) | {"frame"}
    if "{frame}" not in files["depth"] and not depth.get("stack"):
        raise DescriptionError(
            f"{where}: [files] depth: expected {{frame}} once, got '{files['depth']}': where one file holds many "
            "frames, write [depth] stack = true"
        )
    derived = {"[files] image": files.get("image"), "[depth] key": depth.get("key")}
    for mask in masks:
        derived |= {f"[[masks]] {name}": mask.get(name) for name in ("file", "key")}
        if not container_of(mask["file"]) and "container" not in mask:
            raise DescriptionError(f"{where}: [[masks]] file: {not_read(mask['file'], CONTAINERS)}")
    for section, given in numbers.items():
        if "constant" in given and "file" in given:
            raise DescriptionError(f"{where}: [{section}]: expected constant or file, got both: remove one")
        if given and "constant" not in given and "file" not in given:
            raise DescriptionError(f"{where}: [{section}]: expected constant or file, got neither: add one")
        derived |= {f"[{section}] {name}": given.get(name) for name in ("file", "rows", "row")}
        derived |= {f"[{section}] key {key}": key for key in given.get("key", ())}
    for label, path in derived.items():
        if extra := set(placeholders(path or "")) - known:
            raise DescriptionError(
                f"{where}: {label}: expected only placeholders of [files] depth '{files['depth']}', "
                f"got {{{extra.pop()}}} in '{path}'"
            )


def _made(make: Callable[[dict[str, Any]], Any], given: dict[str, Any], section: str, where: str) -> Any:
    """Return the rule of a table; DescriptionError where its fields do not go together."""
    try:
        return make(given)
    except ParameterError as error:
        raise DescriptionError(f"{where}: [{section}] {error}") from error


def _numbers_rule(fields: dict[str, Any]) -> NumbersRule | None:
    given = {name: fields.pop(name) for name in ("file", "key", "rows", "row_name", "row") if name in fields}
    return NumbersRule(**given) if "file" in given else None


def _scalar_rule(fields: dict[str, Any]) -> ScalarRule | None:
    return ScalarRule(numbers=_numbers_rule(fields), **fields) if fields else None


def _camera_rule(fields: dict[str, Any]) -> CameraRule | None:
    if not fields:
        return None
    numbers = _numbers_rule(fields)
    of_file = colmap.NUMBERS if numbers and numbers.kind == "colmap" else ""
    names = tuple(fields.pop("numbers", of_file).split())
    constant = fields.pop("constant", None)
    if constant is not None and not names and not fields:  # as most are: pixels of the depth
        constant = tuple(pinhole(constant).tolist())
    return CameraRule(constant=constant, numbers=numbers, names=names, **fields)


def _depth_rule(fields: dict[str, Any], depth_path: str, where: str) -> DepthRule:
    if (name := fields.setdefault("container", container_of(depth_path))) not in DEPTH_CONTAINERS:
        raise DescriptionError(f"{where}: [files] depth: {not_read(depth_path, DEPTH_CONTAINERS)}")
    code = fields.get("encoding")
    dtypes: tuple[str, ...] = fields.setdefault("dtype", (CODE_DTYPES[code],) if code else CONTAINERS[name].dtype)
    far = fields.get("far", ())
    # One uint16 among the dtypes suffices: a float copy of a uint16 map still holds its 65535.
    default = (0.0, 65535.0) if "uint16" in dtypes and "view" not in fields and code is None else (0.0,)
    unknown = fields.setdefault("unknown", tuple(value for value in default if value not in far))
    if both := set(unknown) & set(far):
        raise DescriptionError(f"{where}: [depth] far: {min(both):g} is in unknown too: remove it from one")
    if code in ("log", "kinect"):  # their numbers are metres
        fields.setdefault("units_per_metre", 1.0)
    if "units_per_metre" not in fields:
        _default_unit(fields, CONTAINERS[name], where)
    if fields.get("max_depth") == np.inf:
        del fields["max_depth"]
    return DepthRule(**fields)


def not_read(path: str, containers: Iterable[str]) -> str:
    """Return what is wrong with a template whose suffix is that of no container, and what to do."""
    way_out = "convert the files, or write a Source class (docs/python.md)"
    if not suffix_of(path):
        way_out += "; where their names have no suffix, describe the data in a .toml with [depth] container"
    read = " ".join(suffix for name in containers for suffix in CONTAINERS[name].suffixes)
    return f"expected a path ending in one of {read}, the formats that are read, got '{path}'; {way_out}"


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
    if isinstance(value, tuple | list):
        return [_jsonable(entry) for entry in value]
    return str(value) if value in (np.inf, -np.inf) else value
