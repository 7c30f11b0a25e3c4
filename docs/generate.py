"""Write what is generated in the documentation: docs/cli.md from --help, the README's figures from
benchmarks/results/, and its picture (matplotlib).

python docs/generate.py           write everything
python docs/generate.py --check   say whether cli.md and the figures are current, write nothing
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from depthvar.precompute.cli.main import main as cli

DOCS = Path(__file__).parent
SAMPLE_FRAME = 24  # chairs, poles and window bars before the far outside
WORK = """\
## Threads, processes, machines

A run uses threads of one process, by default as many as there are CPUs that it may use (affinity mask and the quota of
its container). Each thread holds one shard, at most 96 MiB of maps: `--threads N` bounds both.

`--workers N` uses Dask worker processes instead. They are not faster on one machine: reading, the kernel and
compression release Python's lock, so threads use all CPUs too; and each worker takes some 2 s of CPU time before its
first frame, to load Dask, NumPy, Numba and Zarr (a thread computes some 100 frames of 640×480 in that), and more for
Dask's own work all along. Measured with frames of 640×480 as `.npy`, in seconds of CPU time, since others used the two
cores as well:

| frames | `--threads 2` | `--workers 2` |
|---|---|---|
| 48 | 3.7 | 10.1 |
| 480 | 12.7 | 31.3 |

Workers are for files or a file system that may crash or hang a process: the shard in work then is given up (after
`--timeout`, if it hangs), and the run goes on.

`--scheduler ADDRESS` runs on the workers of a Dask cluster. `--part I/N` needs no Dask: N jobs, on machines that see
the same files, do one part each, and may start at any time. In a Slurm array: `--part $SLURM_ARRAY_TASK_ID/16`.

