"""Is every stored byte what was written, and every value one that a run can write? Without a look at the source."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.cache.format import FAILED, NOT_DONE, level_name
from depthvar.precompute.pipeline.plan import StoredGroup
from depthvar.precompute.pipeline.summary import SigmaSummary

from .finding import CLEAR, EXPECTED, RUN_AGAIN, SEE_WHY, Finding, is_done, refuse_machine_fault, text_of
from .limits import impossible, unlike_depth


def check_bookkeeping(group: StoredGroup) -> Iterator[Finding]:
    """Integrity: every bookkeeping chunk of a shard that is done is there, and was decoded."""
    for column, start in sorted({*group.damaged, *_lost_chunks(group)}):
        keys = group.keys[start : start + group.layout.shard_frames]
        rows = f"{column} of rows {start} to {start + len(keys) - 1} ({keys[0] or '?'} to {keys[-1] or '?'})"
        where = f"{group.name}, {rows}"
        yield Finding("integrity", where, "intact bookkeeping", "damaged or lost", CLEAR, (group.name, start))


def _lost_chunks(group: StoredGroup) -> Iterator[tuple[str, int]]:
    """Find bookkeeping that is gone though its rows are done: Zarr reads a chunk that is lost as zeros."""
    for row, key in enumerate(group.keys):
        digest, start = group.digest[row].tobytes(), row - row % group.layout.shard_frames
        if digest != NOT_DONE and not key:
            yield "key", start
        if digest not in (NOT_DONE, FAILED) and not (group.intrinsics[row, :2] > 0).all():
            yield "intrinsics", start


def check_maps(
    node: Any, group: StoredGroup, parameters: Mapping[str, Any]
) -> Iterator[tuple[int, list[Finding], SigmaSummary]]:
    """Integrity and meaning: decode every chunk (Blosc, CRC32C), and look for values that no run writes.

    Where the depth is stored next to σ², its limits and where it is valid are held against every pixel.

    Yields:
        Per shard and array, the number of chunks, the findings, and a summary of the σ² of stride 1.
    """
    step = group.layout.shard_frames
    for start in range(0, len(group.keys), step):
        count = min(step, len(group.keys) - start)
        depths: dict[int, NDArray[np.float32] | Exception] = {}
        if parameters["with_depth"]:
            depths = dict(_rows(node["depth"], start, count))
            lost = ((row, _lost(group, row, depth)) for row, depth in depths.items())
            found = [_finding("integrity", group, row, "depth", "a stored depth", got) for row, got in lost if got]
            yield count, found, SigmaSummary()
        for stride in parameters["strides"]:
            name, findings, sigma = level_name(stride), [], SigmaSummary()
            for row, values in _rows(node[name], start, count):
                if got := _lost(group, row, values):
                    findings.append(_finding("integrity", group, row, name, "stored values", got))
                    continue
                if is_done(group, row) and not isinstance(values, Exception):
                    sigma += SigmaSummary.of(values) if stride == 1 else SigmaSummary()
                    got = impossible(values, parameters) or _unlike(
                        values, depths.get(row), group, row, parameters, stride
                    )
                    findings += [_finding("meaning", group, row, name, EXPECTED, got)] if got else []
            yield count, findings, sigma


def _unlike(
    values: NDArray[np.float32],
    depth: NDArray[np.float32] | Exception | None,
    group: StoredGroup,
    row: int,
    parameters: Mapping[str, Any],
    stride: int,
) -> str | None:
    intrinsics = group.intrinsics[row]
    if not isinstance(depth, np.ndarray) or np.isnan(depth).any() or not (intrinsics[:2] > 0).all():
        return None  # not stored, or a finding already
    return unlike_depth(values, depth, parameters, intrinsics, stride)


def _lost(group: StoredGroup, row: int, values: NDArray[np.float32] | Exception) -> str | None:
    if isinstance(values, Exception):
        start = row - row % group.layout.shard_frames  # a shard without a row that is done is computed again anyway
        used = any(is_done(group, beside) for beside in range(start, start + group.layout.shard_frames))
        return text_of(values) if used else None
    return "missing values (NaN)" if is_done(group, row) and np.isnan(values).any() else None


def _finding(check: str, group: StoredGroup, row: int, array: str, expected: str, got: str) -> Finding:
    start = row - row % group.layout.shard_frames
    where = f"{group.keys[row] or f'{group.name}, row {row}'}, {array}"
    return Finding(check, where, expected, got, CLEAR, (group.name, start))


def _rows(array: Any, start: int, count: int) -> Iterator[tuple[int, NDArray[np.float32] | Exception]]:
    """Yield the rows of a shard; where it cannot be decoded as a whole, one by one, to name the frames."""
    try:
        values = array[start : start + count]
    except Exception as whole:
        refuse_machine_fault(whole, str(array.store_path))
        for row in range(start, start + count):
            try:
                yield row, array[row]
            except Exception as error:  # whatever codecs raise on damaged bytes
                yield row, error
    else:
        yield from enumerate(values, start)


def check_done(group: StoredGroup) -> Iterator[Finding]:
    """Completeness: every row that has a key, and whose frame is not gone, is done."""
    for row, key in enumerate(group.keys):
        digest = group.digest[row].tobytes()
        if digest == FAILED:
            yield Finding("completeness", key, "a computed frame", "one whose file could not be read", SEE_WHY)
        elif digest == NOT_DONE and key and group.intrinsics[row].any():
            yield Finding("completeness", key, "a computed frame", "one that is not done", RUN_AGAIN)


def check_reached(group: StoredGroup) -> Iterator[Finding]:
    """Completeness, where there is no source to compare with: a run has reached every shard and written its keys."""
    step = group.layout.shard_frames
    for start in range(0, len(group.keys), step):
        keys = group.keys[start : start + step]
        if not any(keys) and not group.digest[start : start + step].any():
            where = f"{group.name}, rows {start} to {start + len(keys) - 1}"
            yield Finding("completeness", where, "computed frames", "rows that no run has reached", RUN_AGAIN)
