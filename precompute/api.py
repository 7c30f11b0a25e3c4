"""Everything that ``precompute run`` does, in Python: the command line is a shell over these functions."""

import logging
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, cast

from depthvar.datasets.cache.format import CACHE_NAME
from depthvar.datasets.errors import ParameterError
from depthvar.datasets.params import Estimator, KernelParams
from depthvar.datasets.paths import cache_path, is_url
from depthvar.datasets.scalars import require, whole
from depthvar.datasets.source.source import Source

from .inspection.glance import glance
from .pipeline import run as pipeline
from .pipeline.execute import check_engine, cpus, executor
from .pipeline.job import Job, OnError, TaskResult
from .pipeline.plan import Plan, failures
from .pipeline.summary import DepthSummary, SigmaSummary, stage_seconds

log = logging.getLogger("depthvar")


class Progress(Protocol):
    """Called as work is done."""

    def __call__(self, what: str, done: int, total: int, failed: int, written: int = 0, /) -> None:
        """Take what is counted, how many are done, of how many, how many of those failed, and the bytes written."""


Out = str | os.PathLike[str] | None
Part = tuple[int, int]
NEAREST_MOST, FARTHEST_LEAST = 200.0, 0.1  # metres: beyond them a run warns that the unit may be wrong
FRAMES_PER_WORKER = 100  # of 640×480, which threads compute in the 2 s of CPU that a worker process needs to start


@dataclass(frozen=True)
class RunResult:
    """Result of a run, in frames.

    Attributes:
        dataset: name of the source.
        cache: path or URL.
        total: frames of the source.
        frames: frames that this run was about: all, or those of its part.
        computed: frames whose σ² was computed and written.
        unchanged: frames that needed nothing, or whose content was found unchanged.
        kept: frames of the cache that are not in the source, and stay as they are.
        pruned: frames of the cache that are not in the source, and were removed.
        failed: (key, message) of the frames that could not be read (``on_error="skip"``).
        left: frames that ``limit`` left for another run.
        bytes_written: bytes of the maps and the bookkeeping of these frames, as they are stored.
        seconds: of the whole run.
        preparation_seconds: of it, before frames were computed: files are looked at, cache and kernel prepared.
        frames_per_second: while frames were computed.
        stages: seconds of each stage of the work ("read" with decoding, "kernel", "digest", "encode", "statistics",
            "write", …), summed over threads or workers, the longest first; last "idle", unless a scheduler's workers
            were used.
        depth: of the frames computed.
        sigma: of the frames computed, at stride 1.
    """

    dataset: str
    cache: str
    total: int
    frames: int
    computed: int
    unchanged: int
    kept: int
    pruned: int
    failed: tuple[tuple[str, str], ...]
    left: int
    bytes_written: int
    seconds: float
    preparation_seconds: float
    frames_per_second: float
    stages: Mapping[str, float]
    depth: DepthSummary
    sigma: SigmaSummary

    def to_json(self) -> dict[str, Any]:
        """Return the same as plain values; ranges and shares in place of the sums."""
        plain = {"failed": failures(self.failed), "depth": self.depth.to_json(), "sigma": self.sigma.to_json()}
        return asdict(self) | plain


