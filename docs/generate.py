"""Write what is generated in the documentation: docs/cli.md from --help, and the pictures (matplotlib).

python docs/generate.py           write everything
python docs/generate.py --check   say whether docs/cli.md is current, write nothing
"""

import sys
import tempfile
from pathlib import Path

import click

from depthvar.precompute.cli import main as cli

DOCS = Path(__file__).parent
SAMPLE_FRAME = 24  # chairs, poles and window bars before the far outside
EXIT_CODES = (
    "Exit codes: 0 done, 1 error, 2 wrong usage, 3 validation failed, "
    "4 finished with some frames failed and listed, 130 interrupted."
)


def cli_page() -> str:
    """Return docs/cli.md."""
    pages = ["# The command line", "Written by `make docs` from `--help`.", EXIT_CODES]
    for name, command in [("", cli), *sorted(cli.commands.items())]:
        path = f"precompute {name}".strip()
        context = click.Context(command, info_name=path, max_content_width=100, terminal_width=100, show_default=True)
        pages += [f"## `{path}`", f"```text\n{command.get_help(context)}\n```"]
    return "\n\n".join(pages) + "\n"


def pictures() -> None:
    """Write the README's picture: colour, depth and σ of a sample frame and of a real one."""
    import matplotlib as mpl
    import numpy as np
    from matplotlib import pyplot as plt
    from matplotlib.ticker import NullFormatter
    from PIL import Image

    from depthvar.datasets import open_source
    from depthvar.datasets.hospital import write_sample
    from depthvar.precompute import sigma_z2

    mpl.use("Agg")
    with tempfile.TemporaryDirectory() as folder:
        sample = Path(folder) / "sample"
        write_sample(sample)
        source = open_source("hospital-sample", sample)
        key = source.keys()[SAMPLE_FRAME]
        image = np.asarray(Image.open(sample / key.replace("depth_left", "image_left").replace("_depth.npy", ".png")))
        frames = [("sample scene (rendered)", source.read(key), image)]
    real = open_source("folder", DOCS.parent / "tests/data/redwood_rgbd", intrinsics=(525, 525, 319.5, 239.5))
    frames.append(("Redwood, a real Kinect", real[0], None))

    figure, axes = plt.subplots(len(frames), 3, figsize=(13, 6.4), squeeze=False, layout="constrained")
    for row, (title, frame, image) in zip(axes, frames, strict=True):
        sigma = np.sqrt(sigma_z2(frame.depth, frame.intrinsics, max_depth=frame.max_depth))
        depth = np.where(frame.valid, frame.depth, np.nan)
        if image is not None:
            row[0].imshow(image)
        else:  # no colour comes with the test data: the relief of the depth stands in
            row[0].imshow(np.hypot(*np.gradient(1 / depth)), cmap="gray_r", vmax=0.01)
        row[0].set_title(title)
        row[1].set_title("depth")
        row[2].set_title("σ")
        for axis, values, colours in ((row[1], depth, "viridis_r"), (row[2], sigma, "inferno")):
            shown = axis.imshow(np.where(np.isfinite(values), values, np.nan), cmap=colours, norm="log")
            bar = figure.colorbar(shown, ax=axis, label="m", shrink=0.8, format="%g", pad=0.02)
            bar.ax.yaxis.set_minor_formatter(NullFormatter())
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])
    (DOCS / "images").mkdir(exist_ok=True)
    figure.savefig(DOCS / "images/depth_sigma.png", dpi=80)


def main() -> int:
    """Write or check; return the exit code."""
    page = DOCS / "cli.md"
    if "--check" in sys.argv[1:]:
        if not page.exists() or page.read_text() != cli_page():
            sys.stderr.write("docs/cli.md is not what --help says now: run `make docs`\n")
            return 1
        return 0
    page.write_text(cli_page())
    pictures()
    return 0


if __name__ == "__main__":
    sys.exit(main())
