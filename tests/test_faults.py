"""The machine fails under a run: disk full, read-only, no permission, no more open files.

One clear line, exit 1, nothing half-written counts as done, and the same command goes on where it stopped, to the bytes
of a run that was never disturbed.
"""

import ctypes
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tiny_data import TinyData, make_depth

from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.precompute.validation.validate import validate

COMMAND = [sys.executable, "-c", "from depthvar.precompute.cli.main import main; main()"]
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2  # linux/prctl.h, linux/capability.h


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
        """Run in a process of its own, to which ``spoil`` does something before it begins."""
        command = self.command(cache, *options)
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
    lines = [
        line
        for line in stderr.splitlines()
        if not re.search(r"frames done \d+/\d+|compiling the CPU kernel|threads, the default", line)
    ]
    assert len(lines) == 1, stderr
    assert re.search(f"^error: .*(?:{message})", lines[0]), lines[0]


def contents(cache: Path) -> dict[str, bytes]:
    return {str(path.relative_to(cache)): path.read_bytes() for path in cache.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return Data(tmp_path_factory.mktemp("faults"))


# The disk is full

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


@pytest.mark.parametrize(("size", "some"), [("40k", False), ("700k", True)])
def test_a_full_disk(data: Data, tmp_path: Path, size: str, some: bool) -> None:
    """A small tmpfs that then grows; in a mount namespace of its own, for which no root is needed."""
    if subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=False).returncode:
        pytest.skip("this machine lets nobody mount a tmpfs (unshare -rm)")
    out, kept = tmp_path / "out", tmp_path / "kept"
    out.mkdir()
    kept.mkdir()
    command = [
        "unshare",
        "-rm",
        "sh",
        "-c",
        IN_A_SMALL_DISK,
        "sh",
        size,
        str(out),
        str(kept),
        *data.command(out / "x.zarr"),
    ]
    process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert (kept / "first").read_text() == "1\n", process.stderr
    check_error(process.stderr, "cannot write: No space left on device; .*run the same command again")
    data.check_nothing_half_written_counts(kept / "broken.zarr")
    assert (len(SigmaCache(kept / "broken.zarr").keys()) > 0) == some
    assert (kept / "second").read_text() == "0\n", process.stdout
    assert contents(kept / "x.zarr") == contents(data.whole)


A_PARENT_IS_LATE = """
import errno, threading, time, zarr.storage._local as local
from zarr.core.sync import loop
failed, late, put = threading.Event(), threading.Event(), local._put
def fail(path, value, exclusive=False):
    if exclusive and failed.wait(0.05):
        late.wait()  # until Zarr's loop is about to end, without another turn in which it could look at the outcome
    if path.parent.name == "digest":
        failed.set()
        raise OSError(errno.ENOSPC, "No space left on device")
    return put(path, value, exclusive)
local._put = fail
threading._register_atexit(lambda: loop[0].call_soon_threadsafe(lambda: (late.set(), time.sleep(0.1))))
from depthvar.precompute.cli.main import main; main()
"""


def test_what_zarr_writes_beside_a_failed_write_says_nothing(data: Data, tmp_path: Path) -> None:
    """Zarr writes an array's metadata and its parents' at once; when one fails, nobody waits for the others."""
    options = data.command(tmp_path / "x.zarr")[len(COMMAND) :]
    command = [sys.executable, "-c", A_PARENT_IS_LATE, *options]
    process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert process.returncode == 1, process.stderr
    check_error(process.stderr, "cannot write: No space left on device")


def test_a_limit_of_file_sizes(data: Data, tmp_path: Path) -> None:
    """A quota, where nothing can be mounted: the maps are larger than what a file may hold."""
    cache = tmp_path / "x.zarr"
    limit = 30_000
    data.check_fails(cache, "cannot write: File too large", spoil=lambda: limited(resource.RLIMIT_FSIZE, limit))
    assert SigmaCache(cache).keys() == []
    assert not list(cache.rglob("*.partial"))
    data.check_goes_on(cache)


def limited(kind: int, limit: int) -> None:
    resource.setrlimit(kind, (limit, limit))


def test_a_full_stdout_is_an_error(data: Data) -> None:
    with open("/dev/full", "w") as full:
        command = [*COMMAND, "info", str(data.whole)]
        process = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert process.returncode == 1
    check_error(process.stderr, "No space left on device")


# No permission


def without_override() -> None:
    """Let permission bits hold for root, too."""
    libc = ctypes.CDLL(None)
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # refused to those who do not have it anyway


@contextmanager
def mode(path: Path, bits: int) -> Iterator[None]:
    before = path.stat().st_mode
    path.chmod(bits)
    try:
        yield
    finally:
        path.chmod(before)


def test_an_output_that_may_not_be_written(data: Data, tmp_path: Path) -> None:
    with mode(tmp_path, 0o555):
        message = "x.zarr.lock: cannot create the lock: Permission denied; pass a writable --out"
        data.check_fails(tmp_path / "x.zarr", message, spoil=without_override)
    data.check_goes_on(tmp_path / "x.zarr")


