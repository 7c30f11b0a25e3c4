"""A process that hangs ends itself, says where it hung, and no process does that works in time."""

import subprocess
import sys

import pytest

START = """
import re, sys, threading, time
from depthvar.precompute.pipeline.deadline import ending_the_process_after
def hangs():
    with ending_the_process_after(0.5):
        exec(sys.argv[1])
def works():
    for _ in range(20):
        with ending_the_process_after(0.3):
            time.sleep(0.05)
"""


def run(code: str, hang: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", START + code, hang]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("hang", ["time.sleep(50)", "re.match('(a+)+b', 'a' * 100)"], ids=["waits", "holds the GIL"])
def test_what_hangs_ends_though_another_thread_works(hang: str) -> None:
    process = run("threading.Thread(target=works).start()\nhangs()\nprint('not ended')", hang)
    assert (process.returncode, process.stdout) == (1, "")
    assert process.stderr.startswith("Timeout (0:00:00")
    assert " in hangs\n" in process.stderr


def test_what_ends_in_time_goes_on() -> None:
    """Also after an error, and while another thread has more time."""
    process = run(
        """
thread = threading.Thread(target=works)
thread.start()
try:
    hangs()
except ValueError:
    pass
thread.join()
time.sleep(0.7)
print("ended")
""",
        "raise ValueError",
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, "ended\n", "")
