"""A process that holds the lock of a cache."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOLD = """
import sys
from depthvar.precompute.pipeline.lock import writer_lock
cache, part, plan = sys.argv[1], eval(sys.argv[2]), sys.argv[3]
with writer_lock(cache, part) as claim:
    claim(plan)
    print("held", flush=True)
    sys.stdin.readline()
"""
PART = tuple[int, int] | None


@contextmanager
def holder(cache: Path, part: PART = None, plan: str = "p") -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until the end of the block."""
    command = [sys.executable, "-c", HOLD, str(cache), repr(part), plan]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        if process.poll() is None:
            process.communicate("end\n")
            assert process.returncode == 0
