"""Classes for layouts that no description should say: each reads one, and a description names it as its ``reader``."""

from importlib import import_module

from depthvar.datasets.errors import DescriptionError
from depthvar.datasets.source.depth_source import DepthSource
from depthvar.datasets.source.description import Description

READERS = {  # name -> module:class
    "unik3d": "unik3d:UniK3D",
    "unrealstereo4k": "unrealstereo4k:UnrealStereo4K",
    "zarr": "zarr_groups:ZarrGroups",
}


def reader_of(description: Description) -> type[DepthSource]:
    """Return the class that reads a data set; DescriptionError where the description names an unknown one."""
    if not description.reader:
        return DepthSource
    if description.reader not in READERS:
        known = ", ".join(READERS) or "none"
        raise DescriptionError(f"reader: expected one of {known}, got '{description.reader}'; correct or remove it")
    module, _, name = READERS[description.reader].partition(":")
    found: type[DepthSource] = getattr(import_module(f"{__name__}.{module}"), name)
    return found
