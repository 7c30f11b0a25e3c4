"""The command line: parse, call one function, print. Results go to stdout, everything else to stderr.

Heavy imports are inside the commands, so that ``precompute --help`` answers at once.
"""

import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from depthvar.datasets.errors import hide_credentials, one_line

from .complete import data_sets, files, folders
from .errors import Commands
from .interrupt import clean_up
from .options import (
    cache_argument,
    dataset_options,
    inspected_source,
    json_option,
    kernel_options,
    only_writer_option,
    reading_options,
    run_arguments,
    write_demo,
)
from .preview import draw_preview, preview_options
from .progress import LogHandler, steps
from .screen import show

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
CACHE_ROOT_HELP = "Folder or URL of the depth.  [default: the folder of CACHE]"
RECOMPUTE_HELP = (
    "Number of random frames to recompute and compare with the cache. With 0 and no --root, the depth files are not "
    "opened. With 0 and --root, files that look changed are still compared."
)
KEEP_HELP = "Store half the range of each window too: σ² of any --lambda-prior and --alpha-clamp then needs no new run."
PICTURE_HELP = "Write a picture of these frames: image, depth, states."
PART_HELP = "Compute part I of N (I from 1): every N-th shard. For N jobs at the same time."


@click.group(cls=Commands, context_settings={"show_default": True, "max_content_width": 100})
@click.version_option(package_name="depthvar")
def main() -> None:
    """Geometry-aware weights for depth losses: compute σ_Z² of a whole data set once.

    \b
    Example:
      precompute run --dataset hospital
    """
    warnings.filterwarnings("ignore", module=r"PIL\.|numpy\.lib")  # of damaged files: they end in a DepthVarError
    logger = logging.getLogger("depthvar")
    logger.handlers, logger.propagate = [LogHandler()], False
    logger.setLevel(logging.INFO)
    for name in ("asyncio", "azure", "gcsfs", "google"):  # what fails is raised, too
        logging.getLogger(name).setLevel(logging.CRITICAL)


@main.command()
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
        _print(as_json, facts | api.plan(**arguments).to_json(), text.dry_run_text)
        return
    clean_up()
    with steps() as report:
        result = api.run(**arguments, **ways, only_writer=options["only_writer"], progress=report)
    _print(as_json, facts | result.to_json(), text.run_text)
    if result.failed:
        ctx.exit(4)


@main.command()
@dataset_options
@click.option("--frames", type=click.IntRange(1), default=8, help="Number of frames to decode, spread over the data.")
@click.option("-o", "--out", "picture", metavar="FILE.png", shell_complete=files, help=PICTURE_HELP)
@reading_options
@json_option
def inspect(frames: int, picture: str | None, as_json: bool, **options: Any) -> None:
    """Look at a few frames of a data set before a run.

    It prints what it finds, and warns where the data looks as if it is read wrongly: distance or disparity taken for
    depth, a wrong unit, a code read as lengths, a camera of another resolution, sky and holes that count as depth,
    images of other frames. Warnings do not change the exit code. docs/inspect.md has the law behind each.

    \b
    Example:
      precompute inspect --dataset hospital --root /data/tartanair/hospital
      precompute inspect --dataset my_data.toml -o look.png
    """
    from depthvar.precompute.inspection.inspect import inspect
    from depthvar.precompute.pictures.write import check_target, write_png

    from . import text

    source = inspected_source(options | {"out": picture})
    if picture is not None:
        check_target(picture)
    found = inspect(source, frames)
    if picture is not None:
        write_png(found.picture(), picture)
    _print(as_json, found.to_json() | {"picture": picture}, text.inspect_text)


@main.command()
@preview_options
@json_option
def preview(as_json: bool, **options: Any) -> None:
    """Show image, depth, σ and weight of some frames as one picture.

    The frames are those of CACHE, or of --dataset: then σ is computed for these frames only, and nothing is written but
    the picture. It is shown in a terminal that can show pictures; elsewhere, and with -o, it is a PNG file.

    \b
    Example:
      precompute preview data/hospital-sample/sigma_Z2.zarr
      precompute preview data/hospital-sample/sigma_Z2.zarr --frame 3 -o f.png
      precompute preview --dataset my_data.toml --window 7
    """
    from . import text

    _print(as_json, draw_preview(as_json, options), text.preview_text)


