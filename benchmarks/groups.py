"""Many sequences: a first run, a run with nothing to do, and planning a million frames. Prints JSON.

    python benchmarks/groups.py [--sequences 1000] [--frames 10] [--planned 2000] [--against PRECOMPUTE]

The first two use the command line, so that any version can be measured next to this one: ``--against`` is the
``precompute`` command of another environment. Start-up is that of the same command on one sequence, and subtracted.
``--planned`` is the number of sequences of 500 frames that ``run --dry-run`` plans, 1,000,000 by default (0: leave
it out): files that share a few inodes, so that they cost no space. Their headers are read, as for any new frame.
"""

import argparse
import json
import os
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
    parser.add_argument("--planned", type=int, default=2000)
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
        if options.planned:
            make_links(folder / "planned", options.planned)
            result["plan"] = {
                who: planning(command, folder / "planned", folder / "x.zarr") for who, command in commands.items()
            }
    print(json.dumps(result, indent=1, ensure_ascii=False))


def make_links(root: Path, sequences: int) -> None:
    """Write sequences of 500 frames, every frame of a sequence the same file under another name."""
    make_frames(root, sequences, 1)
    for folder in root.glob("*/depth"):
        for frame in range(1, 500):
            os.link(folder / "000.npy", folder / f"{frame:03}.npy")


def planning(command: str, root: Path, cache: Path) -> dict[str, float]:
    """Return what ``run --dry-run`` needs for a cache that is not there yet: frames, seconds, and peak MiB."""
    typed = [command, "run", *OPTIONS, "--root", str(root), "--out", str(cache), "--dry-run", "--json"]
    began = time.perf_counter()
    process = subprocess.Popen(typed, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    facts = json.loads(process.stdout.read())
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(typed)}: ended with {status}")
    return {
        "frames": facts["compute"],
        "seconds": round(time.perf_counter() - began, 1),
        "peak_mib": round(usage.ru_maxrss / 1024),
    }


if __name__ == "__main__":
    main()
