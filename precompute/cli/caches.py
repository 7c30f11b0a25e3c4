"""The commands that read a cache: ``validate`` and ``info``."""

from typing import Any

import click

from .complete import folders
from .interrupt import clean_up
from .options import cache_argument, json_option, only_writer_option
from .progress import steps
from .screen import print_result

CACHE_ROOT_HELP = "Folder or URL of the depth.  [default: the folder of CACHE]"
RECOMPUTE_HELP = (
    "Number of random frames to recompute and compare with the cache. With 0 and no --root, the depth files are not "
    "opened. With 0 and --root, files that look changed are still compared."
)


@click.command()
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
    print_result(as_json, found.to_json(), text.validate_text)
    if found.findings:
        ctx.exit(3)


@click.command()
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

    print_result(as_json, cache_info(cache), lambda facts: info_text(facts, sequences))
