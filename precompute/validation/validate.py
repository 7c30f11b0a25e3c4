"""Is a cache right? Every check in turn. Returns findings, prints nothing."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike

from depthvar.datasets.cache import metadata
from depthvar.datasets.cache.attributes import FORMAT, FORMAT_VERSION, check_root
from depthvar.datasets.cache.described import described_source
from depthvar.datasets.cache.store import open_store
from depthvar.datasets.errors import CacheError, SourceError, StoreError
from depthvar.datasets.paths import cache_path, folder_above
from depthvar.datasets.scalars import require
from depthvar.datasets.source.source import Source
from depthvar.precompute.pipeline.lock import is_written, writer_lock
from depthvar.precompute.pipeline.remove import clear_group, clear_rows

from . import completeness, integrity, staleness, statistics, structure
from .finding import OVERWRITE, Finding, Report
from .subject import Progress, Subject

CHECKS = (structure.check, integrity.check, completeness.check, staleness.check, statistics.check)


def validate(
    cache: str | PathLike[str],
    source: Source | str | PathLike[str] | None = None,
    *,
    recompute: int = 8,
    seed: int | None = None,
    full: bool = False,
    clear: bool = False,
    only_writer: bool = False,
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
        only_writer: with ``clear``, of a cache behind a URL: nobody else writes it, as for ``depthvar.precompute.run``.
        progress: called while groups are read, maps are decoded and frames are compared.

    Raises:
        ParameterError: ``only_writer`` without ``clear``, or of a cache in a folder.
        CacheError: there is no cache, or not one of this format, or it cannot be read; or a run is writing it, and
            ``clear`` is asked for, or something looks wrong, which may be what is under way.
        SourceError: the folder of the depth is not there, or holds no frame.

    Example:
        >>> from depthvar.precompute import validate
        >>> report = validate("data/hospital-sample/sigma_Z2.zarr", recompute=2)
        >>> report.findings, report.recomputed
        ([], 2)
    """
    require("only_writer", only_writer, "clear with it, as only that writes", clear or not only_writer)
    location = cache_path(str(cache))
    store = open_store(location)
    root = metadata.read_root(store)
    if root is None:
        raise CacheError(f"{store.url}: no cache is there; write one with `precompute run`, or check the path")
    report = Report(store.url)
    with writer_lock(location, only_writer=only_writer) if clear else _unwritten(location, report):
        try:
            attributes = check_root(root, store.url)
        except CacheError as error:
            known = root if isinstance(root, dict) else {}
            if (known.get("format"), known.get("format_version")) != (FORMAT, FORMAT_VERSION):
                raise
            report.findings.append(Finding("structure", store.url, "intact attributes", str(error), OVERWRITE))
            return report
        seed = random.randrange(2**32) if seed is None else seed
        subject = Subject(store, attributes, list(store.list()), report, recompute, seed, full, progress)
        for check in CHECKS:
            for finding in check(subject):
                (report.warnings if finding.is_warning else report.findings).append(finding)
            if check is structure.check and (source is not None or recompute or full):
                report.warnings += _open_source(subject, source, location)
        report.frames = sum(book.frames() for book in subject.groups)
        report.seed = seed if subject.source is not None and recompute and not full else None
        report.cleared = _clear(subject) if clear else 0
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


def _clear(subject: Subject) -> int:
    """Clear what findings name, and return how many shards or groups that are."""
    rows: dict[str, set[int]] = {}
    groups = set()
    for finding in subject.report.findings:
        if finding.group is not None and finding.row is not None:
            rows.setdefault(finding.group, set()).add(finding.row)
        elif finding.group is not None:
            groups.add(finding.group)
    for name in sorted(groups):
        clear_group(subject.store, name, subject.parameters)
    return len(groups) + sum(clear_rows(subject.store, name, rows[name]) for name in sorted(rows.keys() - groups))


def _open_source(subject: Subject, given: Source | str | PathLike[str] | None, location: str) -> Iterator[Finding]:
    """Open the depth that the cache is compared with; yield a warning where it is not where the cache is."""
    described, cure = subject.attributes["source"], "pass the folder of the depth as --root"
    if not described and not isinstance(given, Source):
        if given is not None:
            raise CacheError(f"{subject.url}: computed by a Source class, got a folder: pass source=, an object of it")
        got, cure = (
            "frames that only their own Source class can read",
            "pass source= in Python, an object of that class",
        )
    elif (root := folder_above(location) if given is None else given) is None:
        got = "a cache that is a whole bucket"
    else:
        source = root if isinstance(root, Source) else described_source(subject.attributes, root, subject.url)
        stored = completeness.stored_keys(subject)
        some = f"expected files such as {min(stored, default='none')}"
        try:
            if not stored or not stored.isdisjoint(source.keys()):
                subject.source = source
                return
        except (SourceError, StoreError):
            if given is not None:
                raise
        if given is not None:
            raise CacheError(f"{source}: no frame of the cache is there: {some}; {cure}")
        got = f"no frame of the cache in {source} ({some})"
    expected, got = "the depth that it was computed from", f"{got}: not compared with depth"
    yield Finding("staleness", subject.url, expected, got, cure, is_warning=True)
