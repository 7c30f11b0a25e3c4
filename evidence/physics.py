"""Does σ mean what it says? Estimators of the spread of depth inside a pixel against the truth, at every stride.

    python evidence/physics.py [--frames N] [--smoke]

The truth is 256 rays over the footprint of each pixel of the sample scene, and on a real frame, the Motorcycle ground
truth, the full-resolution pixels inside each coarse one. Writes evidence/results/physics.csv and a picture in
docs/images, and prints Markdown. --smoke: a slice, without files.
"""

import argparse
import csv
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from estimators import ESTIMATORS, NATIVE, native_std
from numpy.typing import NDArray
from scene_truth import Truth, footprint_truth, regions
from scipy.stats import rankdata, spearmanr

from depthvar.datasets.hospital.scene import scene
from depthvar.datasets.hospital.write import SEQUENCES, camera_poses

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "benchmarks"))
from motorcycle import CX, CY, FOCAL, write_motorcycle  # noqa: E402

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

STRIDES = (1, 2, 3, 4, 6, 8)
REAL_STRIDES = (2, 4, 8)
REGIONS = ("all", "flat", "slope", "crease", "edge", "thin", "far")
SIZE, INTRINSICS = (240, 320), np.array((160.0, 160.0, 160.0, 120.0))  # the sample at half its size
FEWEST = 50  # pixels for a figure
PICTURED = {
    "sigma": "σ, window 5",
    "range3": "3×3 range",
    "difference": "Difference()",
    "native_total": "spread of full-resolution depth",
}


class Row(NamedTuple):
    """A line of the table."""

    estimator: str
    stride: int
    region: str
    metric: str
    value: float
    frames: int
    pixels: int


class View(NamedTuple):
    """A frame at a stride: its truth and what each estimator makes of its depth, (H, W) in metres."""

    truth: Truth
    estimates: dict[str, Float]


def auc(score: Float, positive: Bool) -> float:
    """Return the area under the ROC curve of a score: 1 if it is higher on every positive, 0.5 for a constant."""
    ones = int(positive.sum())
    ranks = float(rankdata(score)[positive].sum())
    return (ranks - ones * (ones + 1) / 2) / (ones * (score.size - ones))


def calibration(true: Float, predicted: Float) -> list[tuple[float, float]]:
    """Return, by tenths of rising prediction, the median of true / predicted and the ratio of their RMS.

    NaN for both where a tenth holds predictions below a micrometre: those say zero.
    """
    pairs = []
    for at in np.array_split(np.argsort(predicted, kind="stable"), 10):
        t, p = true[at], np.where(predicted[at].min() < 1e-6, np.nan, predicted[at])
        pairs.append((float(np.median(t / p)), float(np.sqrt((t**2).mean() / (p**2).mean()))))
    return pairs


def measure(views: list[View], stride: int) -> Iterator[Row]:
    """Yield the figures of every estimator and region, over the pixels of all views of one stride."""
    masks = [regions(view.truth) for view in views]
    mixed = np.concatenate([view.truth.mixed.ravel() for view in views])
    true = np.concatenate([view.truth.std.ravel() for view in views])
    for name in views[0].estimates:
        predicted = np.concatenate([view.estimates[name].ravel() for view in views])
        for region in REGIONS:
            here = np.concatenate([mask[region].ravel() for mask in masks])
            smooth = here & ~np.isnan(true)
            yield from _spread_rows(name, stride, region, true[smooth], predicted[smooth], len(views))
            kinds = mixed[here]
            if min(kinds.sum(), (~kinds).sum()) >= FEWEST:
                value = auc(predicted[here], kinds)
                yield Row(name, stride, region, "auc_mixed", value, len(views), int(here.sum()))


