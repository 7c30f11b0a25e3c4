"""The machine fails under a run: disk full, read-only, no permission, no more open files.

One clear line, exit 1, nothing half-written counts as done, and the same command goes on where it stopped, to the bytes
of a run that was never disturbed.
"""

import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ten_shards import COMMAND, IN_A_SMALL_DISK, Data, check_error, contents, limited, without_override

from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.precompute.validation.validate import validate


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return Data(tmp_path_factory.mktemp("faults"))


# The disk is full


@pytest.mark.parametrize(("size", "some"), [("700k", True), pytest.param("40k", False, marks=pytest.mark.slow)])
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


def test_a_limit_of_file_sizes(data: Data, tmp_path: Path) -> None:
    """A quota, where nothing can be mounted: the maps are larger than what a file may hold."""
    cache = tmp_path / "x.zarr"
    limit = 30_000
    data.check_fails(cache, "cannot write: File too large", spoil=lambda: limited(resource.RLIMIT_FSIZE, limit))
    assert SigmaCache(cache).keys() == []
    assert not list(cache.rglob("*.partial"))
    data.check_goes_on(cache)


def test_a_full_stdout_is_an_error(data: Data) -> None:
    with open("/dev/full", "w") as full:
        command = [*COMMAND, "info", str(data.whole)]
        process = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert process.returncode == 1
    check_error(process.stderr, "No space left on device")


# No permission


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
        message = "x.zarr.lock: cannot create the lock: Permission denied; the folder of the cache must be writable"
        data.check_fails(tmp_path / "x.zarr", message, spoil=without_override)
    data.check_goes_on(tmp_path / "x.zarr")


def test_a_part_of_a_cache_that_may_not_be_written(data: Data, tmp_path: Path) -> None:
    cache = tmp_path / "x.zarr"
    assert data.run(cache, "--limit", "4").returncode == 0
    with mode(cache / "P5/sigma_Z2_s2", 0o555):
        data.check_fails(cache, r"x\.zarr/P5/.*cannot write: Permission denied", spoil=without_override)
    data.check_goes_on(cache)


@pytest.mark.parametrize("what", ["P0/digest/c.0.0", pytest.param("zarr.json", marks=pytest.mark.slow)])
def test_a_part_of_a_cache_that_may_not_be_read(data: Data, tmp_path: Path, what: str) -> None:
    cache = tmp_path / "x.zarr"
    assert data.run(cache, "--limit", "4").returncode == 0
    with mode(cache / what, 0):
        data_error = data.run(cache, spoil=without_override)
    assert data_error.returncode == 1
    check_error(data_error.stderr, "Permission denied.*(again|--out)")
    data.check_nothing_half_written_counts(cache)
    data.check_goes_on(cache)


def test_a_source_that_may_not_be_read(data: Data, tmp_path: Path) -> None:
    cache = tmp_path / "x.zarr"
    with mode(data.tiny.root / "P5/depth/001.npy", 0):
        data.check_fails(cache, r"P5/depth/001\.npy: cannot be read \(Permission denied\)", spoil=without_override)
        skipping = data.run(cache, "--on-error", "skip", spoil=without_override)
    assert skipping.returncode == 4
    assert re.search(r"\n  P5/depth/001\.npy: .*Permission denied.*\ndone .*\b1 failed", skipping.stdout, re.DOTALL)
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
    check_error(
        process.stderr, "cannot create the lock: Read-only file system; the folder of the cache must be writable"
    )
    info = subprocess.run([*read_only, *COMMAND, "info", str(cache)], capture_output=True, text=True, check=False)
    assert (info.returncode, info.stderr) == (0, "")
    assert contents(cache) == before
    data.check_goes_on(cache)


# No more open files


NO_MORE_FILES = """
import resource, sys
from depthvar.datasets.cache.store import LocalStore
from depthvar.precompute.cli.main import main
put, left = LocalStore.put, int(sys.argv.pop(1))
def limited(store, path, data):
    global left
    left -= 1
    if left == 0:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # 0, 1 and 2 are open
    return put(store, path, data)
LocalStore.put = limited
main()
"""


@pytest.mark.parametrize("writes", [1, 40, 100])
def test_no_more_files_can_be_opened_from_a_write_on(data: Data, tmp_path: Path, writes: int) -> None:
    cache = tmp_path / "x.zarr"
    command = [sys.executable, "-c", NO_MORE_FILES, str(writes), *data.command(cache)[len(COMMAND) :]]
    process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert (process.returncode, process.stdout) == (1, "")
    check_error(process.stderr, "Too many open files")
    data.check_nothing_half_written_counts(cache)
    data.check_goes_on(cache)


@pytest.mark.slow
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
