"""Write what is generated in the documentation: docs/cli.md from --help, the tables of README.md and
docs/*.md from benchmarks/results/, and the README's picture (matplotlib).

python docs/generate.py           write everything
python docs/generate.py --check   report whether the pages are current, write nothing
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from depthvar.datasets.source.catalogue import builtin_descriptions
from depthvar.precompute.cli import describe
from depthvar.precompute.cli.main import main as cli

DOCS = Path(__file__).parent
SAMPLE_FRAME = 24  # chairs, poles and window bars before the far outside
WORK = """\
## Threads, processes, machines

By default a run uses threads of one process, one per available CPU (it respects the affinity mask and the CPU quota
of a container). `--threads N` sets another number. Each thread holds one shard, at most 96 MiB of maps, so N bounds
the memory too.

`--workers N` uses Dask worker processes instead. Use them in two cases:

- **More than eight cores.** Up to about eight, threads are as fast, since file reading, the kernel and compression
  release Python's global lock; above, processes are faster ([scaling](scaling.md#threads-or-processes)).
- **A file or a file system that may crash or hang a process.** The run then gives up the shard of that worker (after
  `--timeout` seconds, if it hangs) and continues with the others.

On a small data set workers are much slower: each needs about 2 s of CPU time to start (Dask, NumPy, Numba, Zarr). In
that time one thread computes about 100 frames of 640×480. Measured on two shared cores with 640×480 frames in `.npy`
files, in seconds of CPU time:

| frames | `--threads 2` | `--workers 2` |
|---|---|---|
| 48 | 3.7 | 10.1 |
| 480 | 12.7 | 31.3 |

`--scheduler ADDRESS` runs on the workers of an existing Dask cluster. `--part I/N` needs no Dask: start N jobs, each
with its own I, on machines that see the same files. They may start at different times.
[Many machines](many-machines.md) has scripts for Slurm, and explains what happens when a machine fails.

```sh
precompute run --dataset hospital --root /data/tartanair/hospital --part 3/16
```"""
EXIT_CODES = (
    "Exit codes: 0 done, 1 error, 2 wrong usage, 3 validation failed, 4 finished, but some frames failed and are\n"
    "listed, 130 interrupted."
)


def cli_page() -> str:
    """Return docs/cli.md."""
    pages = [
        "# The command line",
        "This page lists all commands and options of `precompute`. `make docs` writes it from `--help`.",
        EXIT_CODES,
        WORK,
    ]
    for name, command in [("", cli), *sorted(cli.commands.items())]:
        path = f"precompute {name}".strip()
        context = click.Context(command, info_name=path, max_content_width=100, terminal_width=100, show_default=True)
        pages += [f"## `{path}`", f"```text\n{command.get_help(context)}\n```"]
    return "\n\n".join(pages) + "\n"


def result(name: str) -> Any:
    """Return what a benchmark printed."""
    return json.loads((DOCS.parent / f"benchmarks/results/{name}.json").read_text())


def table(rows: list[tuple[str, str, str]]) -> str:
    """Return a Markdown table of what, figure and script."""
    lines = ["| what | figure | `python benchmarks/…` |", "|---|---|---|"]
    lines += [f"| {what} | {figure} | `{script}.py` |" for what, figure, script in rows]
    return "\n".join(lines)


def figures() -> str:
    """Return the README's table: the six figures that matter most."""
    kernel, pipeline, cache, step, loader = map(result, ("kernel", "pipeline", "cache", "step", "loader"))
    numba = kernel["windows"]["5"]["numba"]
    memory = pipeline["peak_memory_mib"]
    stored = [entry["bytes_per_pixel_all_strides"] for entry in cache["data"].values()]
    steps = step["step"]
    with_sigma = loader["data"]["hospital"]["outputs"]["224x224"]["with"]
    return table(
        [
            (
                "kernel, window 5, one core",
                f"{numba['megapixels_per_s']:.0f} million pixels/s, "
                f"{numba['times_unfold_sort']:.0f} times as fast as unfold+sort",
                "kernel",
            ),
            (
                "`precompute run`, two cores, 640×480 PNG",
                f"{pipeline['frames_per_second']['run']:.0f} frames/s, "
                f"{pipeline['times_a_run_with_unfold_sort']:.0f} times as fast as with unfold+sort",
                "pipeline",
            ),
            (
                "peak memory of `precompute run`, 640×480 to 3840×2160",
                f"{min(memory.values())} to {max(memory.values())} MiB",
                "pipeline",
            ),
            (
                "size of the cache, all strides, per pixel of depth",
                f"{min(stored):.1f} to {max(stored):.1f} bytes",
                "cache",
            ),
            (
                "time for σ² of a 224×224 view: lookup; computed in the loader",
                "; ".join(f"{with_sigma[name]['sigma_ms']:.1f} ms" for name in ("annotate", "sigma_z2 in the loader")),
                "loader",
            ),
            (
                "time of a training step, relative to plain L1: cached σ²; unfold+sort",
                f"{steps['weighted_l1_cached']['times_l1']:.2f}; {steps['weighted_l1_unfold_sort']['times_l1']:.2f}",
                "step",
            ),
        ]
    )


