"""The tables of speed in README.md and docs/*.md, from benchmarks/results/."""

import json
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent


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
