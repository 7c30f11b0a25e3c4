"""Arrays of a Zarr group, by zarr-python: a folder of chunks, which the library opens."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import ParameterError

from .container import NUMBERS, Container, ForeignFileError, Header, Member, array_header, decoding, library

MOST = 2 << 30  # bytes of a frame, of a chunk, or of what is read at once


@contextmanager
def _decoding() -> Iterator[None]:
    """Turn what zarr raises into a ValueError of one line, but for faults of the machine."""
    try:
        with decoding("Zarr"):
            yield
    except ValueError as error:
        if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, ValueError):  # zarr's own are both
            raise error.__cause__ from None
        raise


def open_zarr(path: str, kind: str = "array") -> Any:
    """Return an array, or a "group", of a folder, opened to be read; errors as those of a container, or OSError."""
    zarr = library("zarr", "zarr")
    with _decoding():
        if not os.path.isdir(path):
            raise FileNotFoundError(path)
        return getattr(zarr, f"open_{kind}")(path, mode="r")


def zarr_values(path: str) -> NDArray[Any]:
    """Return all values of the array in a folder; errors as :func:`open_zarr`."""
    array = open_zarr(path)
    _check_size(array, array.shape)
    with _decoding():
        return np.asarray(array[...])


def zarr_attribute(path: str, name: str) -> Any:
    """Return an attribute of the group in a folder, None where it has none; errors as :func:`open_zarr`."""
    return open_zarr(path, "group").attrs.get(name)


def zarr_chunks(array: Any, index: int | None) -> list[str]:
    """Return the names of the chunks, or shards, that hold an entry of an array's first axis; None: of all.

    Raises:
        ParameterError: all would be too many.
    """
    lengths = array.shards or array.chunks
    places = [range(-(-size // length)) for size, length in zip(array.shape, lengths, strict=True)]
    if index is None:
        _check_size(array, array.shape)
    elif places:
        places[0] = range(index // lengths[0], index // lengths[0] + 1)
    return [array.metadata.encode_chunk_key(place) for place in product(*places)]


def _check_size(array: Any, shape: tuple[int, ...]) -> None:
    """Raise ParameterError before memory is allocated for values of a shape, or for a chunk, that are too many."""
    for each in (shape, array.chunks):
        if math.prod(each) * array.dtype.itemsize > MOST:
            raise ParameterError(f"expected at most {MOST} bytes, got {each} of {array.dtype}; write smaller chunks")


def _header(array: Any, start: bytes, size: int, member: Member) -> Header:
    if not hasattr(array, "shape"):
        raise ForeignFileError("expected the folder of a Zarr array, got a file")
    _check_size(array, array.shape[1:] if member.stack else array.shape)
    return array_header(array.shape, array.dtype)


def _pixels(array: Any, header: Header, member: Member) -> NDArray[Any]:
    with _decoding():
        values: NDArray[Any] = array[member.index if member.stack else ...]
    return values


ZARR = Container(_header, _pixels, NUMBERS, None, in_head=False)
