"""Shards of other runs in the place of our own, and edits of the source that keep size and modification time."""

import os
from dataclasses import dataclass, field

import numpy as np
from _laboratory import Laboratory, group_of, kind_of, shard_of

from depthvar.precompute import KernelParams
from depthvar.precompute.validation.finding import OVERWRITE


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


def swap(lab: Laboratory, every: int = 1) -> Swaps:
    """Replace single files, and whole shards, by those of other runs; `validate --full` finds each.

    ``every``: take only every so-many-th of the replacements.
    """
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
        for what, names in sets[::every]:
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
            if OVERWRITE in {finding.repair for finding in found}:
                swaps.failures.append(f"{what} of another run ({run}): all is to be computed again")
            lab.validate(source=True, full=True, clear=True)
            lab.run()
            repaired = lab.is_whole() or lab.contents() == lab.with_fresh(group_of(names[0]))
            swaps.repaired += bool(found) and repaired
            if not repaired:
                swaps.failures.append(f"{what} of another run ({run}): not repaired, of {found}")
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
