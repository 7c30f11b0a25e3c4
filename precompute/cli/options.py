"""From what was typed to what is computed: options of the command line to a Job and a source."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from depthvar.datasets.errors import DepthVarError, ParameterError
from depthvar.datasets.paths import cache_path, is_url

from .interrupt import clean_up
from .progress import steps

if TYPE_CHECKING:
    from depthvar.datasets.params import Estimator
    from depthvar.datasets.source.depth_source import DepthSource

DEMO_ROOT = Path("data/hospital-sample")


def parse_cache(text: str) -> str:
    """Return a cache as it is opened: see :func:`~depthvar.datasets.paths.cache_path`."""
    return cache_path(text)


def choose_data(options: dict[str, Any]) -> bool:
    """Let ``--dataset hospital`` be the built-in scene where nothing tells where the data are; return whether it is."""
    elsewhere = (options[name] for name in ("root", "out", "part", "scheduler"))
    if options["dataset"] != "hospital" or any((*elsewhere, os.environ.get("DEPTHVAR_DATA"))):
        return False
    click.echo(
        f"no --root and no $DEPTHVAR_DATA: using the built-in sample scene, {DEMO_ROOT} "
        "(your data: precompute run --dataset hospital --root DIR)",
        err=True,
    )
    options |= {"dataset": "hospital-sample", "root": DEMO_ROOT}
    return True


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


def job_options(options: Mapping[str, Any], *, demo: bool, dry_run: bool) -> dict[str, Any]:
    """Return what ``api.plan`` and ``api.run`` need of the options; write the built-in scene if it is the data.

    Raises:
        ParameterError: an option is not one of those allowed.
        DescriptionError, SourceError: the data set is unknown, or not there.
        DepthVarError: a dry run would have to write the scene first.
    """
    from depthvar.precompute.pipeline.execute import check_device

    _refuse_empty(options)
    given = {
        "out": options["out"],
        "params": _params(options),
        "strides": _numbers("--strides", options["strides"], int),
        **{name: options[name] for name in ("device", "on_error", "with_depth")},
    }
    check_device(options["device"])  # before a scene is rendered
    if demo and not dry_run:
        write_demo(options["root"], options["threads"])
    elif demo and not options["root"].exists():
        raise DepthVarError(
            f"{options['root']}: not written yet; `precompute demo {options['root']}` writes it, then --dry-run again"
        )
    return given | {"source": _source(options)}


def _refuse_empty(options: Mapping[str, Any]) -> None:
    """Raise ParameterError for an option that is there and empty: a variable of the shell that is not set."""
    for name, value in options.items():
        if value == "":
            raise ParameterError(
                f"--{name.replace('_', '-')}: expected a value, got an empty text; leave the option out"
            )


def _params(options: Mapping[str, Any]) -> "Estimator":
    """Return the estimator with the parameters that were typed; the difference has none, not even at their default."""
    from depthvar.datasets.params import ESTIMATORS, KernelParams

    names = ("window", "lambda_prior", "alpha_clamp", "compat")
    given = {name: options[name] for name in names if options[name] is not None}
    kind = ESTIMATORS[options["estimator"]]
    if given and kind is not KernelParams:
        flags = ", ".join(f"--{name.replace('_', '-')} {value}" for name, value in given.items())
        raise ParameterError(
            f"--estimator {kind.estimator}: expected no parameter of the range, got {flags}; leave it out"
        )
    return kind(**given)


def _source(options: Mapping[str, Any]) -> "DepthSource":
    from depthvar.datasets.source.depth_source import open_source

    given = options["intrinsics"]
    return open_source(
        options["dataset"],
        options["root"],
        intrinsics=None if given is None else _numbers("--intrinsics", given, float),
        units_per_metre=options["units_per_metre"],
        pattern=options["pattern"],
        max_depth=options["max_depth"],
    )


def _numbers(option: str, text: str, kind: type[int] | type[float]) -> list[Any]:
    try:
        return [kind(number) for number in text.split(",")]
    except ValueError:
        raise ParameterError(f"{option}: expected numbers with commas between, got {text!r}") from None


def parse_part(text: str | None) -> tuple[int, int] | None:
    """Return ``--part I/N`` as two numbers."""
    if text is None:
        return None
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise ParameterError(f"--part: expected I/N with I from 1 to N, such as 1/8, got {text!r}")
    return int(index), int(count)
