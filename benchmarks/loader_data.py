"""The data of benchmarks/loader.py on disk: frames, and their σ² in a cache and as one would store it by hand.

The maps by hand are native, unrounded float32; one at a time is read back.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import h5py
import lmdb
import numpy as np
import skimage
from numpy.typing import NDArray

from depthvar.datasets import DepthSource, open_source
from depthvar.datasets.hospital.write import write_sample
from depthvar.precompute import sigma_z2
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.worker import Job

REDWOOD = Path(__file__).parents[1] / "tests" / "data" / "redwood_rgbd" / "depth"
PHOTO = Path(skimage.__file__).parent / "data" / "motorcycle_left.png"
REDWOOD_FRAMES = 24

Maps = NDArray[np.float32]


class Store(NamedTuple):
    """Maps on disk: the function that reads one by its number, and the file or folder that holds them."""

    read: Callable[[int], Maps]
    path: Path


@dataclass(frozen=True)
class Frame:
    """The files of a frame, and its number in the stores by hand."""

    index: int
    key: str
    depth: Path
    image: Path


@dataclass(frozen=True)
class Scene:
    """Frames of one camera.

    Attributes:
        frames: all of them.
        intrinsics: (4,) fx, fy, cx, cy in native pixels.
        max_depth: in metres; inf: none.
        cache: written by the pipeline.
        by_hand: native maps, by the name of the store.
        pixels: native ones, of all frames.
    """

    frames: list[Frame]
    intrinsics: tuple[float, ...]
    max_depth: float
    cache: Path
    by_hand: dict[str, Store]
    pixels: int


def hospital(root: Path) -> Scene:
    """Return the sample scene, written unless it is there."""
    write_sample(root)
    source = open_source("hospital-sample", root)
    return _scene(source, lambda key: key.replace("depth_left", "image_left").replace("_left_depth.npy", "_left.png"))


def redwood(root: Path) -> Scene:
    """Return real depth with holes, each frame several times, and parts of one photo, written unless they are there."""
    depths = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.float32) / 1000 for path in REDWOOD.glob("*.png")]
    photo = cv2.imread(str(PHOTO))
    height, width = depths[0].shape
    for folder in ("depth", "image"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for index in range(REDWOOD_FRAMES):
        depth, image = root / "depth" / f"{index:06}.npy", root / "image" / f"{index:06}.png"
        if not image.exists():
            left = index * (photo.shape[1] - width) // REDWOOD_FRAMES
            np.save(depth, depths[index % len(depths)])
            cv2.imwrite(str(image), photo[:height, left : left + width])
    source = open_source("folder", root, intrinsics=(525, 525, 319.5, 239.5), pattern="depth/{frame}.npy")
    return _scene(source, lambda key: key.replace("depth/", "image/").replace(".npy", ".png"))


def _scene(source: DepthSource, image_of: Callable[[str], str]) -> Scene:
    """Run the pipeline, and store native maps by hand."""
    root = Path(source.root)
    cache = root / "sigma_Z2.zarr"
    for _ in pipeline.run(Job(str(cache), source), execute.in_threads(2)):
        pass
    keys = source.keys()
    native = [source.read(key) for key in keys]
    maps = np.stack([sigma_z2(frame.depth, frame.intrinsics, max_depth=frame.max_depth) for frame in native])
    return Scene(
        [Frame(index, key, root / key, root / image_of(key)) for index, key in enumerate(keys)],
        tuple(native[0].intrinsics.tolist()),
        np.inf if source.max_depth is None else source.max_depth,
        cache,
        _stores(root / "by_hand", maps),
        maps.size,
    )


def _stores(folder: Path, maps: Maps) -> dict[str, Store]:
    """Write (N, H, W) float32 maps in each way below a folder, over what is there, and return the readers.

    Files that hold all maps are opened once, here.
    """
    shutil.rmtree(folder, ignore_errors=True)  # LMDB never shrinks
    folder.mkdir(parents=True)
    ways = {".npy": _npy, ".npz": _npz, "HDF5+gzip": _hdf5, "LMDB": _raw_lmdb, "memmap": _memmap}
    return {name: way(folder, maps) for name, way in ways.items()}


def _npy(folder: Path, maps: Maps) -> Store:
    (folder / "npy").mkdir()
    for index, values in enumerate(maps):
        np.save(folder / "npy" / f"{index:06}.npy", values)
    return Store(lambda index: np.load(folder / "npy" / f"{index:06}.npy"), folder / "npy")


def _npz(folder: Path, maps: Maps) -> Store:
    (folder / "npz").mkdir()
    for index, values in enumerate(maps):
        np.savez_compressed(folder / "npz" / f"{index:06}.npz", sigma_Z2=values)

    def read(index: int) -> Maps:
        with np.load(folder / "npz" / f"{index:06}.npz") as file:
            return file["sigma_Z2"]

    return Store(read, folder / "npz")


def _hdf5(folder: Path, maps: Maps) -> Store:
    path = folder / "maps.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("sigma_Z2", data=maps, chunks=(1, *maps.shape[1:]), compression="gzip")
    values = h5py.File(path, "r")["sigma_Z2"]
    return Store(lambda index: values[index], path)


def _raw_lmdb(folder: Path, maps: Maps) -> Store:
    """Bytes as they are: what most LMDB data sets of images do with their files."""
    path, shape = folder / "lmdb", maps.shape[1:]
    with lmdb.open(str(path), map_size=2 * maps.nbytes + 2**20) as writer, writer.begin(write=True) as transaction:
        for index, values in enumerate(maps):
            transaction.put(b"%06d" % index, values.tobytes())
    reader = lmdb.open(str(path), readonly=True, lock=False)

    def read(index: int) -> Maps:
        with reader.begin() as transaction:
            return np.frombuffer(transaction.get(b"%06d" % index), dtype=np.float32).reshape(shape)

    return Store(read, path)


def _memmap(folder: Path, maps: Maps) -> Store:
    """One file of all maps, of which a crop touches its own pages only."""
    path = folder / "maps.npy"
    np.save(path, maps)
    values = np.load(path, mmap_mode="r")
    return Store(lambda index: values[index], path)


def bytes_below(path: Path) -> int:
    """Return the size of a file, or of all files below a folder, in bytes."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(file.stat().st_size for file in files)
