"""All that is to be known of a GPU: its tests, the kernel, the step, a whole run. Writes benchmarks/results/gpu/*.json.

    python benchmarks/gpu.py [--device cuda] [--out benchmarks/results/gpu]

Each part is a process of its own. One that cannot run leaves {"not_measured": why} in its file, and the others go on;
then the exit status is 1. ``--small`` runs every part on a few pixels, to see that they work.
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
from xml.etree import ElementTree

HERE = Path(__file__).parent
TESTS = [str(HERE.parent / "tests" / f"test_{name}.py") for name in ("triton", "loss", "bench_gpu")]
SMALL = {
    "kernel": ["--batch", "1", "--rows", "9", "--repeats", "1"],
    "step": ["--batch", "1", "--rows", "32", "--rounds", "1", "--backend", "eager"],
    "pipeline": ["--frames", "1", "--rounds", "1"],
}
FULL = {"step": ["--batch", "32"]}  # a GPU's; what is smaller, Python takes longer to launch than it to compute
HOURS = 2  # that a part may take
Part = dict[str, Any]


def finished(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=HOURS * 3600)


def tested(paths: list[str]) -> Part:
    """Return how many tests of a GPU passed; those that were skipped are not measured."""
    pytest = Path(sys.executable).with_name("pytest")  # not python -m pytest: our datasets/ would shadow another
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "tests.xml"
        processes = str(min(os.cpu_count() or 1, 8))  # they wait for Triton's compiler, not for the GPU
        ran = finished([str(pytest), *paths, "-m", "gpu", "-n", processes, f"--junitxml={report}"])
        if not report.exists():
            return {"not_measured": last_line(ran.stdout + ran.stderr)}
        (suite,) = ElementTree.parse(report).getroot().iter("testsuite")
    tests, failures, errors, skipped = (int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped"))
    counts = {"tests": tests, "passed": tests - failures - errors - skipped, "failed": failures + errors}
    if not 0 < counts["passed"] == tests:
        skipped_for = [line for line in ran.stdout.splitlines() if line.startswith("GPU tests not run")]
        return {"not_measured": "; ".join(skipped_for) or last_line(ran.stdout)} | counts
    return counts


def measured(name: str, options: list[str]) -> Part:
    """Return what a benchmark prints, or the last line of its error."""
    ran = finished([sys.executable, str(HERE / f"{name}.py"), *options])
    if ran.returncode:
        return {"not_measured": last_line(ran.stderr) or f"exit status {ran.returncode}"}
    found: Part = json.loads(ran.stdout)
    return found


def last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")


def reasons(found: Any, where: str) -> list[str]:
    """Return a line for each thing that was not measured, however deep in a report."""
    if not isinstance(found, dict):
        return []
    lines = [f"{where}: not measured: {found['not_measured']}"] if "not_measured" in found else []
    return lines + [line for name, part in found.items() for line in reasons(part, f"{where}, {name}")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, default=HERE / "results/gpu")
    parser.add_argument("--small", action="store_true", help="on a few pixels")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    missing = 0
    for name in ("tests", *SMALL):
        began = time.monotonic()
        try:
            size = (SMALL if options.small else FULL).get(name, [])
            found = tested(TESTS) if name == "tests" else measured(name, ["--device", options.device, *size])
        except (subprocess.TimeoutExpired, ValueError, OSError) as error:
            found = {"not_measured": f"{type(error).__name__}: {error}".partition("\n")[0]}
        (options.out / f"{name}.json").write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
        missing += "not_measured" in found
        print(f"{name}: {time.monotonic() - began:.0f} s", *reasons(found, name), sep="\n  ", file=sys.stderr)
    sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
