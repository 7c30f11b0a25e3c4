"""Is a cache right? Structure, integrity, staleness, and frames recomputed. Returns findings, prints nothing."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import zarr

from depthvar.datasets.cache.format import FORMAT, FORMAT_VERSION, check_root
from depthvar.datasets.errors import CacheError, ParameterError
from depthvar.datasets.source.depth_source import DepthSource
from depthvar.datasets.source.description import Description
from depthvar.precompute.pipeline.lock import is_written, writer_lock
from depthvar.precompute.pipeline.remove import clear_group, clear_shard
from depthvar.precompute.pipeline.store import open_existing
from depthvar.precompute.pipeline.summary import DepthSummary, SigmaSummary

from .against_source import check_contrast, check_frame, check_listing, choose, job_of
from .finding import OVERWRITE, Finding
from .integrity import check_bookkeeping, check_done, check_maps, check_reached
from .limits import Contrast
from .structure import check_folders, check_group, check_strays, check_unique, list_files

Progress = Callable[[str, int, int], None]
"""Called with what is counted, how many are done, and how many there are."""


@dataclass
class Report:
    """What was checked, and what was found.

    Attributes:
        cache: path or URL.
        frames: that the cache lists.
        chunks: maps that were decoded.
        recomputed: frames that were compared with their source.
        cleared: shards whose digests were zeroed.
        findings: what is wrong; none: the cache can be trusted as far as was checked.
        warnings: what is worth a look, and no fault of the cache.
        typical: σ in metres of the frames compared, by kind of pixel: edge, smooth, far, near.
        seed: that drew the frames compared; None: none were drawn.
        sigma: of every frame decoded.
        depth: of the frames compared.
    """

    cache: str
    frames: int = 0
    chunks: int = 0
    recomputed: int = 0
    cleared: int = 0
    findings: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    typical: dict[str, float] = field(default_factory=dict)
    seed: int | None = None
    sigma: SigmaSummary = field(default_factory=SigmaSummary)
    depth: DepthSummary = field(default_factory=DepthSummary)


def depth_folder(cache: str, root: str | PathLike[str] | None = None) -> Path:
    """Return the folder of a cache's depth: ``root``, else the one that holds the cache.

    Raises:
        ParameterError: the cache is behind a URL, and no root is given.
    """
    if root is None and "://" in cache:
        raise ParameterError(
            f"{cache}: a cache behind a URL does not say where its depth is: pass --root DIR, or --recompute 0 to "
            "check the cache by itself"
        )
    return Path(root) if root is not None else Path(cache).absolute().parent


def validate(
    cache: str,
    source: DepthSource | Path | None = None,
    *,
    recompute: int = 8,
    seed: int | None = None,
    full: bool = False,
    clear: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> Report:
    """Check a cache against its format, its checksums, and the files that it was computed from.

    Args:
        cache: path or URL.
        source: the depth it was computed from, or the folder that holds it as the cache describes it; None checks
            the cache by itself.
        recompute: how many frames, drawn at random, are computed again and compared; at most one rounding step of
            ``keepbits`` may lie between (two engines differ in the last digits). Frames whose files look changed
            are compared too.
        seed: which frames are drawn; None: other ones every time.
        full: hash and compute again every frame.
        clear: zero the digests of shards with findings, so that the next run computes them again.
        progress: called while groups are read, maps are decoded and frames are compared.

    Raises:
        CacheError: there is no cache, or not one of ours, or it cannot be read; or a run is writing it, and ``clear``
            is asked for, or something looks wrong, which may be what is under way.
        SourceError: the folder of the depth is not there, or holds no frame.
    """
    root = open_existing(cache)
    if root is None:
        raise CacheError(f"{cache}: no cache is there; write one with `precompute run`, or check the path")
    seed = random.randrange(2**32) if seed is None else seed
    if clear:
        with writer_lock(cache):
            report = _validate(root, cache, source, recompute, seed, full, progress)
            report.cleared = _clear(root, report.findings)
    else:
        with _unwritten(cache) as wrong:
            report = _validate(root, cache, source, recompute, seed, full, progress)
            wrong += report.findings
    return report


@contextmanager
def _unwritten(cache: str) -> Iterator[list[Finding]]:
    """Yield a list for findings; with any, or after an error, raise CacheError if a run was or is writing the cache."""
    before = is_written(cache)
    wrong: list[Finding] = []
    busy = f"{cache}: a run is writing it, and what looks wrong may be under way; validate it when that has ended"
    try:
        yield wrong
    except Exception as error:
        if before or is_written(cache):
            raise CacheError(busy) from error
        raise
    if wrong and (before or is_written(cache)):
        raise CacheError(busy)


def _clear(root: zarr.Group, findings: list[Finding]) -> int:
    """Clear what findings name, and return how many shards or groups that are."""
    named = {finding.shard for finding in findings if finding.shard is not None}
    groups = {name for name, start in named if start is None}
    parameters: Any = root.attrs.asdict()["parameters"] if named else {}
    for name in sorted(groups):
        clear_group(root, name, parameters)
    shards = sorted((name, start) for name, start in named if start is not None and name not in groups)
    for name, start in shards:
        clear_shard(root, name, start)
    return len(groups) + len(shards)


def _validate(
    root: zarr.Group,
    cache: str,
    source: DepthSource | Path | None,
    recompute: int,
    seed: int,
    full: bool,
    progress: Progress,
) -> Report:
    report = Report(cache)
    stored = root.attrs.asdict()
    try:
        attributes = check_root(stored, cache)
    except CacheError as error:
        if (stored.get("format"), stored.get("format_version")) != (FORMAT, FORMAT_VERSION):
            raise
        report.findings.append(Finding("structure", cache, "intact attributes", str(error), OVERWRITE))
        return report
    files = list_files(root)  # first: what a run adds meanwhile is no stray file
    report.findings += check_folders(root, attributes, cache)
    groups, names, parameters = [], attributes["groups"], attributes["parameters"]
    for number, name in enumerate(names, start=1):
        group, findings = check_group(root, name, parameters)
        report.findings += findings
        groups += [] if group is None else [group]
        progress("groups read", number, len(names))
    maps = sum(len(group.keys) for group in groups) * (len(parameters["strides"]) + parameters["with_depth"])
    for group in groups:
        report.frames += sum(bool(key) for key in group.keys)
        report.findings += check_bookkeeping(group)
        for chunks, found, sigma in check_maps(root[group.name], group, parameters):
            report.chunks += chunks
            report.findings += found
            report.sigma += sigma
            progress("maps decoded", report.chunks, maps)
        report.findings += check_done(group)
        if source is None:
            report.findings += check_reached(group)
    report.findings += check_unique(groups)
    strays, report.warnings = check_strays(files, cache, names, groups, parameters)
    report.findings += strays
    if source is None:
        return report
    if isinstance(source, Path):
        source = DepthSource(attributes["dataset"], Description.from_dict(attributes["source"], cache), source)
    job = job_of(cache, source, parameters)
    report.findings += check_listing(source, groups)
    contrast = Contrast()
    report.seed = seed if recompute and not full else None
    chosen = choose(source, groups, recompute, full, seed)
    for group, row in chosen:
        report.findings += check_frame(root[group.name], group, row, job, attributes["fingerprint"], contrast)
        report.recomputed += 1
        progress("frames compared", report.recomputed, len(chosen))
    report.typical, report.depth = contrast.typical(), contrast.depth
    report.warnings += check_contrast(report.typical, report.recomputed)
    return report
