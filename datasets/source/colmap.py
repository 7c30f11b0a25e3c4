"""Cameras of the images of a COLMAP model, of which two files are read: its cameras and, next to them, its images.

Both have simple formats, so that pycolmap (a wheel of tens of MB) is not needed. Source of the formats:
https://colmap.github.io/format.html; of the camera models: COLMAP's ``src/colmap/sensor/models.h``.
"""

import io
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import TypeVar

from depthvar.datasets.errors import ParameterError

from .containers import ForeignFileError, OpenFile, Place, format_of, read_file, stream
from .names import Find, Names, Pick

NUMBERS = "w h fx fy cx cy"
"""What is known of a camera, in this order."""
# Each model, in the order of their ids in binary files: its parameters, and how many of them are focal lengths. The
# principal point follows these; all others are distortion.
MODELS = {
    "SIMPLE_PINHOLE": (3, 1),
    "PINHOLE": (4, 2),
    "SIMPLE_RADIAL": (4, 1),
    "RADIAL": (5, 1),
    "OPENCV": (8, 2),
    "OPENCV_FISHEYE": (8, 2),
    "FULL_OPENCV": (12, 2),
    "FOV": (5, 2),
    "SIMPLE_RADIAL_FISHEYE": (4, 1),
    "RADIAL_FISHEYE": (5, 1),
    "THIN_PRISM_FISHEYE": (12, 2),
    "RAD_TAN_THIN_PRISM_FISHEYE": (16, 2),
    "SIMPLE_DIVISION": (4, 1),
    "DIVISION": (5, 2),
    "SIMPLE_FISHEYE": (3, 1),
    "FISHEYE": (4, 2),
    "EUCM": (6, 2),
}
MOST_NAME = 4096  # bytes of an image's name, as of any path
Stream = io.BufferedReader | io.BytesIO
Row = TypeVar("Row")


def is_cameras(file: str) -> bool:
    """Return whether a path or template is that of a COLMAP model's cameras."""
    return PurePosixPath(file).name in ("cameras.txt", "cameras.bin")


def images_of(cameras: str) -> str:
    """Return the path of a model's images, given that of its cameras."""
    folder, suffix = cameras[: -len("cameras.txt")], cameras[-len(".txt") :]
    return f"{folder}images{suffix}"


def model_table(cameras: Place, images: Place, which: str) -> tuple[Pick, Find]:
    """Return how to look up the camera of an image by its name: w, h, fx, fy, cx, cy, without distortion.

    COLMAP puts the centre of the first pixel at (0.5, 0.5). Here it is (0, 0), so 0.5 is subtracted from cx and cy.

    Args:
        cameras: where the file of the cameras is, text or binary by its suffix.
        images: where that of the images is, of the same kind.
        which: what the message of a file of another kind ends with.

    Raises:
        SourceError: a file is missing, damaged, or has a camera that is no pinhole with distortion.
    """
    is_binary = str(cameras).endswith(".bin")
    known = dict(read_file(cameras, _reader(_binary_cameras if is_binary else _text_cameras, is_binary), which))
    listed = read_file(images, _reader(_binary_images if is_binary else _text_images, is_binary), which)
    rows = Names(name for name, _ in listed)

    def find(name: str) -> list[int]:
        try:
            return rows.find(name)
        except ParameterError as error:
            raise ParameterError(f"{PurePosixPath(str(images)).name} next to it: {error}") from None

    def pick(_: tuple[str, ...], row: int | None) -> list[float]:
        name, camera = listed[row or 0]
        if camera not in known:
            raise ParameterError(f"expected camera {camera} of the image '{name}', got {len(known)} others")
        return known[camera]

    return pick, find


def _reader(rows: Callable[[Stream], Iterator[Row]], is_binary: bool) -> Callable[[OpenFile, bytes, int], list[Row]]:
    """Return how :func:`read_file` reads all rows of an open file; ValueError where it is damaged."""

    def read(file: OpenFile, start: bytes, size: int) -> list[Row]:
        if not is_binary and (found := format_of(start)):
            raise ForeignFileError(f"expected text of COLMAP, got {found}")
        with stream(file) as content:
            content.seek(0)
            found_rows = list(rows(content))
            if is_binary and content.tell() != size:
                raise ValueError(f"expected {content.tell()} bytes by its counts, got {size}")
        return found_rows

    return read


def _camera(model: str, size: tuple[float, float], parameters: tuple[float, ...]) -> list[float]:
    """Return w, h, fx, fy, cx, cy with integer coordinates at pixel centres."""
    focal = MODELS[model][1]
    cx, cy = parameters[focal : focal + 2]
    return [*size, parameters[0], parameters[focal - 1], cx - 0.5, cy - 0.5]


def _model(name: str) -> str:
    if name not in MODELS:
        raise ParameterError(
            f"expected a camera model of COLMAP with a focal length, got {name!r}; undistort the images"
        )
    return name


def _text_cameras(content: Stream) -> Iterator[tuple[int, list[float]]]:
    for line in content:
        words = line.decode(errors="replace").split()
        if not words or words[0].startswith("#"):
            continue
        try:
            number, name, width, height, *rest = words
            camera, size, parameters = int(number), (float(width), float(height)), tuple(map(float, rest))
        except ValueError:
            raise _wrong(line, "CAMERA_ID MODEL WIDTH HEIGHT PARAMS") from None
        if len(parameters) != MODELS[_model(name)][0]:
            raise _wrong(line, f"{MODELS[name][0]} parameters of {name}")
        yield camera, _camera(name, size, parameters)


def _text_images(content: Stream) -> Iterator[tuple[str, int]]:
    for line in content:
        words = line.decode(errors="replace").split(maxsplit=9)
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 10 or not words[8].isdecimal():
            raise _wrong(line, "IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME")
        yield words[9].strip(), int(words[8])
        next(content, b"")  # its points, on a line that may be empty


def _wrong(line: bytes, expected: str) -> ValueError:
    return ValueError(f"expected {expected}, got {line[:60].decode(errors='replace').strip()!r}")


def _binary_cameras(content: Stream) -> Iterator[tuple[int, list[float]]]:
    (count,) = _unpack(content, "<Q")
    names = list(MODELS)
    for _ in range(count):
        camera, model, width, height = _unpack(content, "<IiQQ")
        name = _model(names[model] if 0 <= model < len(names) else str(model))
        yield camera, _camera(name, (width, height), _unpack(content, f"<{MODELS[name][0]}d"))


def _binary_images(content: Stream) -> Iterator[tuple[str, int]]:
    (count,) = _unpack(content, "<Q")
    for _ in range(count):
        *_, camera = _unpack(content, "<I7dI")
        name, end, rest = content.read(MOST_NAME).partition(b"\0")
        content.seek(-len(rest), os.SEEK_CUR)
        (points,) = _unpack(content, "<Q")
        if not end or points > 1 << 40:
            raise ValueError("expected images of COLMAP, got other bytes")
        content.seek(24 * points, os.SEEK_CUR)
        yield name.decode(errors="replace"), camera


def _unpack(content: Stream, layout: str) -> tuple[int, ...]:
    data = content.read(struct.calcsize(layout))
    if len(data) < struct.calcsize(layout):
        raise ValueError("the file ends too early")
    return struct.unpack(layout, data)
