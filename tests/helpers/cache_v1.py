"""Write the fixture of format version 1, tests/data/cache_v1: python tests/helpers/cache_v1.py DIR"""

import os
import sys
from pathlib import Path

import numpy as np
from tiny_data import DESCRIPTION, TinyData, make_depth

from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline

# Views that lie on a stride, so that a better lookup between strides changes none of them: (intrinsics, size, flip).
VIEWS = {
    "crop": ((40.0, 40.0, 6.0, 4.0), (9, 11), False),
    "flipped": ((40.0, 40.0, 6.0, 4.0), (9, 11), True),
    "half": ((20.0, 20.0, 4.75, 3.75), (8, 10), False),
    "beyond the frame": ((40.0, 40.0, 14.0, 9.0), (20, 26), False),
}


def write(folder: Path) -> None:
    """Write source, cache and expected values."""
    data = TinyData(folder / "data", shard_frames=2)
    data.toml.write_text(DESCRIPTION.replace("far = [inf]", "far = [inf]\nmax_depth = 7.5"))
    for index in range(3):
        data.write("a/P0", f"{index:03}", make_depth(16, 20, index))
    data.write("b", "000", make_depth(16, 20, 7))
    data.write("b", "001", make_depth(12, 20, 8))
    for path in (folder / "data").rglob("*"):
        os.utime(path, (1e9, 1e9))
    list(pipeline.run(data.job(with_depth=True), execute.serial))
    cache = SigmaCache(folder / "data/sigma_Z2.zarr")
    expected = {}
    for key in cache.keys():
        for stride in cache.strides:
            expected[f"{key} {stride}"] = cache.read(key, stride)
        for name, (intrinsics, size, flip) in VIEWS.items():
            expected[f"{key} {name}"] = cache.sample(key, intrinsics, size, flip=flip)
    np.savez_compressed(folder / "expected.npz", **expected)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
