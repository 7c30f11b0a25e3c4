"""From what was typed to what is computed: options of the command line to a Job and a source."""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from depthvar.datasets.errors import DepthVarError, ParameterError
from depthvar.datasets.paths import cache_path

if TYPE_CHECKING:
    from depthvar.datasets.source.depth_source import DepthSource
    from depthvar.precompute.pipeline.job import Job

SAMPLE_ROOT = Path("data/hospital-sample")


def parse_cache(text: str) -> str:
    """Return a cache as it is opened: see :func:`~depthvar.datasets.paths.cache_path`."""
    return cache_path(text)


def make_job(options: Mapping[str, Any], dry_run: bool) -> "Job":
    """Turn the options of ``precompute run`` into a job.

    Raises:
        ParameterError: an option is not one of those allowed.
        DescriptionError, SourceError: the data set is unknown, or not there.
    """
    from depthvar.datasets.cache.format import CACHE_NAME
    from depthvar.precompute.kernel.api import KernelParams
    from depthvar.precompute.pipeline.job import Job

    _refuse_empty(options)
    params = KernelParams(estimator=options["estimator"], **_given(options))
    strides = _numbers("--strides", options["strides"], int)
    device = _device(options["device"])
    source = _source(options, dry_run)
    out = parse_cache(options["out"] or os.path.relpath(source.root / CACHE_NAME))
    if options["scheduler"] and "://" not in out:
        out = os.path.abspath(out)  # the workers of a cluster may be in another folder
    return Job(
        out,
        source,
        params,
        tuple(strides),
        device=device,
        on_error=options["on_error"],
        with_depth=options["with_depth"],
    )


def _refuse_empty(options: Mapping[str, Any]) -> None:
    """Raise ParameterError for an option that is there and empty: a variable of the shell that is not set."""
    for name, value in options.items():
        if value == "":
            raise ParameterError(
                f"--{name.replace('_', '-')}: expected a value, got an empty text; leave the option out"
            )


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the kernel's parameters that were typed; the difference has none, not even at their default."""
    names = ("window", "lambda_prior", "alpha_clamp", "compat")
    given = {name: options[name] for name in names if options[name] is not None}
    if given and options["estimator"] == "difference":
        flags = ", ".join(f"--{name.replace('_', '-')} {value}" for name, value in given.items())
        raise ParameterError(f"--estimator difference: expected no parameter of the range, got {flags}; leave it out")
    return given


def _source(options: Mapping[str, Any], dry_run: bool) -> "DepthSource":
    """Open the data set; on a fresh machine ``--dataset hospital`` is the built-in sample."""
    from depthvar.datasets.source.depth_source import open_source

    dataset, root = options["dataset"], options["root"]
    elsewhere = root or options["out"] or options["shard"] or options["scheduler"] or os.environ.get("DEPTHVAR_DATA")
    if dataset == "hospital" and not elsewhere:
        click.echo(
            f"no --root and no $DEPTHVAR_DATA: using the built-in sample scene, {SAMPLE_ROOT} "
            "(real data: precompute run --dataset hospital --root DIR)",
            err=True,
        )
        dataset, root = "hospital-sample", SAMPLE_ROOT
        if dry_run and not root.exists():
            raise DepthVarError(f"{root}: not written yet; `precompute sample {root}` writes it, then --dry-run again")
        if not dry_run:
            write_sample(root)
    given = options["intrinsics"]
    return open_source(
        dataset,
        root,
        intrinsics=None if given is None else _numbers("--intrinsics", given, float),
        units_per_metre=options["units_per_metre"],
        pattern=options["pattern"],
        max_depth=options["max_depth"],
    )


def write_sample(folder: Path) -> None:
    """Write the built-in scene, with its progress on stderr; a finished one is left as it is."""
    from depthvar.datasets.hospital.write import write_sample as write

    from .progress import Advance, progress

    with ExitStack() as stack:
        advance: Advance | None = None

        def report(done: int, total: int) -> None:
            nonlocal advance
            if advance is None:
                advance = stack.enter_context(progress(total, "writing the sample scene"))
            advance(1)

        write(folder, report)


def _numbers(option: str, text: str, kind: type[int] | type[float]) -> list[Any]:
    try:
        return [kind(number) for number in text.split(",")]
    except ValueError:
        raise ParameterError(f"{option}: expected numbers with commas between, got {text!r}") from None


def parse_part(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise ParameterError(f"--shard: expected I/N with I from 1 to N, such as 1/8, got {text!r}")
    return int(index), int(count)


def _device(name: str) -> str:
    if name != "cuda":
        return "cpu"  # decoding and compressing take longer than the CPU engine: docs/decisions/0005-device.md
    import torch

    if not torch.cuda.is_available():
        raise DepthVarError(
            "--device cuda: torch sees no CUDA device; use --device cpu, or install a CUDA build of torch"
        )
    return name
