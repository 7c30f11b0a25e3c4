"""What ``min_valid`` does to σ of sparse depth, on LiDAR frames of KITTI; prints one JSON object.

    python benchmarks/sparse_depth.py FRAME.png… [--picture docs/images/sparse_kitti.png]

The frames: uint16, 1/256 m, 0 where there is no point, with the intrinsics below, as Metric3D's data/kitti_demo/depth
(https://github.com/YvanYin/Metric3D) has two. ``thinned`` is the built-in scene with depth only where the frames have
it. There σ of the whole depth is known; edges are the pixels where it is above 3 % of the depth: a range of 10 %.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import uniform_filter
from scipy.stats import spearmanr

from depthvar.datasets.hospital.render import SAMPLE_INTRINSICS, SKY_DEPTH, render
from depthvar.datasets.hospital.scene import scene
from depthvar.datasets.hospital.write import camera_poses
from depthvar.precompute import KernelParams, sigma_z2

KITTI = (707.0493, 707.0493, 604.0814, 180.5066)
LEAST = (1, 3, 5, 9, 13)  # min_valid; a window has 25 pixels
SHOWN = (3, 5, 9)
CROP = np.s_[140:290, 30:350]  # rows and columns of the picture
EDGE = 0.03  # of the depth

Map = NDArray[Any]


def neighbours(depth: Map) -> Map:
    """Return how many pixels of the window of each pixel have a depth, itself included."""
    counts: Map = np.rint(25 * uniform_filter((depth > 0).astype(float), 5, mode="constant")).astype(int)
    return counts


def sigma(depth: Map, camera: tuple[float, ...], **params: Any) -> Map:
    found: Map = np.sqrt(sigma_z2(depth, camera, KernelParams(**params)), dtype=np.float64)
    return found


def of_frames(frames: list[Map]) -> dict[str, Any]:
    """Return how full the windows are, and by min_valid which pixels have a range, and σ relative to the depth."""
    z, n = (np.concatenate([made(each)[each > 0] for each in frames]) for made in (np.asarray, neighbours))
    known = float(np.mean(np.concatenate([each.ravel() > 0 for each in frames])))
    full = {f"{q} %": int(np.percentile(n, q)) for q in (5, 25, 50, 75, 95)}
    result: dict[str, Any] = {"frames": len(frames), "known": known, "known_in_window": full, "min_valid": {}}
    for least in LEAST:
        part = np.concatenate([sigma(each, KITTI, min_valid=least)[each > 0] for each in frames]) / z
        result["min_valid"][least] = {
            "without_range": float(np.mean(n < least)),
            **{f"sigma_of_depth_{q}": float(np.percentile(part, q)) for q in (50, 90, 99)},
        }
    return result


def thinned(frames: list[Map]) -> dict[str, Any]:
    """Return how close σ of the thinned scene is to that of the whole one, by min_valid."""
    whole, z, n, found = [], [], [], {least: [] for least in LEAST}
    for index, pose in enumerate(camera_poses("Easy/P000")[::6]):
        mask = frames[index % len(frames)][:, 300:940] > 0
        depth, _ = render(scene(), pose, SAMPLE_INTRINSICS, (mask.shape[0], mask.shape[1]))
        depth[depth >= SKY_DEPTH] = 0
        sparse = np.where(mask, depth, 0)
        seen = sparse > 0
        whole.append(sigma(depth, SAMPLE_INTRINSICS)[seen])
        z.append(depth[seen])
        n.append(neighbours(sparse)[seen])
        for least in LEAST:
            found[least].append(sigma(sparse, SAMPLE_INTRINSICS, min_valid=least)[seen])
    true, least_edge, known = np.concatenate(whole), EDGE * np.concatenate(z), np.concatenate(n)
    edge, result = true > least_edge, {}
    for least in LEAST:
        got = np.concatenate(found[least])
        result[least] = {
            "without_range": float(np.mean(known < least)),
            "rank_correlation": float(spearmanr(got, true).statistic),
            "median_ratio": float(np.median(got / true)),
            "edges_found": float(np.mean((got > least_edge)[edge])),
            "false_edges": float(np.mean((got > least_edge)[~edge])),
        }
    return {"edges": float(np.mean(edge)), "min_valid": result}


def picture(frame: Map, path: Path) -> None:
    """Draw depth, and σ relative to it by min_valid, of a part of a frame."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter

    mpl.use("Agg")
    figure, axes = plt.subplots(2, 2, figsize=(12, 5.6), layout="constrained")
    known = frame > 0
    maps = {"depth in m (grey: none)": frame} | {
        f"σ / depth in %, min_valid {least}": 100 * sigma(frame, KITTI, min_valid=least) / np.where(known, frame, 1)
        for least in SHOWN
    }
    for axis, (title, values) in zip(axes.flat, maps.items(), strict=True):
        of_depth = values is frame
        limits = {"vmin": 5, "vmax": 60} if of_depth else {"vmin": 0.02, "vmax": 10}
        shown = axis.imshow(
            np.where(known, values, np.nan)[CROP], cmap="viridis_r" if of_depth else "inferno", norm="log",
            interpolation="nearest", **limits,
        )  # fmt: skip
        axis.set_facecolor("silver")
        axis.set_title(title)
        axis.set_xticks([])
        axis.set_yticks([])
        bar = figure.colorbar(shown, ax=axis, shrink=0.85, format="%g", pad=0.01, ticks=LogLocator(subs=(1, 2, 5)))
        bar.ax.yaxis.set_minor_formatter(NullFormatter())
    figure.savefig(path, dpi=75)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", nargs="+", type=Path, help="depth of KITTI, PNG")
    parser.add_argument("--picture", type=Path, help="write a picture of the last frame")
    options = parser.parse_args()
    frames = [np.asarray(Image.open(path)).astype(np.float32) / np.float32(256) for path in options.frames]
    if options.picture:
        picture(frames[-1], options.picture)
    report = {"kitti": of_frames(frames), "thinned": thinned(frames)}
    print(json.dumps({"benchmark": "sparse_depth", "machine": machine()} | report, indent=1))


if __name__ == "__main__":
    main()
