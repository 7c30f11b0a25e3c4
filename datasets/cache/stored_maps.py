"""Which maps a cache holds of every frame: what its parameters say, and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .format import EDGE, level_name


@dataclass(frozen=True)
class StoredMaps:
    """The maps of a cache.

    Attributes:
        strides: of σ², ascending from 1.
        with_depth: whether there is the depth, at stride 1.
        keep: what else there is at every stride: nothing, or ``("edge",)``.
    """

    strides: tuple[int, ...] = ()
    with_depth: bool = False
    keep: tuple[str, ...] = ()

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> "StoredMaps":
        """Return those of a cache of these parameters."""
        return cls(tuple(parameters["strides"]), parameters["with_depth"], tuple(parameters.get("keep", ())))

    @cached_property
    def levels(self) -> dict[str, int]:
        """Array name -> stride of the arrays that the kernel fills: σ², then ``edge``."""
        edges = self.strides if EDGE in self.keep else ()
        return {level_name(stride): stride for stride in self.strides} | {
            level_name(stride, EDGE): stride for stride in edges
        }

    @cached_property
    def arrays(self) -> dict[str, int]:
        """Array name -> stride of all arrays of maps."""
        return self.levels | ({"depth": 1} if self.with_depth else {})
