"""Many sequences in an object store on loopback, behind a delay of 20 ms: a first run, and one with nothing to do.

    python benchmarks/object_store_groups.py [--sequences 2000] [--milliseconds 20] [--against PRECOMPUTE]

SeaweedFS; a sequence is one frame of 24×32. Start-up and the lock, those of a run on one sequence, are subtracted.
Seconds, and of those the seconds of CPU time that the run itself used: its client of S3 needs most of them.
``--against`` is the ``precompute`` command of another environment, measured next to this one. Prints JSON.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from groups import OPTIONS, OURS, make_frames
from latency import far_away
from machine import machine
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))
import object_servers


def seconds(command: str, root: Path, cache: str) -> NDArray[np.float64]:
    """Return the seconds of one run, and those of CPU time."""
    typed = [command, "run", *OPTIONS, "--root", str(root), "--out", cache, "--json"]
    began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(typed, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    return np.array([time.perf_counter() - began, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=2000)
    parser.add_argument("--milliseconds", type=float, default=20)
    parser.add_argument("--against")
    options = parser.parse_args()
    result: dict[str, Any] = {"benchmark": "object_store_groups", "machine": machine(), **vars(options), "seconds": {}}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "server").mkdir()
        make_frames(folder / "many", options.sequences, 1)
        make_frames(folder / "one", 1, 1)
        near = stack.enter_context(object_servers.seaweedfs(folder / "server"))
        os.environ |= object_servers.environment(stack.enter_context(far_away(near, options.milliseconds / 1000)))
        for who, command in {"depthvar": OURS, "against": options.against}.items():
            if command:
                seconds(command, folder / "one", f"s3://bucket/{who}/one.zarr")
                start = seconds(command, folder / "one", f"s3://bucket/{who}/one.zarr")
                first, again = (seconds(command, folder / "many", f"s3://bucket/{who}/x.zarr") - start for _ in "12")
                found = {"start_up": start, "first_run": first, "nothing_to_do": again}
                result["seconds"][who] = {what: each.round(1).tolist() for what, each in found.items()}
    print(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