def all_figures() -> str:
    """Return the table of docs/benchmarks.md, with the machine it was measured on."""
    kernel, pipeline, cache, startup = map(result, ("kernel", "pipeline", "cache", "startup"))
    step, fidelity = map(result, ("step", "fidelity"))
    windows, five = kernel["windows"], kernel["windows"]["5"]
    maps = five["peak_extra_maps"]
    rows = [
        *(
            (
                f"kernel, window {side}, one core",
                f"{each['numba']['megapixels_per_s']:.0f} million pixels/s",
                "kernel",
            )
            for side, each in windows.items()
        ),
        ("… window 5, relative to unfold+sort", f"{five['numba']['times_unfold_sort']:.0f} times", "kernel"),
        ("… the torch engine, relative to unfold+sort", f"{five['torch']['times_unfold_sort']:.0f} times", "kernel"),
        *(
            (f"extra memory of {name}, in depth maps", f"{maps[key]:.{digits}f}", "kernel")
            for name, key, digits in (
                ("the kernel", "numba", 2),
                ("torch", "torch", 1),
                ("unfold+sort", "unfold_sort", 0),
            )
        ),
        ("one 224×224 view, with the call", f"{kernel['view']['ms']:.2f} ms", "kernel"),
        ("run, two cores, 640×480 PNG", f"{pipeline['frames_per_second']['run']:.0f} frames/s", "pipeline"),
        ("… relative to a run that only copies depth", f"{pipeline['of_a_run_that_copies_depth']:.2f}", "pipeline"),
        ("… relative to a run with unfold+sort", f"{pipeline['times_a_run_with_unfold_sort']:.0f} times", "pipeline"),
        ("run, two cores, 640×480 .npy", f"{pipeline['npy']['frames_per_second']:.0f} frames/s", "pipeline"),
        (
            "… relative to a run with unfold+sort",
            f"{pipeline['npy']['times_a_run_with_unfold_sort']:.0f} times",
            "pipeline",
        ),
        *(
            (f"peak memory of a run, {name}", f"{value} MiB", "pipeline")
            for name, value in pipeline["peak_memory_mib"].items()
        ),
        *(
            (
                f"bytes per pixel, {name}: stride 1; all strides",
                f"{entry['bytes_per_pixel_stride_1']:.2f}; {entry['bytes_per_pixel_all_strides']:.2f}",
                "cache",
            )
            for name, entry in cache["data"].items()
        ),
        (
            "largest rounding error of a stored σ",
            f"{100 * max(entry['largest_relative_error_of_sigma'] for entry in cache['data'].values()):.2f} %",
            "cache",
        ),
        *(
            (f"training step relative to plain L1: {name}", f"{step['step'][key]['times_l1']:.2f}", "step")
            for name, key in (("cached σ", "weighted_l1_cached"), ("σ by unfold+sort", "weighted_l1_unfold_sort"))
        ),
        *(
            (
                f"error of looked-up weights, {name} resize, relative to the nearest-versus-linear difference",
                f"{min(parts):.2f} to {max(parts):.2f}",
                "fidelity",
            )
            for name in ("nearest", "linear")
            for parts in [[output["part_of_online"][name] for output in fidelity["outputs"].values()]]
        ),
        ("`precompute --help`", f"{startup['precompute_help_seconds']:.2f} s", "startup"),
    ]
    machine = kernel["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return f"{machine['cores']} cores of an {machine['cpu']}, {machine['machine']}; {versions}.\n\n{table(rows)}"


def loader_table() -> str:
    """Return the table of the ways to bring σ into a loader."""
    data = result("loader")["data"]["hospital"]
    names = list(data["outputs"]["224x224"]["with"])
    sizes = [f"{size.replace('x', '×')}: time; loader speed" for size in data["outputs"]]
    lines = [f"| σ² from | bytes per native pixel | {' | '.join(sizes)} |", "|" + "---|" * (2 + len(sizes))]
    for name in names:
        stored = next((value for key, value in data["bytes_per_native_pixel"].items() if key.startswith(name)), None)
        cells = [
            f"{output['with'][name]['sigma_ms']:.1f} ms; {output['with'][name]['ratio']:.2f}"
            for output in data["outputs"].values()
        ]
        lines.append(f"| {name} | {'–' if stored is None else f'{stored:.2f}'} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cluster_table() -> str:
    """Return the table of Dask workers against threads, with the machine it was measured on."""
    measured = result("cluster")
    lines = [
        "| workers | frames/s; CPU time a frame | as many threads | frames/s relative to threads |",
        "|---|---|---|---|",
    ]
    for count, each in measured["workers"].items():
        cells = [
            f"{each[f'frames_per_second{of}']:.0f}; {each[f'cpu_ms_per_frame{of}']:.0f} ms"
            for of in ("", "_of_threads")
        ]
        lines.append(f"| {count} | {cells[0]} | {cells[1]} | {each['of_threads']:.2f} |")
    machine, frames = measured["machine"], measured["frames"]
    about = f"{machine['cores']} cores of an {machine['cpu']}, {frames} frames, medians of {measured['rounds']} runs."
    return "\n".join([about, "", *lines])


def datasets_table() -> str:
    """Return the table of all data sets of docs/datasets.md, from their descriptions."""
    lines = ["| `--dataset` | what it is | depth | licence |", "|---|---|---|---|"]
    found = describe.unique(builtin_descriptions())
    for description in sorted(found, key=lambda each: each.names[0]):
        names = description.names
        known = ", ".join(f"`{name}`" for name in names) + ("" if description.verified else " *")
        what = f"[{description.summary}]({description.homepage})" if description.homepage else description.summary
        cells = known, what, describe.rule_text(description), description.licence
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join([*lines, "", f"\\* {describe.UNVERIFIED}"])


def sparse_table() -> str:
    """Return the table of min_valid on LiDAR frames, and on the scene with as few pixels."""
    measured = result("others_data/sparse_depth")
    head = ("`min_valid`", "KITTI: without a range", "σ / depth: median, 90 %, 99 %")
    head += ("scene: without a range", "rank correlation", "edges found")
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for least, real in measured["kitti"]["min_valid"].items():
        made = measured["thinned"]["min_valid"][least]
        parts = ", ".join(f"{100 * real[f'sigma_of_depth_{q}']:.2f} %" for q in (50, 90, 99))
        cells = [f"{100 * real['without_range']:.1f} %", parts, f"{100 * made['without_range']:.1f} %"]
        cells += [f"{made['rank_correlation']:.3f}", f"{100 * made['edges_found']:.0f} %"]
        lines.append(f"| {least} | {' | '.join(cells)} |")
    return "\n".join(lines)


def steps_table() -> str:
    """Return the table of what a quantisation step changes in σ; bands with at least 2 % of the pixels."""
    names = {"stored": "of the file", "sensor": "of the sensor"}
    head = ("data", "depth", "pixels", "step", "range: above 1 %, 10 %; median", "difference: above 1 %, 10 %; median")
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for data, each in result("others_data/quantisation")["data"].items():
        for depth, band in each["bands"].items():
            for name, about in names.items():
                if name in band["range"] and band["share"] >= 0.02:
                    both = [band[kind][name] for kind in ("range", "difference")]
                    changes = [
                        f"{100 * one['above_1_percent']:.0f} %, {100 * one['above_10_percent']:.0f} %; "
                        f"{one['median_ratio']:.2f}"
                        for one in both
                    ]
                    step = f"{both[0]['step_mm']:.3g} mm, {about}"
                    lines.append(f"| {data} | {depth} | {100 * band['share']:.0f} % | {step} | {' | '.join(changes)} |")
    return "\n".join(lines)


def exact_table() -> str:
    """Return the table of σ of rounded depth, relative to that of the exact depth with the variance of rounding."""
    lines = ["| depth | range: off, on | difference: off, on |", "|---|---|---|"]
    for depth, band in result("others_data/quantisation")["data"]["scene rounded to 10 mm"]["bands"].items():
        both = [band[kind]["of_exact"] for kind in ("range", "difference")]
        lines.append(f"| {depth} | " + " | ".join("{off:.2f}, {on:.2f}".format(**one) for one in both) + " |")
    return "\n".join(lines)


def mistakes_table() -> str:
    """Return the table of docs/inspect.md: mistakes made on purpose, found in the cases that can be told."""
    measured = result("others_data/inspect_mistakes")
    sets, right = measured["frames"], measured["right"]
    lines = [
        f"Frames: {', '.join(f'{count} of {name}' for name, count in sets.items())}. False alarms: "
        f"{right['false alarms']} in {right['frames and variants']} right frames and variants, "
        f"{right['false alarms of data sets']} in the {right['data sets']} data sets.",
        "",
        "| mistake | each frame alone: found of told (not told) | a data set's frames together |",
        "|---|---|---|",
    ]
    for name, each in measured["mistakes"].items():
        cells = [_told(each[kind]) if kind in each else "–" for kind in ("frames alone", "data sets")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _told(counts: dict[str, int]) -> str:
    found, told = counts["found"], counts["found"] + counts["missed"]
    return (f"{found} of {told}" if told else "none told") + (f" ({counts['untold']})" if counts["untold"] else "")


def with_block(page: str, name: str, block: str) -> str:
    """Return a page with ``block`` between its markers ``<!-- name -->`` and ``<!-- /name -->``."""
    before, rest = page.split(f"<!-- {name} -->")
    after = rest.split(f"<!-- /{name} -->")[1]
    return f"{before}<!-- {name} -->\n{block}\n<!-- /{name} -->{after}"


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


def main() -> int:
    """Write or check; return the exit code."""
    readme, benchmarks, machines = DOCS.parent / "README.md", DOCS / "benchmarks.md", DOCS / "many-machines.md"
    datasets = DOCS / "datasets.md"

    sparse = with_block((DOCS / "sparse-depth.md").read_text(), "sparse", sparse_table())
    sparse = with_block(with_block(sparse, "steps", steps_table()), "exact", exact_table())
    inspection = DOCS / "inspect.md"
    with_figures = with_block(benchmarks.read_text(), "figures", all_figures())
    pages = {
        DOCS / "cli.md": cli_page(),
        readme: with_block(readme.read_text(), "figures", figures()),
        benchmarks: with_block(with_figures, "loader", loader_table()),
        datasets: with_block(datasets.read_text(), "datasets", datasets_table()),
        DOCS / "sparse-depth.md": sparse,
        machines: with_block(machines.read_text(), "cluster", cluster_table()),
        inspection: with_block(inspection.read_text(), "mistakes", mistakes_table()),
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
