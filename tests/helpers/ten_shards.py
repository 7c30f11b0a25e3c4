"""Ten shards and a run that nothing disturbed, for tests in which the machine fails under a run."""

import ctypes
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner
from tiny_data import TinyData, make_depth

from depthvar.precompute.cli.main import main
from depthvar.precompute.validation.validate import validate

PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2  # linux/prctl.h, linux/capability.h
COMMAND = [sys.executable, "-c", "from depthvar.precompute.cli.main import main; main()"]

IN_A_SMALL_DISK = """
set -e
mount -t tmpfs -o size=$1 tmpfs "$2"
shift
out=$1; kept=$2; shift 2
set +e
"$@"; echo $? > "$kept/first"
cp -r "$out/x.zarr" "$kept/broken.zarr"
mount -o remount,size=100m "$out"
"$@" 2>&1; echo $? > "$kept/second"
cp -r "$out/x.zarr" "$kept/x.zarr"
"""

Spoil = Callable[[], None]


class Data:
    """Ten shards, by default of some 50 kB, and the cache of a run that nothing disturbed."""

    def __init__(self, folder: Path, frames: int = 3, height: int = 96, width: int = 128) -> None:
        self.tiny, self.whole = TinyData(folder / "tiny"), folder / "whole.zarr"
        for sequence in range(10):
            for frame in range(frames):
                self.tiny.write(f"P{sequence}", f"{frame:03}", make_depth(height, width, frames * sequence + frame))
        for path in self.tiny.root.rglob("*"):  # so that their stat is trusted
            os.utime(path, (path.stat().st_mtime - 10,) * 2)
        assert self.run(self.whole).returncode == 0

    def command(self, cache: Path, *options: str) -> list[str]:
        return [*COMMAND, "run", "--dataset", str(self.tiny.toml), "--strides", "1,2", "--out", str(cache), *options]

    def run(self, cache: Path, *options: str, spoil: Spoil | None = None) -> subprocess.CompletedProcess[str]:
        """Run, in a process of its own where ``spoil`` does something to that before it begins."""
        command = self.command(cache, *options)
        if spoil is None:
            result = CliRunner().invoke(main, command[len(COMMAND) :])
            return subprocess.CompletedProcess(command, result.exit_code, result.stdout, result.stderr)
        return subprocess.run(command, preexec_fn=spoil, capture_output=True, text=True, check=False, timeout=200)

    def check_fails(self, cache: Path, message: str, *options: str, spoil: Spoil | None = None) -> None:
        process = self.run(cache, *options, spoil=spoil)
        assert (process.returncode, process.stdout) == (1, ""), process.stderr
        check_error(process.stderr, message)
        self.check_nothing_half_written_counts(cache)

    def check_nothing_half_written_counts(self, cache: Path) -> None:
        if (cache / "zarr.json").exists():
            for finding in validate(str(cache), self.tiny.source(), full=True).findings:
                assert finding.check in ("completeness", "structure")  # missing, but nothing wrong

    def check_goes_on(self, cache: Path) -> None:
        """The same command now ends well, and leaves the bytes of the undisturbed run."""
        process = self.run(cache)
        assert process.returncode == 0, process.stderr
        assert contents(cache) == contents(self.whole)


def check_error(stderr: str, message: str) -> None:
    progress = r"frames done \d+/\d+|looked at \d frames|compiling the CPU kernel|threads, the default"
    lines = [line for line in stderr.splitlines() if not re.search(progress, line)]
    assert len(lines) == 1, stderr
    assert re.search(f"^error: .*(?:{message})", lines[0]), lines[0]


def contents(cache: Path) -> dict[str, bytes]:
    return {str(path.relative_to(cache)): path.read_bytes() for path in cache.rglob("*") if path.is_file()}


def limited(kind: int, limit: int) -> None:
    resource.setrlimit(kind, (limit, limit))


def without_override() -> None:
    """Let permission bits hold for root, too."""
    libc = ctypes.CDLL(None)
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # refused to those who do not have it anyway
