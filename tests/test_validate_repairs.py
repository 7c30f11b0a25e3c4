"""What a finding names as its repair repairs, and costs no more than it must; what is no damage is no finding."""

import errno
import os
import shutil
from pathlib import Path

import pytest
import zarr
from click.testing import CliRunner
from lock_holder import holder
from six_frames import check, contents, job_of, kinds, run, six_frames
from tiny_data import TinyData, make_depth

from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.cache.store import LocalStore
from depthvar.datasets.errors import CacheError
from depthvar.precompute.cli.main import main as cli
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.validation.finding import CLEAR, RESTORE, RUN_AGAIN, SEE_WHY
from depthvar.precompute.validation.validate import validate


@pytest.fixture
def data(tmp_path: Path) -> TinyData:
    return six_frames(tmp_path / "data")


def computed(data: TinyData, **options: object) -> list[tuple[str, int]]:
    """Run, and return the shards that were computed."""
    tasks = []

    def noted(job: object, chosen: object) -> object:
        tasks.extend(chosen)  # type: ignore[call-overload]
        return execute.serial(job, tasks)  # type: ignore[arg-type]

    list(pipeline.run(job_of(data), noted, **options))  # type: ignore[arg-type]
    return [(task.group, task.start) for task in tasks if task.action == "compute"]


# Nothing half-done counts


@pytest.fixture
def small_shards(data: TinyData) -> None:
    data.shard_frames = 2


@pytest.mark.usefixtures("small_shards")
def test_rows_that_no_run_has_reached_are_found_without_the_source(data: TinyData) -> None:
    run(data, limit=1)
    found = validate(job_of(data).cache, recompute=0).findings
    assert [(f.check, f.where, f.repair) for f in found] == [
        ("completeness", "a/P0, rows 2 to 3", RUN_AGAIN),
        ("completeness", "b, rows 0 to 1", RUN_AGAIN),
    ]
    run(data)
    assert validate(job_of(data).cache, recompute=0).findings == []


@pytest.mark.usefixtures("small_shards")
def test_a_shard_of_which_every_file_is_lost_is_found_without_the_source(data: TinyData) -> None:
    cache = run(data)
    whole = contents(cache)
    for path in (cache / "a/P0").glob("*/c.1.*"):
        path.unlink()
    (finding,) = validate(str(cache), recompute=0).findings
    assert (finding.check, finding.where) == ("completeness", "a/P0, rows 2 to 3")
    assert computed(data) == [("a/P0", 2)]
    assert contents(cache) == whole


@pytest.mark.parametrize("column", ["key", "intrinsics", "digest"])
def test_what_is_cleared_is_incomplete_until_the_next_run(data: TinyData, column: str) -> None:
    cache = run(data)
    whole = contents(cache)
    (cache / "b" / column / "c.0.0").write_bytes(b"damaged")
    assert validate(str(cache), recompute=0, clear=True).cleared == 1
    assert kinds(validate(str(cache), recompute=0).findings) == {"completeness"}
    assert computed(data) == [("b", 0)]
    assert contents(cache) == whole


@pytest.mark.usefixtures("small_shards")
def test_rows_of_frames_that_went_before_they_were_computed_do_not_stay_incomplete(data: TinyData) -> None:
    run(data, limit=1)
    for index in (2, 3):
        (data.root / f"a/P0/depth/{index:03}.npy").unlink()
    run(data)
    assert validate(job_of(data).cache, recompute=0).findings == []
    assert zarr.open_array(f"{job_of(data).cache}/a/P0/key", mode="r").shape[0] == 2
    data.write("a/P0", "009", make_depth(24, 32, 9))
    run(data)
    assert check(data, full=True) == []


@pytest.mark.parametrize("name", ["sigma_Z2_s2", "sigma_Z2", "intrinsics", "digest", "b"])
def test_a_run_computes_a_group_anew_of_which_an_array_is_gone(data: TinyData, name: str) -> None:
    cache = run(data)
    whole = contents(cache)
    shutil.rmtree(cache / "b" / name if name != "b" else cache / "b")
    (finding,) = check(data)[:1]
    assert (finding.check, finding.where, finding.repair) == ("structure", "b", RUN_AGAIN)
    assert name in finding.expected or name == "b"
    assert computed(data) == [("b", 0)]
    assert contents(cache) == whole


@pytest.mark.parametrize("name", ["b/zarr.json", "b/digest/zarr.json", "b/sigma_Z2_s2/zarr.json", "a/zarr.json"])
def test_metadata_that_are_gone_are_mended_by_the_run_that_the_finding_names(data: TinyData, name: str) -> None:
    cache = run(data)
    whole = contents(cache)
    (cache / name).unlink()
    assert {finding.repair for finding in validate(str(cache), recompute=0).findings} == {RUN_AGAIN}
    assert computed(data) == ([("b", 0)] if name[0] == "b" else [])
    assert contents(cache) == whole


