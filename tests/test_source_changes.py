"""The source changes: exactly the shards that must be are computed again, and no file of the others is touched."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_data import TinyData, make_depth

from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import CacheError
from depthvar.precompute import KernelParams
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.worker import Job
from depthvar.precompute.validation.validate import validate

Worked = tuple[str, int, str]  # group, first row, and computed, checked or cleared


@pytest.fixture
def data(tmp_path: Path) -> TinyData:
    """A cache of nine frames in shards of two: a/P0 has rows 0-1, 2-3, 4-5; b has 0-1, 2."""
    data = TinyData(tmp_path / "data", shard_frames=2)
    data.toml.write_text(
        data.toml.read_text().replace("[depth]", '[[masks]]\nfile = "{sequence}/mask/{frame}.npy"\n[depth]')
    )
    for sequence, count in (("a/P0", 6), ("b", 3)):
        (data.root / sequence / "mask").mkdir(parents=True)
        for index in range(count):
            write(data, sequence, f"{index:03}", make_depth(24, 32, index))
    age(data, 1_000_000_000)
    run(data.job())
    return data


def write(data: TinyData, sequence: str, frame: str, depth: np.ndarray, fx: float = 40.0) -> None:
    data.write(sequence, frame, depth, fx)
    np.save(data.root / sequence / "mask" / f"{frame}.npy", np.ones(depth.shape, np.uint8))


def age(data: TinyData, seconds: int) -> None:
    """Give every file a time of its own, long ago."""
    for number, path in enumerate(sorted(data.root.rglob("*.*"))):
        if path.is_file() and ".zarr" not in str(path):
            os.utime(path, (seconds + number, seconds + number))


def run(job: Job) -> list[Worked]:
    """Run, and return what became of the shards that were worked on.

    Checked: found unchanged by content. Cleared: rows were removed, and none was computed.
    """
    _, *results = pipeline.run(job, execute.serial)
    return [
        (r.group, r.start, "checked" if r.checked else "computed" if r.computed else "cleared")  # type: ignore[union-attr]
        for r in results
    ]


def files(cache: Path) -> dict[str, tuple[bytes, int, int]]:
    """Return what tells of every file whether it changed, or was written again with the same bytes."""
    found = (path for path in cache.rglob("*") if path.is_file())
    return {
        str(path.relative_to(cache)): (path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns) for path in found
    }


def belongs(name: str, group: str, start: int) -> bool:
    _, is_chunk, chunk = name.removeprefix(f"{group}/").partition("/c.")
    return name.startswith(f"{group}/") and bool(is_chunk) and int(chunk.partition(".")[0]) == start // 2


def edit(data: TinyData) -> None:
    np.save(data.root / "a/P0/depth/002.npy", make_depth(24, 32, 50))


def edit_and_keep_the_size(data: TinyData) -> None:
    path = data.root / "a/P0/depth/002.npy"
    size = path.stat().st_size
    edit(data)
    assert path.stat().st_size == size
    os.utime(path, (1_050_000_000, 1_050_000_000))


def replace_by_another_frame(data: TinyData) -> None:
    shutil.copy2(data.root / "b/depth/000.npy", data.root / "a/P0/depth/002.npy")  # keeps the time, and the size


def swap_two_frames(data: TinyData) -> None:
    first, second, aside = (data.root / f"a/P0/depth/{name}.npy" for name in ("001", "002", "aside"))
    for path, to in ((first, aside), (second, first), (aside, second)):
        path.rename(to)


def change_intrinsics(data: TinyData) -> None:
    (data.root / "a/P0/camera/002.txt").write_text("41 40 16 12")


def change_intrinsics_and_keep_size_and_time(data: TinyData) -> None:
    path = data.root / "a/P0/camera/002.txt"
    before, status = path.read_text(), path.stat()
    path.write_text(before.replace("40", "41", 1))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size


def change_the_mask(data: TinyData) -> None:
    mask = np.ones((24, 32), np.uint8)
    mask[10:12, 3:7] = 0
    np.save(data.root / "a/P0/mask/002.npy", mask)


def remove(data: TinyData) -> None:
    (data.root / "a/P0/depth/002.npy").unlink()


def rename(data: TinyData) -> None:
    for kind, suffix in (("depth", "npy"), ("mask", "npy"), ("camera", "txt")):
        path = data.root / f"a/P0/{kind}/002.{suffix}"
        path.rename(path.with_stem("0015"))


def add_between(data: TinyData) -> None:
    write(data, "a/P0", "0015", make_depth(24, 32, 60))


def add_to_a_shard_that_has_room(data: TinyData) -> None:
    write(data, "b", "0005", make_depth(24, 32, 60))


def add_a_sequence(data: TinyData) -> None:
    (data.root / "c/mask").mkdir(parents=True)
    write(data, "c", "000", make_depth(24, 32, 60))


def change_the_size(data: TinyData) -> None:
    write(data, "a/P0", "002", make_depth(16, 32, 60))


def nothing(data: TinyData) -> None:
    pass


def touch_one(data: TinyData) -> None:
    os.utime(data.root / "a/P0/depth/002.npy", (1_100_000_000, 1_100_000_000))


def touch_all(data: TinyData) -> None:
    age(data, 1_100_000_000)


def write_again_with_the_same_content(data: TinyData) -> None:
    path = data.root / "a/P0/depth/002.npy"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    os.utime(path, (1_100_000_000, 1_100_000_000))


SECOND = ("a/P0", 2, "computed")
CHANGES: list[tuple[Callable[[TinyData], None], list[Worked]]] = [
    (edit, [SECOND]),
    (edit_and_keep_the_size, [SECOND]),
    (replace_by_another_frame, [SECOND]),
    (swap_two_frames, [("a/P0", 0, "computed"), SECOND]),
    (change_intrinsics, [SECOND]),
    (change_intrinsics_and_keep_size_and_time, [SECOND]),
    (change_the_mask, [SECOND]),
    (remove, []),
    (rename, [("a/P0", 6, "computed")]),
    (add_between, [("a/P0", 6, "computed")]),
    (add_to_a_shard_that_has_room, [("b", 2, "computed")]),
    (add_a_sequence, [("c", 0, "computed")]),
    (change_the_size, [("a/P0", 2, "cleared"), ("a/P0@16x32", 0, "computed")]),
]
SAME: list[tuple[Callable[[TinyData], None], list[Worked]]] = [
    (nothing, []),
    (touch_one, [("a/P0", 2, "checked")]),
    (touch_all, [*(("a/P0", start, "checked") for start in (0, 2, 4)), ("b", 0, "checked"), ("b", 2, "checked")]),
    (write_again_with_the_same_content, [("a/P0", 2, "checked")]),
]


@pytest.mark.parametrize(("change", "expected"), CHANGES, ids=lambda value: getattr(value, "__name__", ""))
def test_exactly_the_right_shards_are_computed_again(
    data: TinyData, change: Callable[[TinyData], None], expected: list[Worked], tmp_path: Path
) -> None:
    cache = Path(data.job().cache)
    before = files(cache)
    values = {key: SigmaCache(cache).read(key) for key in SigmaCache(cache).keys()}
    change(data)
    assert run(data.job()) == expected
    after = files(cache)
    for name in before:
        if "/c." in name and not any(belongs(name, group, start) for group, start, _ in expected):
            assert after[name] == before[name], f"{name} was written again"
    assert validate(str(cache), data.source(), full=True).findings == []
    fresh = data.job(cache=str(tmp_path / "fresh.zarr"))
    run(fresh)
    old, new = SigmaCache(cache), SigmaCache(fresh.cache)
    assert sorted(new.keys()) == data.source().keys()
    assert sorted(old.keys()) == sorted({*new.keys(), *values})  # what the source no longer has is kept
    for key in set(values) - set(new.keys()):
        np.testing.assert_array_equal(old.read(key), values[key])
    for key in new.keys():
        np.testing.assert_array_equal(old.intrinsics(key), new.intrinsics(key))
        for stride in fresh.strides:
            np.testing.assert_array_equal(old.read(key, stride), new.read(key, stride))
    assert all(what == "checked" for _, _, what in run(data.job()))  # young files are hashed once more, no more


@pytest.mark.parametrize(("change", "expected"), SAME, ids=lambda value: getattr(value, "__name__", ""))
def test_the_same_content_is_not_computed_again(
    data: TinyData, change: Callable[[TinyData], None], expected: list[Worked]
) -> None:
    cache = Path(data.job().cache)
    before = files(cache)
    change(data)
    assert run(data.job()) == expected
    after = files(cache)
    assert set(after) == set(before)
    for name in before:
        if "/source_stat/c." not in name:
            assert after[name][0] == before[name][0]
        if "/source_stat/c." not in name and "/intrinsics/c." not in name:  # both written by a check
            assert after[name] == before[name], f"{name} was written again"
    assert run(data.job()) == []
    assert files(cache) == after


def test_intrinsics_of_the_description_concern_every_frame(data: TinyData) -> None:
    data.toml.write_text(
        data.toml.read_text().replace('file = "{sequence}/camera/{frame}.txt"', "constant = [40, 40, 16, 12]")
    )
    assert {what for *_, what in run(data.job())} == {"checked"}  # equal, and no file's any more
    assert run(data.job()) == []
    data.toml.write_text(data.toml.read_text().replace("[40, 40, 16, 12]", "[44, 40, 16, 12]"))
    worked = run(data.job())
    assert len(worked) == 5
    assert {what for *_, what in worked} == {"computed"}
    assert validate(data.job().cache, data.source(), full=True).findings == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("far = [inf]", "far = [inf]\nmax_depth = 6.0", r"max_depth is None in the cache and 6\.0 in this run"),
        (
            "far = [inf]",
            "far = [inf, 655.0]",
            r"far is \['inf'\] in the cache and \['inf', 655\.0\] in this run",
        ),
        (
            "[intrinsics]",
            "units_per_metre = 2.0\n[intrinsics]",
            r"units_per_metre is 1\.0 in the cache and 2\.0 in this run",
        ),
    ],
)
def test_another_decode_rule_or_maximum_depth_is_refused_with_both_values(
    data: TinyData, old: str, new: str, message: str
) -> None:
    before = files(Path(data.job().cache))
    data.toml.write_text(data.toml.read_text().replace(old, new))
    with pytest.raises(CacheError, match=message) as error:
        run(data.job())
    assert "--overwrite" in str(error.value)
    assert files(Path(data.job().cache)) == before


def test_kernel_parameters_are_refused_with_both_values(data: TinyData) -> None:
    before = files(Path(data.job().cache))
    changed = KernelParams(window=3, lambda_prior=1.0, alpha_clamp=0.2, min_valid=4)
    with pytest.raises(CacheError) as error:
        run(data.job(params=changed))
    for phrase in ("window is 5 in the cache and 3", "lambda_prior is 0.5 in the cache and 1.0",
                   "alpha_clamp is 0.3 in the cache and 0.2", "min_valid is 3 in the cache and 4"):  # fmt: skip
        assert phrase in str(error.value)
    assert files(Path(data.job().cache)) == before