@main.command()
@cache_argument
@click.option("--root", metavar="DIR", shell_complete=folders, help=CACHE_ROOT_HELP)
@click.option("--recompute", type=click.IntRange(0), default=8, help=RECOMPUTE_HELP)
@click.option("--seed", type=int, help="Seed of the choice of these frames.  [default: new every time]")
@click.option("--full", is_flag=True, help="Hash and recompute every frame.")
@click.option("--clear", is_flag=True, help="Make the next run recompute the shards with findings.")
@only_writer_option
@json_option
@click.pass_context
def validate(ctx: click.Context, /, cache: str, root: str | None, as_json: bool, **options: Any) -> None:
    """Check a cache, and some frames against their depth.

    It checks the structure, the checksum of every chunk, the values, and whether source files have changed. It also
    recomputes some frames.

    Each finding names the frame, the expected and the found value, and the command that repairs it; the exit code is
    then 3. Warnings do not change the exit code.

    \b
    Example:
      precompute validate data/hospital-sample/sigma_Z2.zarr
      precompute validate data/hospital-sample/sigma_Z2.zarr --full --json
    """
    from depthvar.precompute.validation import validate

    from . import text

    clean_up()
    with steps() as report:
        found = validate.validate(cache, root, **options, progress=report)
    _print(as_json, found.to_json(), text.validate_text)
    if found.findings:
        ctx.exit(3)


@main.command()
@cache_argument
@click.option("--sequences", is_flag=True, help="List every sequence, in place of folders of them.")
@json_option
def info(cache: str, sequences: bool, as_json: bool) -> None:
    """Show what a cache holds.

    It prints the data set, the frames done, the size, the range of σ in a few frames, and the parameters; then the
    sequences, of which many are folded into a line for each folder. What is not complete is listed.

    \b
    Example:
      precompute info data/hospital-sample/sigma_Z2.zarr
    """
    from depthvar.precompute.report.info import cache_info

    from .info_text import info_text

    _print(as_json, cache_info(cache), lambda facts: info_text(facts, sequences))


@main.command()
@cache_argument
@click.option("-o", "--out", default="report.html", metavar="FILE.html", shell_complete=files, help="File to write.")
@click.option(
    "--root",
    metavar="DIR",
    shell_complete=folders,
    help="Folder or URL of the depth.  [default: the folder of CACHE, else the depth in CACHE]",
)
@click.option("--frames", type=click.IntRange(1), default=64, help="Number of frames to read, spread over the data.")
@json_option
def report(cache: str, out: str, root: str | None, frames: int, as_json: bool) -> None:
    """Write what a cache holds as one HTML file.

    It shows the parameters, checks, distributions of σ and of the weights of each loss, some frames, and a viewer in
    which sliders change the parameters. The file needs no network. docs/report.md says what is in it.

    \b
    Example:
      precompute report data/hospital-sample/sigma_Z2.zarr -o report.html
    """
    from depthvar.precompute.report.report import write_report

    from . import text

    with steps() as progress:
        found = write_report(cache, out, root, frames=frames, progress=progress)
    _print(as_json, found.to_json(), text.report_text)


@main.command()
@click.argument("name", required=False, shell_complete=data_sets)
@click.option("--json", "as_json", is_flag=True, help="Print the descriptions as JSON.")
def datasets(name: str | None, as_json: bool) -> None:
    """List the data sets that --dataset knows, or show all about NAME.

    NAME can also be a description of your own (.toml).

    \b
    Example:
      precompute datasets hypersim
    """
    from depthvar.datasets.source.catalogue import builtin_descriptions, find_description

    from . import describe

    found = builtin_descriptions() if name is None else {name: find_description(name)}
    if as_json:
        tables = {known: description.to_dict() for known, description in found.items()}
        click.echo(json.dumps(tables, ensure_ascii=False))
    else:
        show(describe.list_text(found) if name is None else describe.page_text(name, found[name]))


@main.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path), shell_complete=folders)
def demo(folder: Path) -> None:
    """Write the built-in hospital scene to DIR.

    48 ray-cast frames of 640×480, in the file layout of TartanAir.

    \b
    Example:
      precompute demo data/hospital-sample
    """
    write_demo(folder)
    click.echo(folder)


def _print(as_json: bool, facts: dict[str, Any], text: Callable[[dict[str, Any]], str]) -> None:
    if as_json:
        click.echo(hide_credentials(json.dumps(facts, ensure_ascii=False)))
    else:
        show("\n".join(one_line(line) for line in hide_credentials(text(facts)).split("\n")))