def run(
    source: Source,
    out: Out = None,
    params: Estimator | None = None,
    *,
    strides: Sequence[int] = Job.strides,
    with_depth: bool = False,
    keep: Sequence[Literal["edge"]] = (),
    device: str = "cpu",
    on_error: OnError = "fail",
    part: Part | None = None,
    limit: int | None = None,
    overwrite: bool = False,
    prune: bool = False,
    only_writer: bool = False,
    threads: int | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    timeout: float | None = None,
    progress: Progress = lambda *_: None,
) -> RunResult:
    """Compute σ_Z² of all frames of a source into a cache; frames that are done and unchanged are not read again.

    Args:
        source: the frames: of :func:`~depthvar.datasets.open_source`, or a class of your own that derives from
            :class:`~depthvar.datasets.Source`.
        out: the cache, a folder or a URL; None: ``sigma_Z2.zarr`` in the folder of the data.
        params: :class:`KernelParams` or :class:`Difference`; None: ``KernelParams()``.
        strides: levels to store; 1 is always stored.
        with_depth: store the decoded depth next to σ².
        keep: ``("edge",)``: store also what ``SigmaCache`` needs to give σ² for other values of ``lambda_prior`` and
            ``alpha_clamp`` (docs/sweeps.md); not for :class:`Difference` or ``compat="pi3"``.
        device: "cpu", or "cuda": a GPU, by Triton where it runs there, else by torch.
        on_error: "fail": stop at a frame that cannot be read; "skip": leave it out, and list it in the result.
        part: (i, n): only every n-th shard, beginning with the i-th (from 1), for n runs at the same time.
        limit: stop after this many frames, rounded up to whole shards.
        overwrite: remove an existing cache first, whatever its parameters.
        prune: remove frames of the cache that the source does not have (else they are kept, and counted).
        only_writer: for a cache at a URL, if nobody else writes it: remove the lock of a dead run, and work without a
            lock on a server that cannot keep one.
        threads: of this process, each with a shard of up to 96 MiB in memory; None: the CPUs that it may use.
        workers: Dask worker processes in place of threads.
        scheduler: address of a Dask scheduler, whose workers are used.
        timeout: seconds that a worker may use for a shard, then it is ended, and its frames failed; None: 600.
        progress: called as frames are done.

    Raises:
        CacheError: another run writes the cache, its parameters differ, it is damaged or cannot be written.
        SourceError: the source is empty, or a frame cannot be read and ``on_error`` is "fail".
        ParameterError: an argument is not one of those allowed.
        MissingLibraryError: a GPU or ``compat="pi3"`` is asked for, and torch is not installed.

    Example:
        >>> from depthvar.datasets import open_source
        >>> from depthvar.precompute import run
        >>> source = open_source("hospital-sample", "data/hospital-sample")
        >>> result = run(source, "sigma.zarr", strides=(1, 2), limit=1)
        >>> result.computed + result.unchanged > 0
        True
    """
    began = time.perf_counter()
    execute, _ = executor(threads, workers, scheduler, timeout)
    what: dict[str, Any] = {
        "strides": strides, "with_depth": with_depth, "keep": keep, "device": device, "on_error": on_error
    }  # fmt: skip
    job = _job(source, out, params, part, limit, scheduler, **what)
    events = pipeline.run(
        job, execute, overwrite=overwrite, prune=prune, part=part, limit=limit, only_writer=only_writer
    )
    computed, checked, written, depth, sigma, spent = 0, 0, 0, DepthSummary(), SigmaSummary(), Counter[str]()
    with closing(events):  # so that Ctrl-C releases the lock before anything else happens
        planned = cast(Plan, next(events))
        if 0 < planned.compute < FRAMES_PER_WORKER * (workers or 0):
            log.info(
                "workers=%d: for %d frames threads, the default, are faster: each process needs some 2 s to "
                "start", workers, planned.compute,
            )  # fmt: skip
        if planned.compute:
            glance(source)
        working, failed, total = time.perf_counter(), list(planned.failed), planned.compute + planned.check
        progress("frames done", 0, total, 0)
        for event in events:
            done = cast(TaskResult, event)
            computed, checked, written = computed + done.computed, checked + done.checked, written + done.written
            depth, sigma = depth + done.depth, sigma + done.sigma
            failed += done.failed
            spent.update(done.seconds)
            new = len(failed) - len(planned.failed)
            progress("frames done", computed + checked + new, total, new, written)
    ended = time.perf_counter()
    if doubt := _depth_doubt(depth):
        log.warning("%s", doubt)
    unchanged = planned.done + checked
    return RunResult(
        dataset=planned.dataset,
        cache=planned.cache,
        total=planned.total,
        frames=planned.frames,
        computed=computed,
        unchanged=unchanged,
        kept=planned.kept,
        pruned=planned.pruned,
        failed=tuple(failed),
        left=planned.frames - computed - unchanged - len(failed),
        bytes_written=written,
        seconds=round(ended - began, 3),
        preparation_seconds=round(working - began, 3),
        frames_per_second=round(computed / (ended - working), 2),
        stages=stage_seconds(spent, ended - working, None if scheduler else workers or threads or cpus()),
        depth=depth,
        sigma=sigma,
    )


def _depth_doubt(depth: DepthSummary) -> str:
    """Return what is unusual about the depth of a run, for a warning; "": nothing."""
    if depth.frames and not depth.valid:
        return "no pixel of the frames computed has a valid depth: check the unit, unknown values and the maximum depth"
    if depth.valid and (depth.nearest > NEAREST_MOST or depth.farthest < FARTHEST_LEAST):
        reach = f"{depth.nearest:.3g} to {depth.farthest:.3g} m"
        return f"depth from {reach} is unusual: check the unit (--units-per-metre)"
    return ""


def plan(
    source: Source,
    out: Out = None,
    params: Estimator | None = None,
    *,
    strides: Sequence[int] = Job.strides,
    with_depth: bool = False,
    keep: Sequence[Literal["edge"]] = (),
    device: str = "cpu",
    on_error: OnError = "fail",
    part: Part | None = None,
    limit: int | None = None,
    overwrite: bool = False,
    prune: bool = False,
) -> Plan:
    """Return what :func:`run` would do with the same arguments; writes nothing.

    Raises:
        CacheError: the cache is of other parameters, or not a cache.
        SourceError: the source has no frames, or one that cannot be read.
        ParameterError: an argument is not one of those allowed.

    Example:
        >>> from depthvar.datasets import open_source
        >>> from depthvar.precompute import plan
        >>> plan(open_source("hospital-sample", "data/hospital-sample"), "new.zarr")
        Plan(hospital-sample, ... frames → new.zarr: compute ..., check 0, 0 done; 2 shards, ... MB before compression)
    """
    what: dict[str, Any] = {
        "strides": strides, "with_depth": with_depth, "keep": keep, "device": device, "on_error": on_error
    }  # fmt: skip
    job = _job(source, out, params, part, limit, **what)
    return pipeline.plan_run(job, overwrite=overwrite, prune=prune, part=part, limit=limit)


def _job(
    source: Source,
    out: Out,
    params: Estimator | None,
    part: Part | None,
    limit: int | None,
    scheduler: str | None = None,
    **what: Any,
) -> Job:
    """Return the job of a run; raise an error for arguments that it cannot use."""
    if out is None:
        if (root := getattr(source, "root", None)) is None:
            rule = "the cache to write, a folder or a URL"
            raise ParameterError(f"out: expected {rule}, got None for a source without a root")
        out = f"{root}/{CACHE_NAME}" if isinstance(root, str) else os.path.relpath(root / CACHE_NAME)
    cache = cache_path(out)
    if scheduler and not is_url(cache):
        cache = os.path.abspath(cache)  # the workers of a cluster may be in another folder
    job = Job(cache, source, params or KernelParams(), **what)
    check_engine(job.device, job.params)
    if part is not None:
        rule = "two whole numbers (i, n) with i from 1 to n"
        require("part", part, rule, isinstance(part, Sequence) and len(part) == 2)
        count = whole("part", part[1], rule, lambda number: number >= 1)
        whole("part", part[0], rule, lambda number: 1 <= number <= count)
    if limit is not None:
        whole("limit", limit, "a whole number from 1", lambda number: number >= 1)
    return job
