"""A slice of the fuzzing, and that the watch over it sees what it must see. All of it: tests/torture/fuzz.py."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).with_name("fuzz.py")

PLANTED = """
import os, pickle, signal, sys, time
from pathlib import Path
import fuzz
import _cases
from depthvar.datasets.errors import CacheError, SourceError

def wrap():
    try:
        bytes(2 << 30)
    except MemoryError as error:
        raise SourceError("refused") from error

class TwoLines(SourceError):
    __str__ = lambda self: "a\\nb"

def two_lines():
    raise TwoLines

def case(number, seed, folder):
    match number:
        case 1: os.kill(os.getpid(), signal.SIGSEGV)
        case 2: time.sleep(60)
        case 3: Path(folder, "../outside").read_text()
        case 4: pickle.loads(pickle.dumps(CacheError("x")))
        case 5: _cases.outcome(wrap)
        case 6: _cases.outcome(two_lines)
        case 7: _cases.outcome(lambda: 1 / 0)
        case 8: Path("PICKLE_LOADED").touch()
    return "kind", "right"

fuzz.LIMIT = 2
fuzz.CASES = {"planted": case}
folder = Path(sys.argv[1])
(folder / "in").mkdir()
(folder / "outside").write_text("secret")
counts, faults = fuzz.fuzz("planted", range(10), 0, folder / "in")
print("\\n".join(faults))
assert counts == {"kind: right": 2, "fault": 8}, counts
"""


@pytest.mark.parametrize("cases", [28, pytest.param(210, marks=pytest.mark.slow)])
def test_cases_end_well(cases: int) -> None:
    command = [sys.executable, FUZZ, "--cases", str(cases), "--seed", "13"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert ran.stdout, ran.stderr
    report = json.loads(ran.stdout)
    for what in ("source", "cache"):
        outcomes = report[what]["outcomes"]
        assert report[what]["faults"] == []
        assert sum(outcomes.values()) == cases
        right = sum(count for name, count in outcomes.items() if name.endswith(": right"))
        assert 0 < right < 0.75 * cases  # neither refuses everything nor reads everything
    assert ran.returncode == 0


@pytest.mark.slow
def test_the_watch_sees_faults(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PLANTED, tmp_path]
    ran = subprocess.run(command, cwd=FUZZ.parent, capture_output=True, text=True, timeout=200)
    faults = ran.stdout.splitlines()
    expected = {
        "planted:1": "the process ended with -11",
        "planted:2": "or took more than 2 s",
        "planted:3": "outside the folder, or unpickled: ['open ",
        "planted:4": 'outside the folder, or unpickled: ["pickle.find_class',
        "planted:5": "Fault: took memory before it refused: refused",
        "planted:6": "Fault: more than one line, or control characters",
        "planted:7": "ZeroDivisionError",
        "planted:8": "code of a file was executed",
    }
    for name, words in expected.items():
        (fault,) = [fault for fault in faults if fault.startswith(f"{name}: ")]
        assert words in fault
    assert len(faults) == len(expected)
    assert ran.returncode == 0, ran.stderr
