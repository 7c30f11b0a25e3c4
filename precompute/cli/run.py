"""``precompute run``."""

from typing import Any

import click

from .complete import folders
from .interrupt import clean_up
from .options import dataset_options, json_option, kernel_options, only_writer_option, reading_options, run_arguments
from .progress import steps
from .screen import print_result

OUT_HELP = "Cache to write, a folder or a URL.  [default: sigma_Z2.zarr in the root]"
TIMEOUT_HELP = (
    "With workers: time allowed for a shard. After it the worker is ended, and the frames of the shard count as "
    "failed.  [default: 600]"
)
THREADS_HELP = "Number of threads, each with a shard of up to 96 MiB in memory.  [default: the available CPUs]"
WORKERS_HELP = (
    "Number of Dask worker processes, used instead of threads. Each needs about 2 s of CPU time to start. If one "
    "crashes or hangs, only its shard is lost."
)
KEEP_HELP = "Store half the range of each window too: σ² of any --lambda-prior and --alpha-clamp then needs no new run."
PART_HELP = "Compute part I of N (I from 1): every N-th shard. For N jobs at the same time."


@click.command()
@dataset_options
@click.option("--out", shell_complete=folders, help=OUT_HELP)
@kernel_options
@click.option("--strides", default="1,2,3,4,6,8", help="Strides (reduced resolutions) to store; 1 is always stored.")
@reading_options
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", help="cuda: Triton or torch, on a GPU.")
@click.option("--threads", type=click.IntRange(1), help=THREADS_HELP)
@click.option("--workers", type=click.IntRange(1), help=WORKERS_HELP)
@click.option("--scheduler", metavar="ADDRESS", help="Run on the workers of this Dask scheduler.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help=TIMEOUT_HELP)
@click.option("--part", metavar="I/N", help=PART_HELP)
@click.option("--limit", type=click.IntRange(1), help="Stop after this many frames, rounded up to whole shards.")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and write nothing.")
@click.option("--overwrite", is_flag=True, help="Remove an existing cache first, whatever its parameters.")
@click.option("--prune", is_flag=True, help="Remove frames of the cache that the data set no longer has.")
@only_writer_option
@click.option(
    "--on-error",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    help="What to do with an unreadable frame: stop, or skip it and exit with 4.",
)
@click.option("--with-depth", is_flag=True, help="Store the decoded depth next to σ².")
@click.option("--keep", type=click.Choice(["edge"]), multiple=True, help=KEEP_HELP)
@json_option
@click.pass_context
def run(ctx: click.Context, /, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Compute σ_Z² of a data set into a Zarr cache.

    A run that was interrupted continues where it stopped. Frames that are done and unchanged are not read again. Frames
    of the cache that the data set no longer has are kept and counted; --prune removes them.

    \b
    Example:
      precompute run --dataset hospital --root /data/tartanair/hospital
      precompute run --dataset folder --root scan --intrinsics 525,525,319.5,239.5
    """
    from depthvar.precompute import api
    from depthvar.precompute.pipeline.execute import executor

    from . import text

    ways = {name: options[name] for name in ("threads", "workers", "scheduler", "timeout")}
    facts = {"part": options["part"], "runs_in": executor(**ways)[1]}
    arguments = run_arguments(options, dry_run)
    if dry_run:
        print_result(as_json, facts | api.plan(**arguments).to_json(), text.dry_run_text)
        return
    clean_up()
    with steps() as report:
        result = api.run(**arguments, **ways, only_writer=options["only_writer"], progress=report)
    print_result(as_json, facts | result.to_json(), text.run_text)
    if result.failed:
        ctx.exit(4)