```sh
precompute run --dataset hospital --root /data/tartanair/hospital --part 3/16
```"""
EXIT_CODES = (
    "Exit codes: 0 done, 1 error, 2 wrong usage, 3 validation failed, "
    "4 finished with some frames failed and listed, 130 interrupted."
)


def cli_page() -> str:
    """Return docs/cli.md."""
    pages = ["# The command line", "Written by `make docs` from `--help`.", EXIT_CODES, WORK]
    for name, command in [("", cli), *sorted(cli.commands.items())]:
        path = f"precompute {name}".strip()
        context = click.Context(command, info_name=path, max_content_width=100, terminal_width=100, show_default=True)
        pages += [f"## `{path}`", f"```text\n{command.get_help(context)}\n```"]
    return "\n\n".join(pages) + "\n"


def result(name: str) -> Any:
    """Return what a benchmark printed."""
    return json.loads((DOCS.parent / f"benchmarks/results/{name}.json").read_text())


def figures() -> str:
    """Return the README's table, from the results of the benchmarks."""
    kernel, pipeline, cache, startup = map(result, ("kernel", "pipeline", "cache", "startup"))
    step, loader, fidelity = map(result, ("step", "loader", "fidelity"))
    five, data = kernel["windows"]["5"], cache["data"]
    maps = five["peak_extra_maps"]
    memory = pipeline["peak_memory_mib"]
    rows = [
        ("kernel, window 5, one core", f"{five['numba']['megapixels_per_s']:.0f} million pixels/s", "kernel"),
        ("… against unfold+sort", f"{five['numba']['times_unfold_sort']:.0f} times", "kernel"),
        ("… the torch engine, on one core", f"{five['torch']['times_unfold_sort']:.0f} times", "kernel"),
        (
            "peak extra memory, in depth maps",
            f"{maps['numba']:.2f} (torch {maps['torch']:.1f}, unfold+sort {maps['unfold_sort']:.0f})",
            "kernel",
        ),
        ("a 224×224 view in the loader, call included", f"{kernel['view']['ms']:.2f} ms", "kernel"),
        ("a whole run, two cores, 640×480 PNG", f"{pipeline['frames_per_second']['run']:.0f} frames/s", "pipeline"),
        ("… of a run that copies depth instead", f"{pipeline['of_a_run_that_copies_depth']:.2f}", "pipeline"),
        ("… against a run with unfold+sort", f"{pipeline['times_a_run_with_unfold_sort']:.0f} times", "pipeline"),
        (
            "a whole run, 640×480 .npy (TartanAir's); against unfold+sort",
            f"{pipeline['npy']['frames_per_second']:.0f} frames/s; "
            f"{pipeline['npy']['times_a_run_with_unfold_sort']:.0f} times",
            "pipeline",
        ),
        ("peak memory of a run, MiB", "; ".join(f"{name}: {value}" for name, value in memory.items()), "pipeline"),
        *(
            (
                f"bytes a pixel, {name}, stride 1 (all strides)",
                f"{entry['bytes_per_pixel_stride_1']:.2f} ({entry['bytes_per_pixel_all_strides']:.2f})",
                "cache",
            )
            for name, entry in data.items()
        ),
        (
            "σ stored, largest error by rounding",
            f"{100 * max(entry['largest_relative_error_of_sigma'] for entry in data.values()):.2f} %",
            "cache",
        ),
        (
            "a training step with cached weighted_l1, of one with plain L1 (with unfold+sort in the step)",
            f"{step['step']['weighted_l1_cached']['times_l1']:.2f} "
            f"({step['step']['weighted_l1_unfold_sort']['times_l1']:.2f})",
            "step",
        ),
        *(
            (
                f"a Pi3-like loader, {size}: σ by `annotate`; by `sigma_z2` in the loader",
                "; ".join(f"{each['sigma_ms']:.1f} ms, {each['ratio']:.2f} of the samples/s" for each in pair),
                "loader",
            )
            for size, output in loader["data"]["hospital"]["outputs"].items()
            for pair in [[output["with"][name] for name in ("annotate", "sigma_z2 in the loader")]]
        ),
        (
            "error of `sample`'s weights, of what the choice of a resize changes online: nearest; linear",
            "; ".join(
                f"{min(parts):.2f} to {max(parts):.2f}"
                for name in ("nearest", "linear")
                for parts in [[output["part_of_online"][name] for output in fidelity["outputs"].values()]]
            ),
            "fidelity",
        ),
        ("`precompute --help`", f"{startup['precompute_help_seconds']:.2f} s", "startup"),
    ]
    machine = kernel["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    lines = [f"{machine['cores']} cores of an {machine['cpu']}, {machine['machine']}; {versions}.", ""]
    lines += ["| what | figure | by `python benchmarks/…` |", "|---|---|---|"]
    lines += [f"| {what} | {figure} | `{script}.py` |" for what, figure, script in rows]
    return "\n".join(lines)


def readme() -> str:
    """Return the README with the figures as they are now."""
    before, rest = (DOCS.parent / "README.md").read_text().split("<!-- figures -->")
    after = rest.split("<!-- /figures -->")[1]
    return f"{before}<!-- figures -->\n{figures()}\n<!-- /figures -->{after}"


def loader_table() -> str:
    """Return the table of the ways to bring σ into a loader."""
    loader = result("loader")
    data = loader["data"]["hospital"]
    names = list(data["outputs"]["224x224"]["with"])
    lines = [
        "| σ from | bytes a native pixel | " + " | ".join(f"{size}: ms; samples/s" for size in data["outputs"]) + " |"
    ]
    lines += ["|" + "---|" * (2 + len(data["outputs"]))]
    for name in names:
        stored = next((value for key, value in data["bytes_per_native_pixel"].items() if key.startswith(name)), None)
        cells = [
            f"{output['with'][name]['sigma_ms']:.1f}; {output['with'][name]['ratio']:.2f} of those without σ"
            for output in data["outputs"].values()
        ]
        lines.append(f"| {name} | {'–' if stored is None else f'{stored:.2f}'} | {' | '.join(cells)} |")
    return "\n".join(lines)


def migrating() -> str:
    """Return the migration page with the loader's table as it is now."""
    before, rest = (DOCS / "migrating-from-online.md").read_text().split("<!-- figures:loader -->")
    after = rest.split("<!-- /figures:loader -->")[1]
    return f"{before}<!-- figures:loader -->\n{loader_table()}\n<!-- /figures:loader -->{after}"


def pictures() -> None:
    """Write the README's picture: colour, depth and σ of a sample frame and of a real one."""
    import matplotlib as mpl
    import numpy as np
    from matplotlib import pyplot as plt
    from matplotlib.ticker import NullFormatter
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
    pages = {
        DOCS / "cli.md": cli_page(),
        DOCS.parent / "README.md": readme(),
        DOCS / "migrating-from-online.md": migrating(),
    }
    stale = [path.name for path, text in pages.items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv[1:]:
        if stale:
            sys.stderr.write(f"{' and '.join(stale)}: not what --help and benchmarks/results say: run `make docs`\n")
        return len(stale)
    for path, text in pages.items():
        path.write_text(text)
    pictures()
    return 0


if __name__ == "__main__":
    sys.exit(main())
