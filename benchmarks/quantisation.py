"""What the quantisation step of the stored depth changes in σ, by depth; prints one JSON object.

    python benchmarks/quantisation.py [--nyu FRAME.png] > benchmarks/results/others_data/quantisation.json

``stored`` is the step between the numbers of the file. A Kinect measures disparity, so its own step grows with the
square of the depth, and its files hold a few of their possible values only: ``sensor`` is that step at the middle of
each band of depth. Virtual KITTI 2 stores centimetres; the built-in scene, rounded to that, stands in for it. Of the
scene the exact depth is known: ``of_exact`` compares σ² of the rounded depth with σ² of the exact depth + step² / 12.
``--nyu``: a frame of NYU Depth v2, uint16 millimetres, 640×480.
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from machine import machine
from numpy.typing import NDArray
from PIL import Image

from depthvar.datasets.hospital.render import SAMPLE_INTRINSICS, SAMPLE_SIZE, SKY_DEPTH, render
from depthvar.datasets.hospital.scene import scene
from depthvar.datasets.hospital.write import camera_poses
from depthvar.precompute import Difference, KernelParams, sigma_z2

DATA = Path(__file__).parents[1] / "tests/data"
KINECT = (525, 525, 319.5, 239.5)
NYU = (518.8579, 519.46961, 325.58245, 253.73617)
SENSOR = 2.85e-3  # per metre: step of a Kinect's depth, divided by the square of the depth
BANDS = (0, 1, 2, 4, 8, 16, np.inf)  # metres


class Given(NamedTuple):
    """Frames (H, W) in metres of one kind, with the step in metres that they are stored with."""

    frames: list[NDArray[np.float32]]
    camera: tuple[float, ...]
    step: float
    exact: list[NDArray[np.float32]] | None = None  # before they were rounded; None: of a Kinect


def load(paths: list[Path], units_per_metre: float) -> list[NDArray[np.float32]]:
    return [np.asarray(Image.open(path)).astype(np.float32) / np.float32(units_per_metre) for path in sorted(paths)]


def rounded_scene(step: float) -> Given:
    """Return every sixth frame of the first walk through the scene, rounded; the sky is unknown."""
    frames, exact = [], []
    for pose in camera_poses("Easy/P000")[::6]:
        depth, _ = render(scene(), pose, SAMPLE_INTRINSICS, SAMPLE_SIZE)
        exact.append(np.where(depth < SKY_DEPTH, depth, 0).astype(np.float32))
        frames.append((np.round(exact[-1] / step) * step).astype(np.float32))
    return Given(frames, tuple(SAMPLE_INTRINSICS), step, exact)


def gap(frames: list[NDArray[np.float32]], low: float, high: float) -> float | None:
    """Return the median distance of two neighbouring values that occur in a band of depth, in metres."""
    found = [np.diff(np.unique(z[(z >= low) & (z < high)]).astype(np.float64)) for z in frames]
    gaps = np.concatenate(found)
    return float(np.median(gaps)) if gaps.size > 2 else None


def of_exact(given: Given, kind: Any, step: float, low: float, high: float) -> float:
    """Return the median of σ by a step, divided by the σ of the exact depth and of its rounding."""
    ratios = []
    for z, exact in zip(given.frames, given.exact or [], strict=True):
        got, true = sigma_z2(z, given.camera, kind(quantisation_step=step)), sigma_z2(exact, given.camera, kind())
        seen = (z >= low) & (z < high) & (z > 0) & np.isfinite(true)
        ratios.append(np.sqrt(got[seen] / (true[seen] + given.step**2 / 12)))
    return float(np.median(np.concatenate(ratios)))


def change(given: Given, kind: Any, step: float, low: float, high: float) -> dict[str, float]:
    """Return what a step changes in the σ of the pixels of a band of depth."""
    ratios = []
    for z in given.frames:
        off, on = (sigma_z2(z, given.camera, kind(quantisation_step=each)) for each in (0.0, step))
        seen = (z >= low) & (z < high) & (z > 0) & np.isfinite(off)
        ratios.append(np.sqrt(on[seen].astype(np.float64) / off[seen]))
    ratio = np.concatenate(ratios)
    return {
        "step_mm": 1e3 * step,
        "above_1_percent": float(np.mean(ratio > 1.01)),
        "above_10_percent": float(np.mean(ratio > 1.1)),
        "median_ratio": float(np.median(ratio)),
    }


def report(given: Given) -> dict[str, Any]:
    """Return the changes of every band that holds a thousandth of the pixels."""
    every = np.concatenate([z[z > 0] for z in given.frames])
    result: dict[str, Any] = {"frames": len(given.frames), "camera": given.camera, "bands": {}}
    for low, high in [*pairwise(BANDS), (0, np.inf)]:
        inside = every[(every >= low) & (every < high)]
        if inside.size < every.size / 1000:
            continue
        steps = {"stored": given.step}
        if given.exact is None and high < np.inf:
            steps["sensor"] = SENSOR * float(np.median(inside)) ** 2
        band: dict[str, Any] = {"share": inside.size / every.size, "median_depth": float(np.median(inside))}
        band["gap_mm"] = None if (found := gap(given.frames, low, high)) is None else 1e3 * found
        for kind in (KernelParams, Difference):
            band[kind.estimator] = {name: change(given, kind, step, low, high) for name, step in steps.items()}
            if given.exact is not None:
                ratios = {
                    name: of_exact(given, kind, step, low, high) for name, step in (("off", 0), ("on", given.step))
                }
                band[kind.estimator]["of_exact"] = ratios
        result["bands"][f"{low} to {high} m" if high < np.inf else f"from {low} m" if low else "all"] = band
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nyu", type=Path, help="a frame of NYU Depth v2")
    options = parser.parse_args()
    given = {
        "redwood_rgbd": Given(load([*DATA.glob("redwood_rgbd/depth/*.png")], 1000), KINECT, 1e-3),
        "tum_rgbd": Given(load([*DATA.glob("tum_rgbd/depth/*.png")], 5000), KINECT, 2e-4),
    }
    if options.nyu:
        given["nyu"] = Given(load([options.nyu], 1000), NYU, 1e-3)
    given["scene rounded to 10 mm"] = rounded_scene(0.01)
    data = {name: report(each) for name, each in given.items()}
    print(json.dumps({"benchmark": "quantisation", "machine": machine(), "data": data}, indent=1))


if __name__ == "__main__":
    main()
