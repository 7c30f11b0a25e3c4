"""The options that several commands have, and from those of ``precompute run`` to the arguments of ``api.run``."""

import os
import re
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from depthvar.datasets.errors import DepthVarError, ParameterError
from depthvar.datasets.paths import cache_path, is_url

from .complete import data_sets, folders
from .interrupt import clean_up
from .progress import steps
from .screen import say

if TYPE_CHECKING:
    from depthvar.datasets.params import Estimator
    from depthvar.datasets.source.depth_source import DepthSource

DEMO_ROOT = Path("data/hospital-sample")
AS_TYPED = ("out", "device", "on_error", "with_depth", "keep", "limit", "overwrite", "prune")  # and passed like that
OF_SOURCE = ("dataset", "root", "units_per_metre", "pattern", "max_depth", "mixed_sizes")

DATASET_HELP = "A name from `precompute datasets`, or a description (.toml)."
ROOT_HELP = "Folder or URL of the data.  [default: $DEPTHVAR_DATA/<dataset>; the folder of a .toml]"
MAX_DEPTH_HELP = "Depth beyond this many metres is far. inf: no limit.  [default: the data set's]"
MIXED_HELP = (
    "For data at a URL whose frames differ in size within a sequence: read the header of every new frame first."
)

MIN_VALID_HELP = (
    "Known pixels that a window needs for its range to count, 1 to window² (docs/sparse-depth.md).  [default: 3]"
)
STEP_HELP = "Step of the stored depth. Its rounding error enters σ (docs/sparse-depth.md).  [default: 0, off]"

Command = Callable[..., None]