def test_a_group_made_anew_takes_no_digest_of_the_old_one(data: TinyData, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is killed as soon as the group is there again: what is left of its digests must not count."""
    cache = run(data)
    (cache / "b/zarr.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "put", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(data)
    assert not (cache / "b/digest").exists()
    assert computed(data) == [("b", 0)]


# The repair is no larger than it must be


def test_one_damaged_folder_or_group_leaves_the_others(data: TinyData) -> None:
    cache = run(data)
    whole = contents(cache)
    (cache / "a/zarr.json").write_bytes(b"{")
    assert [(f.where, f.repair, f.group, f.row) for f in validate(str(cache), recompute=0).findings] == [
        ("a/zarr.json", CLEAR, "a", None)
    ]
    assert validate(str(cache), recompute=0, clear=True).cleared == 1
    assert computed(data) == []
    assert contents(cache) == whole


def test_a_frame_in_two_groups_is_cleared_by_a_run_from_the_one_that_is_wrong(data: TinyData) -> None:
    run(data)
    wide = make_depth(24, 32, 1)[:, :16].copy()
    data.write("b", "001", wide)
    list(pipeline.run(job_of(data), execute.serial, part=(1, 2)))  # the other part has still to clear the old row
    found = [finding for finding in validate(job_of(data).cache, recompute=0).findings if finding.expected == "one row"]
    assert [(finding.where, finding.repair) for finding in found] == [("b/depth/001.npy", RUN_AGAIN)]
    run(data)
    assert check(data, full=True) == []


def test_a_source_that_cannot_be_read_is_to_be_restored(data: TinyData) -> None:
    run(data)
    path = data.root / "b/depth/001.npy"
    content, status = path.read_bytes(), path.stat()
    path.write_bytes(b"spoiled" + content[7:])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    (finding,) = check(data, full=True)
    assert (finding.check, finding.repair) == ("staleness", RESTORE)
    path.write_bytes(content)
    assert check(data, full=True) == []


def test_a_frame_that_failed_names_the_run_that_says_why(data: TinyData) -> None:
    (data.root / "b/depth/001.npy").write_bytes(b"broken")
    for path in data.root.rglob("*.npy"):
        os.utime(path, (1e9, 1e9))
    job = data.job(strides=(1, 2), on_error="skip")
    list(pipeline.run(job, execute.serial))
    assert [finding.repair for finding in check(data)] == [SEE_WHY]
    outlook, *_ = pipeline.run(job, execute.serial)
    assert outlook.failed == (  # type: ignore[union-attr]
        ("b/depth/001.npy", "could not be read in an earlier run, and has not changed since; --on-error fail says why"),
    )


# What is no damage


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.EIO])
@pytest.mark.parametrize("where", ["sigma_Z2/c.0", "key/c.0", "digest/zarr.json"])
def test_what_the_machine_cannot_read_is_an_error_and_no_finding(
    data: TinyData, monkeypatch: pytest.MonkeyPatch, number: int, where: str
) -> None:
    cache = run(data)
    real = os.open

    def fail(path: object, *arguments: object) -> object:
        if where in str(path):
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *arguments)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(CacheError, match=rf"cannot be read.*{os.strerror(number)}") as error:
        validate(str(cache), recompute=0, clear=True)
    assert "--overwrite" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_without_any_frame_of_the_cache_is_the_wrong_one(data: TinyData, tmp_path: Path) -> None:
    cache = run(data)
    TinyData(tmp_path / "other").write("c", "000", make_depth(24, 32, 0))
    with pytest.raises(CacheError, match=r"no frame of the cache is there: expected files such as a/P0/.*--root"):
        validate(str(cache), tmp_path / "other")


@pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part")
def test_consolidated_metadata_are_neither_read_nor_a_finding(data: TinyData) -> None:
    cache = run(data)
    zarr.consolidate_metadata(cache)
    assert check(data, full=True) == []
    added = data.write("b", "002", make_depth(24, 32, 7))
    run(data)
    assert check(data, full=True) == []
    assert SigmaCache(cache).read(added).shape == (24, 32)


def test_beside_a_run_nothing_looks_wrong_that_is_only_under_way(data: TinyData) -> None:
    cache = run(data)
    with holder(cache):
        assert validate(str(cache), recompute=0).findings == []
        shutil.rmtree(cache / "b")
        with pytest.raises(CacheError, match=r"a run is writing it, .* validate it when that has ended"):
            validate(str(cache), recompute=0)
    assert kinds(validate(str(cache), recompute=0).findings) == {"structure"}


def test_an_error_beside_a_run_is_one_line(data: TinyData, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = run(data)
    monkeypatch.setattr(LocalStore, "list", lambda store: {}["gone"])
    with holder(cache), pytest.raises(CacheError, match="a run is writing it"):
        validate(str(cache), recompute=0)
    with pytest.raises(KeyError):  # nobody writes: a bug shows itself
        validate(str(cache), recompute=0)


# The source changed


@pytest.mark.parametrize("kept", [False, True], ids=["its time too", "at equal size and time"])
def test_a_changed_file_is_repaired_by_a_run_alone_unless_size_and_time_are_kept(data: TinyData, kept: bool) -> None:
    cache = run(data)
    path = data.root / "b/depth/001.npy"
    status = path.stat()
    path.write_bytes(path.read_bytes()[:-4] + b"\x00\x00\x80\x40")
    if kept:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    (finding,) = validate(str(cache), data.source(), full=True).findings
    assert (finding.check, finding.where) == ("staleness", "b/depth/001.npy")
    if kept:
        assert finding.repair == CLEAR
        assert computed(data) == []  # a run does not see it
        assert validate(str(cache), data.source(), full=True, clear=True).cleared == 1
    else:
        assert finding.repair == RUN_AGAIN
    run(data)
    assert validate(str(cache), data.source(), full=True).findings == []


def test_stored_intrinsics_of_another_camera_are_repaired_by_a_run_alone(data: TinyData) -> None:
    cache = run(data)
    zarr.open_array(cache / "b/intrinsics", mode="r+")[1, 0] += 1
    (finding,) = check(data, full=True)
    assert (finding.where, finding.repair) == ("b/depth/001.npy, intrinsics", RUN_AGAIN)
    run(data)
    assert check(data, full=True) == []


# Which frames are drawn


def test_other_frames_are_drawn_every_time_and_the_same_by_the_seed(data: TinyData) -> None:
    cache = run(data)
    path = data.root / "b/depth/001.npy"
    status = path.stat()
    path.write_bytes(path.read_bytes()[:-4] + b"\x00\x00\x80\x40")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    reports = [validate(str(cache), data.source(), recompute=1) for _ in range(60)]  # 1 of 6: missed by (5/6)^60
    assert len({report.seed for report in reports}) == 60
    assert {bool(report.findings) for report in reports} == {True, False}
    for report in reports[:5]:
        again = validate(str(cache), data.source(), recompute=1, seed=report.seed)
        assert again == report
    said = CliRunner().invoke(cli, ["validate", str(cache), "--recompute", "1", "--seed", "7"])
    assert "1 frames recomputed (drawn by --seed 7): " in said.stdout
    assert validate(str(cache), data.source(), full=True).seed is None


# Spellings of a path


def test_every_spelling_of_a_cache_has_the_same_lock(data: TinyData, tmp_path: Path) -> None:
    cache = run(data)
    link = tmp_path / "links/cache"
    link.parent.mkdir()
    link.symlink_to(cache)
    for spelled in (f"{cache}/", str(link), f"{link}/", f"{cache.parent}/./{cache.name}", os.path.relpath(cache)):
        with holder(Path(spelled)), pytest.raises(CacheError, match="another run is writing it"):
            run(data)
        with holder(cache), pytest.raises(CacheError, match="another run is writing it"):
            list(pipeline.run(data.job(cache=spelled, strides=(1, 2)), execute.serial))
    assert not list(tmp_path.rglob("*.lock*"))


@pytest.mark.parametrize("spelled", ["{}/", "file://{}", "file://{}/"])
def test_a_new_cache_may_be_spelled_with_a_slash_or_as_a_file_url(data: TinyData, tmp_path: Path, spelled: str) -> None:
    out = tmp_path / "new caches/x.zarr"
    text = spelled.format(str(out).replace(" ", "%20") if "file" in spelled else out)
    for command in (["run", "--dataset", str(data.toml), "--strides", "1,2", "--out", text], ["info", text]):
        done = CliRunner().invoke(cli, command)
        assert done.exit_code == 0, done.output
    assert CliRunner().invoke(cli, ["validate", text, "--root", str(data.root)]).exit_code == 0
    assert SigmaCache(out).keys() == data.source().keys()


def test_a_lock_that_cannot_be_removed_does_not_spoil_a_run(data: TinyData, monkeypatch: pytest.MonkeyPatch) -> None:
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".lock":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    cache = run(data)
    assert cache.with_name(f"{cache.name}.lock").exists()
    assert run(data) == cache  # nobody holds it
