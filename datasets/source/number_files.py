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
from .numbers import NumbersRule, Table, read_table

MANY, FEW = 1024, 16  # files that are kept: with the camera of a sequence; with a row for every frame
Fields = Mapping[str, str]
"""What the placeholders of the layout stand for in the paths of a frame."""


def number_files(description: Description) -> list[str]:
    """Return the templates of the files that hold numbers of a frame, as often as they are used."""
    rules = description.intrinsics, description.scale, description.baseline, description.doffs
    return [rule.numbers.file for rule in rules if rule is not None and rule.numbers is not None]


def is_of_a_frame(rule: NumbersRule) -> bool:
    """Return whether each frame has a file of its own, which is not worth keeping."""
    return "{frame}" in rule.file


class NumberFiles:
    """The numbers of the frames of a data set. A file is parsed once, and again where it changed.

    Args:
        description: of the data set; without intrinsics, there is no :meth:`camera`.
        disk: its files.
    """

    def __init__(self, description: Description, disk: Files) -> None:
        self._name, self._rule, self._disk = description.names[0], description.intrinsics, disk
        scalars = {"scale": description.scale, "baseline": description.baseline, "doffs": description.doffs}
        self._scalars = {name: rule for name, rule in scalars.items() if rule is not None}
        rules = [rule.numbers for rule in (self._rule, *self._scalars.values()) if rule is not None]
        has_rows = any(rule is not None and rule.row is not None for rule in rules)
        tables = lru_cache(maxsize=FEW if has_rows else MANY)
        self._kept_table = tables(lambda rule, file, state: read_table(disk.at(file), rule))
        self._kept_camera = lru_cache(maxsize=MANY)(self._camera)

    def camera(self, fields: Fields, size: tuple[int, int] | None) -> NDArray[np.float64]:
        """Return (4,) fx, fy, cx, cy of a frame whose depth has ``size`` (H, W).

        Raises:
            SourceError: their file is missing, damaged, or holds no camera.
        """
        assert self._rule is not None
        if self._rule.numbers is None:
            return self._kept_camera(None, (), None, None, size)
        find = self._camera if is_of_a_frame(self._rule.numbers) else self._kept_camera
        return find(*self._where(self._rule.numbers, fields), size)

    def of_frame(self, fields: Fields) -> FrameNumbers:
        """Return scale, baseline and offset of a frame; SourceError as :meth:`camera`."""
        if not self._scalars:
            return PLAIN
        return FrameNumbers(**{name: self._scalar(name, rule, fields) for name, rule in self._scalars.items()})

    def _camera(
        self,
        file: str | None,
        key: tuple[str, ...],
        row: str | None,
        state: Status | None,
        size: tuple[int, int] | None,
    ) -> NDArray[np.float64]:
        assert self._rule is not None
        where: object = self._name
        try:
            numbers: ArrayLike = self._rule.constant or ()
            if file is not None and self._rule.numbers is not None:
                where = self._disk.at(file)
                numbers = self._table(self._rule.numbers, file, state).numbers(key, row)
            return camera_from(numbers, self._rule, size)
        except ParameterError as error:
            raise SourceError(f"{where}: {error}") from error

    def _scalar(self, name: str, rule: ScalarRule, fields: Fields) -> float:
        if rule.numbers is None:
            return rule.value(rule.constant or 0.0)
        file, key, row, state = self._where(rule.numbers, fields)
        try:
            found = self._table(rule.numbers, file, state).numbers(key, row)
            if found.size != 1 or not np.isfinite(found).all() or (name != "doffs" and not found.min() > 0):
                kind = "a number" if name == "doffs" else "a number above 0"
                raise ParameterError(f"[{name}]: expected {kind}, got {found.tolist()}; correct [{name}] key")
        except ParameterError as error:
            raise SourceError(f"{self._disk.at(file)}: {error}") from error
        return rule.value(float(found.ravel()[0]))

    def _where(self, rule: NumbersRule, fields: Fields) -> tuple[str, tuple[str, ...], str | None, Status | None]:
        """Return file, key, row and the file's state for a frame."""
        file = rule.file.format_map(fields)
        key = tuple([name.format_map(fields) for name in rule.key])
        state = None if is_of_a_frame(rule) else self._disk.state(file)
        return file, key, rule.row and rule.row.format_map(fields), state

    def _table(self, rule: NumbersRule, file: str, state: Status | None) -> Table:
        """Return the numbers of a file; those of many frames are kept as long as its state is the same."""
        return read_table(self._disk.at(file), rule) if is_of_a_frame(rule) else self._kept_table(rule, file, state)