def _spread_rows(name: str, stride: int, region: str, true: Float, predicted: Float, frames: int) -> Iterator[Row]:
    """Yield rank correlation, of whole frames also calibration; nothing of few pixels or of a constant estimate."""
    if true.size < FEWEST or np.ptp(predicted) == 0 or np.ptp(true) == 0:
        return
    yield Row(name, stride, region, "spearman", float(spearmanr(true, predicted).statistic), frames, true.size)
    if name == "depth_edge" or region not in ("all", "motorcycle"):  # depth_edge is not in metres
        return
    for tenth, (median, rms) in enumerate(calibration(true, predicted), start=1):
        if np.isnan(rms):
            continue
        yield Row(name, stride, region, f"ratio_median_{tenth}", median, frames, true.size // 10)
        yield Row(name, stride, region, f"ratio_rms_{tenth}", rms, frames, true.size // 10)


def sample_views(
    poses: Float, stride: int, size: tuple[int, int] = SIZE, intrinsics: Float = INTRINSICS, rays: int = 16
) -> list[View]:
    """Return a view of each pose of the sample scene; ``size`` and ``intrinsics`` are those of stride 1."""
    hospital = scene()
    coarse = (-(-size[0] // stride), -(-size[1] // stride))
    views = []
    for pose in poses:
        truth = footprint_truth(hospital, pose, intrinsics / stride, coarse, rays)
        estimates = {name: of(truth.depth, intrinsics / stride) for name, of in ESTIMATORS.items()}
        if stride > 1:
            native = footprint_truth(hospital, pose, intrinsics, size, rays=1).depth
            estimates |= {name: of(native, intrinsics, stride) for name, of in NATIVE.items()}
        views.append(View(truth, estimates))
    return views


def measure_motorcycle() -> Iterator[Row]:
    """Yield the figures on the real frame; native depth is its truth, so no estimator of NATIVE takes part."""
    with tempfile.TemporaryDirectory() as folder:
        write_motorcycle(Path(folder))
        depth = np.load(Path(folder) / "depth" / "motorcycle.npy").astype(np.float64)
    intrinsics = np.array((FOCAL, FOCAL, CX, CY))
    holes = np.where(depth > 0, 0.0, 1.0)
    for stride in REAL_STRIDES:
        true = native_std(depth, intrinsics, stride)
        whole = native_std(1 + holes, intrinsics, stride) == 0  # all of its pixels known, or none
        whole &= depth[::stride, ::stride] > 0
        for name, of in ESTIMATORS.items():
            predicted = of(depth[::stride, ::stride], intrinsics / stride)
            yield from _spread_rows(name, stride, "motorcycle", true[whole], predicted[whole], 1)


def summary(rows: list[Row]) -> str:
    """Return Markdown: means over the strides, then rank correlation and AUC by stride."""
    table = {(row.estimator, row.stride, row.region, row.metric): row.value for row in rows}
    strides = sorted({row.stride for row in rows if row.region == "all"})
    names = [name for name in (*ESTIMATORS, *NATIVE) if any(row.estimator == name for row in rows)]

    def mean(name: str, region: str, metric: str) -> str:
        values = [table[key] for stride in strides if (key := (name, stride, region, metric)) in table]
        return f"{np.mean(values):.2f}" if values else "–"

    spread = [("all", f"ratio_rms_{tenth}") for tenth in (1, 5, 10)]
    columns = [(region, "spearman") for region in (*REGIONS, "motorcycle")]
    columns += [("all", "auc_mixed"), ("edge", "auc_mixed"), *spread]
    titles = [*REGIONS, "Motorcycle", "AUC, all", "AUC, edge", "t/p 1", "t/p 5", "t/p 10"]
    text = "Spearman with the true σ by region, AUC for mixed pixels, true/predicted (RMS) in tenths of prediction; "
    lines = [text + "means over the strides (native_*: above 1).", "", _line("estimator", *titles)]
    lines += [_line("---", *("---" for _ in titles))]
    lines += [_line(name, *(mean(name, *column) for column in columns)) for name in names]
    lines += ["", "By stride: Spearman over all pixels / AUC.", "", _line("estimator", *strides)]
    lines += [_line("---", *("---" for _ in strides))]
    for name in names:
        pairs = [
            [f"{table[key]:.3f}" if (key := (name, stride, "all", metric)) in table else "–"
             for metric in ("spearman", "auc_mixed")]
            for stride in strides
        ]  # fmt: skip
        lines.append(_line(name, *(" / ".join(pair) for pair in pairs)))
    return "\n".join(lines)


def _line(*cells: object) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def draw(view: View, path: Path) -> None:
    """Write a picture of the depth, the true σ and some estimates of a view, in one scale."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.colors import LogNorm

    known = view.truth.depth <= 80
    panels = {"true σ": view.truth.std, **{title: view.estimates[name] for name, title in PICTURED.items()}}
    figure, axes = plt.subplots(2, 3, figsize=(10.5, 5.4), layout="constrained")
    axes[0, 0].imshow(np.where(known, view.truth.depth, np.nan), norm=LogNorm(), cmap="viridis")
    axes[0, 0].set_title("depth (bright: far), no scale")
    for axis, (title, values) in zip(axes.flat[1:], panels.items(), strict=True):
        shown = np.where(known, np.maximum(values, 1e-4), np.nan)
        image = axis.imshow(shown, norm=LogNorm(1e-4, 10), cmap="magma")
        axis.set_title(title)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.colorbar(image, ax=axes, label="standard deviation of depth in m", shrink=0.8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def main(arguments: list[str] | None = None) -> None:
    """Measure, write and print; ``arguments`` as on the command line, where they come from by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=6, help="of the 48 of the sample, spread over it")
    parser.add_argument("--smoke", action="store_true", help="one frame, small, two strides; writes nothing")
    options = parser.parse_args(arguments)
    poses = np.concatenate([camera_poses(sequence) for sequence in SEQUENCES])
    poses = poses[np.linspace(0, len(poses) - 1, options.frames).round().astype(int)]
    rows: list[Row] = []
    if options.smoke:
        for stride in (1, 2):
            rows += measure(sample_views(poses[:1], stride, (60, 80), INTRINSICS / 4, rays=8), stride)
    else:
        for stride in STRIDES:
            views = sample_views(poses, stride)
            rows += measure(views, stride)
            if stride == 2:
                draw(views[len(views) // 2], HERE.parent / "docs" / "images" / "evidence_physics.png")
        rows += measure_motorcycle()
        with (HERE / "results" / "physics.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(Row._fields)
            writer.writerows(row._replace(value=f"{row.value:.5g}") for row in rows)
    print(summary(rows))


if __name__ == "__main__":
    main()
