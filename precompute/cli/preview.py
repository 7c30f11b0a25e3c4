"""``precompute preview``: from its options to a picture in a file or in the terminal."""

import os
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from depthvar.datasets.errors import ParameterError

from .complete import files, folders
from .options import (
    OF_SOURCE,
    Command,
    check_given,
    dataset_options,
    estimator_of,
    flag,
    inspected_source,
    kernel_options,
    numbers_of,
    reading_options,
    with_options,
)

if TYPE_CHECKING:
    from depthvar.precompute.pictures.frames import Shown
    from depthvar.precompute.pictures.viewed import Viewed
    from depthvar.precompute.pictures.weights import Form

ROOT_HELP = "Folder or URL of the data.  [default: the folder of CACHE; with --dataset as for `precompute run`]"
FRAME_HELP = "Key, or number from 0, of a frame to show; may be repeated."
WEIGHT_HELP = (
    "Form of the weight, with the default options of the loss: focus (focused_log_l1), inverse_depth "
    "(inverse_depth_l1), or a weighting of weighted_l1 (inverse_sigma, inverse_sqrt_sigma, relative, "
    "inverse_sigma_and_depth). auto: focus, where depth is known. none: no weight."
)
COLOURS_HELP = (
    "Colour map of depth, sigma or weight, by its name in the library cmap, such as depth=turbo; may be repeated."
)
RANGE_HELP = (
    "First and last colour of depth, sigma or weight, such as sigma=0.001,1; may be repeated.  [default: the 1st to "
    "the 99th percentile of all frames shown]"
)
OUT_HELP = (
    "Write the picture, or a file for the viewer Rerun.  [default: the terminal, or <name of the data set>-preview.png]"
)


def preview_options(command: Command) -> Command:
    """Add the options of ``precompute preview``."""
    return with_options(
        click.argument("cache", required=False, shell_complete=folders),
        partial(dataset_options, required=False, root_help=ROOT_HELP),
        click.option("--frame", "chosen", multiple=True, metavar="KEY|NUMBER", help=FRAME_HELP),
        click.option("--frames", type=click.IntRange(1), help="Number of frames, spread over the data.  [default: 6]"),
        click.option("--sequence", help="Only frames of this sequence."),
        click.option("--stride", type=click.IntRange(1), default=1, help="Of the maps, one that the cache holds."),
        click.option("--weight", metavar="FORM", default="auto", help=WEIGHT_HELP),
        click.option("--colours", multiple=True, metavar="QUANTITY=NAME", help=COLOURS_HELP),
        click.option("--range", "ranges", multiple=True, metavar="QUANTITY=LOW,HIGH", help=RANGE_HELP),
        click.option(
            "--linear", multiple=True, metavar="QUANTITY", help="A scale that is not logarithmic; may be repeated."
        ),
        click.option("--tile", type=int, default=320, help="Width of a picture of 4:3, in pixels."),
        click.option("-o", "--out", metavar="FILE.png|FILE.rrd", shell_complete=files, help=OUT_HELP),
        click.option(
            "--inline",
            type=click.Choice(["auto", "kitty", "iterm", "none"]),
            default="auto",
            help="How a terminal shows pictures; auto: told from its environment, and nothing within tmux or screen.",
        ),
        reading_options,
        kernel_options,
    )(command)


def draw_preview(as_json: bool, options: dict[str, Any]) -> dict[str, Any]:
    """Write or show the picture, and return what it shows.

    Raises:
        ParameterError: an option is not one of those allowed.
        CacheError, SourceError, DescriptionError: what is read is not there, or damaged.
    """
    from depthvar.precompute.pictures.inline import inline, protocol_of
    from depthvar.precompute.pictures.preview import FRAMES, Style, draw, form_of
    from depthvar.precompute.pictures.write import check_target, png, write_png

    check_given(options)
    ranges = {name: tuple(numbers_of("--range", ends, float)) for name, ends in _pairs("--range", options["ranges"])}
    style = Style(dict(_pairs("--colours", options["colours"])), ranges, options["linear"], options["tile"])
    out, protocol = options["out"], options["inline"]
    if as_json and protocol in ("kitty", "iterm"):
        raise ParameterError(f"--inline: expected none with --json, as both are printed, got {protocol}")
    if protocol == "auto":
        may = out is None and not as_json and sys.stdout.isatty()
        protocol = protocol_of(os.environ) if may else None
    protocol = None if protocol == "none" else protocol
    if out is not None:
        check_target(out, (".png", ".rrd"))
    if options["chosen"] and options["frames"]:
        raise ParameterError(f"--frames: expected none with --frame, got {options['frames']}; leave one of them out")
    viewed = _viewed(options)
    keys = viewed.choose(options["chosen"] or options["frames"] or FRAMES, options["sequence"])
    frames = (viewed.show(key, options["stride"]) for key in keys)
    about = {"dataset": viewed.name, "frames": keys, "stride": options["stride"], "unit": viewed.unit}
    if out is not None and out.lower().endswith(".rrd"):
        return about | _write_rrd(frames, out, form_of(options["weight"], viewed.has_depth))
    drawn = draw(viewed, frames, options["weight"], style)
    picture = drawn.sheet.draw()
    if protocol is not None:
        columns = shutil.get_terminal_size().columns
        click.echo(inline(png(picture), protocol, columns, os.environ), nl=False, color=True)
    elif out is None:
        out = re.sub(r"[^\w.-]+", "_", viewed.name) + "-preview.png"
    if out is not None:
        write_png(picture, out)
    return about | drawn.to_json() | {"picture": out, "inline": protocol}


def _write_rrd(frames: "Iterable[Shown]", out: str, form: "Form | None") -> dict[str, Any]:
    from depthvar.precompute.pictures.rerun import write_rrd

    if form is None:
        raise ParameterError("--weight: expected a form of the weight for a .rrd file, got none, or depth is not known")
    write_rrd(frames, out, form)
    return {"scales": {}, "weight": form, "picture": out, "inline": None}


def _viewed(options: dict[str, Any]) -> "Viewed":
    """Return the frames of the cache or of the source that the options name."""
    from depthvar.datasets.cache.sigma_cache import SigmaCache
    from depthvar.datasets.params import ESTIMATORS
    from depthvar.precompute.pictures.viewed import of_cache, of_source

    cache = options["cache"]
    if cache is None:
        if options["dataset"] is None:
            raise ParameterError("expected CACHE or --dataset, got neither")
        return of_source(inspected_source(options), estimator_of(options))
    of_kernel = (field.name for kind in ESTIMATORS.values() for field in fields(kind))
    given = click.get_current_context().get_parameter_source
    for name in (*OF_SOURCE, "intrinsics", "estimator", *of_kernel):
        if name != "root" and given(name) is ParameterSource.COMMANDLINE:
            raise ParameterError(
                f"{flag(name)}: expected none with a cache, which has recorded it, got {options[name]}; leave it out"
            )
    return of_cache(SigmaCache(cache), options["root"])


def _pairs(option: str, texts: Sequence[str]) -> list[tuple[str, str]]:
    """Return ``QUANTITY=VALUE`` as pairs."""
    for text in texts:
        if "=" not in text:
            raise ParameterError(f"{option}: expected QUANTITY=VALUE, such as depth=…, got {text!r}")
    return [(text.partition("=")[0], text.partition("=")[2]) for text in texts]
