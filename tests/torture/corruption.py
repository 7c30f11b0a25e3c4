"""A cache damaged at random places: found, repaired, never read wrong. Prints one JSON object, exits 1 on a failure.

    python tests/torture/corruption.py [--places 1000] [--seed 0]

For every place, a file of a small but complete cache is damaged. Then, each counted:

- `validate`, without a look at the source, must find it;
- a `SigmaCache` opened afterwards, and one that was open before, read every frame at every stride: the very same values
  as before, or one of our errors;
- the repair that the finding names must work: after `--clear` and a run, the cache has its old bytes, the run has had
  exactly the shard of the damaged file (of metadata: its group), and no file of another was written (inode and
  modification time).

Not counted as damage is what means the same (`same_meaning`); that it does no harm is checked all the same.
After the places: shards of other runs, and edits of source frames that keep size and modification time.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import _paths  # noqa: F401
import numpy as np
from _laboratory import BOOKKEEPING, INDEX_BYTES, SHARD_FRAMES, Laboratory, group_of, kind_of, read_all, shard_of
from _other_runs import edit, swap
from machine import machine

from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import CacheError, DepthVarError
from depthvar.precompute.validation.finding import CLEAR, OVERWRITE, RUN_AGAIN, Finding

KINDS = ("map", "shard index", *BOOKKEEPING, "zarr.json: root", "zarr.json: folder", "zarr.json: group",
         "zarr.json: array")  # fmt: skip
DAMAGES = ("bit flipped", "range zeroed", "truncated", "deleted")
MOST_ZEROED = 64  # bytes


@dataclass
class Place:
    """Damage to one file; ``after`` is None where it is deleted."""

    kind: str
    damage: str
    name: str
    before: bytes
    after: bytes | None


def draw(whole: dict[str, bytes], dice: random.Random) -> Place:
    """Draw a kind of place, a damage, a file, and where in it; again where no byte would change."""
    while True:
        kind, damage = dice.choice(KINDS), dice.choice(DAMAGES)
        name = dice.choice([name for name in sorted(whole) if kind_of(name) == kind.replace("shard index", "map")])
        before = whole[name]
        size = len(before)
        first, last = {"map": (0, size - INDEX_BYTES), "shard index": (size - INDEX_BYTES, size)}.get(kind, (0, size))
        start = dice.randrange(first, last)
        end = min(start + dice.randint(1, MOST_ZEROED), last)
        after: bytes | None = None
        if damage == "bit flipped":
            after = before[:start] + bytes([before[start] ^ 1 << dice.randrange(8)]) + before[start + 1 :]
        elif damage == "range zeroed":
            after = before[:start] + bytes(end - start) + before[end:]
        elif damage == "truncated":
            after = before[:start]
        if after != before:
            return Place(kind, damage, name, before, after)


def same_meaning(place: Place) -> bool:
    """Return whether the damaged cache says what the whole one says.

    JSON of equal content; and a ``source_stat`` chunk that is gone: absent means, as zeros do, that size and time are
    not to be trusted, and the next run hashes the frames (docs/format.md).
    """
    if place.kind == "source_stat":
        return place.after is None
    if place.after is not None and place.name.endswith("zarr.json"):
        with suppress(ValueError):
            return bool(json.loads(place.before) == json.loads(place.after))
    return False


@dataclass
class Counts:
    """What became of the places."""

    places: Counter[tuple[str, str]] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    same: Counter[str] = field(default_factory=Counter)
    reads: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    plain_runs: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def damage_places(lab: Laboratory, count: int, seed: int) -> Counts:
    """Damage ``count`` places that are damage, one after the other."""
    dice, counts = random.Random(seed), Counts()
    while sum(counts.places.values()) < count:
        place = draw(lab.whole, dice)
        try:
            try_place(lab, place, counts)
        except Exception as error:  # anything that is none of our errors
            counts.failures.append(f"{_text(place)}: {type(error).__name__}: {error}")
        lab.restore()
    return counts


def _text(place: Place) -> str:
    after = place.after or b""
    return f"{place.name} {place.damage} ({len(place.before)} → {len(after)} bytes)"


def try_place(lab: Laboratory, place: Place, counts: Counts) -> None:
    """Damage, validate, read, repair, compare; the cache is to be restored afterwards."""
    was_open = SigmaCache(lab.cache)
    read_all(was_open, lab.keys)
    path, same = lab.cache / place.name, same_meaning(place)
    if place.after is None:
        path.unlink()
    else:
        path.write_bytes(place.after)
    found = attempt(lab.validate)
    if same:
        counts.same[place.kind] += 1
    else:
        counts.places[place.kind, place.damage] += 1
        counts.found["an error" if isinstance(found, DepthVarError) else "findings" if found else "nothing"] += 1
    if bool(found) == same:
        counts.failures.append(f"{_text(place)}: validate found {found}")
    for reader in (SigmaCache(lab.cache), was_open):
        _compare(lab, reader, f"{_text(place)}: SigmaCache", counts)
    counts.failures += [f"{_text(place)}: {failure}" for failure in _repair(lab, place, found, counts)]


def _compare(lab: Laboratory, reader: SigmaCache, what: str, counts: Counts) -> None:
    try:
        listed = set(reader.keys())
    except DepthVarError:
        listed = set()
    if not listed <= set(lab.keys):
        counts.failures.append(f"{what} lists {sorted(listed - set(lab.keys))}")
    for (key, stride), values in read_all(reader, lab.keys).items():
        if isinstance(values, str):
            counts.reads["an error of ours"] += 1
        elif np.array_equal(values, lab.values[key, stride]):
            counts.reads["the same values"] += 1
        else:
            counts.reads["wrong"] += 1
            counts.failures.append(f"{what} read {key} at stride {stride} wrong")


def attempt(check: Callable[[], list[Finding]]) -> list[Finding] | DepthVarError:
    """Return what was found, or the error by which the command ended."""
    try:
        return check()
    except DepthVarError as error:
        return error


def _repair(lab: Laboratory, place: Place, found: list[Finding] | DepthVarError, counts: Counts) -> Iterator[str]:
    """Do what was named, and yield what is wrong afterwards."""
    shard, before = shard_of(place.name), lab.written()
    if shard is not None:
        if isinstance(found, DepthVarError) or any(finding.repair == OVERWRITE for finding in found):
            yield f"a damaged chunk ends in {found}"
            return
        named = {(f.group, f.row - f.row % SHARD_FRAMES) for f in found if f.row is not None}
        if found and shard not in named and {f.repair for f in found} != {RUN_AGAIN}:
            yield f"expected --clear of {shard}, found {found}"
        if found:
            lab.validate(clear=True)
        counts.repairs["--clear, then run" if found else "run"] += 1
        tasks = lab.run()
        if [(task.group, task.start, task.action) for task in tasks] != [(*shard, "compute" if found else "check")]:
            yield f"the run worked on {[(task.group, task.start, task.action) for task in tasks]}"
        again = {name for name, written in lab.written().items() if written != before.get(name)}
        if any(shard_of(name) != shard for name in again):
            yield f"also written: {sorted(name for name in again if shard_of(name) != shard)}"
        if not lab.is_whole():
            yield "the bytes after the repair are others"
    elif found:
        _plain_run(lab, place, counts)
        yield from _repair_metadata(lab, place, attempt(lab.validate), counts)
        group = group_of(place.name)
        again = {name for name, written in lab.written().items() if written != before.get(name)}
        anew = lab.contents() == lab.fresh
        if not anew and lab.contents() not in (lab.whole, lab.with_fresh(group)):
            yield "the bytes after the repair are others"
        if not anew and any(group_of(name) != group for name in again):
            yield f"also written: {sorted(name for name in again if group_of(name) != group)}"


def _repair_metadata(
    lab: Laboratory, place: Place, found: list[Finding] | DepthVarError, counts: Counts
) -> Iterator[str]:
    """Do what is named for damaged metadata, after a run without any repair."""
    if isinstance(found, DepthVarError) or not lab.cache.joinpath("zarr.json").exists():
        try:
            lab.run(overwrite=True)  # where the error does not know the cache as ours, nothing is removed
        except CacheError as error:
            if "by hand" not in str(error) and "refuses to remove" not in str(error):
                yield f"--overwrite ends in {error}"
            shutil.rmtree(lab.cache)
            lab.run()
            counts.repairs["removed by hand, then run"] += 1
        else:
            counts.repairs["run --overwrite"] += 1
        return
    repairs = {finding.repair for finding in found}
    if OVERWRITE in repairs:
        if place.kind != "zarr.json: root":
            yield f"everything is computed again for {place.kind}"
        lab.run(overwrite=True)
        counts.repairs["run --overwrite"] += 1
    elif CLEAR in repairs:
        lab.validate(clear=True)
        lab.run()
        counts.repairs["--clear of a group, then run"] += 1
    else:  # the run without a repair has repaired it, or another one does
        if repairs:
            lab.run()
        counts.repairs["run"] += 1
    if found := lab.validate(source=True, full=True):
        yield f"after the repair: {found}"


def _plain_run(lab: Laboratory, place: Place, counts: Counts) -> None:
    """Run without --overwrite over damaged metadata: it stops, or what it leaves is never read wrong."""
    try:
        lab.run()
    except DepthVarError:
        counts.plain_runs["refused"] += 1
    else:
        counts.plain_runs["went on"] += 1
    _compare(lab, SigmaCache(lab.cache), f"{_text(place)}, then run: SigmaCache", counts)


def campaign(folder: Path, places: int, seed: int, every: int = 1) -> dict[str, Any]:
    """Do all of it in ``folder``, with ``every`` so-many-th swap; return JSON-ready counts."""
    lab = Laboratory(folder)
    counts = damage_places(lab, places, seed)
    swaps = swap(lab, every)
    edit(lab, swaps)
    by_kind = {kind: {what: n for (k, what), n in sorted(counts.places.items()) if k == kind} for kind in KINDS}
    return {
        "cache": {"files": len(lab.whole), "bytes": sum(map(len, lab.whole.values())), "frames": len(lab.keys)},
        "places": sum(counts.places.values()),
        "places_by_kind": by_kind,
        "validate_ended_with": dict(counts.found),
        "reads": dict(counts.reads),
        "repairs": dict(counts.repairs),
        "plain_runs_over_damaged_metadata": dict(counts.plain_runs),
        "same_in_meaning": {"source_stat": 0} | counts.same,
        "files_of_other_runs": swaps.files,
        "shards_of_other_runs": swaps.shards,
        "found_by_validate_full": swaps.found,
        "repaired_as_named": swaps.repaired,
        "source_stat_of_other_runs": swaps.stat_only,
        "edits_that_keep_size_and_time": swaps.edits,
        "edits_found_by_validate_full": swaps.edits_found,
        "failures": counts.failures + swaps.failures,
    }


def main() -> int:
    """Print the counts of a campaign."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--places", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = campaign(Path(folder), options.places, options.seed)
    sys.stdout.write(
        json.dumps({"machine": machine(), "seed": options.seed} | result, indent=1, ensure_ascii=False) + "\n"
    )
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
