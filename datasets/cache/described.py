"""The depth that a cache was computed from, as the cache describes it."""

from collections.abc import Mapping
from os import PathLike
from typing import Any

from depthvar.datasets.source.depth_source import DepthSource
from depthvar.datasets.source.description import Description
from depthvar.datasets.source.readers import reader_of


def described_source(attributes: Mapping[str, Any], root: str | PathLike[str], where: str) -> DepthSource:
    """Return the source that the root's attributes describe, with its files below ``root``.

    ``where`` is the cache as people read it. A cache of a ``Source`` class describes none: its ``source`` is empty.

    Raises:
        DescriptionError: the description is damaged, or of a newer version.
        SourceError: the folder is not there.
    """
    description = Description.from_dict(attributes["source"], where)
    return reader_of(description)(attributes["dataset"], description, root)
