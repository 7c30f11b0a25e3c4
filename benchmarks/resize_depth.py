"""What ``resize_depth`` takes for a crop of 640×480 to 224×224, next to ``cv2.resize`` of the same crop. Prints JSON.

    python benchmarks/resize_depth.py [--rounds 500]

The largest square crop, 480×480, which has the most native pixels; a tenth of them is unknown. One thread. The ways are
timed in turn, so a busy machine slows all of them; percentiles over all rounds.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
from machine import machine

from depthvar.datasets import resize_depth

NATIVE, SIZE = (480, 640), (224, 224)
CAMERA = (320.0, 320.0, 319.5, 239.5)
SIDE = min(NATIVE)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=500)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    depth = random.uniform(1, 10, NATIVE).astype(np.float32)
    depth[random.random(NATIVE) < 0.1] = 0
    r, left = SIDE / SIZE[0], (NATIVE[1] - SIDE) // 2
    camera = (CAMERA[0] / r, CAMERA[1] / r, (CAMERA[2] - left + 0.5) / r - 0.5, (CAMERA[3] + 0.5) / r - 0.5)
    ways: dict[str, Callable[[], Any]] = {
        how: partial(resize_depth, depth, CAMERA, camera, SIZE, how) for how in ("nearest", "median")
    }
    ways["cv2, INTER_NEAREST"] = partial(
        cv2.resize, depth[:, left : left + SIDE], SIZE, interpolation=cv2.INTER_NEAREST
    )
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(options.rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            if number:  # the first call compiles
                spent[name].append(1e3 * (time.perf_counter() - began))
    columns = ("least", "p10", "median", "p90")
    result = {
        "benchmark": "resize_depth",
        "machine": machine(),
        "ms": {
            name: dict(zip(columns, np.percentile(times, (0, 10, 50, 90)).round(3).tolist(), strict=True))
            for name, times in spent.items()
        },
    }
    print(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    cv2.setNumThreads(1)
    main()
