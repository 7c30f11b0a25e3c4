"""Validation finds what is wrong, says how to mend it, and lets pass what may differ between machines."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr
from numcodecs import BitRound
from tiny_data import TinyData, make_depth

from depthvar.datasets.cache import SigmaCache
from depthvar.datasets.errors import CacheError, FrameNotFoundError, SourceError
from depthvar.precompute import execute, pipeline
from depthvar.precompute.finding import Finding
from depthvar.precompute.lock import writer_lock
from depthvar.precompute.validate import validate
from depthvar.precompute.worker import Job


@pytest.fixture
def data(tmp_path: Path) -> TinyData:
    """Six frames of 24×32 in two sequences, one of them nested, old enough for their stat to be trusted."""
    data = TinyData(tmp_path / "data")
    for sequence, count in (("a/P0", 4), ("b", 2)):
        for index in range(count):
            data.write(sequence, f"{index:03}", make_depth(24, 32, index))
    for path in data.root.rglob("*"):
        os.utime(path, (1e9, 1e9))
    return data


def job_of(data: TinyData) -> Job:
    return data.job(strides=(1, 2))


def run(data: TinyData, **options: bool) -> Path:
    list(pipeline.run(job_of(data), execute.serial, **options))
    return Path(job_of(data).cache)


def check(data: TinyData, **options: object) -> list[Finding]:
    return validate(job_of(data).cache, data.source(), **options).findings  # type: ignore[arg-type]


def kinds(findings: list[Finding]) -> set[str]:
    return {finding.check for finding in findings}


def files(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file())


def contents(cache: Path) -> dict[str, bytes]:
    return {str(path.relative_to(cache)): path.read_bytes() for path in files(cache)}


def flip(content: bytes, dice: random.Random) -> bytes:
    spoiled = bytearray(content)
    spoiled[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    return bytes(spoiled)


def truncate(content: bytes, dice: random.Random) -> bytes:
    return content[: dice.randrange(len(content))]


def zero(content: bytes, dice: random.Random) -> bytes:
    return bytes(len(content))


def delete(content: bytes, dice: random.Random) -> None:
    return None


Damage = Callable[[bytes, random.Random], bytes | None]
DAMAGES: list[Damage] = [flip, truncate, zero, delete]


def places(cache: Path, kind: str, count: int) -> Iterator[tuple[Path, bytes, bytes | None]]:
    """Damage ``count`` files of a kind one after the other, each in one way; the file is whole again afterwards."""
    dice = random.Random(kind)
    chosen = [path for path in files(cache) if (path.name == "zarr.json") == (kind == "metadata")]
    assert chosen
    for number in range(count):
        path, damage = dice.choice(chosen), DAMAGES[number % len(DAMAGES)]
        if damage is delete and path.match("source_stat/c/*/*"):
            continue  # reads as zeros: files too young to trust, which is what a run makes of it too
        before = path.read_bytes()
        after = damage(before, dice)
        if after is None:
            path.unlink()
        else:
            path.write_bytes(after)
        yield path, before, after
        path.write_bytes(before)


def test_a_clean_cache_has_nothing_wrong(data: TinyData) -> None:
    cache = run(data)
    before = contents(cache)
    report = validate(str(cache), data.source(), sample=4)
    assert (report.findings, report.frames, report.chunks, report.recomputed, report.cleared) == ([], 6, 12, 4, 0)
    assert validate(str(cache), data.root, full=True).recomputed == 6  # as the cache describes the source
    assert validate(str(cache)).recomputed == 0
    assert validate(str(cache), data.source(), sample=100, clear=True).cleared == 0
    assert contents(cache) == before


def test_damaged_metadata_is_found_at_every_place(data: TinyData) -> None:
    cache = run(data)
    for path, before, after in places(cache, "metadata", 60):
        try:
            found = validate(str(cache)).findings
        except CacheError:
            assert path == cache / "zarr.json"  # no longer known as ours
        else:
            assert found, (path, before, after)
            assert kinds(found) == {"structure"}, found
    assert check(data) == []


def test_damaged_chunks_are_found_cleared_and_computed_again(data: TinyData) -> None:
    cache = run(data)
    whole = contents(cache)
    for number, (path, before, after) in enumerate(places(cache, "chunks", 60)):
        found = validate(str(cache)).findings
        assert found, (path, before, after)
        if path.match("digest/c/*/*"):  # its frames are not done
            assert "completeness" in kinds(found)
            assert ("integrity" in kinds(found)) == (after is not None)
        else:
            assert kinds(found) == {"integrity"}, found
            assert all("--clear" in finding.repair and finding.shard for finding in found)
        if number % 6 == 0:
            assert check(data, sample=0, clear=True)
            assert kinds(check(data, sample=0)) == {"completeness"}
            run(data)
            assert check(data, full=True) == []
            assert contents(cache) == whole


def test_a_damaged_level_is_never_read_wrong(data: TinyData) -> None:
    cache = run(data)
    reader = SigmaCache(cache)
    keys = reader.keys()
    expected = {(key, stride): reader.read(key, stride) for key in keys for stride in (1, 2)}
    raised = 0
    for path, _, _ in places(cache, "chunks", 60):
        if "sigma_Z2" not in str(path):
            continue
        for (key, stride), values in expected.items():
            try:
                np.testing.assert_array_equal(reader.read(key, stride), values)
            except CacheError as error:
                assert "damaged" in str(error)
                raised += 1
    assert raised > 20


def test_damaged_bookkeeping_is_never_read_wrong(data: TinyData) -> None:
    cache = run(data)
    key = "b/depth/001.npy"
    expected = SigmaCache(cache).sample(key, (20.0, 20.0, 8.0, 6.0), (12, 16))
    raised = 0
    for path, _, _ in places(cache, "chunks", 80):
        if "/b/" not in str(path) or "source_stat" in str(path):
            continue
        try:
            np.testing.assert_array_equal(SigmaCache(cache).sample(key, (20.0, 20.0, 8.0, 6.0), (12, 16)), expected)
        except (CacheError, FrameNotFoundError) as error:
            assert "damaged" in str(error) or "not computed yet" in str(error)  # the latter: the digest is gone
            raised += 1
    assert raised > 10


@pytest.mark.parametrize("place", ["a/zarr.json", "b/zarr.json", "b/sigma_Z2/zarr.json", "b/digest/zarr.json"])
def test_damaged_metadata_is_mended_by_overwrite(data: TinyData, place: str) -> None:
    cache = run(data)
    whole = contents(cache)
    (cache / place).write_bytes(flip((cache / place).read_bytes(), random.Random(place)))
    found = validate(str(cache)).findings
    assert all("--overwrite" in finding.repair for finding in found)
    assert found
    run(data, overwrite=True)
    assert contents(cache) == whole


def test_a_group_that_is_gone_is_made_again(data: TinyData) -> None:
    cache = run(data)
    whole = contents(cache)
    for path in files(cache / "b"):
        path.unlink()
    (finding,) = validate(str(cache)).findings
    assert (finding.check, finding.where, finding.got) == ("structure", "b", "nothing")
    run(data)
    assert contents(cache) == whole


def test_an_array_that_is_not_ours_is_named(data: TinyData) -> None:
    cache = run(data)
    zarr.create_array(cache / "b/mine", shape=(3,), dtype="f4")
    assert [(f.check, f.where, f.repair) for f in check(data)] == [("structure", "b/mine", "remove it by hand")]


def test_an_edit_of_equal_size_and_time_is_found_by_content(data: TinyData) -> None:
    cache = run(data)
    path = data.root / "b/depth/001.npy"
    status = path.stat()
    np.save(path, make_depth(24, 32, 99))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    assert check(data, sample=0) == []  # which is why the sample and --full exist
    for options in ({"full": True}, {"sample": 6}):
        (finding,) = check(data, **options)
        assert (finding.check, finding.where, finding.shard) == ("staleness", "b/depth/001.npy", ("b", 0))
        assert finding.expected.startswith("source digest ")
        assert "the source changed" in finding.got
        assert "--clear" in finding.repair
    assert check(data, full=True, clear=True)
    run(data)
    assert check(data, full=True) == []
    assert SigmaCache(cache).read("b/depth/001.npy").shape == (24, 32)


def test_changed_intrinsics_are_found_without_a_sample(data: TinyData) -> None:
    run(data)
    (data.root / "a/P0/camera/002.txt").write_text("41 40 16 12")
    (finding,) = check(data, sample=0)
    assert (finding.check, finding.where, finding.shard) == ("staleness", "a/P0/depth/002.npy", ("a/P0", 0))


def test_a_touched_file_is_no_finding(data: TinyData) -> None:
    run(data)
    os.utime(data.root / "b/depth/000.npy", (2e9, 2e9))
    report = validate(job_of(data).cache, data.source(), sample=0)
    assert (report.findings, report.recomputed) == ([], 1)


def test_frames_added_removed_and_unreadable(data: TinyData) -> None:
    run(data)
    added = data.write("b", "002", make_depth(24, 32, 7))
    (data.root / "a/P0/depth/000.npy").unlink()
    (data.root / "a/P0/depth/001.npy").write_bytes(b"broken")
    found = {finding.where: finding for finding in check(data, sample=0)}
    assert set(found) == {added, "a/P0/depth/000.npy", "a/P0/depth/001.npy"}
    assert (found[added].check, found[added].got) == ("completeness", "a frame that the cache does not hold")
    gone, broken = found["a/P0/depth/000.npy"], found["a/P0/depth/001.npy"]
    assert (gone.check, gone.expected) == ("staleness", "no frame: the source has none")
    assert (broken.check, broken.expected) == ("staleness", "a readable source file")
    (data.root / "a/P0/depth/001.npy").unlink()
    run(data)
    assert check(data, full=True) == []


def test_frames_that_failed_or_were_not_reached_are_incomplete(data: TinyData) -> None:
    (data.root / "b/depth/001.npy").write_bytes(b"broken")
    list(pipeline.run(data.job(strides=(1, 2), on_error="skip"), execute.serial))
    (finding,) = check(data)
    assert (finding.check, finding.where) == ("completeness", "b/depth/001.npy")
    assert "could not be read" in finding.got


@pytest.mark.parametrize("stride", [1, 2])
def test_one_rounding_step_passes_and_two_are_found(data: TinyData, stride: int) -> None:
    cache = run(data)
    array = zarr.open_array(cache / "b" / ("sigma_Z2" if stride == 1 else "sigma_Z2_s2"), mode="r+")
    stored = np.asarray(array[1])
    y, x = np.argwhere(np.isfinite(stored))[17]
    step = np.float32(2.0 ** (np.floor(np.log2(stored[y, x])) - 8))
    for steps, expected in ((1, set()), (2, {"recomputation"}), (-1, set()), (-2, {"recomputation"})):
        changed = stored.copy()
        changed[y, x] += steps * step
        np.testing.assert_array_equal(BitRound(keepbits=8).encode(changed).view(np.float32), changed)  # a stored value
        array[:] = np.stack([np.asarray(array[0]), changed])
        found = check(data, full=True)
        assert kinds(found) == expected
        for finding in found:
            assert (
                f"b/depth/001.npy, {Path(array.path or str(array.store_path)).name} at row {y}, column {x}"
                in finding.where
            )
            assert f"{changed[y, x]:.6g} (1 pixels differ)" == finding.got
            assert finding.expected == f"{stored[y, x]:.6g} m²"


@pytest.mark.parametrize("value", [np.inf, 0.0, -1.0, np.nan])
def test_a_value_that_no_run_writes_is_found(data: TinyData, value: float) -> None:
    cache = run(data)
    array = zarr.open_array(cache / "b/sigma_Z2", mode="r+")
    stored = np.asarray(array[:])
    stored[0, 20, 3] = value
    array[:] = stored
    assert kinds(check(data, full=True)) == {"recomputation" if value in (np.inf, 0.0) else "integrity"} | (
        {"recomputation"} if value == -1.0 else set()
    )


def test_clear_is_refused_while_a_run_goes_on(data: TinyData) -> None:
    cache = run(data)
    with writer_lock(str(cache)):
        assert check(data) == []
        with pytest.raises(CacheError, match="another run is writing it"):
            check(data, clear=True)


def test_a_missing_root_and_another_kernel_are_errors(data: TinyData, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = run(data)
    with pytest.raises(SourceError, match="gone"):
        validate(str(cache), data.root / "gone")
    monkeypatch.setattr("depthvar.precompute.fingerprint.KERNEL_VERSION", 99)
    with pytest.raises(CacheError, match="computed by another kernel version"):
        check(data)
    assert validate(str(cache)).findings == []
