"""Frames that the source no longer has (another pattern, a disk that is not mounted) are kept, and counted."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from tiny_data import TinyData, make_depth

from depthvar.datasets import open_source
from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.cache.store import LocalStore
from depthvar.datasets.errors import CacheError, FrameNotFoundError
from depthvar.precompute.api import run as api_run
from depthvar.precompute.cli.main import main
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.plan import Plan
from depthvar.precompute.validation.validate import validate

GONE = "a/P0/depth/003.npy"  # in a shard with a frame that stays
Maps = dict[tuple[str, int], NDArray[np.float32]]


@pytest.fixture
def data(tiny: TinyData) -> TinyData:
    """A cache of a/P0 (five frames) and b (three) in shards of two, of files old enough to be trusted, with depth."""
    tiny.shard_frames = 2
    for path in tiny.root.rglob("*.*"):
        os.utime(path, (1e9, 1e9))
    run(tiny)
    return tiny


def run(data: TinyData, **options: bool) -> Plan:
    outlook, *_ = pipeline.run(data.job(with_depth=True), execute.serial, **options)
    assert isinstance(outlook, Plan)
    return outlook


def maps_of(data: TinyData, keys: Iterator[str] | list[str]) -> Maps:
    cache = SigmaCache(data.job().cache)
    return {(key, stride): cache.read(key, stride) for key in keys for stride in cache.strides}


def assert_same(one: Maps, two: Maps) -> None:
    assert one.keys() == two.keys()
    for place in one:
        np.testing.assert_array_equal(one[place], two[place], err_msg=str(place))


def cli(*arguments: object) -> str:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_frame_that_is_gone_is_kept_with_its_value_and_counted(data: TinyData) -> None:
    before = maps_of(data, SigmaCache(data.job().cache).keys())
    (data.root / GONE).unlink()
    outlook = run(data)
    assert (outlook.frames, outlook.done, outlook.compute, outlook.kept, outlook.pruned) == (7, 7, 0, 1, 0)
    assert_same(maps_of(data, SigmaCache(data.job().cache).keys()), before)
    report = validate(data.job().cache, data.source(), full=True)
    assert report.findings == []
    assert report.recomputed == 7
    (warning,) = report.warnings
    assert warning.got == f"1 frames that are not in the source, kept: {GONE}"
    assert "--prune removes them" in warning.repair


def test_it_is_kept_where_its_shard_is_computed_again(data: TinyData) -> None:
    """The other frame of the shard is edited: that is computed, and the bytes of the gone one are carried over."""
    before = maps_of(data, [GONE])
    (data.root / GONE).unlink()
    data.write("a/P0", "002", make_depth(24, 32, 77))
    assert run(data).shards == 1
    assert_same(maps_of(data, [GONE]), before)
    fresh = data.job(cache=str(data.root / "fresh.zarr"), with_depth=True)
    list(pipeline.run(fresh, execute.serial))
    np.testing.assert_array_equal(
        SigmaCache(data.job().cache).read("a/P0/depth/002.npy"), SigmaCache(fresh.cache).read("a/P0/depth/002.npy")
    )
    assert validate(data.job().cache, data.source(), full=True).findings == []


def test_another_pattern_keeps_what_the_first_one_found(data: TinyData) -> None:
    before = maps_of(data, SigmaCache(data.job().cache).keys())
    for folder in ("a/P0", "b"):
        shutil.copytree(data.root / folder / "depth", data.root / folder / "right")
    data.toml.write_text(data.toml.read_text().replace("/depth/", "/right/"))
    outlook = run(data)
    assert (outlook.frames, outlook.compute, outlook.kept) == (8, 8, 8)
    cache = SigmaCache(data.job().cache)
    assert len(cache.keys()) == 16
    assert_same(maps_of(data, [key for key in cache.keys() if "/depth/" in key]), before)


def test_prune_removes_it_its_bytes_and_every_count_of_it(data: TinyData) -> None:
    before = maps_of(data, [key for key in SigmaCache(data.job().cache).keys() if key != GONE])
    size = shard_size(data)
    (data.root / GONE).unlink()
    assert run(data, prune=True).pruned == 1
    cache = SigmaCache(data.job().cache)
    with pytest.raises(FrameNotFoundError):
        cache.read(GONE)
    assert_same(maps_of(data, cache.keys()), before)
    assert shard_size(data) < 0.7 * size
    info = json.loads(cli("info", data.job().cache, "--json"))
    assert [(group["frames"], group["done"], group["failed"]) for group in info["groups"]] == [(4, 4, 0), (3, 3, 0)]
    assert "frames       7 frames done, in " in cli("info", data.job().cache)
    report = validate(data.job().cache, data.source(), full=True)
    assert (report.frames, report.findings, report.warnings) == (7, [], [])
    after = run(data)
    assert (after.kept, after.pruned, after.shards) == (0, 0, 0)


def shard_size(data: TinyData) -> int:
    return Path(data.job().cache, "a/P0/sigma_Z2/c.1.0.0").stat().st_size


def test_a_frame_that_comes_back_gets_its_row_again(data: TinyData) -> None:
    before = maps_of(data, [GONE])
    whole = (data.root / GONE).read_bytes()
    (data.root / GONE).unlink()
    run(data, prune=True)
    (data.root / GONE).write_bytes(whole)
    assert run(data).compute == 2
    assert_same(maps_of(data, [GONE]), before)
    assert SigmaCache(data.job().cache).keys()[3] == GONE


def test_a_frame_that_comes_back_without_a_prune_costs_nothing(data: TinyData) -> None:
    whole, status = (data.root / GONE).read_bytes(), (data.root / GONE).stat()
    (data.root / GONE).unlink()
    run(data)
    (data.root / GONE).write_bytes(whole)
    os.utime(data.root / GONE, ns=(status.st_atime_ns, status.st_mtime_ns))
    outlook = run(data)
    assert (outlook.done, outlook.kept, outlook.shards) == (8, 0, 0)


def test_prune_looks_at_files_that_changed_in_the_same_shard(data: TinyData) -> None:
    (data.root / GONE).unlink()
    os.utime(data.root / "a/P0/depth/002.npy", (1.1e9, 1.1e9))
    _, *results = pipeline.run(data.job(with_depth=True), execute.serial, prune=True)
    assert [(r.computed, r.checked) for r in results] == [(0, 1)]  # type: ignore[union-attr]
    assert run(data).shards == 0
    assert GONE not in SigmaCache(data.job().cache).keys()


class Killed(BaseException):
    """Nothing in the product catches it, as nothing catches SIGKILL."""


@pytest.mark.parametrize("prune", [False, True])
def test_a_run_killed_at_any_write_loses_no_kept_frame(
    data: TinyData, monkeypatch: pytest.MonkeyPatch, prune: bool
) -> None:
    """Whatever happens to the shard of a kept frame, at every moment it can be read, with its own values."""
    kept = "a/P0/depth/002.npy" if prune else GONE
    before = maps_of(data, [kept])
    (data.root / GONE).unlink()
    if not prune:
        data.write("a/P0", "002", make_depth(24, 32, 77))
    pristine = shutil.copytree(data.job().cache, data.root / "pristine.zarr")
    real, steps = LocalStore.put, 0
    while True:
        steps += 1
        left = steps

        def put(store: LocalStore, path: str, content: bytes) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise Killed
            real(store, path, content)

        with monkeypatch.context() as patch:
            patch.setattr(LocalStore, "put", put)
            try:
                run(data, prune=prune)
            except Killed:
                assert_same(maps_of(data, [kept]), before)
            else:
                break
        run(data, prune=prune)
        assert_same(maps_of(data, [kept]), before)
        assert validate(data.job().cache, data.source(), full=True).findings == []
        shutil.rmtree(data.job().cache)
        shutil.copytree(pristine, data.job().cache)
    assert steps > 8


def test_what_is_kept_of_a_damaged_shard_is_what_is_sound(data: TinyData) -> None:
    """--clear takes the frame whose bytes are damaged, and no other of its shard."""
    before = maps_of(data, [GONE])
    (data.root / GONE).unlink()
    chunk = Path(data.job().cache, "a/P0/sigma_Z2/c.1.0.0")
    content = bytearray(chunk.read_bytes())
    content[20] ^= 1  # of frame 002, the first in the shard
    chunk.write_bytes(content)
    (finding,) = validate(data.job().cache, data.source(), clear=True).findings
    assert finding.where == "a/P0/depth/002.npy, sigma_Z2"
    assert run(data).compute == 1
    assert_same(maps_of(data, [GONE]), before)
    assert validate(data.job().cache, data.source(), full=True).findings == []


def test_a_kept_frame_whose_own_bytes_are_damaged_stops_the_run_that_would_carry_them_over(data: TinyData) -> None:
    (data.root / GONE).unlink()
    data.write("a/P0", "002", make_depth(24, 32, 77))
    chunk = Path(data.job().cache, "a/P0/sigma_Z2/c.1.0.0")
    content = bytearray(chunk.read_bytes())
    content[(len(content) - 36) * 3 // 4] ^= 1  # of the second frame
    chunk.write_bytes(content)
    with pytest.raises(CacheError, match=rf"{GONE}, sigma_Z2: damaged \(its CRC32C does not match\).*--clear"):
        run(data)
    assert GONE in {f.where.split(",")[0] for f in validate(data.job().cache, data.source(), clear=True).findings}
    run(data)
    assert GONE not in SigmaCache(data.job().cache).keys()
    assert validate(data.job().cache, data.source(), full=True).findings == []


def test_the_command_line_names_what_is_kept_and_what_is_removed(data: TinyData) -> None:
    for number in (3, 4):
        (data.root / f"a/P0/depth/00{number}.npy").unlink()
    command = ["run", "--dataset", data.toml, "--strides", "1,2,3", "--with-depth"]
    line = "2 frames of the cache are not in the source: kept; --prune removes them"
    assert line in cli(*command, "--dry-run").splitlines()
    assert line in cli(*command).splitlines()
    facts = json.loads(cli(*command, "--json"))
    assert (facts["frames"], facts["kept"], facts["pruned"]) == (6, 2, 0)
    said = cli(*command, "--dry-run", "--prune").splitlines()
    assert "2 frames of the cache that the source does not have: would be removed" in said
    assert len(SigmaCache(data.job().cache).keys()) == 8
    assert "2 frames of the cache that the source does not have: removed" in cli(*command, "--prune").splitlines()
    assert "not in the source" not in cli(*command)
    (data.root / "b/depth/001.npy").unlink()
    assert "1 frame of the cache is not in the source: kept; --prune removes it" in cli(*command).splitlines()


def test_frames_that_another_pattern_puts_into_another_group_are_not_removed(tiny: TinyData) -> None:
    first = api_run(tiny.source())
    assert (first.computed, first.pruned) == (8, 0)
    moved = api_run(open_source(tiny.toml, pattern="b/depth/{frame}.npy", intrinsics=(40, 40, 16, 12)))
    assert (moved.computed, moved.kept, moved.pruned) == (3, 5, 0)  # b's frames, now in the group of the root
    assert len(SigmaCache(moved.cache).keys()) == 8
    assert validate(moved.cache, tiny.source()).findings == []
