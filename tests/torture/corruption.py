"""A cache damaged at random places: found, repaired, never read wrong. Prints one JSON object, exits 1 on a failure.

    python tests/torture/corruption.py [--places 1000] [--seed 0]

For every place, a file of a small but complete cache is damaged. Then, each counted:

- `validate`, without a look at the source, must find it;
- a `SigmaCache` opened afterwards, and one that was open before, read every frame at every stride: the very same values
  as before, or an error of ours;
- the repair that the finding names must work: after `--clear` and a run, the cache has its old bytes, the run has had
  exactly the shard of the damaged file, and no file of another shard was written (inode and modification time).

Not counted as damage is what means the same (`same_meaning`); that it does no harm is checked all the same.
After the places: shards of other runs, and edits of source frames that keep size and modification time.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

sys.path += [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2] / "benchmarks")]
from machine import machine
from tiny_data import TinyData, make_depth

from depthvar.datasets import format
from depthvar.datasets.cache import SigmaCache
from depthvar.datasets.errors import CacheError, DepthVarError
from depthvar.precompute import execute, pipeline
from depthvar.precompute.finding import CLEAR, OVERWRITE, RUN_AGAIN, Finding
from depthvar.precompute.kernel import KernelParams
from depthvar.precompute.plan import Task
from depthvar.precompute.validate import validate
from depthvar.precompute.worker import Job

SHARD_FRAMES = 2
INDEX_BYTES = 16 * SHARD_FRAMES + 4
BOOKKEEPING = ("key", "digest", "intrinsics", "source_stat")
KINDS = ("map", "shard index", *BOOKKEEPING, "zarr.json: root", "zarr.json: folder", "zarr.json: group",
         "zarr.json: array")  # fmt: skip
MOST_ZEROED = 64  # bytes
GONE = "b/key/c/1/0"  # its second row is of the frame that is gone

Shard = tuple[str, int]  # group, first row


class Laboratory:
    """A tiny data set, its cache, and the bytes and values that this cache has while nothing is wrong.

    Three groups, one of another frame size, six shards, and a row whose frame is gone.
    """

    def __init__(self, folder: Path) -> None:
        self.data = TinyData(folder / "data")
        for sequence, count in (("a/P0", 5), ("b", 3)):
            for index in range(count):
                self.data.write(sequence, f"{index:03}", make_depth(24, 32, index), fx=40.0 + index)
        self.data.write("b", "wide", make_depth(16, 48, 9))
        gone = self.data.root / self.data.write("b", "gone", make_depth(24, 32, 8))
        self.age()
        self.cache = Path(self.job().cache)
        self.run()
        gone.unlink()
        self.run()
        self.whole = self.contents()
        self.forgotten = {GONE: _forget(self.whole[GONE])}
        self.keys = self.data.source().keys()
        self.values = read_all(SigmaCache(self.cache), self.keys)
        assert not self.validate(source=True, full=True)  # so whatever has these bytes is right
        self.fresh = self.other("fresh").contents()

    def other(self, name: str, **changes: Any) -> "OtherCache":
        """Write a second cache of the same source."""
        cache = OtherCache(self.data.root.parent / f"{name}.zarr")
        self.run(cache=str(cache.path), **changes)
        return cache

    def age(self) -> None:
        """Make all files old enough for their stat to be trusted."""
        for path in self.data.root.rglob("*"):
            if path.is_file() and ".zarr" not in str(path):
                os.utime(path, (1e9, 1e9))

    def job(self, **changes: Any) -> Job:
        return self.data.job(**({"with_depth": True} | changes))

    def run(self, overwrite: bool = False, **changes: Any) -> list[Task]:
        """Run to the end; return the shards that were worked on."""
        seen: list[Task] = []

        def noted(job: Job, tasks: Iterable[Task]) -> Iterator[Any]:
            seen.extend(tasks)
            return execute.serial(job, seen)

        list(pipeline.run(self.job(**changes), noted, overwrite=overwrite))
        return seen

    def validate(self, source: bool = False, **options: Any) -> list[Finding]:
        return validate(str(self.cache), self.data.source() if source else None, **options).findings

    def contents(self) -> dict[str, bytes]:
        return OtherCache(self.cache).contents()

    def is_whole(self) -> bool:
        """Return whether all bytes are back; the key of the frame that is gone may be lost, which nothing needs."""
        return self.contents() in (self.whole, self.whole | self.forgotten)

    def restore(self) -> None:
        """Bring back the bytes of the cache."""
        if self.contents() != self.whole:
            shutil.rmtree(self.cache, ignore_errors=True)
            for name, content in self.whole.items():
                (self.cache / name).parent.mkdir(parents=True, exist_ok=True)
                (self.cache / name).write_bytes(content)

    def written(self) -> dict[str, tuple[int, int]]:
        """Return what tells of every file whether it was written again."""
        return {
            str(path.relative_to(self.cache)): (path.stat().st_ino, path.stat().st_mtime_ns)
            for path in self.cache.rglob("*")
            if path.is_file()
        }


def _forget(chunk: bytes) -> bytes:
    """Return a chunk of keys without that of its second row."""
    keys = chunk[: (len(chunk) - 4) // 2].ljust(len(chunk) - 4, b"\0")
    return keys + google_crc32c.value(keys).to_bytes(4, "little")


@dataclass
class OtherCache:
    path: Path

    def contents(self) -> dict[str, bytes]:
        files = (path for path in self.path.rglob("*") if path.is_file())
        return {str(path.relative_to(self.path)): path.read_bytes() for path in files}


@contextmanager
def small_shards() -> Iterator[None]:
    """Let new caches have shards of two frames."""
    before, format.MAX_SHARD_FRAMES = format.MAX_SHARD_FRAMES, SHARD_FRAMES
    try:
        yield
    finally:
        format.MAX_SHARD_FRAMES = before


def kind_of(name: str) -> str:
    """Return the kind of a file: one of KINDS, where "map" stands for "shard index" too."""
    folder, _, last = name.rpartition("/")
    if last != "zarr.json":
        array = name.partition("/c/")[0].rpartition("/")[2]
        return array if array in BOOKKEEPING else "map"
    if folder in ("", "a"):
        return "zarr.json: folder" if folder else "zarr.json: root"
    return "zarr.json: group" if folder in ("a/P0", "b", "b@16x48") else "zarr.json: array"


def shard_of(name: str) -> Shard | None:
    """Return the shard that a file belongs to, None for metadata."""
    array, is_chunk, chunk = name.partition("/c/")
    return (array.rpartition("/")[0], int(chunk.partition("/")[0]) * SHARD_FRAMES) if is_chunk else None


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
        kind, damage = dice.choice(KINDS), dice.choice(("bit flipped", "range zeroed", "truncated", "deleted"))
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


def read_all(reader: SigmaCache, keys: Iterable[str]) -> dict[tuple[str, int], NDArray[np.float32] | str]:
    """Return every frame at every stride, and (stride 0) its intrinsics; the name of the error where it is one."""
    found: dict[tuple[str, int], NDArray[Any] | str] = {}
    for key in keys:
        for stride in (0, 1, 2, 3):
            try:
                found[key, stride] = reader.read(key, stride) if stride else reader.intrinsics(key)
            except DepthVarError as error:
                found[key, stride] = type(error).__name__
    return found


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
        except Exception as error:  # anything that is no error of ours
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
        if found and shard not in {finding.shard for finding in found} and {f.repair for f in found} != {RUN_AGAIN}:
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
        elif {finding.repair for finding in found} <= {OVERWRITE, RUN_AGAIN}:
            lab.run(overwrite=True)
            counts.repairs["run --overwrite"] += 1
        else:
            yield f"no repair of a whole cache in {found}"
        if lab.contents() != lab.fresh:
            yield "the bytes after --overwrite are others"


def _plain_run(lab: Laboratory, place: Place, counts: Counts) -> None:
    """Run without --overwrite over damaged metadata: it stops, or what it leaves is never read wrong."""
    try:
        lab.run()
    except DepthVarError:
        counts.plain_runs["refused"] += 1
    else:
        counts.plain_runs["went on"] += 1
    _compare(lab, SigmaCache(lab.cache), f"{_text(place)}, then run: SigmaCache", counts)


@dataclass
class Swaps:
    """What became of files of other runs, and of edits that keep size and time."""

    files: int = 0
    shards: int = 0
    found: int = 0
    repaired: int = 0
    stat_only: int = 0
    edits: int = 0
    edits_found: int = 0
    failures: list[str] = field(default_factory=list)


def other_runs(lab: Laboratory) -> dict[str, dict[str, bytes]]:
    """Return the files of caches of the same source: of other parameters, and with its frames in another order."""
    other = {"parameters": lab.other("parameters", params=KernelParams(lambda_prior=0.7)).contents()}
    hidden = [lab.data.root / key for key in lab.keys if key.endswith(("000.npy", "001.npy"))]
    for path in hidden:
        path.rename(path.with_suffix(".hidden"))
    order = lab.other("order")
    for path in hidden:
        path.with_suffix(".hidden").rename(path)
    lab.run(cache=str(order.path))
    return other | {"order": order.contents()}


def swap(lab: Laboratory) -> Swaps:
    """Replace single files, and whole shards, by those of other runs; `validate --full` finds each."""
    swaps = Swaps()
    for run, files in other_runs(lab).items():
        differing = [
            name
            for name in sorted(files)
            if shard_of(name) and files[name] not in (lab.whole.get(name), lab.forgotten.get(name))
        ]
        shards = {shard_of(name) for name in differing}
        sets = [(name, [name]) for name in differing]
        sets += [(str(shard), [name for name in differing if shard_of(name) == shard]) for shard in sorted(shards)]  # type: ignore[type-var]
        for what, names in sets:
            for name in names:
                (lab.cache / name).parent.mkdir(parents=True, exist_ok=True)
                (lab.cache / name).write_bytes(files[name])
            found = lab.validate(source=True, full=True)
            if names == [what] and kind_of(what) == "source_stat":
                swaps.stat_only += 1  # not trusted: the next run hashes
                if found:
                    swaps.failures.append(f"{what} of another run ({run}): found {found}")
            else:
                swaps.files += names == [what]
                swaps.shards += names != [what]
                swaps.found += bool(found)
                if not found:
                    swaps.failures.append(f"{what} of another run ({run}): not found")
            if all(finding.repair == CLEAR for finding in found):
                lab.validate(source=True, full=True, clear=True)
                lab.run()
                if lab.is_whole():
                    swaps.repaired += bool(found)
                else:
                    swaps.failures.append(f"{what} of another run ({run}): not repaired")
            lab.restore()
    return swaps


def edit(lab: Laboratory, swaps: Swaps) -> None:
    """Edit every frame so that size and time stay, and back; `validate --full` names it each time."""
    for key in lab.keys:
        path = lab.data.root / key
        content, status = path.read_bytes(), path.stat()
        depth = np.load(path)
        depth[-1, -1] += 1
        np.save(path, depth)
        edited = path.read_bytes()
        for version in (edited, content):
            path.write_bytes(version)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
            swaps.edits += 1
            if path.stat().st_size != status.st_size or lab.run():
                swaps.failures.append(f"{key}: the edit shows in size and time")
            found = lab.validate(source=True, full=True, clear=True)
            swaps.edits_found += [finding.where for finding in found] == [key]
            if len(lab.run()) != 1 or lab.validate(source=True, full=True):
                swaps.failures.append(f"{key}: an edit that keeps size and time was not repaired")
        if lab.contents() != lab.whole:
            swaps.failures.append(f"{key}: edited and edited back gives other bytes")


def campaign(folder: Path, places: int, seed: int) -> dict[str, Any]:
    """Do all of it in ``folder``; return JSON-ready counts."""
    with small_shards():
        lab = Laboratory(folder)
        counts = damage_places(lab, places, seed)
        swaps = swap(lab)
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
        "cleared_and_repaired": swaps.repaired,
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
