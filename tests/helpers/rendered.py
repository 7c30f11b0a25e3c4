"""A data set of the built-in scene: depth and colour rendered at sizes of their own, by one camera."""

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tiny_data import DESCRIPTION, TinyData

from depthvar.datasets import SigmaCache
from depthvar.datasets.hospital.render import render
from depthvar.datasets.hospital.scene import scene
from depthvar.datasets.hospital.write import camera_poses
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline

SIZE, FOCAL = (96, 128), 64.0  # of the depth; TinyData's principal point is (64, 48)


def camera_at(size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return fx, fy, cx, cy of the same view at another size (h, w), by integer pixel centres."""
    (height, width), (h, w) = SIZE, size
    sx, sy = w / width, h / height
    return FOCAL * sx, FOCAL * sy, (width / 2 + 0.5) * sx - 0.5, (height / 2 + 0.5) * sy - 0.5


@cache
def rendered(frame: int, size: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return depth in metres, the sky +inf, and the picture of one of 24 frames."""
    depth, picture = render(scene(), camera_poses("Easy/P000")[frame], camera_at(size), size)
    return np.where(depth < 1000, depth, np.float32(np.inf)), picture


class RenderedData(TinyData):
    """Some frames of the scene, with a colour image each, and their cache."""

    def __init__(self, root: Path, colour: tuple[int, int] = SIZE, frames: tuple[int, ...] = (2, 9)) -> None:
        super().__init__(root)
        self.toml.write_text(DESCRIPTION.replace('depth = "', 'image = "{sequence}/image/{frame}.png"\ndepth = "'))
        (root / "a/image").mkdir(parents=True, exist_ok=True)
        for frame in frames:
            self.write("a", f"{frame:03}", rendered(frame, SIZE)[0], fx=FOCAL)
            Image.fromarray(rendered(frame, colour)[1]).save(root / f"a/image/{frame:03}.png")

    def cached(self) -> SigmaCache:
        """Compute the cache, once, and open it."""
        job = self.job(strides=(1, 2, 3, 4))
        list(pipeline.run(job, execute.serial))
        return SigmaCache(job.cache)
