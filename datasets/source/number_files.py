"""The numbers of a frame next to its depth: intrinsics, scale, baseline and offset, constant or in files."""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from depthvar.datasets.errors import ParameterError, SourceError

from .camera import camera_from
from .decode import PLAIN, FrameNumbers
from .description import Description, ScalarRule
from .files import Files, Status
from .numbers import NumbersRule, Table, files_of, read_table

MANY, FEW = 1024, 16  # files that are kept: with the camera of a sequence; with a row for every frame
Fields = Mapping[str, str]
"""What the placeholders of the layout stand for in the paths of a frame."""
Which = tuple[tuple[str, ...], str | None, str | None]
"""Key, row and rows of a frame, as :meth:`Table.numbers` takes them."""
State = tuple[Status | None, ...]
"""That of each file that a table is read from."""


def number_files(description: Description) -> list[str]:
    """Return the templates of the files that hold numbers of a frame, as often as they are used."""
    rules = description.intrinsics, description.scale, description.baseline, description.doffs
    found = [rule.numbers for rule in rules if rule is not None and rule.numbers is not None]
    return [file for rule in found for file in files_of(rule, rule.file)]


class NumberFiles:
    """The numbers of the frames of a data set. A file is parsed once, and again where it changed.

    Args:
        description: of the data set; without intrinsics, there is no :meth:`camera`.
        disk: its files.
        keep_all: also keep files of a single frame: where reading one again costs more than asking for its state.
    """

    def __init__(self, description: Description, disk: Files, keep_all: bool) -> None:
        self._keep_all = keep_all
        self._name, self._rule, self._disk = description.names[0], description.intrinsics, disk
        scalars = {"scale": description.scale, "baseline": description.baseline, "doffs": description.doffs}
        self._scalars = {name: rule for name, rule in scalars.items() if rule is not None}
        rules = [rule.numbers for rule in (self._rule, *self._scalars.values()) if rule is not None]
        has_rows = any(rule is not None and rule.row is not None for rule in rules)
        tables = lru_cache(maxsize=FEW if has_rows else MANY)
        self._kept_table = tables(lambda rule, file, state: self._read(rule, file))
        self._kept_camera = lru_cache(maxsize=MANY)(self._camera)

    def camera(self, fields: Fields, size: tuple[int, int] | None) -> NDArray[np.float64]:
        """Return (4,) fx, fy, cx, cy of a frame whose depth has ``size`` (H, W).

        Raises:
            SourceError: their file is missing, damaged, or holds no camera.
        """
        assert self._rule is not None
        if self._rule.numbers is None:
            return self._kept_camera(None, None, (), size)
        find = self._kept_camera if self._is_kept(self._rule.numbers) else self._camera
        return find(*self._where(self._rule.numbers, fields), size)

    def of_frame(self, fields: Fields) -> FrameNumbers:
        """Return scale, baseline and offset of a frame; SourceError as :meth:`camera`."""
        if not self._scalars:
            return PLAIN
        return FrameNumbers(**{name: self._scalar(name, rule, fields) for name, rule in self._scalars.items()})

    def _camera(
        self,
        file: str | None,
        which: Which | None,
        state: State,
        size: tuple[int, int] | None,
    ) -> NDArray[np.float64]:
        assert self._rule is not None
        where: object = self._name
        try:
            numbers: ArrayLike = self._rule.constant or ()
            if file is not None and which is not None and self._rule.numbers is not None:
                where = self._disk.at(file)
                numbers = self._table(self._rule.numbers, file, state).numbers(*which)
            return camera_from(numbers, self._rule, size)
        except ParameterError as error:
            raise SourceError(f"{where}: {error}") from error

    def _scalar(self, name: str, rule: ScalarRule, fields: Fields) -> float:
        if rule.numbers is None:
            return rule.value(rule.constant or 0.0)
        file, which, state = self._where(rule.numbers, fields)
        try:
            found = self._table(rule.numbers, file, state).numbers(*which)
            if found.size != 1 or not np.isfinite(found).all() or (name != "doffs" and not found.min() > 0):
                kind = "a number" if name == "doffs" else "a number above 0"
                raise ParameterError(f"[{name}]: expected {kind}, got {found.tolist()}; correct [{name}] key")
        except ParameterError as error:
            raise SourceError(f"{self._disk.at(file)}: {error}") from error
        return rule.value(float(found.ravel()[0]))

    def _where(self, rule: NumbersRule, fields: Fields) -> tuple[str, Which, State]:
        """Return the file of a frame, which of its numbers are meant, and the state of what is kept of it."""
        file = rule.file.format_map(fields)
        key = tuple([name.format_map(fields) for name in rule.key])
        which = key, rule.row and rule.row.format_map(fields), rule.rows and rule.rows.format_map(fields)
        return file, which, tuple(map(self._disk.state, files_of(rule, file))) if self._is_kept(rule) else ()

    def _table(self, rule: NumbersRule, file: str, state: State) -> Table:
        """Return the numbers of a file, which are kept as long as its state is the same."""
        return self._kept_table(rule, file, state) if self._is_kept(rule) else self._read(rule, file)

    def _read(self, rule: NumbersRule, file: str) -> Table:
        place, *images = map(self._disk.at, files_of(rule, file))
        return read_table(place, rule, *images)

    def _is_kept(self, rule: NumbersRule) -> bool:
        return self._keep_all or "{frame}" not in rule.file
