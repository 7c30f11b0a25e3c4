"""Validation finds what is wrong, says how to repair it, and lets pass what may differ between machines."""

import json
import math
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import reference
import zarr
from click.testing import CliRunner, Result
from numcodecs import BitRound
from six_frames import check, contents, files, job_of, kinds, run, six_frames
from tiny_data import TinyData, make_depth

from depthvar.datasets.cache.attributes import seal
from depthvar.datasets.cache.format import level_name
from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import CacheError, FrameNotFoundError, SourceError
from depthvar.datasets.params import params_to_json
from depthvar.precompute import Difference, KernelParams
from depthvar.precompute.cli.main import main as cli
from depthvar.precompute.cli.text import validate_text
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.fingerprint import fingerprint
from depthvar.precompute.pipeline.lock import writer_lock
from depthvar.precompute.validation.finding import CLEAR, OVERWRITE
from depthvar.precompute.validation.limits import ratio_limits
from depthvar.precompute.validation.validate import validate


@pytest.fixture
def data(tmp_path: Path) -> TinyData:
    return six_frames(tmp_path / "data")


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
        if damage is delete and path.match("source_stat/c.*.*"):
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
    report = validate(str(cache), data.source(), recompute=4)
    assert (report.findings, report.frames, report.chunks, report.recomputed, report.cleared) == ([], 6, 12, 4, 0)
    assert validate(str(cache), data.root, full=True).recomputed == 6  # as the cache describes the source
    assert validate(str(cache), recompute=0).recomputed == 0
    assert validate(str(cache), data.source(), recompute=100, clear=True).cleared == 0
    assert contents(cache) == before


def test_damaged_metadata_is_found_at_every_place(data: TinyData) -> None:
    cache = run(data)
    for path, before, after in places(cache, "metadata", 24):
        try:
            found = validate(str(cache), recompute=0).findings
        except CacheError:
            assert path == cache / "zarr.json"  # no longer known as ours
        else:
            assert found, (path, before, after)
            assert kinds(found) == {"structure"}, found
    assert check(data) == []


def test_damaged_chunks_are_found_cleared_and_computed_again(data: TinyData) -> None:
    cache = run(data)
    whole = contents(cache)
    for number, (path, before, after) in enumerate(places(cache, "chunks", 24)):
        found = validate(str(cache), recompute=0).findings
        assert found, (path, before, after)
        if path.match("digest/c.*.*"):  # its frames are not done
            assert "completeness" in kinds(found)
            assert ("integrity" in kinds(found)) == (after is not None)
        else:
            assert kinds(found) == {"integrity"}, found
            assert all("--clear" in finding.repair and finding.group for finding in found)
        if number % 6 == 0:
            assert check(data, recompute=0, clear=True)
            assert kinds(check(data, recompute=0)) == {"completeness"}
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
def test_damaged_metadata_of_a_group_cost_that_group(data: TinyData, place: str) -> None:
    cache = run(data)
    whole = contents(cache)
    (cache / place).write_bytes(flip((cache / place).read_bytes(), random.Random(place)))
    found = validate(str(cache), recompute=0).findings
    assert {(finding.repair, finding.group, finding.row) for finding in found} == {(CLEAR, place[0], None)}
    others = {path: path.stat().st_mtime_ns for path in files(cache / ("b" if place[0] == "a" else "a"))}
    assert validate(str(cache), recompute=0, clear=True).cleared == 1
    assert kinds(validate(str(cache), recompute=0).findings) == {"structure"}  # it is gone, and has to be computed
    run(data)
    assert contents(cache) == whole
    assert others == {path: path.stat().st_mtime_ns for path in others}


def test_a_group_that_is_gone_is_made_again(data: TinyData) -> None:
    cache = run(data)
    whole = contents(cache)
    for path in files(cache / "b"):
        path.unlink()
    (finding,) = validate(str(cache), recompute=0).findings
    assert (finding.check, finding.where, finding.got) == ("structure", "b", "nothing")
    run(data)
    assert contents(cache) == whole


