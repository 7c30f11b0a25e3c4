"""Is a cache right? Every check in turn. Returns findings, prints nothing."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from depthvar.datasets.cache import metadata
from depthvar.datasets.cache.attributes import FORMAT, FORMAT_VERSION, check_root
from depthvar.datasets.cache.store import Store, open_store
from depthvar.datasets.errors import CacheError, SourceError
from depthvar.datasets.paths import cache_path
from depthvar.datasets.source.depth_source import DepthSource
from depthvar.datasets.source.description import Description
from depthvar.datasets.source.source import Source
from depthvar.precompute.pipeline.lock import is_written, writer_lock
from depthvar.precompute.pipeline.remove import clear_group, clear_rows
from depthvar.precompute.pipeline.summary import DepthSummary, SigmaSummary

from . import completeness, integrity, staleness, statistics, structure
from .finding import OVERWRITE, Finding
from .subject import Progress, Subject

CHECKS = (structure.check, integrity.check, completeness.check, staleness.check, statistics.check)


@dataclass
class Report:
    """What was checked, and what was found.

    Attributes:
        cache: path or URL.
        frames: that the cache holds: done, failed or not done.
        chunks: maps that were decoded.
        recomputed: frames that were compared with their source.
        cleared: shards or groups that the next run will compute again.
        findings: what is wrong; none: the cache can be trusted as far as was checked.
        warnings: what is worth a look, and no fault of the cache.
        typical: σ in metres of the frames compared, by kind of pixel: edge, smooth, far, near.
        seed: that drew the frames compared; None: none were drawn.
        sigma: σ² at stride 1 of all frames that were decoded.
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

    def to_json(self) -> dict[str, Any]:
        """Return the same as plain values; ranges and shares in place of the sums."""
        return asdict(self) | {"sigma": self.sigma.to_json(), "depth": self.depth.to_json()}


def validate(
    cache: str | PathLike[str],
    source: Source | str | PathLike[str] | None = None,
    *,
    recompute: int = 8,
    seed: int | None = None,
    full: bool = False,
    clear: bool = False,
    progress: Progress = lambda what, done, total, failed: None,
) -> Report:
    """Check a cache against its format, its checksums, and the files that it was computed from.

    Args:
        cache: path or URL.
        source: the depth that it was computed from, or the folder that holds it as the cache describes it. None: the
            folder that holds the cache; where no frame of the cache is there, the cache is checked by itself, and a
            warning says so. A cache of a :class:`~depthvar.datasets.Source` of your own needs an object of that class.
        recompute: how many frames, drawn at random, are computed again and compared; at most one rounding step of
            ``keepbits`` may lie between (two engines differ in the last digits). Frames whose files look changed
            are compared too. 0, without ``full`` and ``source``: the depth is not looked at.
        seed: which frames are drawn; None: other ones every time.
        full: hash and compute again every frame.
        clear: zero the digests of frames with findings, so that the next run computes their shards again.
        progress: called while groups are read, maps are decoded and frames are compared.

    Raises:
        CacheError: there is no cache, or not one of this format, or it cannot be read; or a run is writing it, and
            ``clear`` is asked for, or something looks wrong, which may be what is under way.
        SourceError: the folder of the depth is not there, or holds no frame.

    Example:
        >>> from depthvar.precompute import validate
        >>> report = validate("data/hospital-sample/sigma_Z2.zarr", recompute=2)
        >>> report.findings, report.recomputed
        ([], 2)
    """
    location = cache_path(str(cache))
    store = open_store(location)
    root = metadata.read_root(store)
    if root is None:
        raise CacheError(f"{store.url}: no cache is there; write one with `precompute run`, or check the path")
    seed = random.randrange(2**32) if seed is None else seed
    report = Report(store.url)
    if clear:
        with writer_lock(location):
            _validate(store, root, report, source, recompute, seed, full, progress)
            report.cleared = _clear(store, root, report.findings)
    else:
        with _unwritten(location, report):
            _validate(store, root, report, source, recompute, seed, full, progress)
    return report


