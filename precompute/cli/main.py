"""The command line: parse, call one function, print. Results go to stdout, everything else to stderr.

Heavy imports are inside the commands, so that ``precompute --help`` answers at once.
"""

import errno
import json
import logging
import os
import time
import warnings
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from depthvar.datasets.errors import DepthVarError, ParameterError, hide_credentials, one_line

from .options import make_job, parse_cache, parse_part, write_sample

if TYPE_CHECKING:
    from depthvar.precompute.pipeline.execute import Execute
    from depthvar.precompute.pipeline.job import Job, TaskResult
    from depthvar.precompute.pipeline.run import Outlook

DEFAULT_STRIDES = "1,2,3,4,6,8"
TIMEOUT_HELP = "For a shard in a worker process, after which it is given up.  [default: 600]"


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return hide_credentials(super().format(record))


class _Commands(click.Group):
    """Turns an error of ours, or of the machine, into one line and an exit code; a bug shows its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "precompute"
            click.echo(f"error: {error.format_message()} See `{command} --help`", err=True)
            ctx.exit(2)
        except DepthVarError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(2 if isinstance(error, ParameterError) else 1)
        except OSError as error:  # no space, no permission, no more open files: where nobody could say more
            if error.errno in (None, errno.EPIPE):  # a pipe that is closed ends a command quietly: click
                raise
            where = f"{error.filename}: " if error.filename else ""
            click.echo(f"error: {where}{error.strerror}; mend that and run the same command again", err=True)
            ctx.exit(1)
        except MemoryError as error:
            text = f" ({error})" if str(error) else ""
            click.echo(f"error: not enough memory{text}; nothing was changed by that: use fewer threads", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("interrupted: what is done is kept; the same command goes on from there", err=True)
            ctx.exit(130)


@click.group(cls=_Commands, context_settings={"show_default": True, "max_content_width": 100})
@click.version_option(package_name="depthvar")
def main() -> None:
    """Geometry-aware weights for depth losses: compute σ_Z² of a whole data set once.

    \b
    Example:
      precompute run --dataset hospital
    """
    warnings.filterwarnings("ignore", module=r"PIL\.|numpy\.lib")  # of damaged files: they end in an error of ours
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter())
    logger = logging.getLogger("depthvar")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # what Zarr writes beside a write that fails, and is raised


@main.command()
@click.option("--dataset", required=True, help="A name from `precompute datasets`, or a description (.toml).")
@click.option("--root", type=click.Path(path_type=Path), help="Folder of the data; else $DEPTHVAR_DATA/<dataset>.")
@click.option("--out", help="Cache to write: a folder or a URL; else sigma_Z2.zarr in the root.")
@click.option("--estimator", metavar="NAME", default="range", help="range; or difference, without the next four.")
@click.option("--window", type=int, help="Pixels across the local window: 3, 5 or 7.  [default: 5]")
@click.option("--lambda-prior", type=float, help="Weight of the pixel footprint, 0 or more.  [default: 0.5]")
@click.option("--alpha-clamp", type=float, help="Cap of δ as a part of the distance, in (0, 1].  [default: 0.3]")
@click.option("--compat", type=click.Choice(["pi3"]), help="Reproduce the original kernel, faults included.")
@click.option("--strides", default=DEFAULT_STRIDES, help="Levels to store; 1 is always stored.")
@click.option("--max-depth", type=float, help="Metres beyond which depth is far; else the data set's; inf: none.")
@click.option("--intrinsics", help="fx,fy,cx,cy in pixels, in place of the data set's.")
@click.option("--units-per-metre", type=float, help="Stored units in a metre, in place of the data set's.")
@click.option("--pattern", help="Depth files below the root, such as '{sequence}/depth/{frame}.png'.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="auto is the CPU engine.")
@click.option("--workers", type=click.IntRange(1), help="Dask worker processes; else threads, one per core.")
@click.option("--scheduler", help="Address of a running Dask scheduler.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help=TIMEOUT_HELP)
@click.option("--shard", help="I/N: only every N-th shard, beginning with the I-th (from 1), for N separate jobs.")
@click.option("--limit", type=click.IntRange(1), help="Stop after this many frames, rounded up to whole shards.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and write nothing.")
@click.option("--overwrite", is_flag=True, help="Remove an existing cache first, whatever its parameters.")
@click.option("--prune", is_flag=True, help="Remove frames of the cache that the source no longer has.")
@click.option("--on-error", type=click.Choice(["fail", "skip"]), default="fail", help="At an unreadable frame.")
@click.option("--with-depth", is_flag=True, help="Store the decoded depth beside σ².")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def run(ctx: click.Context, /, dry_run: bool, as_json: bool, overwrite: bool, prune: bool, **options: Any) -> None:
    """Compute σ_Z² of every frame of a data set, and write it to a Zarr cache.

    A run that was interrupted goes on where it stopped; frames that are done and unchanged cost nothing. Frames of the
    cache that the source no longer has are kept, and counted; --prune removes them.

    \b
    Example:
      precompute run --dataset hospital --root /data/tartanair/hospital
      precompute run --dataset folder --root scan1 --intrinsics 525,525,319.5,239.5
    """
    from depthvar.precompute.pipeline import run as pipeline

    from . import text as report

    if options["workers"] and options["scheduler"]:
        raise ParameterError("--workers and --scheduler: expected one of them, got both; workers are the cluster's")
    if options["timeout"] and not (options["workers"] or options["scheduler"]):
        raise ParameterError("--timeout: expected --workers or --scheduler with it: a thread cannot be given up")
    part = parse_part(options["shard"])
    job = make_job(options, dry_run)
    if dry_run:
        plan = pipeline.plan_run(job, overwrite=overwrite, prune=prune)
        outlook = pipeline.make_outlook(plan, pipeline.choose(plan, part, options["limit"]), job)
        facts = {"dataset": job.source.name, "cache": job.cache} | asdict(outlook)
        facts["failed"] = _failures(outlook.failed)
        _print(as_json, facts, report.dry_run_text)
        return
    began = time.perf_counter()
    events = pipeline.run(job, _executor(options), overwrite=overwrite, prune=prune, part=part, limit=options["limit"])
    facts = _consume(events, job, began)
    _print(as_json, facts, report.run_text)
    if facts["failed"]:
        ctx.exit(4)


@main.command()
@click.argument("cache", callback=lambda context, parameter, text: parse_cache(text))
@click.option("--root", type=click.Path(path_type=Path), help="Folder of the depth; else the one that holds CACHE.")
@click.option("--sample", type=click.IntRange(0), default=8, help="Frames to compute again; 0: no look at the depth.")
@click.option("--seed", type=int, help="Which frames those are.  [default: other ones every time]")
@click.option("--full", is_flag=True, help="Hash and compute again every frame.")
@click.option("--clear", is_flag=True, help="Make the next run compute the shards with findings again.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def validate(
    ctx: click.Context,
    cache: str,
    root: Path | None,
    sample: int,
    seed: int | None,
    full: bool,
    clear: bool,
    as_json: bool,
) -> None:
    """Check a cache: structure, checksums of every chunk, values, staleness, and a sample computed again.

    Ends with 3 where something is wrong, and names for each finding the frame, what was expected, what was found and
    the command that repairs it. Warnings are worth a look, and end with 0.

    \b
    Example:
      precompute validate data/hospital-sample/sigma_Z2.zarr
      precompute validate data/hospital-sample/sigma_Z2.zarr --full --json
    """
    from depthvar.precompute.validation import validate

    from . import text as report

    result = validate.validate(cache, root, recompute=sample, seed=seed, full=full, clear=clear)
    _print(as_json, asdict(result), report.validate_text)
    if result.findings:
        ctx.exit(3)


@main.command()
@click.argument("cache", callback=lambda context, parameter, text: parse_cache(text))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(cache: str, as_json: bool) -> None:
    """Show what a cache holds: data set, parameters, progress, sizes.

    \b
    Example:
      precompute info data/hospital-sample/sigma_Z2.zarr
    """
    from . import text as report

    _print(as_json, report.cache_info(cache), report.info_text)


@main.command()
def datasets() -> None:
    """List every data set that --dataset takes, its layout, and where to get it."""
    from depthvar.datasets.source.description import builtin_descriptions

    from . import text as report

    click.echo(report.datasets_text(builtin_descriptions()))


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
def sample(folder: Path) -> None:
    """Write the built-in hospital scene to FOLDER, in TartanAir's own file layout.

    \b
    Example:
      precompute sample data/hospital-sample
    """
    write_sample(folder)
    click.echo(folder)


def _consume(events: "Generator[Outlook | TaskResult]", job: "Job", began: float) -> dict[str, Any]:
    """Show the progress of a run, and return what became of it."""
    from .progress import progress

    computed, checked = 0, 0
    with closing(events):  # so that Ctrl-C releases the lock before anything else is said
        outlook: Any = next(events)
        failed = list(outlook.failed)
        with progress(outlook.compute + outlook.check, "σ²") as advance:
            for result in events:
                done: Any = result
                computed, checked = computed + done.computed, checked + done.checked
                failed += done.failed
                advance(done.computed + done.checked + len(done.failed))
    seconds = time.perf_counter() - began
    return {
        "dataset": job.source.name,
        "cache": job.cache,
        "frames": outlook.frames,
        "computed": computed,
        "unchanged": outlook.done + checked,
        "kept": outlook.kept,
        "pruned": outlook.pruned,
        "failed": _failures(failed),
        "seconds": round(seconds, 3),
        "frames_per_second": round(computed / seconds, 2),
    }


def _failures(failed: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"key": key, "error": message} for key, message in failed]


def _executor(options: dict[str, Any]) -> "Execute":
    from depthvar.precompute.pipeline.execute import TIMEOUT, in_threads, on_dask

    if options["workers"] or options["scheduler"]:
        return on_dask(options["workers"], options["scheduler"], options["timeout"] or TIMEOUT)
    return in_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _print(as_json: bool, facts: dict[str, Any], text: Callable[[dict[str, Any]], str]) -> None:
    if as_json:
        click.echo(hide_credentials(json.dumps(facts, ensure_ascii=False)))
    else:
        click.echo("\n".join(one_line(line) for line in hide_credentials(text(facts)).split("\n")))