def test_what_is_not_ours_is_named_with_the_command_that_removes_it(data: TinyData) -> None:
    cache = run(data)
    zarr.create_array(cache / "b/mine", shape=(3,), dtype="f4")
    for name in ("notes.txt", "b/sigma_Z2/c/1/0/0", "old/P0/sigma_Z2/c.0.0.0"):
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).write_bytes(b"foreign")
    found = check(data)
    assert [f.where for f in found] == ["b/mine", "b/sigma_Z2/c", "notes.txt", "old"]  # the topmost of each
    assert kinds(found) == {"structure"}
    for finding in found:
        command = finding.repair.strip("`")
        assert command.startswith("rm -r ")
        assert subprocess.run(command, shell=True).returncode == 0
    assert check(data) == []


def test_what_a_killed_run_left_behind_is_a_warning(data: TinyData) -> None:
    cache = run(data)
    (cache / "b/sigma_Z2/c.0.0.0.0123456789abcdef0123456789abcdef.partial").write_bytes(b"half")
    report = validate(str(cache), data.source())
    (warning,) = report.warnings
    assert (report.findings, warning.got) == ([], "what a killed run left")
    assert warning.repair == f"`rm -r {cache}/b/sigma_Z2/c.0.0.0.0123456789abcdef0123456789abcdef.partial`"


def test_an_edit_of_equal_size_and_time_is_found_by_content(data: TinyData) -> None:
    cache = run(data)
    path = data.root / "b/depth/001.npy"
    status = path.stat()
    np.save(path, make_depth(24, 32, 99))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    assert check(data, recompute=0) == []  # which is why --recompute and --full exist
    for options in ({"full": True}, {"recompute": 6}):
        (finding,) = check(data, **options)
        assert (finding.check, finding.where, finding.group, finding.row) == ("staleness", "b/depth/001.npy", "b", 1)
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
    (finding,) = check(data, recompute=0)
    assert (finding.check, finding.where, finding.group, finding.row) == ("staleness", "a/P0/depth/002.npy", "a/P0", 2)


def test_a_touched_file_is_no_finding(data: TinyData) -> None:
    run(data)
    os.utime(data.root / "b/depth/000.npy", (2e9, 2e9))
    report = validate(job_of(data).cache, data.source(), recompute=0)
    assert (report.findings, report.recomputed) == ([], 1)


def test_frames_added_removed_and_unreadable(data: TinyData) -> None:
    run(data)
    added = data.write("b", "002", make_depth(24, 32, 7))
    (data.root / "a/P0/depth/000.npy").unlink()
    (data.root / "a/P0/depth/001.npy").write_bytes(b"broken")
    report = validate(job_of(data).cache, data.source(), recompute=0)
    found = {finding.where: finding for finding in report.findings}
    assert set(found) == {added, "a/P0/depth/001.npy"}
    assert (found[added].check, found[added].got) == ("completeness", "a frame that the cache does not hold")
    (gone,) = report.warnings
    assert gone.got == "1 frames that are not in the source, kept: a/P0/depth/000.npy"
    broken = found["a/P0/depth/001.npy"]
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
    expected = {"recomputation"} if value in (np.inf, 0.0) else {"integrity" if math.isnan(value) else "limits"}
    assert kinds(check(data, full=True)) == expected | ({"recomputation"} if value == -1.0 else set())
    assert kinds(validate(str(cache), recompute=0).findings) == expected - {"recomputation"}  # what needs no source


