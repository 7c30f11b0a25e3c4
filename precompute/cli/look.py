"""The commands that show what people look at: ``inspect``, ``preview`` and ``report``."""

from typing import Any

import click

from .complete import files, folders
from .options import cache_argument, dataset_options, inspected_source, json_option, reading_options
from .preview import draw_preview, preview_options
from .progress import steps
from .screen import print_result

PICTURE_HELP = "Write a picture of these frames: image, depth, states."


@click.command()
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
    print_result(as_json, found.to_json() | {"picture": picture}, text.inspect_text)


@click.command()
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

    print_result(as_json, draw_preview(as_json, options), text.preview_text)


@click.command()
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
    print_result(as_json, found.to_json(), text.report_text)
