"""Many sequences: a first run, a run with nothing to do, and planning a million frames. Prints JSON.

    python benchmarks/groups.py [--sequences 1000] [--frames 10] [--million 2000] [--against PRECOMPUTE]

The first two use the command line, so that any version can be measured next to this one: ``--against`` is the
``precompute`` command of another environment. Start-up is that of the same command on one sequence, and subtracted.
``--million`` is the number of sequences of 500 frames each (0: leave it out); they are only listed, never read.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine

OURS = str(Path(sys.executable).with_name("precompute"))
OPTIONS = ["--dataset", "folder", "--pattern", "{sequence}/depth/{frame}.npy", "--intrinsics", "40,40,16,12"]


def make_frames(root: Path, sequences: int, frames: int) -> None:
    """Write frames of 24×32, old enough for their stat to be trusted."""
    random = np.random.default_rng(0)
    for sequence in range(sequences):
        folder = root / f"s{sequence:05}" / "depth"
        folder.mkdir(parents=True)
        for frame in range(frames):
            path = folder / f"{frame:03}.npy"
            np.save(path, random.uniform(1, 9, (24, 32)).astype(np.float32))
            os.utime(path, (1e9, 1e9))


def seconds(command: str, root: Path, cache: Path) -> float:
    """Return the time of one run."""
    began = time.perf_counter()
    typed = [command, "run", *OPTIONS, "--root", str(root), "--out", str(cache), "--json"]
    subprocess.run(typed, check=True, capture_output=True)
    return time.perf_counter() - began


def runs(command: str, folder: Path, rounds: int) -> dict[str, float]:
    """Return the seconds beyond start-up of a first run and of the best of some that have nothing to do."""
    one, many = folder / "one", folder / "many"
    startup, again, first = [], [], []
    for number in range(rounds):
        cache = folder / f"{number}"
        seconds(command, one, cache / "one.zarr")
        startup.append(seconds(command, one, cache / "one.zarr"))
        first.append(seconds(command, many, cache / "many.zarr"))
        again.append(seconds(command, many, cache / "many.zarr"))
    start = min(startup)
    return {
        "start_up": round(start, 2),
        "first_run": round(min(first) - start, 2),
        "nothing_to_do": round(min(again) - start, 2),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=1000)
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--million", type=int, default=2000)
    parser.add_argument("--against")
    options = parser.parse_args()
    result: dict[str, Any] = {"benchmark": "groups", "machine": machine()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_frames(folder / "many", options.sequences, options.frames)
        make_frames(folder / "one", 1, options.frames)
        commands = {"depthvar": OURS} | ({"against": options.against} if options.against else {})
        result["sequences"], result["frames_each"] = options.sequences, options.frames
        result["seconds"] = {}
        for who, command in commands.items():
            (folder / who).mkdir()
            for data in ("one", "many"):
                (folder / who / data).symlink_to(folder / data)
            result["seconds"][who] = runs(command, folder / who, options.rounds)
    if options.million:
        result["plan"] = plan_of_a_million(options.million)
    print(json.dumps(result, indent=1, ensure_ascii=False))


def plan_of_a_million(sequences: int) -> dict[str, Any]:
    """Plan frames that are only listed, in a process of its own; return its time and peak memory."""
    code = f"import groups; groups.plan({sequences})"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


if __name__ == "__main__":
    main()