@pytest.mark.parametrize(
    ("factor", "place", "message"),
    [
        (1.5, (20, 31), "outside"),  # at the edge, where σ is as large as alpha_clamp allows
        (0.0, (20, 3), "outside"),
        (math.inf, (20, 3), "where the depth is valid"),
        (1.0, (0, 0), "where the depth is not valid"),  # sky
    ],
)
@pytest.mark.parametrize("stride", [1, 2])
def test_values_that_the_stored_depth_rules_out_need_no_source(
    data: TinyData, factor: float, place: tuple[int, int], message: str, stride: int
) -> None:
    list(pipeline.run(data.job(strides=(1, 2), with_depth=True), execute.serial))
    cache = job_of(data).cache
    array = zarr.open_array(f"{cache}/b/{level_name(stride)}", mode="r+")
    depth = np.asarray(zarr.open_array(f"{cache}/b/depth", mode="r")[0])
    y, x = place[0] // stride, place[1] // stride
    stored = np.asarray(array[:])
    largest = depth[y * stride, x * stride] ** 2 * reference.frustum_variance(1.0, 0.3)
    stored[0, y, x] = np.nan_to_num(largest, posinf=1.0) * factor if factor < math.inf else factor
    array[:] = stored
    (finding,) = validate(cache, recompute=0).findings
    assert (finding.check, finding.group) == ("limits", "b")
    assert finding.where == f"b/depth/000.npy, {level_name(stride)}"
    assert f" m² at row {y}, column {x}, " in finding.got
    assert message in finding.got
    assert validate(cache, data.source(), full=True, clear=True).cleared == 1
    list(pipeline.run(data.job(strides=(1, 2), with_depth=True), execute.serial))
    assert validate(cache, data.source(), full=True).findings == []


@pytest.mark.parametrize(
    "params",
    [
        KernelParams(),
        KernelParams(lambda_prior=0, alpha_clamp=1e-5),
        KernelParams(lambda_prior=30, window=3),
        KernelParams(compat="pi3"),
        KernelParams(quantisation_step=0.01),
        Difference(),
        Difference(quantisation_step=0.01),
    ],
)
def test_no_clean_cache_is_out_of_limits(data: TinyData, params: KernelParams) -> None:
    """Frames with every kind of trouble: noise over six orders of magnitude, holes, sky, lonely pixels."""
    noise = np.random.default_rng(0)
    for index in range(3):
        depth = np.exp(noise.uniform(-7, 7, (24, 32)) * index / 2).astype(np.float32)
        depth[noise.random(depth.shape) < 0.5] = 0
        depth[noise.random(depth.shape) < 0.1] = np.inf
        data.write("noise", f"{index:03}", depth)
    data.toml.write_text(data.toml.read_text().replace("far = [inf]", "far = [inf]\nmax_depth = 500.0"))
    job = data.job(params=params, with_depth=True)
    list(pipeline.run(job, execute.serial))
    assert validate(job.cache, data.source(), full=True).findings == []


@pytest.mark.parametrize("stride", [1, 3])
def test_the_limits_are_reached(stride: int) -> None:
    """A pixel next to the sky has the upper one, a lonely one the lower one."""
    camera = np.array([40.0, 30.0, 0.0, 0.0])
    job = {"max_depth": None, "keepbits": 23, **params_to_json(KernelParams(min_valid=2))}
    low, high = ratio_limits(job, camera, stride)
    alone, silhouette = np.full((2, 1, 2), 5.0, np.float32)
    alone[0, 1], silhouette[0, 1] = 0, np.inf
    for depth, limit in ((alone, low), (silhouette, high)):
        values = reference.sigma_z2(depth, camera / stride, KernelParams(min_valid=2)).sigma_z2[0, 0]
        assert values == pytest.approx(25 * limit, rel=1e-9)
    assert high == pytest.approx(reference.frustum_variance(1.0, 0.3))


def test_a_value_above_what_the_maximum_depth_allows_needs_neither_source_nor_depth(data: TinyData) -> None:
    data.toml.write_text(data.toml.read_text().replace("far = [inf]", "far = [inf]\nmax_depth = 10.0"))
    cache = run(data)
    array = zarr.open_array(cache / "b/sigma_Z2", mode="r+")
    stored = np.asarray(array[:])
    most = 100 * reference.frustum_variance(1.0, 0.3)
    stored[0, 20, 3] = most
    array[:] = stored
    assert validate(str(cache), recompute=0).findings == []
    stored[0, 20, 3] = 1.01 * most
    array[:] = stored
    (finding,) = validate(str(cache), recompute=0).findings
    assert (finding.check, finding.where) == ("limits", "b/depth/000.npy, sigma_Z2")
    assert "the most at the maximum depth" in finding.got


