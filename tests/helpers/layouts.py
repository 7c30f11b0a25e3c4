"""Small trees of data sets, written as their documents say, and the check that exactly their depth is read from them.

A writer has the names of files, codes and formulas from the documents of its data set. Nothing here or there comes from
the descriptions that it tests.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import OpenEXR
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from depthvar.datasets import open_source

INF, NAN = float("inf"), float("nan")


class Truth(NamedTuple):
    """What must be read of a frame.

    ``depth`` is (H, W) in metres, ``camera`` fx, fy, cx, cy, ``ulp`` how many units in the last place of a float32 the
    depth may be off where the code divides or multiplies in another order, ``farthest`` the depth beyond which it is
    far, ``metric`` whether the unit is the metre.
    """

    depth: NDArray[np.float32]
    camera: tuple[float, ...]
    sequence: str = ""
    image: str | None = None
    ulp: int = 0
    farthest: float = float(np.finfo(np.float32).max)
    metric: bool = True


Tree = dict[str, Truth]
"""The frames of a tree by key."""
Writer = Callable[[Path], Tree]


def check_layout(name: str, root: Path, tree: Tree) -> None:
    """Assert that the data set of this name reads exactly these frames below the root."""
    source = open_source(name, root)
    assert source.keys() == sorted(tree)
    for frame in source:
        truth = tree[frame.key]
        assert source.description.depth.metric == truth.metric
        assert frame.depth.dtype == np.float32
        assert frame.depth.shape == truth.depth.shape == source.shape(frame.key)
        if truth.ulp:
            np.testing.assert_allclose(frame.depth, truth.depth, rtol=truth.ulp * 2.0**-23)
        else:
            np.testing.assert_array_equal(frame.depth, truth.depth)
        np.testing.assert_array_equal(frame.valid, (truth.depth > 0) & (truth.depth <= truth.farthest))
        np.testing.assert_allclose(frame.intrinsics, truth.camera, rtol=1e-12)
        assert source.sequence(frame.key) == truth.sequence
        assert source.image_path(frame.key) == (truth.image and f"{root}/{truth.image}")
        assert truth.image is None or (root / truth.image).is_file()


def spread(size: tuple[int, int], values: ArrayLike, dtype: str = "f4") -> NDArray[Any]:
    """Return (H, W) with these values, again and again."""
    return np.resize(np.array(values, dtype), size)


def metres(values: NDArray[np.float64], unknown: ArrayLike = False, far: ArrayLike = False) -> NDArray[np.float32]:
    """Return exact depth rounded to float32, 0 where unknown and inf where far."""
    depth = np.where(unknown, 0, np.where(far, INF, values))
    return np.asarray(depth, np.float32)


def k_matrix(camera: tuple[float, ...]) -> NDArray[np.float64]:
    fx, fy, cx, cy = camera
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float64)


def new(root: Path, path: str) -> Path:
    """Return the path of a file below a root, in a folder that exists."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    return root / path


def text(root: Path, path: str, content: str) -> None:
    new(root, path).write_text(content)


def as_json(root: Path, path: str, content: Any) -> None:
    text(root, path, json.dumps(content))


def png(root: Path, path: str, values: NDArray[Any]) -> str:
    """Write a PNG, grey of 8 or 16 bits or RGB; return its path."""
    Image.fromarray(values).save(new(root, path))
    return path


def picture(root: Path, path: str) -> str:
    """Write a colour image, of which only the place matters; return its path."""
    Image.new("RGB", (4, 3), "green").save(new(root, path))
    return path


def npy(root: Path, path: str, values: NDArray[Any]) -> str:
    np.save(new(root, path), values)
    return path


def exr(root: Path, path: str, **channels: NDArray[Any]) -> str:
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, {name: np.ascontiguousarray(each) for name, each in channels.items()}).write(
        str(new(root, path))
    )
    return path


def pfm(root: Path, path: str, values: NDArray[Any], scale: str = "-1") -> str:
    """Write a PFM: little-endian by the sign of its scale, the lowest row first."""
    height, width = values.shape
    rows = values[::-1].astype("<f4").tobytes()
    new(root, path).write_bytes(f"Pf\n{width} {height}\n{scale}\n".encode() + rows)
    return path


def halves(values: ArrayLike, size: tuple[int, int]) -> tuple[NDArray[np.uint16], NDArray[np.float64]]:
    """Return the bits of half floats as a 16-bit image has them, and their values."""
    stored = spread(size, values, "f2")
    return stored.view(np.uint16), stored.astype(np.float64)
