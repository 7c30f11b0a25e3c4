"""The file formats of depth and masks: headers and pixels. Pixels are read only after the header is checked."""

from depthvar.datasets.source.templates import suffix_of

from .container import (
    HEAD_BYTES,
    WHICH_DEPTH,
    WHICH_MASK,
    Container,
    ForeignFileError,
    Header,
    Member,
    OpenFile,
    Place,
    RemoteFile,
    format_of,
    read_file,
    stream,
)
from .exr import EXR
from .hdf5 import HDF5
from .mat import MAT
from .npy import NPY, NPZ
from .plain import COLMAP, DPT, PFM, PGM, RAW
from .png import JPG, PNG, png_text
from .tiff import TIFF

CONTAINERS = {
    "npy": NPY,
    "npz": NPZ,
    "png": PNG,
    "jpg": JPG,
    "exr": EXR,
    "pfm": PFM,
    "tiff": TIFF,
    "hdf5": HDF5,
    "mat": MAT,
    "dpt": DPT,
    "raw": RAW,
    "colmap": COLMAP,
    "pgm": PGM,
}
DEPTH_CONTAINERS = {name: container for name, container in CONTAINERS.items() if name != "jpg"}
"""Those that depth is read from: a JPEG changes the values that it stores."""

_BY_SUFFIX = {suffix: name for name, container in CONTAINERS.items() for suffix in container.suffixes}


def container_of(path: Place) -> str:
    """Return the container of the suffix of a file or a template, also in capitals; empty if there is none."""
    return _BY_SUFFIX.get(suffix_of(str(path)).lower(), "")


__all__ = [
    "CONTAINERS",
    "DEPTH_CONTAINERS",
    "HEAD_BYTES",
    "WHICH_DEPTH",
    "WHICH_MASK",
    "Container",
    "ForeignFileError",
    "Header",
    "Member",
    "OpenFile",
    "Place",
    "RemoteFile",
    "container_of",
    "format_of",
    "png_text",
    "read_file",
    "stream",
]
