"""Writers of tiny data sets, file by file as pipelines store them, by other libraries than depthvar reads them with."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenEXR
from numpy.typing import NDArray
from PIL import Image

from depthvar.datasets import DepthSource

Array = NDArray[Any]
K = tuple[float, float, float, float]
Camera = Callable[[Path, Sequence[str]], list[K]]
"""Writes the cameras of frames into a folder, and returns their fx, fy, cx, cy."""

UNKNOWN, FAR = 0.0, np.inf
SIZE = 8, 96  # of most maps
BLOCK = 8  # pixels: a JPEG keeps blocks of one grey


def above(value: float) -> float:
    """Return the next larger float32."""
    return float(np.nextafter(np.float32(value), np.float32(np.inf)))


def below(value: float) -> float:
    """Return the next smaller float32."""
    return float(np.nextafter(np.float32(value), np.float32(0)))


def tiled(values: Sequence[float], size: tuple[int, int]) -> Array:
    """Return (H, W) float64 that is made of blocks, which hold the values in turn."""
    blocks = np.resize(np.array(values, np.float64), (size[0] // BLOCK, size[1] // BLOCK))
    return blocks.repeat(BLOCK, 0).repeat(BLOCK, 1)


def made(path: Path) -> Path:
    """Return a path whose folder exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def npy(path: Path, values: Array) -> None:
    np.save(made(path), values.astype(np.float32))


def npy_double(path: Path, values: Array) -> None:
    np.save(made(path), values)


def npy_half(path: Path, values: Array) -> None:
    np.save(made(path), values.astype(np.float16))


def exr(path: Path, values: Array, dtype: type = np.float32) -> None:
    """Write one channel, which OpenCV calls Y."""
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, {"Y": values.astype(dtype)}).write(str(made(path)))


def png16(path: Path, values: Array) -> None:
    assert cv2.imwrite(str(made(path)), values.astype(np.uint16))


def png_float(path: Path, values: Array) -> None:
    """Write floats as the blue, green, red and alpha of OpenCV."""
    assert cv2.imwrite(str(made(path)), values.astype("<f4").view(np.uint8).reshape(*values.shape, 4))


def grey(path: Path, values: Array) -> None:
    """Write an 8-bit PNG or JPEG."""
    quality = {"quality": 100} if path.suffix == ".jpg" else {}
    Image.fromarray(values.astype(np.uint8)).save(made(path), **quality)


def red(path: Path, values: Array) -> None:
    """Write a colour PNG whose red channel has the values, and the others the opposite ones."""
    other = 255 - values
    Image.fromarray(np.stack([values, other, other], axis=-1).astype(np.uint8)).save(made(path))


def picture(path: Path, size: tuple[int, int]) -> None:
    """Write a colour image of (H, W)."""
    Image.new("RGB", size[::-1], (90, 120, 150)).save(made(path))


def camera(index: int) -> K:
    """Return intrinsics that differ from frame to frame and fit a map of 8×96."""
    return 60.0 + index, 62.5 + index, 45.25 + index, 3.5


def matrix(k: K, rank: int = 3) -> Array:
    """Return a camera matrix, 3×3 or in a 4×4 identity."""
    full = np.eye(rank)
    full[0, 0], full[1, 1], full[0, 2], full[1, 2] = k
    return full


def constant(*k: float) -> Camera:
    """Return the camera of a data set that stores none."""
    return lambda folder, frames: [(k[0], k[1], k[2], k[3])] * len(frames)


def npz(path: str, key: str, rank: int = 3) -> Camera:
    """Return a writer of an npz file per frame, next to whose matrix lies a pose."""

    def write(folder: Path, frames: Sequence[str]) -> list[K]:
        for index, frame in enumerate(frames):
            arrays = {key: matrix(camera(index), rank), "pose": np.eye(4)}
            np.savez(made(folder / path.format(frame)), **arrays)
        return [camera(index) for index in range(len(frames))]

    return write


def npz_list(path: str, suffix: str, row: Callable[[K], Any]) -> Camera:
    """Return a writer of one npz file: names of images, and rows in the same order, which is not that of the names."""

    def write(folder: Path, frames: Sequence[str]) -> list[K]:
        cameras = [camera(index) for index in range(len(frames))]
        images = [f"{frame}{suffix}" for frame in reversed(frames)]
        poses = np.stack([np.eye(4)] * len(frames))
        rows = np.stack([row(k) for k in reversed(cameras)])
        np.savez(made(folder / path), images=images, intrinsics=rows, trajectories=poses, pairs=[(0, 1, 0.5)])
        return cameras

    return write


def npy_matrix(path: str) -> Camera:
    """Return a writer of an npy file per frame."""

    def write(folder: Path, frames: Sequence[str]) -> list[K]:
        for index, frame in enumerate(frames):
            np.save(made(folder / path.format(frame)), matrix(camera(index)))
        return [camera(index) for index in range(len(frames))]

    return write


def json_matrix(path: str, key: str) -> Camera:
    """Return a writer of a JSON file per frame."""

    def write(folder: Path, frames: Sequence[str]) -> list[K]:
        for index, frame in enumerate(frames):
            values = {"R_cam2world": np.eye(3).tolist(), key: matrix(camera(index)).tolist(), "t_cam2world": [0, 0, 0]}
            made(folder / path.format(frame)).write_text(json.dumps(values))
        return [camera(index) for index in range(len(frames))]

    return write


def check(source: DepthSource, key: str, depth: Array, k: K, image: str, sequence: str) -> None:
    """Assert that a frame is read as it was written: depth to the last bit, K, sequence, and where its image is."""
    frame = source.read(key)
    assert frame.depth.dtype == np.float32
    np.testing.assert_array_equal(frame.depth, depth.astype(np.float32))
    np.testing.assert_array_equal(frame.intrinsics, k)
    np.testing.assert_array_equal(source.intrinsics(key), k)
    assert source.shape(key) == depth.shape
    assert source.sequence(key) == sequence
    assert source.image_path(key) == f"{source.root}/{image}"
    assert Path(source.root, image).is_file()
