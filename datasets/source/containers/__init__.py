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
    Opened,
    OpenFile,
    Place,
    RemoteFile,
    check_size,
    decoding,
    for_library,
    format_of,
    library,
    read_file,
    stream,
)
from .exr import EXR
from .hdf5 import HDF5
from .mat import MAT
from .npy import NPY, NPZ
from .plain import COLMAP, DPT, PFM, PGM, RAW
from .png import JPG, PNG, png_text
from .png_in_hdf5 import PNG_IN_HDF5
from .tiff import TIFF
from .zarr_array import ZARR, open_zarr, zarr_attribute, zarr_chunks, zarr_values

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
    "png_in_hdf5": PNG_IN_HDF5,
    "zarr": ZARR,
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
    "Opened",
    "Place",
    "RemoteFile",
    "check_size",
    "container_of",
    "decoding",
    "for_library",
    "format_of",
    "library",
    "open_zarr",
    "png_text",
    "read_file",
    "stream",
    "zarr_attribute",
    "zarr_chunks",
    "zarr_values",
]