def test_a_part_of_a_cache_that_may_not_be_written(data: Data, tmp_path: Path) -> None:
    cache = tmp_path / "x.zarr"
    assert data.run(cache, "--limit", "4").returncode == 0
    with mode(cache / "P5/sigma_Z2_s2", 0o555):
        data.check_fails(cache, "x.zarr/P5, .*cannot write: Permission denied", spoil=without_override)
    data.check_goes_on(cache)


@pytest.mark.parametrize("what", ["zarr.json", "P0/digest/c/0/0"])
def test_a_part_of_a_cache_that_may_not_be_read(data: Data, tmp_path: Path, what: str) -> None:
    cache = tmp_path / "x.zarr"
    assert data.run(cache, "--limit", "4").returncode == 0
    with mode(cache / what, 0):
        data_error = data.run(cache, spoil=without_override)
    assert data_error.returncode == 1
    check_error(data_error.stderr, "Permission denied.*(run the same command again|--out)")
    data.check_nothing_half_written_counts(cache)
    data.check_goes_on(cache)


def test_a_source_that_may_not_be_read(data: Data, tmp_path: Path) -> None:
    cache = tmp_path / "x.zarr"
    with mode(data.tiny.root / "P5/depth/001.npy", 0):
        data.check_fails(cache, r"P5/depth/001\.npy: cannot be read \(Permission denied\)", spoil=without_override)
        skipping = data.run(cache, "--on-error", "skip", spoil=without_override)
    assert skipping.returncode == 4
    assert re.search(r"1 failed, of 30;.*\n  P5/depth/001\.npy: .*Permission denied", skipping.stdout, re.DOTALL)
    assert data.run(cache).returncode == 0  # its row is not that of an undisturbed run: it was placed last
    assert validate(str(cache), data.tiny.source(), full=True).findings == []


READ_ONLY = """
mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"
"""


def test_a_read_only_file_system(data: Data, tmp_path: Path) -> None:
    """Nothing can be written, everything can be read."""
    cache = tmp_path / "out/x.zarr"
    assert data.run(cache, "--limit", "4").returncode == 0
    before = contents(cache)
    read_only = ["unshare", "-rm", "sh", "-c", READ_ONLY, "sh", str(cache.parent)]
    if subprocess.run([*read_only, "true"], check=False).returncode:
        pytest.skip("this machine lets nobody mount anything read-only (unshare -rm)")
    process = subprocess.run([*read_only, *data.command(cache)], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout) == (1, "")
    check_error(process.stderr, "cannot create the lock: Read-only file system; pass a writable --out")
    info = subprocess.run([*read_only, *COMMAND, "info", str(cache)], capture_output=True, text=True, check=False)
    assert (info.returncode, info.stderr) == (0, "")
    assert contents(cache) == before
    data.check_goes_on(cache)


# No more open files


@pytest.mark.parametrize("limit", [5, 7, 9])
def test_too_few_file_handles(data: Data, tmp_path: Path, limit: int) -> None:
    cache = tmp_path / "x.zarr"
    process = data.run(cache, spoil=lambda: limited(resource.RLIMIT_NOFILE, limit))
    assert (process.returncode, process.stdout) == (1, "")
    assert re.findall("^error: .*Too many open files.*", process.stderr, re.MULTILINE)  # asyncio may complain below it
    data.check_nothing_half_written_counts(cache)
    data.check_goes_on(cache)


def test_too_few_file_handles_for_worker_processes(data: Data, tmp_path: Path) -> None:
    """Found before Dask begins, which would wait for ever for connections that it cannot accept."""
    cache = tmp_path / "x.zarr"
    message = r"--workers: expected that 54 more files can be open, got \d+ .*ulimit -n"
    data.check_fails(cache, message, "--workers", "2", spoil=lambda: limited(resource.RLIMIT_NOFILE, 40))
    data.check_goes_on(cache)


# Another run


def test_a_second_run_is_refused_and_the_first_goes_on(data: Data, tmp_path: Path) -> None:
    cache = tmp_path / "x.zarr"
    first = subprocess.Popen(data.command(cache), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not cache.exists() and first.poll() is None:
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)  # a second one starts slowly
    try:
        process = data.run(cache)
        part = data.run(cache, "--part", "1/2")
    finally:
        first.send_signal(signal.SIGCONT)
    for refused in (process, part):
        assert (refused.returncode, refused.stdout) == (1, "")
        check_error(
            refused.stderr, "x.zarr: another run is writing it; wait until it ends, then run the same command again"
        )
    assert first.wait() == 0
    assert contents(cache) == contents(data.whole)
    assert not list(tmp_path.glob("*.lock*"))


def test_the_lock_of_a_killed_run_holds_nobody_up(data: Data, tmp_path: Path) -> None:
    cache = tmp_path / "x.zarr"
    first = subprocess.Popen(data.command(cache), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not cache.exists() and first.poll() is None:
        time.sleep(0.01)
    first.kill()
    first.wait()
    assert Path(f"{cache}.lock").exists()
    data.check_goes_on(cache)
    assert not list(tmp_path.glob("*.lock*"))
