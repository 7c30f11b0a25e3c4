"""Masks next to the depth: which pixels are usable, unknown or far."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import ParameterError

from .containers import CONTAINERS, WHICH_MASK, ForeignFileError, Member, OpenFile, Place, container_of, read_file

MARKS = ("usable", "unknown", "far")


@dataclass(frozen=True)
class MaskRule:
    """A file of a mask and what it says; the fields of ``[[masks]]`` in a description.

    Attributes:
        file: template of the files.
        marks: what marked pixels are: ``"usable"`` (all others are unknown), ``"unknown"`` or ``"far"``.
        container: a name in :data:`CONTAINERS`; None: from the suffix.
        key: as in a depth rule.
        channel: index in the last axis of an image with several channels.
        at_least: pixels with this value or more are marked.
        at_most: pixels with this value or less are marked.
        values: pixels with one of these are marked. With none of the three: nonzero pixels.
        every: every so many rows and columns are read.
    """

    file: str = ""
    marks: str = "usable"
    container: str | None = None
    key: str | None = None
    channel: int | None = None
    at_least: float | None = None
    at_most: float | None = None
    values: tuple[float, ...] = ()
    every: int = 1

    def marked(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where the values of a mask are marked."""
        if self.at_least is not None:
            found = values >= self.at_least
        elif self.at_most is not None:
            found = values <= self.at_most
        else:
            found = np.isin(values, self.values) if self.values else values != 0
        return np.asarray(found, bool)


USABLE = MaskRule()


def read_mask(
    path: Place, shape: tuple[int, int], rule: MaskRule = USABLE, key: str | None = None
) -> NDArray[np.bool_]:
    """Return (H, W) bool, True where a mask file of a depth of this shape is marked.

    Raises:
        SourceError: as ``decode.read_stored``, or it has NaN, or another shape than the depth.
    """
    container = CONTAINERS[rule.container or container_of(path)]
    member = Member(key)

    def read(file: OpenFile, start: bytes, size: int) -> NDArray[np.bool_]:
        header = container.header(file, start, size, member)
        if header.dtype.kind not in "biuf":
            raise ParameterError(f"expected a mask of numbers, got dtype {header.dtype}; save it as bool")
        values, expected = container.pixels(file, header, member), shape
        if rule.every > 1:
            values = values[:: rule.every, :: rule.every]
        if rule.channel is not None and values.ndim == 3:
            if not -values.shape[2] <= rule.channel < values.shape[2]:
                raise ParameterError(f"expected a channel {rule.channel}, got {values.shape[2]}; correct channel")
            values = values[..., rule.channel]
        if values.ndim == 3 and values.shape[2] > 1 and values.shape[:2] == expected:
            raise ForeignFileError(f"expected a mask, got a colour image of shape {values.shape} (or name a channel)")
        if values.shape not in (expected, (*expected, 1)):
            raise ParameterError(
                f"expected a mask of the shape of the depth {expected}, got {values.shape}; save it in that shape"
            )
        mask = values.reshape(expected)
        if mask.dtype.kind == "f" and np.isnan(mask).any():
            raise ParameterError(
                "expected a mask without NaN: 0 where the depth is not usable, another number where it is"
            )
        return rule.marked(mask)

    return read_file(path, read, WHICH_MASK)


def read_masks(
    rules: Iterable[MaskRule], at: Callable[[str], Place], fields: Mapping[str, str], shape: tuple[int, int]
) -> tuple[NDArray[np.bool_] | None, NDArray[np.bool_] | None]:
    """Return where the masks of a frame call pixels usable, and where far; None: no mask says so.

    Args:
        rules: of the data set.
        at: returns where a file is, by its path below the root.
        fields: what the placeholders of the paths stand for.
        shape: (H, W) of the depth.

    Raises:
        SourceError: as :func:`read_mask`.
    """
    usable = sky = None
    for rule in rules:
        key = rule.key and rule.key.format_map(fields)
        marked = read_mask(at(rule.file.format_map(fields)), shape, rule, key)
        if rule.marks == "far":
            sky = marked if sky is None else sky | marked
        else:
            kept = marked if rule.marks == "usable" else ~marked
            usable = kept if usable is None else usable & kept
    return usable, sky