def test_stored_depth_of_another_frame_is_found(data: TinyData) -> None:
    job = data.job(with_depth=True)
    list(pipeline.run(job, execute.serial))
    array = zarr.open_array(f"{job.cache}/b/depth", mode="r+")
    stored = np.asarray(array[:])
    stored[0, 20, 3] += 0.01  # within the limits
    array[:] = stored
    (finding,) = validate(job.cache, data.source(), full=True).findings
    assert (finding.check, finding.where) == ("recomputation", "b/depth/000.npy, depth at row 20, column 3")
    assert finding.expected == f"{stored[0, 20, 3] - 0.01:.6g} m"


def test_stored_intrinsics_of_another_camera_are_found(data: TinyData) -> None:
    cache = run(data)
    array = zarr.open_array(cache / "b/intrinsics", mode="r+")
    array[0] = np.array([41.0, 41.0, 16.0, 12.0])
    (finding,) = check(data, recompute=0)
    assert (finding.check, finding.where) == ("staleness", "b/depth/000.npy, intrinsics")
    assert (finding.expected, finding.got) == ("40, 40, 16, 12", "41, 41, 16, 12")
    assert check(data, recompute=0, clear=True)
    run(data)
    assert check(data, full=True) == []


def test_a_fingerprint_of_other_parameters_is_found(data: TinyData) -> None:
    """Attributes that were edited and sealed again: the checksum is right."""
    cache = run(data)
    root = zarr.open_group(cache, mode="r+")
    attributes = root.attrs.asdict()
    parameters = attributes["parameters"] | {"alpha_clamp": 0.4}  # type: ignore[operator]
    root.attrs.put(seal(attributes | {"parameters": parameters}))
    assert [(f.check, f.expected.split()[0], f.repair) for f in validate(str(cache), recompute=0).findings] == [
        ("structure", "fingerprint", OVERWRITE)
    ]


def test_a_group_in_the_place_of_another_and_a_frame_twice(data: TinyData) -> None:
    cache = run(data)
    shutil.rmtree(cache / "b")
    shutil.copytree(cache / "a/P0", cache / "b")
    found = validate(str(cache), recompute=0).findings
    assert [(f.check, f.where, f.got) for f in found] == [
        ("structure", "b", "the group of a/P0, 24×32"),
        *(("structure", f"a/P0/depth/{n:03}.npy", "2 rows that are done") for n in range(4)),
    ]
    assert validate(str(cache), recompute=0, clear=True).cleared == 1
    run(data)
    assert check(data, full=True) == []


@pytest.mark.parametrize("name", ["a/zarr.json", "b/zarr.json", "b/digest/zarr.json", "b/sigma_Z2/zarr.json"])
@pytest.mark.parametrize("after", [b"{", None])
def test_a_run_over_damaged_metadata_ends_in_one_line_or_mends_it(
    data: TinyData, name: str, after: bytes | None
) -> None:
    cache = run(data)
    whole = contents(cache)
    (cache / name).unlink() if after is None else (cache / name).write_bytes(after)
    try:
        run(data)
    except CacheError as error:
        assert "`precompute validate --clear` and then `precompute run` repair it" in str(error)
        validate(str(cache), recompute=0, clear=True)
        run(data)
    assert contents(cache) == whole
    assert check(data, full=True) == []


def test_the_typical_sigma_by_kind_of_pixel_and_when_it_warns(data: TinyData) -> None:
    run(data)
    report = validate(job_of(data).cache, data.source(), full=True)
    assert set(report.typical) == {"edge", "smooth", "far", "near"}
    assert report.typical["edge"] > 5 * report.typical["smooth"]
    assert report.typical["far"] > report.typical["near"]
    assert report.warnings == []


