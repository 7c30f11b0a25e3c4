"""Is a cache still what its source gives? The listing, the files' content, and frames computed again."""

import math
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.cache.format import NOT_DONE, level_name, level_shape
from depthvar.datasets.errors import CacheError, DepthVarError
from depthvar.datasets.source.depth_source import DepthSource
from depthvar.precompute.pipeline.fingerprint import fingerprint, frame_digest, kernel_params
from depthvar.precompute.pipeline.plan import StoredGroup
from depthvar.precompute.pipeline.worker import Job, frame_levels

from .finding import CLEAR, EXPECTED, RESTORE, RUN_AGAIN, Finding, is_done, refuse_machine_fault
from .limits import Contrast, unlike_depth


def job_of(cache: str, source: DepthSource, parameters: Mapping[str, Any]) -> Job:
    """Return the job that computes what a cache's parameters say.

    Raises:
        CacheError: this depthvar computes something else.
    """
    params = kernel_params(parameters)
    job = Job(cache, source, params, tuple(parameters["strides"]), parameters["keepbits"], parameters["with_depth"])
    if fingerprint(job.parameters()) != fingerprint(parameters):
        raise CacheError(
            f"{cache}: computed by another kernel version or decode rule than this depthvar's; "
            "install the one that it names under `precompute info`, or compute it anew with --overwrite"
        )
    return job


def check_listing(source: DepthSource, groups: list[StoredGroup]) -> Iterator[Finding]:
    """Completeness: every frame of the source is there, and no other."""
    rows = {
        key: group.digest[row].tobytes()
        for group in groups
        for row, key in enumerate(group.keys)
        if group.digest[row].any() or group.intrinsics[row].any()  # neither: cleared
    }
    keys = set(source.keys())
    if rows and not keys & rows.keys():
        raise CacheError(
            f"{source.root}: no frame of the cache is there: expected files such as {next(iter(rows))}; pass the "
            "folder of the depth as --root"
        )
    for key in sorted(keys - rows.keys()):
        yield Finding("completeness", key, "a computed frame", "a frame that the cache does not hold", RUN_AGAIN)
    for key in sorted(key for key in rows.keys() - keys if rows[key] != NOT_DONE):
        yield Finding("staleness", key, "no frame: the source has none", "a computed frame", RUN_AGAIN)


def choose(
    source: DepthSource, groups: list[StoredGroup], count: int, full: bool, seed: int
) -> list[tuple[StoredGroup, int]]:
    """Return the rows to compare: those whose files look changed, and ``count`` at random (or all)."""
    keys = set(source.keys())
    done = [
        (group, row) for group in groups for row, key in enumerate(group.keys) if key in keys and is_done(group, row)
    ]
    if full:
        return done
    chosen = set(random.Random(seed).sample(range(len(done)), min(count, len(done))))
    return [
        (group, row)
        for index, (group, row) in enumerate(done)
        if index in chosen or not _looks_unchanged(source, group, row)
    ]


def _looks_unchanged(source: DepthSource, group: StoredGroup, row: int) -> bool:
    key = group.keys[row]
    try:
        stat, intrinsics = source.stat(key), source.intrinsics(key)
    except DepthVarError:
        return False
    same_stat = (stat.total_size, stat.hash63) == tuple(group.stat[row].tolist())
    return same_stat and np.array_equal(intrinsics, group.intrinsics[row])


def check_frame(node: Any, group: StoredGroup, row: int, job: Job, mark: str, contrast: Contrast) -> Iterator[Finding]:
    """Staleness, recomputation and meaning of one frame; its values and depth go into ``contrast``.

    ``mark`` is the fingerprint that the cache names.
    """
    key, layout = group.keys[row], group.layout
    shard = (group.name, row - row % layout.shard_frames)
    try:
        frame = job.source.read(key)
    except DepthVarError as error:
        yield Finding("staleness", key, "a readable source file", str(error), RESTORE)
        return
    digest, recorded = frame_digest(frame, mark), group.digest[row].tobytes()
    if digest != recorded:
        got = f"{digest.hex()[:16]}…: the source changed"
        seen = not _looks_unchanged(job.source, group, row)  # a run hashes it again; an edit that kept both it does not
        yield Finding(
            "staleness", key, f"source digest {recorded.hex()[:16]}…", got, RUN_AGAIN if seen else CLEAR, shard
        )
        return
    if not np.array_equal(frame.intrinsics, group.intrinsics[row]):  # the digest is of the source's: σ² is right
        given, got = (", ".join(f"{x:.9g}" for x in camera) for camera in (frame.intrinsics, group.intrinsics[row]))
        yield Finding("staleness", f"{key}, intrinsics", given, got, RUN_AGAIN, shard)
    levels = {s: np.empty(level_shape(layout.height, layout.width, s), np.float32) for s in job.strides}
    frame_levels(frame, job, levels)
    step = math.ldexp(1.0, -job.keepbits)
    for stride, wanted in levels.items():
        name = level_name(stride)
        stored = _read(node, name, row)
        if stored is None:  # an integrity finding already, and so is NaN
            continue
        with np.errstate(invalid="ignore"):
            close = np.isfinite(wanted) & (np.abs(stored - wanted) <= step * wanted)
        wrong = ~(close | (stored == wanted) | np.isnan(stored))
        if wrong.any():
            yield _recomputed(key, name, wanted, stored, wrong, "m²", shard)
        elif not np.isnan(stored).any():
            unlike = unlike_depth(stored, frame.depth, job.parameters(), frame.intrinsics, stride)
            if unlike:  # stored and computed again agree
                got = f"{unlike}, which this kernel gives too: please report it"
                yield Finding("meaning", f"{key}, {name}", EXPECTED, got, CLEAR, shard)
        if stride == 1:
            contrast.add(stored, frame)
    if job.with_depth and (stored := _read(node, "depth", row)) is not None:
        wrong = ~((stored == frame.depth) | np.isnan(stored))
        if wrong.any():
            yield _recomputed(key, "depth", frame.depth, stored, wrong, "m", shard)


def _read(node: Any, name: str, row: int) -> NDArray[np.float32] | None:
    try:
        return np.asarray(node[name][row])
    except Exception as error:  # whatever codecs raise on damaged bytes
        refuse_machine_fault(error, f"{node.store_path}/{name}")
        return None


def _recomputed(
    key: str,
    name: str,
    wanted: NDArray[np.float32],
    stored: NDArray[np.float32],
    wrong: NDArray[np.bool_],
    unit: str,
    shard: tuple[str, int],
) -> Finding:
    y, x = np.argwhere(wrong)[0]
    got = f"{stored[y, x]:.6g} ({int(wrong.sum())} pixels differ)"
    where = f"{key}, {name} at row {y}, column {x}"
    return Finding("recomputation", where, f"{wanted[y, x]:.6g} {unit}", got, CLEAR, shard)


def check_contrast(typical: Mapping[str, float], frames: int) -> Iterator[Finding]:
    """Statistics, as warnings: σ is mostly larger at edges than elsewhere, and far away than near."""
    for more, less, what in (("edge", "smooth", "at edges of the depth"), ("far", "near", "in the farther half")):
        if more in typical and less in typical and typical[more] <= typical[less]:
            yield Finding(
                "statistics",
                f"the {frames} frames computed again",
                f"σ {what} above σ elsewhere",
                f"typically {typical[more]:.3g} m there and {typical[less]:.3g} m elsewhere",
                "none is needed where the scenes are like that; else see that the data set is described as it is "
                "stored (unit, far, intrinsics: docs/datasets.md)",
            )
