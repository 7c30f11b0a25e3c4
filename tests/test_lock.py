"""One writer per cache: locks of real processes, and of processes that were killed."""

import errno
import fcntl
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from lock_holder import PART, holder

from depthvar.datasets.errors import CacheError
from depthvar.precompute.pipeline.lock import writer_lock


def take(cache: Path, part: PART = None, plan: str = "p") -> None:
    with writer_lock(str(cache), part) as claim:
        claim(plan)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_second_run_is_refused_while_the_first_goes_on(tmp_path: Path) -> None:
    cache = tmp_path / "x.zarr"
    with holder(cache):
        with pytest.raises(CacheError, match=f"{re.escape(str(cache))}: another run is writing it; wait until it ends"):
            take(cache)
        take(tmp_path / "other.zarr")
        assert files(tmp_path) == ["x.zarr.lock"]
    assert files(tmp_path) == []
    take(cache)
    assert files(tmp_path) == []


def test_two_locks_in_one_process_exclude_each_other_too(tmp_path: Path) -> None:
    with writer_lock(str(tmp_path / "x.zarr")), pytest.raises(CacheError, match="another run"):
        take(tmp_path / "x.zarr")
    assert files(tmp_path) == []


@pytest.mark.parametrize("part", [None, (1, 2)])
def test_a_killed_run_leaves_no_lock(tmp_path: Path, part: PART) -> None:
    cache = tmp_path / "x.zarr"
    with holder(cache, part, plan="old") as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert files(tmp_path)  # its files are still there, and hold nobody up
        take(cache)
        take(cache, (2, 2), plan="new")
        take(cache, (1, 2), plan="new")
    assert files(tmp_path) == []


def test_parts_of_one_plan_share_a_cache(tmp_path: Path) -> None:
    cache = tmp_path / "x.zarr"
    with holder(cache, (1, 3)), holder(cache, (3, 3)):
        take(cache, (2, 3))
        assert files(tmp_path) == ["x.zarr.lock", "x.zarr.lock.1-of-3", "x.zarr.lock.3-of-3"]
        with pytest.raises(CacheError, match="another run of --part 3/3 is writing it"):
            take(cache, (3, 3))
        with pytest.raises(CacheError, match="another run is writing it"):
            take(cache)
    assert files(tmp_path) == []


def test_parts_and_a_whole_run_exclude_each_other(tmp_path: Path) -> None:
    with holder(tmp_path / "x.zarr"), pytest.raises(CacheError, match="another run is writing it"):
        take(tmp_path / "x.zarr", (1, 2))
    assert files(tmp_path) == []


@pytest.mark.parametrize(("part", "plan"), [((2, 3), "q"), ((2, 4), "p")])
def test_parts_of_another_plan_or_count_are_refused(tmp_path: Path, part: PART, plan: str) -> None:
    cache = tmp_path / "x.zarr"
    with holder(cache, (1, 3), "p"):
        differs = "3 parts, this one of 4" if plan == "p" else "other options or files"
        expected = (
            rf"x\.zarr\.lock\.1-of-3 belongs to a run of {differs}; give every part the same N and the same options"
        )
        with pytest.raises(CacheError, match=expected):
            take(cache, part, plan)
        take(cache, (2, 3), "p")
    take(cache, part, plan)
    assert files(tmp_path) == []


def test_a_part_that_has_not_planned_yet_claims_nothing(tmp_path: Path) -> None:
    cache = tmp_path / "x.zarr"
    (tmp_path / "x.zarr.lock.1-of-2").write_text("2 parts, plan of a run that was killed")
    with writer_lock(str(cache), (1, 2)):
        take(cache, (2, 2), "p")


def test_the_folder_of_a_new_cache_is_made(tmp_path: Path) -> None:
    take(tmp_path / "a/b/x.zarr")
    assert (tmp_path / "a/b").is_dir()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for cache in ("file/x.zarr", "file/a/b/x.zarr"):
        expected = (
            rf"x\.zarr\.lock: cannot create the lock: {re.escape(str(tmp_path))}/file is a file, not a folder; put"
        )
        with pytest.raises(CacheError, match=expected):
            take(tmp_path / cache)
    (tmp_path / "x.zarr.lock").symlink_to("nothing")
    expected = r"x\.zarr\.lock: cannot create the lock: Too many .*; the folder of the cache must be writable$"
    with pytest.raises(CacheError, match=expected):
        take(tmp_path / "x.zarr")


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with pytest.raises(CacheError, match=r"this file system has no locks .*; put the cache on another one"):
        take(tmp_path / "x.zarr")


CREATE = """
import os, sys
from depthvar.precompute.pipeline.lock import creating
for _ in range(100):
    with creating(sys.argv[1], (1, 2)):
        os.close(os.open(sys.argv[1] + ".only", os.O_CREAT | os.O_EXCL))  # fails where two are inside at once
        os.unlink(sys.argv[1] + ".only")
"""


def test_parts_create_one_after_the_other(tmp_path: Path) -> None:
    commands = [[sys.executable, "-c", CREATE, str(tmp_path / "x.zarr")]] * 3
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    assert [process.communicate()[1] for process in processes] == ["", "", ""]
    assert files(tmp_path) == []
