"""Fuzzed source files and caches: one of our errors each, or sane values. Prints one JSON object, exits 1 on a fault.

    python tests/torture/fuzz.py [--cases 10000] [--seed 0] [--only cache:123]

``--cases`` source files and as many caches (zarr.json files, bookkeeping, shards) are made by seeded mutators that mend
lengths and checksums. The library reads each in a child process that watches for faults: an exception that is not
ours, a value that is not sane, a case that takes more than ``LIMIT`` seconds, the end of the process, memory beyond
``MEMORY`` bytes, an unpickled class, a path outside the case's folder that is opened, listed, removed or renamed.
Every 40th case also goes through the command line: one line that begins with "error:", and a documented exit code.
"""

import argparse
import faulthandler
import json
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import _paths  # noqa: F401
from _cases import cache_case, make_cache, source_case, use_cache
from machine import machine

from depthvar.precompute.kernel.numba_engine import warm_up

LIMIT = 20  # seconds of a case, on a busy machine
MEMORY = 1 << 30

CASES = {"source": source_case, "cache": cache_case}


@contextmanager
def watched(folder: Path) -> Iterator[list[str]]:
    """Yield a list of what was opened, listed, removed or renamed outside ``folder``, or unpickled."""
    known = tuple(os.path.realpath(path) for path in (folder, sys.prefix, sys.base_prefix, Path(__file__).parents[2]))
    seen: list[str] = []
    on = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if not on:
            return
        if event in ("pickle.find_class", "exec.pickle", "os.system", "subprocess.Popen"):
            seen.append(f"{event} {arguments}")
        if event in (
            "open",
            "os.listdir",
            "os.scandir",
            "os.remove",
            "os.rename",
            "os.mkdir",
            "os.rmdir",
            "shutil.rmtree",
        ):
            for path in arguments[: 2 if event == "os.rename" else 1]:
                if isinstance(path, str | bytes | os.PathLike):
                    place = os.path.realpath(os.path.abspath(os.fsdecode(path)))
                    if not f"{place}/".startswith(tuple(f"{name}/" for name in known)) and place != "/dev/zero":
                        seen.append(f"{event} {place}")

    sys.addaudithook(hook)
    try:
        yield seen
    finally:
        on = False


def child(what: str, numbers: range, seed: int, folder: Path, results: Connection) -> None:
    """Run cases one after the other, and send each one's number, kind and outcome."""
    os.chdir(folder)
    for warm in (source_case, cache_case):  # imports and compiles what cases need
        (folder / warm.__name__).mkdir(exist_ok=True)
        warm(0, seed, folder / warm.__name__)
    use_cache(make_cache(folder / "warm"))
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY,) * 2)
    with watched(folder) as seen:
        for number in numbers:
            results.send((number, "", ""))
            faulthandler.dump_traceback_later(LIMIT, exit=True)
            try:
                kind, found = CASES[what](number, seed, folder)
            except Exception as error:
                kind, found = "fault", f"{type(error).__name__}: {error}"[:500]
                shutil.rmtree(folder / "root", ignore_errors=True)
            faulthandler.cancel_dump_traceback_later()
            if seen:
                kind, found = "fault", f"outside the folder, or unpickled: {seen[:3]}"
                seen.clear()
            for sign in (Path("PICKLE_LOADED"), Path("EVAL")):
                if sign.exists():
                    kind, found = "fault", "code of a file was executed"
                    sign.unlink()
            results.send((number, kind, found))


def fuzz(what: str, numbers: range, seed: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """Return how many cases of a kind ended how, and the faults; a child that dies is one, and the next goes on."""
    counts: Counter[str] = Counter()
    faults: list[str] = []
    context = multiprocessing.get_context("fork")
    while numbers:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=child, args=(what, numbers, seed, folder, theirs))
        process.start()
        theirs.close()
        number, done = numbers.start, False
        try:
            while True:
                number, kind, found = ours.recv()
                done = bool(kind)
                if done:
                    counts[f"{kind}: {found}" if kind != "fault" else kind] += 1
                if kind == "fault":
                    faults.append(f"{what}:{number}: {found}")
        except EOFError:
            process.join()
        if not done:
            counts["fault"] += 1
            faults.append(f"{what}:{number}: the process ended with {process.exitcode}, or took more than {LIMIT} s")
            shutil.rmtree(folder / "root", ignore_errors=True)
        numbers = range(number + 1, numbers.stop)
    return counts, faults


def main() -> int:
    """Run all cases, print what became of them, and return 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="source:N or cache:N, with its traceback")
    options = parser.parse_args()
    warm_up()
    began = time.perf_counter()
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None  # files of a case live for milliseconds
    with tempfile.TemporaryDirectory(dir=memory) as name:
        folder = Path(name).resolve()
        if options.only:
            what, number = options.only.split(":")
            print(CASES[what](int(number), options.seed, folder))
            return 0
        results = {
            what: fuzz(what, range(options.cases), options.seed, folder / what)
            for what in CASES
            if not (folder / what).mkdir()
        }
    report = {
        "command": f"python tests/torture/fuzz.py --cases {options.cases} --seed {options.seed}",
        **machine(),
        "seconds": round(time.perf_counter() - began, 1),
        "limits": {"seconds_per_case": LIMIT, "bytes_beyond_the_start": MEMORY},
        **{
            what: {"cases": options.cases, "faults": faults, "outcomes": dict(sorted(counts.items()))}
            for what, (counts, faults) in results.items()
        },
    }
    print(json.dumps(report, indent=2, ensure_ascii=False))
    return int(any(faults for _, faults in results.values()))


if __name__ == "__main__":
    raise SystemExit(main())
