"""Runs killed at any moment, and what the next run makes of it; prints one JSON object.

    python tests/torture/kills.py [--seed 0] [--scale 1.0]

A kill is SIGKILL to the process group of a run, and counts only if it met the run alive. Moments are of three kinds,
counted apart: uniformly random over the run's length; random after a first shard's write was seen on the disk; and,
one after the other, just before every change that a run makes to the file system. Then the source changes, or not, the
run is resumed (and in a quarter of the trials killed again), and the cache is compared with the float64 oracle.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import _paths  # noqa: F401
from _mutants import MUTANTS, Mutant
from _torture import KILLED, RESUMED, Torture
from machine import machine

from depthvar.precompute.kernel.numba_engine import warm_up

UNIFORM = {"serial": 43, "threads": 43, "command line": 6, "worker processes": 8}  # half on a fresh cache
DURING_WRITES = {"worker processes": 6, "command line": 2}
OVERWRITES = 30
SWEEPS = ("fresh", "touched", "grown", "overwrite")
MOST_KILLS = 200  # for a mutant to show


def hunt(folder: Path, mutant: Mutant, seed: int) -> dict[str, Any]:
    """Torture a mutant until a cache is wrong after a resume.

    Returns:
        The first trial that shows it, and the first that shows it right after the kill; None: none did.
    """
    torture = Torture(folder, seed, mutant)
    first: dict[str, Any] = {}
    for number in range(1, MOST_KILLS + 1):
        torture.trial(["serial", "threads"][number % 2], finished=number % 4 > 0)
        for moment, text in torture.violations:
            first.setdefault(moment, {"kills": number, "found": text})
        if RESUMED in first:
            break
    print(f"{mutant.__name__}: {first}", file=sys.stderr, flush=True)
    return {moment: first.get(moment) for moment in (KILLED, RESUMED)}


def main() -> None:
    """Run everything, print JSON, and end with 1 if anything is wrong or a mutant survives."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1.0, help="part of the kills, for a quick look")
    arguments = parser.parse_args()
    began = time.perf_counter()
    warm_up("range")
    counts: Counter[str] = Counter()
    violations: list[tuple[str, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        torture = Torture(Path(folder) / "trials", arguments.seed)
        for kind, table in (("uniform", UNIFORM), ("during writes", DURING_WRITES)):
            for mode, kills in table.items():
                landed = 0
                while landed < max(2, round(kills * arguments.scale)):
                    landed += torture.trial(mode, finished=landed % 2 == 1, kind=kind)
        runs = [torture]
        for scenario in SWEEPS:
            runs.append(Torture(Path(folder) / scenario, arguments.seed, sequences=2, frames=3))
            runs[-1].sweep(scenario, max(1, round(1 / arguments.scale)))
        runs.append(Torture(Path(folder) / "overwrites", arguments.seed))
        runs[-1].overwrites(max(2, round(OVERWRITES * arguments.scale)))
        for run in runs:
            counts += run.counts
            violations += run.violations
        mutants = {name: hunt(Path(folder) / name, mutant, arguments.seed) for name, mutant in MUTANTS.items()}
    survived = [name for name, found in mutants.items() if found[RESUMED] is None]
    inside = sum(number for name, number in counts.items() if name.endswith("inside a shard's write"))
    result = {
        **machine(),
        "seed": arguments.seed,
        "uniform kills": sum(
            n for name, n in counts.items() if name.startswith("uniform") and name.endswith(": kills")
        ),
        "all kills": sum(n for name, n in counts.items() if name.endswith(": kills") and "had ended" not in name),
        "kills inside a shard's write": inside - counts["the run had ended: kills inside a shard's write"],
        "counts": dict(sorted(counts.items())),
        "violations": violations,
        "mutants": mutants,
        "mutants that survived": survived,
        "seconds": round(time.perf_counter() - began),
    }
    print(json.dumps(result, indent=2, ensure_ascii=False))
    sys.exit(1 if violations or survived else 0)


if __name__ == "__main__":
    main()
