"""How long `precompute --help` takes, compared with a bare Python. Prints JSON.

python benchmarks/startup.py [--rounds 11]
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from machine import machine


def seconds(command: list[str], rounds: int) -> float:
    """Return the median wall-clock time of a command."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    return round(statistics.median(times), 3)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    rounds = parser.parse_args().rounds
    result = {
        "benchmark": "startup",
        "machine": machine(),
        "precompute_help_seconds": seconds([str(Path(sys.executable).with_name("precompute")), "--help"], rounds),
        "bare_python_seconds": seconds([sys.executable, "-c", "pass"], rounds),
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