@contextmanager
def _unwritten(cache: str, report: Report) -> Iterator[None]:
    """With any finding, or after an error, raise CacheError if a run was or is writing the cache."""
    before = is_written(cache)
    busy = f"{cache}: a run is writing it, and what looks wrong may be under way; validate it when that has ended"
    try:
        yield
    except Exception as error:
        if before or is_written(cache):
            raise CacheError(busy) from error
        raise
    if report.findings and (before or is_written(cache)):
        raise CacheError(busy)


def _clear(store: Store, root: object, findings: list[Finding]) -> int:
    """Clear what findings name, and return how many shards or groups that are."""
    groups = {finding.group for finding in findings if finding.group is not None and finding.row is None}
    rows: dict[str, set[int]] = {}
    for finding in findings:
        if finding.group is not None and finding.row is not None and finding.group not in groups:
            rows.setdefault(finding.group, set()).add(finding.row)
    cleared = len(groups)
    if groups:
        parameters = check_root(root, store.url)["parameters"]
        for name in sorted(groups):
            clear_group(store, name, parameters)
    for name in sorted(rows):
        cleared += clear_rows(store, name, rows[name])
    return cleared


def _validate(
    store: Store,
    root: object,
    report: Report,
    source: Source | str | PathLike[str] | None,
    recompute: int,
    seed: int,
    full: bool,
    progress: Progress,
) -> None:
    try:
        attributes = check_root(root, store.url)
    except CacheError as error:
        if not isinstance(root, dict) or (root.get("format"), root.get("format_version")) != (FORMAT, FORMAT_VERSION):
            raise
        report.findings.append(Finding("structure", store.url, "intact attributes", str(error), OVERWRITE))
        return
    files = list(store.list())  # first: what a run adds meanwhile is no stray file
    subject = Subject(store, attributes, files, None, recompute, full, seed, progress)
    for check in CHECKS:
        for finding in check(subject):
            (report.warnings if finding.is_warning else report.findings).append(finding)
        if check is structure.check and (source is not None or recompute or full):
            report.warnings += _open_source(subject, source)
    report.frames = sum(book.frames() for book in subject.groups)
    report.chunks, report.recomputed = subject.chunks, subject.recomputed
    report.typical, report.sigma, report.depth = subject.contrast.typical(), subject.sigma, subject.depth
    report.seed = seed if subject.source is not None and recompute and not full else None


def _open_source(subject: Subject, source: Source | str | PathLike[str] | None) -> Iterator[Finding]:
    """Open the depth that the cache is compared with; yield a warning where it is not where the cache is."""
    given, described = source is not None, subject.attributes["source"]
    if not isinstance(source, Source):
        if given and not described:
            raise CacheError(f"{subject.url}: computed by a Source class, got a folder: pass source=, an object of it")
        folder = Path(source or ("." if "://" in subject.url else subject.url)).absolute()
        source = _described(subject, folder if given else folder.parent) if described else None
    stored = completeness.stored_keys(subject)
    try:
        there = source is not None and (not stored or not stored.isdisjoint(source.keys()))
    except SourceError:
        if given:
            raise
        there = False
    if there and ("://" not in subject.url or given):
        subject.source = source
        return
    some = f"expected files such as {min(stored, default='none')}"
    if given:
        raise CacheError(f"{source}: no frame of the cache is there: {some}; pass the folder of the depth as --root")
    got, cure = f"no frame of the cache in {source} ({some})", "pass the folder of the depth as --root"
    if source is None:
        got, cure = (
            "frames that only their own Source class can read",
            "pass source= in Python, an object of that class",
        )
    got += ": not compared with depth"
    yield Finding("staleness", subject.url, "the depth that it was computed from", got, cure, is_warning=True)


def _described(subject: Subject, folder: Path) -> DepthSource:
    """Return the data set that a cache describes, in a folder."""
    description = Description.from_dict(subject.attributes["source"], subject.url)
    return DepthSource(subject.attributes["dataset"], description, folder)
