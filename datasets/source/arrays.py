"""Arrays of numbers in .npy, .npz and .mat files, looked up by name and row."""

import io
import math
import re
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import ParameterError

from .containers import CONTAINERS, HEAD_BYTES, ForeignFileError, Member, OpenFile, format_of, stream
from .containers.mat import mat_names
from .names import MAX_BYTES, Find, Names, Pick, by_index, nearest

Wanted = Callable[[str], object]
"""Whether the array of a name is read."""
Arrays = tuple[dict[str, NDArray[Any]], list[str]]
"""The arrays that are wanted, and the names of all."""


def read_npy(file: OpenFile, start: bytes, size: int, most: int | None = None) -> NDArray[Any]:
    """Return the array of an npy file, of at most so many numbers where that is given; never a pickle."""
    npy = CONTAINERS["npy"]
    header = npy.header(file, start, size, Member())
    if most is not None and (header.dtype.kind not in "iuf" or math.prod(header.shape) > most):
        raise ParameterError(f"expected 4, 9 or 16 numbers, got {header.dtype} of shape {header.shape}; save K alone")
    return npy.pixels(file, header, Member())


def npy_table(array: NDArray[Any], has_rows: bool) -> tuple[Pick, Find | None]:
    """Return how to look up the one array of a file, by its index along the first axis where it has rows."""
    if not has_rows:
        return lambda *_: array, None
    return lambda _, row: array[row or 0], by_index(len(np.atleast_1d(array)))


def wanted(templates: tuple[str, ...]) -> Wanted:
    """Return which arrays are read: others may be of any size, and hold what cannot be read."""
    pattern = "|".join(".+".join(map(re.escape, re.split(r"\{\w+\}", template))) for template in templates)
    return re.compile(pattern).fullmatch


def read_npz(file: OpenFile, start: bytes, wanted: Wanted) -> Arrays:
    """Return the wanted arrays of an npz file, and the names of all; pickles are never loaded."""
    if (found := format_of(start)) != "a zip archive, as .npz is":
        raise ForeignFileError(f"expected an npz file, got {found or 'other bytes'}")
    arrays, known = {}, []
    try:
        with stream(file) as content, zipfile.ZipFile(content) as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                known.append(name)
                if wanted(name):
                    _check_size(name, info.file_size)
                    data = archive.read(info)
                    arrays[name] = read_npy(io.BytesIO(data), data[:HEAD_BYTES], len(data))
    except ParameterError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"cannot read npz ({error})") from error
    return arrays, known


def _check_size(name: str, size: int) -> None:
    if size > MAX_BYTES:
        raise ParameterError(f"expected '{name}' of at most {MAX_BYTES} bytes, got {size}; save the numbers alone")


def read_mat(file: OpenFile, start: bytes, size: int, wanted: Wanted) -> Arrays:
    """Return the wanted arrays of a .mat file, and the names of all."""
    mat, arrays, known = CONTAINERS["mat"], {}, mat_names(file, start)
    for name in filter(wanted, known):
        member = Member(name)
        header = mat.header(file, start, size, member)
        _check_size(name, math.prod(header.shape) * header.dtype.itemsize)
        arrays[name] = mat.pixels(file, header, member)
    return arrays, known


def arrays_table(found: Arrays, rows: str | None, words: int) -> tuple[Pick, Find | None]:
    """Return how to look up rows of named arrays, by the arrays of their names or else by index.

    Args:
        found: as :func:`read_npz` and :func:`read_mat` return it.
        rows: the arrays of the rows' names, separated by blanks; ``a[b]``: those of ``a`` at the indices ``b``.
        words: of a row's name; 0: whole arrays are meant.
    """
    arrays, known = found

    def array(name: str) -> NDArray[Any]:
        if name not in arrays:
            raise ParameterError(f"expected an array '{name}', got none{nearest(name, known)}")
        return arrays[name]

    def pick(key: tuple[str, ...], row: int | None) -> list[Any]:
        values = [array(name) for name in key]
        if row is None:
            return values
        try:
            return [each[row] for each in values]
        except IndexError:
            shapes = " and ".join(str(each.shape) for each in values)
            raise ParameterError(f"expected more than {row} rows of '{' '.join(key)}', got shape {shapes}") from None

    def column(spec: str) -> list[str]:
        name, _, by = spec.removesuffix("]").partition("[")
        values = array(name).ravel()
        return [str(value).strip() for value in (values[array(by).ravel()] if by else values).tolist()]

    if rows is None:
        return pick, by_index() if words else None
    return pick, Names(map(" ".join, zip(*map(column, rows.split()), strict=True)), words).find
