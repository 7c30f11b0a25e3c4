"""The README's picture."""

import tempfile
from pathlib import Path

DOCS = Path(__file__).parent
SAMPLE_FRAME = 24  # chairs, poles and window bars before the far outside


def pictures() -> None:
    """Write the README's picture: colour (or relief), depth and σ of a sample frame and of a real one."""
    import matplotlib as mpl
    import numpy as np
    from matplotlib import pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter
    from PIL import Image

    from depthvar.datasets import open_source
    from depthvar.datasets.hospital.write import write_sample
    from depthvar.precompute import sigma_z2

    mpl.use("Agg")
    with tempfile.TemporaryDirectory() as folder:
        sample = Path(folder) / "sample"
        write_sample(sample)
        source = open_source("hospital-sample", sample)
        key = source.keys()[SAMPLE_FRAME]
        image = np.asarray(Image.open(sample / key.replace("depth_left", "image_left").replace("_depth.npy", ".png")))
        frames = [("sample scene (rendered): colour", source.read(key), image)]
    real = open_source("folder", DOCS.parent / "tests/data/redwood_rgbd", intrinsics=(525, 525, 319.5, 239.5))
    frames.append(("real Kinect (Redwood): relief of the depth", real[0], None))

    figure, axes = plt.subplots(len(frames), 3, figsize=(13, 6.4), squeeze=False, layout="constrained")
    for row, (title, frame, image) in zip(axes, frames, strict=True):
        sigma = np.sqrt(sigma_z2(frame.depth, frame.intrinsics, max_depth=frame.max_depth))
        depth = np.where(frame.valid, frame.depth, np.nan)
        if image is not None:
            row[0].imshow(image)
        else:  # no colour comes with the test data: the relief of the depth stands in
            row[0].imshow(np.hypot(*np.gradient(1 / depth)), cmap="gray_r", vmax=0.01)
        row[0].set_title(title)
        row[1].set_title("depth in m")
        row[2].set_title("σ in m")
        for axis, values, colours in ((row[1], depth, "viridis_r"), (row[2], sigma, "inferno")):
            shown = axis.imshow(np.where(np.isfinite(values), values, np.nan), cmap=colours, norm="log")
            ticks = LogLocator(subs=(1, 2, 5) if values is depth else (1,))  # depth spans few decades
            bar = figure.colorbar(shown, ax=axis, ticks=ticks, shrink=0.8, format="%g", pad=0.02)
            bar.ax.yaxis.set_minor_formatter(NullFormatter())
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])
    (DOCS / "images").mkdir(exist_ok=True)
    figure.savefig(DOCS / "images/depth_sigma.png", dpi=80)
