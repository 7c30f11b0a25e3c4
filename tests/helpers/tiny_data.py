"""A small data set on disk that tests write, edit and remove."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets import DepthSource, open_source
from depthvar.precompute.pipeline.worker import Job

DESCRIPTION = """
summary = "test frames"
names = ["tiny"]
[files]
depth = "{sequence}/depth/{frame}.npy"
[depth]
dtype = "float32"
far = [inf]
[intrinsics]
file = "{sequence}/camera/{frame}.txt"
"""


def make_depth(height: int, width: int, seed: int) -> NDArray[np.float32]:
    """Return depth with slopes, an edge, holes (0) and sky (inf)."""
    random = np.random.default_rng(seed)
    v, u = np.mgrid[:height, :width]
    depth = 2 + 0.01 * seed + 0.02 * u + 0.05 * v + 5 * (u > width // 2)
    depth[random.random(depth.shape) < 0.05] = 0
    depth[: height // 6] = np.inf
    return depth.astype(np.float32)


class TinyData:
    """A data set of per-frame files that tests write, edit and remove; its caches have shards of ``shard_frames``."""

    def __init__(self, root: Path, shard_frames: int = 64) -> None:
        self.root = root
        self.shard_frames = shard_frames
        self.toml = root / "tiny.toml"
        root.mkdir(parents=True, exist_ok=True)
        self.toml.write_text(DESCRIPTION)

    def write(self, sequence: str, frame: str, depth: NDArray[np.float32], fx: float = 40.0) -> str:
        """Write one frame and return its key."""
        key = f"{sequence}/depth/{frame}.npy"
        for folder in ("depth", "camera"):
            (self.root / sequence / folder).mkdir(parents=True, exist_ok=True)
        np.save(self.root / key, depth)
        height, width = depth.shape
        (self.root / sequence / "camera" / f"{frame}.txt").write_text(f"{fx} {fx} {width / 2} {height / 2}")
        return key

    def age(self) -> None:
        """Give all files one time, which is old enough to be trusted."""
        for path in self.root.rglob("*.*"):
            os.utime(path, (1.6e9, 1.6e9))

    def source(self) -> DepthSource:
        """Open the data set as it is now."""
        return open_source(str(self.toml))

    def job(self, **changes: Any) -> Job:
        """Return a job over the data set as it is now."""
        settings: dict[str, Any] = {"cache": str(self.root / "sigma_Z2.zarr"), "source": self.source()}
        return Job(**(settings | {"strides": (1, 2, 3), "shard_frames": self.shard_frames} | changes))