cache_argument = click.argument(
    "cache", callback=lambda context, parameter, text: cache_path(text), shell_complete=folders
)
only_writer_option = click.option(
    "--only-writer",
    is_flag=True,
    help="For a cache at a URL, if nobody else writes it: remove the lock of a dead run, or run without a lock if the "
    "server has none.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def with_options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Return what adds some options to a command, in this order."""
    return lambda command: reduce(lambda decorated, option: option(decorated), reversed(options), command)


def dataset_options(command: Command, required: bool = True, root_help: str = ROOT_HELP) -> Command:
    """Add the options that say where the data is."""
    return with_options(
        click.option("--dataset", required=required, shell_complete=data_sets, help=DATASET_HELP),
        click.option("--root", metavar="DIR", shell_complete=folders, help=root_help),
    )(command)


def kernel_options(command: Command) -> Command:
    """Add the options that decide how σ is computed."""
    return with_options(
        click.option(
            "--estimator",
            type=click.Choice(["range", "difference"]),
            default="range",
            help="How σ is computed: by the range of distances in a window, or by the differences to the neighbours, "
            "which has none of the next five options.",
        ),
        click.option("--window", type=int, help="Side of the window in pixels: 3, 5 or 7.  [default: 5]"),
        click.option("--lambda-prior", type=float, help="Weight of the pixel footprint, 0 or more.  [default: 0.5]"),
        click.option(
            "--alpha-clamp", type=float, help="Upper limit of δ / distance, in (0, 1] (docs/method.md).  [default: 0.3]"
        ),
        click.option("--min-valid", type=int, help=MIN_VALID_HELP),
        click.option("--compat", type=click.Choice(["pi3"]), help="Reproduce the original kernel, faults included."),
        click.option("--quantisation-step", type=float, metavar="METRES", help=STEP_HELP),
    )(command)


def reading_options(command: Command) -> Command:
    """Add the options that replace a field of the description."""
    return with_options(
        click.option("--max-depth", type=float, help=MAX_DEPTH_HELP),
        click.option("--intrinsics", help="fx,fy,cx,cy in pixels.  [default: the data set's]"),
        click.option("--units-per-metre", type=float, help="Stored units in a metre.  [default: the data set's]"),
        click.option("--pattern", help="Depth files below the root, such as '{sequence}/depth/{frame}.png'."),
        click.option("--mixed-sizes", is_flag=True, help=MIXED_HELP),
    )(command)


def run_arguments(options: dict[str, Any], dry_run: bool) -> dict[str, Any]:
    """Return what ``api.plan`` and ``api.run`` share; write the built-in scene if it is the data.

    Raises:
        ParameterError: an option is not one of those allowed.
        DescriptionError, SourceError: the data set is unknown, or not there.
        DepthVarError: a dry run would have to write the scene first.
    """
    from depthvar.precompute.pipeline.execute import check_engine

    check_given(options)
    arguments = {name: options[name] for name in AS_TYPED} | {
        "part": _part(options["part"]),
        "params": estimator_of(options),
        "strides": numbers_of("--strides", options["strides"], int),
    }
    check_engine(options["device"], arguments["params"])  # before a scene is rendered
    return arguments | {"source": _source(options, dry_run)}


def inspected_source(options: dict[str, Any]) -> "DepthSource":
    """Return the source of a command that only looks at it; errors as :func:`run_arguments`."""
    check_given(options)
    return _source(options | dict.fromkeys(("out", "part", "scheduler", "threads")), dry_run=False)


def check_given(options: dict[str, Any]) -> None:
    """Raise ParameterError for an option with an empty text."""
    for name, value in options.items():
        if value == "":  # a variable of the shell that is not set
            raise ParameterError(f"{flag(name)}: expected a value, got an empty text; leave the option out")


def _source(options: dict[str, Any], dry_run: bool) -> "DepthSource":
    from depthvar.datasets.source.open_source import open_source

    source = {name: options[name] for name in OF_SOURCE} | _demo(options, dry_run)
    if options["intrinsics"] is not None:
        source["intrinsics"] = numbers_of("--intrinsics", options["intrinsics"], float)
    opened = open_source(**source)
    if opened.description.warning:
        say(f"warning: {opened.name}: {opened.description.warning}")
    return opened


def _demo(options: dict[str, Any], dry_run: bool) -> dict[str, Any]:
    """Return the built-in scene, written, if it is the data: ``hospital``, and nothing tells where that is."""
    elsewhere = (*(options[name] for name in ("root", "out", "part", "scheduler")), os.environ.get("DEPTHVAR_DATA"))
    if options["dataset"] != "hospital" or any(elsewhere):
        return {}
    say(
        f"no --root and no $DEPTHVAR_DATA: using the built-in sample scene, {DEMO_ROOT} "
        "(your data: precompute run --dataset hospital --root DIR)"
    )
    if not dry_run:
        write_demo(DEMO_ROOT, options["threads"])
    elif not DEMO_ROOT.exists():
        raise DepthVarError(
            f"{DEMO_ROOT}: not written yet; `precompute demo {DEMO_ROOT}` writes it, then --dry-run again"
        )
    return {"dataset": "hospital-sample", "root": DEMO_ROOT}


def write_demo(folder: Path, threads: int | None = None) -> None:
    """Write the built-in scene, with its progress on stderr; a finished one is left as it is."""
    from depthvar.datasets.hospital.write import write_sample
    from depthvar.precompute.pipeline.execute import cpus

    if is_url(folder):
        raise ParameterError(f"{folder}: expected a folder, got a URL: the scene is written to a folder only")
    threads = threads or cpus()
    clean_up()
    with steps() as report:
        write_sample(folder, lambda done, total: report("frames rendered", done, total, 0), threads=threads)


def estimator_of(options: dict[str, Any]) -> "Estimator":
    """Return the estimator with the parameters that were typed; those of another are an error, even their defaults."""
    from dataclasses import fields

    from depthvar.datasets.params import ESTIMATORS

    kind = ESTIMATORS[options["estimator"]]
    names = dict.fromkeys(field.name for each in ESTIMATORS.values() for field in fields(each))
    given = {name: options[name] for name in names if options[name] is not None}
    foreign = [name for name in given if name not in {field.name for field in fields(kind)}]
    if foreign:
        flags = ", ".join(f"{flag(name)} {given[name]}" for name in foreign)
        raise ParameterError(
            f"--estimator {kind.estimator}: expected no parameter of the range, got {flags}; leave it out"
        )
    return kind(**given)


def flag(name: str) -> str:
    """Return an option as it is typed."""
    return f"--{name.replace('_', '-')}"


def numbers_of(option: str, text: str, kind: type[int] | type[float]) -> list[Any]:
    """Return ``1,2,3`` as numbers."""
    try:
        return [kind(number) for number in text.split(",")]
    except ValueError:
        raise ParameterError(f"{option}: expected numbers with commas between, got {text!r}") from None


def _part(text: str | None) -> tuple[int, int] | None:
    """Return ``--part I/N`` as two numbers."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    index, count = map(int, found.groups()) if found else (0, 0)
    if not 1 <= index <= count:
        raise ParameterError(f"--part: expected I/N with I from 1 to N, such as 1/8, got {text!r}")
    return index, count
