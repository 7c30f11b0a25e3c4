"""Write what is generated in the documentation: docs/cli.md from --help, the tables of README.md and
docs/*.md from benchmarks/results/, and the pictures of README.md, docs/preview.md and docs/method.md.

python docs/generate.py           write everything
python docs/generate.py --check   report whether the pages are current, write nothing
"""

import sys
from pathlib import Path

import click
from data_tables import datasets_table, exact_table, formats_table, mistakes_table, sparse_table, steps_table
from method_pictures import method_pictures
from pictures import pictures
from speed_tables import all_figures, cluster_table, figures, loader_table

from depthvar.precompute.cli.main import main as cli

DOCS = Path(__file__).parent
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


def with_block(page: str, name: str, block: str) -> str:
    """Return a page with ``block`` between its markers ``<!-- name -->`` and ``<!-- /name -->``."""
    before, rest = page.split(f"<!-- {name} -->")
    after = rest.split(f"<!-- /{name} -->")[1]
    return f"{before}<!-- {name} -->\n{block}\n<!-- /{name} -->{after}"


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
        datasets: with_block(
            with_block(datasets.read_text(), "datasets", datasets_table()), "formats", formats_table()
        ),
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
    method_pictures()
    return 0


if __name__ == "__main__":
    sys.exit(main())
