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
EXIT_CODES = "Exit codes: 0 done, 1 error, 2 wrong usage, 3 validation failed, 4 finished with some frames failed and listed, 130 interrupted."


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

    figure, axes = plt.subplots(len(frames), 3, figsize=(12, 3.2 * len(frames)), squeeze=False)
    for row, (title, frame, image) in zip(axes, frames, strict=True):
        sigma = np.sqrt(sigma_z2(frame.depth, frame.intrinsics, max_depth=frame.max_depth))
        depth = np.where(frame.valid, frame.depth, np.nan)
        sigma = np.where(np.isfinite(sigma), sigma, np.nan)
        if image is not None:
            row[0].imshow(image)
        else:  # no colour comes with the test data: a shaded relief of the depth stands in
            row[0].imshow(np.hypot(*np.gradient(1 / depth)), cmap="gray_r", vmax=0.01)
        row[0].set_ylabel(title)
        shown = row[1].imshow(depth, cmap="viridis_r", norm="log")
        figure.colorbar(shown, ax=row[1], label="depth, m")
        shown = row[2].imshow(sigma, cmap="inferno", norm="log")
        figure.colorbar(shown, ax=row[2], label="σ, m")
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])
    figure.tight_layout()
    (DOCS / "images").mkdir(exist_ok=True)
    figure.savefig(DOCS / "images/depth_sigma.png", dpi=80)


SAMPLE_FRAME = 8


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
