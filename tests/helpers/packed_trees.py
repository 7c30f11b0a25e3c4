"""Tiny trees of the data sets that a class of readers/ reads, written by hand, and what their frames must be."""

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import zarr
from numpy.typing import NDArray

from depthvar.datasets import DepthSource

Depth = NDArray[np.float32]
INF = np.inf
H, W = 24, 32


class Tree(NamedTuple):
    """What a tree must read as: key -> sequence, depth in metres, and fx, fy, cx, cy."""

    dataset: str
    root: Path
    frames: dict[str, tuple[str, Depth, list[float]]]


def png(rows: list[bytes], colour: int, depth: int, width: int) -> bytes:
    """Return a PNG of rows of bytes: colour 0 is grey, 2 RGB."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def grey(numbers: list[list[int]]) -> bytes:
    return png([struct.pack(f">{len(row)}H", *row) for row in numbers], 0, 16, len(numbers[0]))


def rgb24(numbers: list[list[int]]) -> bytes:
    return png([b"".join(struct.pack("<I", each)[:3] for each in row) for row in numbers], 2, 8, len(numbers[0]))


def codes(first: int, step: int = 1) -> list[list[int]]:
    return [[first + step * (row * W + column) for column in range(W)] for row in range(H)]


def metres(numbers: list[list[int]], unit: float) -> Depth:
    return (np.array(numbers, np.float64) / unit).astype(np.float32)


def write_unrealstereo4k(root: Path) -> Tree:
    """Two scenes, the second without a left camera of frame 00001. The baseline is 0.5, then 2 m."""
    frames = {}
    for scene, baseline in (("00000", 0.5), ("00001", 2.0)):
        for camera, centre in ((0, (1.0, 2.0, 3.0)), (1, (1.0, 2.0, 3.0 + baseline))):
            turned = [0, -1, 0, 1, 0, 0, 0, 0, 1]  # R; t = -R C
            x, y, z = centre
            pose = [*turned[:3], y, *turned[3:6], -x, *turned[6:], -z]
            folder = root / scene / f"Extrinsics{camera}"
            folder.mkdir(parents=True)
            for frame in ("00000", "00001"):
                lines = "30 0 15.5 0 31 11.5 0 0 1", " ".join(map(str, pose))
                (folder / f"{frame}.txt").write_text("\n".join(lines) + "\n")
        for camera, disparity in ((0, 10.0), (1, 5.0)):
            (root / scene / f"Disp{camera}").mkdir()
            values = np.full((H, W), disparity, np.float32)
            values[0, :3] = 0, np.nan, 0.001  # far; unknown; more than 1000 m
            np.save(root / scene / f"Disp{camera}/00000.npy", values)
            depth = np.full((H, W), baseline * 30 / disparity, np.float32)
            depth[0, :3] = INF, 0, INF
            frames[f"{scene}/Disp{camera}/00000.npy"] = f"{scene}/{camera}", depth, [30.0, 31.0, 15.5, 11.5]
    return Tree("unrealstereo4k", root, frames)


def put(file: h5py.File, name: str, content: bytes | str) -> None:
    data = content.encode() if isinstance(content, str) else content
    file[name] = np.frombuffer(data, np.uint8)


def write_images(root: Path) -> Tree:
    """Lists of images in two chunks, cameras by folder and by image; a split names a frame of another split again."""
    first, second, third = codes(1000), codes(0, 3), codes(70_000)
    root.mkdir()
    with h5py.File(root / "pack_0.hdf5", "w") as file:
        put(file, "train.txt", "a/b/rgb/1.jpg a/b/depth/1.png 0\na/b/rgb/2.jpg a/b/depth/2.png 1\n")
        put(file, "val.txt", "a/b/rgb/1.jpg a/b/depth/1.png 0\nc/rgb/1.jpg c/depth/1.png 1\na/b/rgb/3.jpg None 1\n")
        wide = [[30, 0, 15.5, 4], [0, 31, 11.5, 0], [0, 0, 1, 0]]
        single = [[[40, 0, 16], [0, 41, 12], [0, 0, 1]]]
        put(file, "intrinsics.json", json.dumps({"a/b": wide, "c/rgb/1.jpg": single}))
        put(file, "a/b/depth/1.png", grey(first))
    with h5py.File(root / "pack_1.hdf5", "w") as file:
        put(file, "a/b/depth/2.png", grey(second))
        put(file, "c/depth/1.png", rgb24(third))
    frames = {
        "pack_0.hdf5/a/b/depth/1.png": ("pack_0", metres(first, 1000), [30.0, 31.0, 15.5, 11.5]),
        "pack_1.hdf5/a/b/depth/2.png": ("pack_1", metres(second, 1000), [30.0, 31.0, 15.5, 11.5]),
        "pack_1.hdf5/c/depth/1.png": ("pack_1", metres(third, 1000), [40.0, 41.0, 16.0, 12.0]),
    }
    return Tree("hypersim-unik3d", root, frames)


def write_sequences(root: Path, fisheye: bool = False) -> Tree:
    """Lists of sequences, with K, and with the parameters of a pinhole; another frame may have those of a fisheye."""
    first, second = codes(256), codes(512)
    root.mkdir()
    matrix = [[30, 0, 15.5], [0, 31, 11.5], [0, 0, 1]]
    tables = {
        "s0": {"image": ["s0/i/0.jpg"], "depth": ["s0/d/0.png"], "K": [matrix]},
        "s1": {
            "image": ["s1/i/0.jpg", "s1/i/1.jpg"][: 1 + fisheye],
            "depth": ["s1/d/0.png", "s1/d/1.png"][: 1 + fisheye],
            "camera_params": [[40, 41, 16, 12, 0, 0], [40, 41, 16, 12, 0.1, 0]][: 1 + fisheye],
            "camera_model": ["Pinhole", "Fisheye624"][: 1 + fisheye],
        },
    }
    with h5py.File(root / "Pack.hdf5", "w") as file:
        put(file, "train.txt", f"s0 1\ns1 {1 + fisheye}\n")
        put(file, "sequences_clean.json", json.dumps(tables))
        for name, numbers in (("s0/d/0.png", first), ("s1/d/0.png", second), ("s1/d/1.png", second)):
            put(file, name, grey(numbers))
    frames = {
        "Pack.hdf5/s0/d/0.png": ("Pack", metres(first, 256), [30.0, 31.0, 15.5, 11.5]),
        "Pack.hdf5/s1/d/0.png": ("Pack", metres(second, 256), [40.0, 41.0, 16.0, 12.0]),
    }
    return Tree("waymo-unik3d", root, frames)


def write_zarr(root: Path, version: int = 3) -> Tree:
    """A group in the root and one two folders below it, chunked and sharded, with cameras of each kind."""
    depth = np.stack([metres(codes(1000 + 500 * index), 1000) for index in range(3)])
    depth[:, 0, :3] = INF, np.nan, 0
    expected = np.nan_to_num(depth, nan=0, posinf=INF)
    more: dict[str, Any] = {"zarr_format": version}
    shards = {"shards": (2, H, W)} if version == 3 else {}
    zarr.create_group(root, zarr_format=version, attributes={"intrinsics": [[30, 0, 15.5], [0, 31, 11.5], [0, 0, 1]]})
    zarr.create_array(f"{root}/depth", data=depth[:2], chunks=(1, 8, W), **more)
    zarr.create_array(f"{root}/a/room/depth", data=depth, chunks=(1, H, W), **shards, **more)
    cameras = np.array([[30.0 + index, 31, 15.5, 11.5] for index in range(3)])
    zarr.create_array(f"{root}/a/room/intrinsics", data=cameras, chunks=(1, 4), **more)
    zarr.create_array(f"{root}/other/depth", data=depth[2:].astype("f2"), chunks=(1, H, W), **more)
    matrix = np.array([[40.0, 0, 16], [0, 41, 12], [0, 0, 1]])
    zarr.create_array(f"{root}/other/intrinsics", data=matrix, **more)
    zarr.create_array(f"{root}/other/colour", data=depth, **more)
    half = np.nan_to_num(depth[2].astype("f2").astype("f4"), nan=0, posinf=INF)
    frames = {
        "depth/000000": ("", expected[0], [30.0, 31.0, 15.5, 11.5]),
        "depth/000001": ("", expected[1], [30.0, 31.0, 15.5, 11.5]),
        **{
            f"a/room/depth/{index:06}": ("a/room", expected[index], [30.0 + index, 31.0, 15.5, 11.5])
            for index in range(3)
        },
        "other/depth/000000": ("other", half, [40.0, 41.0, 16.0, 12.0]),
    }
    return Tree("zarr", root, frames)


TREES: dict[str, Callable[[Path], Tree]] = {
    "unrealstereo4k": write_unrealstereo4k,
    "unik3d images": write_images,
    "unik3d sequences": write_sequences,
    "zarr 3": write_zarr,
    "zarr 2": lambda root: write_zarr(root, 2),
}


def read_depth(source: DepthSource, key: str) -> bytes:
    """Return the depth of a frame; spawned processes import this."""
    return source.read(key).depth.tobytes()