def test_odd_statistics_warn_and_are_no_finding(tmp_path: Path) -> None:
    """Near clutter before a far wall, without an edge of 10 %: far is calm, so a warning, and no more."""
    data = TinyData(tmp_path / "odd")
    depth = np.full((24, 64), 5.0, np.float32)
    depth[:, :32] = 4.6 + 0.2 * (np.arange(32) % 2)
    data.write("s", "0", depth)
    run(data)
    report = validate(job_of(data).cache, data.source(), full=True)
    assert report.findings == []
    (warning,) = report.warnings
    assert (warning.check, warning.expected) == ("statistics", "σ in the farther half above σ elsewhere")
    assert f"typically {report.typical['far']:.3g} m there and {report.typical['near']:.3g} m" in warning.got
    assert "docs/datasets.md" in warning.repair
    assert "  warning: statistics: the 1 frames computed again: " in validate_text(report.to_json())


def test_clear_is_refused_while_a_run_goes_on(data: TinyData) -> None:
    cache = run(data)
    with writer_lock(str(cache)):
        assert check(data) == []
        with pytest.raises(CacheError, match="another run is writing it"):
            check(data, clear=True)


def test_a_missing_root_and_another_kernel_are_errors(data: TinyData) -> None:
    cache = run(data)
    with pytest.raises(SourceError, match="gone"):
        validate(str(cache), data.root / "gone")
    root = zarr.open_group(cache, mode="r+")
    attributes = root.attrs.asdict()
    parameters = attributes["parameters"] | {"kernel_version": 99}  # type: ignore[operator]
    root.attrs.put(seal(attributes | {"parameters": parameters, "fingerprint": fingerprint(parameters)}))
    with pytest.raises(CacheError, match="computed by another kernel version"):
        check(data)
    assert validate(str(cache), recompute=0).findings == []


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["validate", *map(str, arguments)])


def test_the_command_names_frame_expected_got_and_repair_and_ends_with_3(data: TinyData) -> None:
    cache = run(data)
    good = invoke(cache, "--full", "--json")
    assert good.exit_code == 0
    facts = json.loads(good.stdout)
    assert (facts["findings"], facts["warnings"], facts["recomputed"]) == ([], [], 6)
    assert set(facts["typical"]) == {"edge", "smooth", "far", "near"}
    (cache / "b/sigma_Z2/c.0.0.0").unlink()
    bad = invoke(cache, "--full", "--json")
    assert bad.exit_code == 3
    for finding, frame in zip(json.loads(bad.stdout)["findings"], ("000", "001"), strict=True):
        assert finding == {
            "check": "integrity",
            "where": f"b/depth/{frame}.npy, sigma_Z2",
            "expected": "stored values",
            "got": "missing values (NaN)",
            "repair": "`precompute validate --clear`, then `precompute run` with the options of the cache",
            "group": "b",
            "row": int(frame),
            "is_warning": False,
        }
    text = invoke(cache)
    assert text.exit_code == 3
    assert text.stdout.count("\n") == 5  # a line in all, one for each finding, σ and depth


def test_warnings_alone_end_with_0(data: TinyData) -> None:
    cache = run(data)
    (cache / "b/sigma_Z2/c.0.0.0.0123456789abcdef0123456789abcdef.partial").write_bytes(b"half")
    result = invoke(cache)
    assert result.exit_code == 0
    assert (
        "nothing wrong\n  warning: structure: b/sigma_Z2/c.0.0.0.0123456789abcdef0123456789abcdef.partial: "
        in result.stdout
    )


def test_a_cache_behind_a_url_is_checked_with_a_root_or_by_itself(data: TinyData) -> None:
    cache = f"memory://{data.root.name}/validated.zarr"
    list(pipeline.run(data.job(cache=cache), execute.serial))
    assert invoke(cache, "--root", data.root).exit_code == 0
    alone = invoke(cache)
    assert alone.exit_code == 0
    assert "not compared with depth; repair: pass the folder of the depth as --root" in alone.stdout
    zarr.create_array(f"{cache}/b/mine", shape=(3,), dtype="f4")
    assert [(f.where, f.repair) for f in validate(cache, recompute=0).findings] == [("b/mine", "remove b/mine")]
