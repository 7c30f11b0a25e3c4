"""What the pipelines of CUT3R, DUSt3R and others write next to each other: maps of special pixels, and cameras."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from layouts import as_json, exr, k_matrix, new, npy, png
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]
K = tuple[float, float, float, float]
WriteMap = Callable[[Path, str, Array], object]
"""Writes (H, W) to a path below a folder."""
WriteCameras = Callable[[Path, Sequence[str]], list[K]]
"""Writes the cameras of frames below a folder, and returns their fx, fy, cx, cy."""

SIZE = 8, 96  # of most maps
BLOCK = 8  # pixels: a JPEG keeps blocks of one grey


def above(value: float) -> float:
    """Return the next larger float32."""
    return float(np.nextafter(np.float32(value), np.float32(np.inf)))


def below(value: float) -> float:
    """Return the next smaller float32."""
    return float(np.nextafter(np.float32(value), np.float32(0)))


def tiled(values: Sequence[float], size: tuple[int, int] = SIZE) -> Array:
    """Return (H, W) float64 that is made of blocks, which hold the values in turn."""
    blocks = np.resize(np.array(values, np.float64), (size[0] // BLOCK, size[1] // BLOCK))
    return blocks.repeat(BLOCK, 0).repeat(BLOCK, 1)


def of(dtype: str, write: WriteMap) -> WriteMap:
    """Return a writer of maps of one dtype."""
    return lambda folder, path, values: write(folder, path, values.astype(dtype))


def _jpeg(folder: Path, path: str, values: Array) -> None:
    Image.fromarray(values).save(new(folder, path), quality=100)


def _red(folder: Path, path: str, values: Array) -> None:
    """Write a colour PNG: red as given, green and blue the opposite."""
    png(folder, path, np.stack([values, 255 - values, 255 - values], axis=-1))


def _four_channels(folder: Path, path: str, values: Array) -> None:
    """Write the bytes of floats as blue, green, red and alpha of OpenCV."""
    assert cv2.imwrite(str(new(folder, path)), values.view("u1").reshape(*values.shape, 4))


def _y(folder: Path, path: str, values: Array) -> None:
    """Write a channel of the name that OpenCV gives to a single one."""
    exr(folder, path, Y=values)


FLOATS, HALVES, DOUBLES, SHORTS = of("f4", npy), of("f2", npy), of("f8", npy), of("u2", npy)
PNG16, EXR, EXR_UINT, PNG_FLOAT = of("u2", png), of("f4", _y), of("u4", _y), of("f4", _four_channels)
GREY, JPEG, RED = of("u1", png), of("u1", _jpeg), of("u1", _red)


def camera(index: int) -> K:
    """Return intrinsics that differ from frame to frame and fit a map of 8×96."""
    return 60.0 + index, 62.5 + index, 45.25 + index, 3.5


def cameras(write: Callable[[Path, str, K], object], path: str) -> WriteCameras:
    """Return a writer of a file per frame; {} in its path is the frame."""

    def write_all(folder: Path, frames: Sequence[str]) -> list[K]:
        found = [camera(index) for index in range(len(frames))]
        for frame, k in zip(frames, found, strict=True):
            write(folder, path.format(frame), k)
        return found

    return write_all


def npz(path: str, key: str, rank: int = 3) -> WriteCameras:
    """Return a writer of npz files, each with a matrix of 3×3, or in a 4×4 identity, and a pose."""

    def write(folder: Path, path: str, k: K) -> None:
        matrix = np.eye(rank)
        matrix[:3, :3] = k_matrix(k)
        np.savez(new(folder, path), **{key: matrix, "pose": np.eye(4)})

    return cameras(write, path)


def npy_matrix(path: str) -> WriteCameras:
    """Return a writer of npy files."""
    return cameras(lambda folder, path, k: npy(folder, path, k_matrix(k)), path)


def json_matrix(path: str, key: str) -> WriteCameras:
    """Return a writer of JSON files, each with a matrix between the two parts of a pose."""

    def write(folder: Path, path: str, k: K) -> None:
        as_json(folder, path, {"R_cam2world": np.eye(3).tolist(), key: k_matrix(k).tolist(), "t_cam2world": [0, 0, 0]})

    return cameras(write, path)


def npz_list(path: str, suffix: str, row: Callable[[K], Any]) -> WriteCameras:
    """Return a writer of one npz: names of images, and rows in the same order, which is not the sorted one."""

    def write(folder: Path, frames: Sequence[str]) -> list[K]:
        found = [camera(index) for index in range(len(frames))]
        images, rows = [f"{frame}{suffix}" for frame in reversed(frames)], [row(k) for k in reversed(found)]
        poses = [np.eye(4)] * len(frames)
        np.savez(new(folder, path), images=images, intrinsics=rows, trajectories=poses, pairs=[(0, 1, 0.5)])
        return found

    return write


def constant(*k: float) -> WriteCameras:
    """Return the cameras of a data set that stores none."""
    return lambda folder, frames: [(k[0], k[1], k[2], k[3])] * len(frames)
