"""Is a cache right? Structure, integrity, staleness, and a recomputed sample. Returns findings, prints nothing."""

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray

from depthvar.datasets.errors import CacheError, DepthVarError
from depthvar.datasets.format import FAILED, NOT_DONE, check_root, expected_metadata, level_name, level_shape
from depthvar.datasets.source import DepthSource

from .fingerprint import fingerprint, frame_digest
from .kernel import KernelParams
from .plan import GroupPlan, StoredGroup
from .store import check_arrays, clear_shard, open_existing, read_group
from .worker import Job, frame_levels

RUN_AGAIN = "`precompute run` with the options of the cache"
CLEAR = f"`precompute validate --clear`, then {RUN_AGAIN}"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        check: structure | integrity | completeness | staleness | recomputation.
        where: the frame's key, or the group or array.
        expected: what should be there.
        got: what is there.
        repair: what to type next.
        shard: (group, first row) of the shard that ``--clear`` makes the next run compute again.
    """

    check: str
    where: str
    expected: str
    got: str
    repair: str
    shard: tuple[str, int] | None = None


@dataclass
class Report:
    """What was checked, and what was found."""

    cache: str
    frames: int = 0
    chunks: int = 0
    recomputed: int = 0
    cleared: int = 0
    findings: list[Finding] = field(default_factory=list)


def validate(
    cache: str,
    source: DepthSource | None = None,
    *,
    sample: int = 8,
    full: bool = False,
    clear: bool = False,
) -> Report:
    """Check a cache against its format, its checksums, and the files that it was computed from.

    Args:
        cache: path or URL.
        source: the depth it was computed from; None checks the cache by itself.
        sample: how many frames, drawn at random, are computed again and compared; at most one rounding step of
            ``keepbits`` may lie between (two engines differ in the last digits).
        full: hash and compute again every frame.
        clear: zero the digests of shards with findings, so that the next run computes them again.

    Raises:
        CacheError: there is no cache, or not one of ours.
    """
    root = open_existing(cache)
    if root is None:
        raise CacheError(f"{cache}: no cache is there; write one with `precompute run`, or check the path")
    report = Report(cache)
    try:
        attributes = check_root(root.attrs.asdict(), cache)
    except CacheError as error:
        if "checksum" not in str(error):
            raise
        report.findings.append(Finding("structure", cache, "intact attributes", str(error), "--overwrite"))
        return report
    groups = []
    for name in attributes["groups"]:
        group, findings = _check_group(root, name, attributes["parameters"])
        report.findings += findings
        if group is not None:
            groups.append(group)
            report.frames += sum(bool(key) for key in group.keys)
            for chunks, finding in _check_maps(cast(zarr.Group, root[name]), group, attributes["parameters"]):
                report.chunks += chunks
                report.findings += finding
            report.findings += _check_done(group)
    if source is not None:
        job = _job(cache, source, attributes["parameters"])
        report.findings += _check_listing(source, groups)
        chosen = _choose(source, groups, sample, full, attributes["fingerprint"])
        for group, row in chosen:
            report.recomputed += 1
            report.findings += _check_frame(root[group.name], group, row, job, attributes["fingerprint"])
    if clear:
        shards = {finding.shard for finding in report.findings if finding.shard is not None}
        for name, start in sorted(shards):
            clear_shard(root, name, start)
        report.cleared = len(shards)
    return report


def _check_group(
    root: zarr.Group, name: str, parameters: Mapping[str, Any]
) -> tuple[StoredGroup | None, list[Finding]]:
    """Structure: the group is there, and its attributes and arrays are what the parameters imply."""
    strides, with_depth = tuple(parameters["strides"]), bool(parameters["with_depth"])
    try:
        if name not in root:
            return None, [Finding("structure", name, "the group that the cache lists", "nothing", RUN_AGAIN)]
        node: Any = root[name]
        group = read_group(node, name, tolerant=True)
        plan = GroupPlan(name, group.sequence, group.layout, len(group.keys))
        check_arrays(node, plan, strides, with_depth)
    except (CacheError, KeyError, ValueError, TypeError) as error:
        return None, [Finding("structure", name, "intact metadata", str(error), "`precompute run --overwrite`")]
    expected = expected_metadata(group.layout, len(group.keys), strides, with_depth)
    stray = sorted(set(node.array_keys()) - set(expected))
    return group, [
        Finding("structure", f"{name}/{array}", "no such array", "an array", "remove it by hand") for array in stray
    ] + [
        Finding(
            "integrity", f"{name}, {column}, rows from {start}", "intact bookkeeping", "damaged", CLEAR, (name, start)
        )
        for column, start in group.damaged
    ]


def _check_maps(
    node: zarr.Group, group: StoredGroup, parameters: Mapping[str, Any]
) -> Iterator[tuple[int, list[Finding]]]:
    """Integrity: decode every chunk (zlib, CRC32C), and look for values that no run writes."""
    names = [level_name(stride) for stride in parameters["strides"]] + ["depth"] * bool(parameters["with_depth"])
    step = group.layout.shard_frames
    for name in names:
        for start in range(0, len(group.keys), step):
            count = min(step, len(group.keys) - start)
            findings = []
            for row, values in _rows(node[name], start, count):
                digest = group.digest[row].tobytes()
                if digest in (NOT_DONE, FAILED):
                    continue
                if isinstance(values, Exception):
                    got = f"{type(values).__name__}: {values}"
                elif np.isnan(values).any():
                    got = "missing values (NaN)"
                elif (values < 0).any():
                    got = f"the negative value {values.min()}"
                else:
                    continue
                where = f"{group.keys[row]}, {name}"
                findings.append(Finding("integrity", where, "values ≥ 0 or +inf", got, CLEAR, (group.name, start)))
            yield count, findings


def _rows(array: Any, start: int, count: int) -> Iterator[tuple[int, NDArray[np.float32] | Exception]]:
    """Yield the rows of a shard; where it cannot be decoded as a whole, one by one, to name the frames."""
    try:
        yield from enumerate(array[start : start + count], start)
    except Exception:
        for row in range(start, start + count):
            try:
                yield row, array[row]
            except Exception as error:  # whatever codecs raise on damaged bytes
                yield row, error


def _check_done(group: StoredGroup) -> Iterator[Finding]:
    """Completeness: every row that has a key, and whose frame is not gone, is done."""
    for row, key in enumerate(group.keys):
        digest = group.digest[row].tobytes()
        if digest == FAILED:
            yield Finding("completeness", key, "a computed frame", "one whose file could not be read", RUN_AGAIN)
        elif digest == NOT_DONE and group.intrinsics[row].any():
            yield Finding("completeness", key, "a computed frame", "one that is not done", RUN_AGAIN)


def _check_listing(source: DepthSource, groups: list[StoredGroup]) -> Iterator[Finding]:
    """Completeness: every frame of the source is there, and no other."""
    rows = {key: group.digest[row].tobytes() for group in groups for row, key in enumerate(group.keys) if key}
    keys = set(source.keys())
    for key in sorted(keys - rows.keys()):
        yield Finding("completeness", key, "a computed frame", "a frame that the cache does not list", RUN_AGAIN)
    for key in sorted(key for key in rows.keys() - keys if rows[key] != NOT_DONE):
        yield Finding("staleness", key, "no frame: the source has none", "a computed frame", RUN_AGAIN)


def _choose(
    source: DepthSource, groups: list[StoredGroup], sample: int, full: bool, mark: str
) -> list[tuple[StoredGroup, int]]:
    """Return the frames to compare: those whose files look changed, and a random sample (or all)."""
    keys = set(source.keys())
    done = [
        (group, row)
        for group in groups
        for row, key in enumerate(group.keys)
        if key in keys and group.digest[row].tobytes() not in (NOT_DONE, FAILED)
    ]
    if full:
        return done
    chosen = set(random.Random(mark).sample(range(len(done)), min(sample, len(done))))
    for index, (group, row) in enumerate(done):
        try:
            stat = source.stat(group.keys[row])
            same = (stat.total_size, stat.hash63) == tuple(group.stat[row].tolist())
            same = same and np.array_equal(source.intrinsics(group.keys[row]), group.intrinsics[row])
        except DepthVarError:
            same = False
        if not same:
            chosen.add(index)
    return [done[index] for index in sorted(chosen)]


def _check_frame(node: Any, group: StoredGroup, row: int, job: Job, mark: str) -> Iterator[Finding]:
    """Staleness and recomputation of one frame."""
    key, layout = group.keys[row], group.layout
    shard = (group.name, row - row % layout.shard_frames)
    try:
        frame = job.source.read(key)
    except DepthVarError as error:
        yield Finding("staleness", key, "a readable source file", str(error), RUN_AGAIN)
        return
    digest = frame_digest(frame, mark)
    if digest != group.digest[row].tobytes():
        expected, got = group.digest[row].tobytes().hex()[:16], digest.hex()[:16]
        yield Finding("staleness", key, f"source digest {expected}…", f"{got}…: the source changed", RUN_AGAIN, shard)
        return
    levels = {s: np.empty(level_shape(layout.height, layout.width, s), np.float32) for s in job.strides}
    frame_levels(frame, job, levels)
    step = math.ldexp(1.0, -job.keepbits)
    for stride, wanted in levels.items():
        try:
            stored = np.asarray(node[level_name(stride)][row])
        except Exception:  # an integrity finding already
            continue
        with np.errstate(invalid="ignore"):
            wrong = ~((stored == wanted) | (np.abs(stored - wanted) <= step * wanted) & np.isfinite(wanted))
        if wrong.any():
            y, x = np.argwhere(wrong)[0]
            where = f"{key}, {level_name(stride)} at row {y}, column {x}"
            got = f"{stored[y, x]:.6g} ({int(wrong.sum())} pixels differ)"
            yield Finding("recomputation", where, f"{wanted[y, x]:.6g} m²", got, CLEAR, shard)


def _job(cache: str, source: DepthSource, parameters: Mapping[str, Any]) -> Job:
    """Return the job that computes what a cache's parameters say."""
    names = ("window", "lambda_prior", "alpha_clamp", "min_valid", "compat")
    params = KernelParams(**{name: parameters[name] for name in names})
    job = Job(cache, source, params, tuple(parameters["strides"]), parameters["keepbits"], parameters["with_depth"])
    if fingerprint(job.parameters()) != fingerprint(parameters):
        raise CacheError(
            f"{cache}: computed by another kernel version or decode rule than this depthvar's; "
            "install the one that it names under `precompute info`, or compute it anew with --overwrite"
        )
    return job
