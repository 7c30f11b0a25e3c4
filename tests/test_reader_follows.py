"""A reader that stays open while its cache is computed again: it follows, or says that it cannot; it never mixes."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from tiny_data import TinyData, make_depth

from depthvar.datasets.cache import metadata
from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.cache.store import LocalStore
from depthvar.datasets.errors import CacheError
from depthvar.precompute import KernelParams
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.remove import remove

VIEW: dict[str, Any] = {"intrinsics": [16.5, 16.5, 6.5, 4.5], "size": (10, 13)}  # between strides 2 and 3
OTHER = KernelParams(window=3)
ANEW = r"computed again with other parameters since it was opened \(window was 5 and is 3\); open it again with SigmaC"

READS: dict[str, Callable[[SigmaCache, str], Any]] = {
    "read": lambda cache, key: cache.read(key),
    "read at stride 2": lambda cache, key: cache.read(key, 2),
    "sample": lambda cache, key: cache.sample(key, **VIEW),
    "annotate": lambda cache, key: annotated(cache, key)["sigma_Z2"],
    "intrinsics": lambda cache, key: cache.intrinsics(key),
    "shape": lambda cache, key: np.array(cache.shape(key)),
}


def annotated(cache: SigmaCache, key: str) -> dict[str, Any]:
    view: dict[str, Any] = {"camera_intrinsics": VIEW["intrinsics"], "depthmap": np.zeros(VIEW["size"])}
    cache.annotate(view, key)
    return view


def compute(tiny: TinyData, overwrite: bool = False, **changes: object) -> None:
    list(pipeline.run(tiny.job(**changes), execute.serial, overwrite=overwrite))


@pytest.fixture
def tiny(tmp_path: Path) -> TinyData:
    """Two sequences of which a second run has added frames that come first by name: a new run orders them anew."""
    data = TinyData(tmp_path / "tiny")
    for first, count in ((5, 3), (1, 2)):
        for index in range(first, first + count):
            for sequence, fx in (("a", 40.0), ("b", 44.0)):
                data.write(sequence, f"{index:03}", make_depth(24, 32, index), fx + index)
        compute(data)
    return data


def assert_same(old: SigmaCache, new: SigmaCache) -> None:
    assert sorted(old.keys()) == sorted(new.keys())
    for key in new.keys():
        for name, read in READS.items():
            np.testing.assert_array_equal(read(old, key), read(new, key), err_msg=f"{name} of {key}")


def test_rows_that_change_their_order(tiny: TinyData) -> None:
    olds = {name: SigmaCache(tiny.job().cache) for name in READS}
    before = {name: {key: READS[name](old, key) for key in old.keys()} for name, old in olds.items()}
    compute(tiny, overwrite=True)
    fresh = SigmaCache(tiny.job().cache)
    for name, old in olds.items():
        assert fresh.keys() != list(before[name])  # other rows
        for key, values in before[name].items():
            np.testing.assert_array_equal(READS[name](old, key), values, err_msg=name)
            np.testing.assert_array_equal(READS[name](fresh, key), values, err_msg=name)
        assert_same(old, fresh)


def test_frames_that_are_others_now(tiny: TinyData) -> None:
    old = SigmaCache(tiny.job().cache)
    for key in old.keys():
        old.read(key)
    tiny.write("a", "006", make_depth(24, 32, 77), fx=50.0)
    tiny.write("b", "005", make_depth(16, 48, 78))  # of another size
    compute(tiny, overwrite=True)
    fresh = SigmaCache(tiny.job().cache)
    for key in fresh.keys():
        np.testing.assert_array_equal(old.read(key), fresh.read(key))
    assert_same(old, fresh)


def test_frames_that_a_run_adds_or_mends(tiny: TinyData) -> None:
    (tiny.root / "b/depth/002.npy").write_bytes(b"broken")
    compute(tiny, overwrite=True, on_error="skip")
    old = SigmaCache(tiny.job().cache)
    old.keys()
    keys = ("a/depth/009.npy", "b/depth/002.npy", "c/depth/001.npy")
    for missing in keys:
        with pytest.raises(CacheError, match=r"not in the cache|could not be read when the cache was written"):
            old.read(missing)
    tiny.write("a", "009", make_depth(24, 32, 9))
    tiny.write("b", "002", make_depth(24, 32, 2))
    tiny.write("c", "001", make_depth(24, 32, 3))
    compute(tiny)
    for key in keys:
        np.testing.assert_array_equal(old.read(key), SigmaCache(tiny.job().cache).read(key))


def test_a_kept_frame_whose_place_in_its_shard_has_moved(tiny: TinyData) -> None:
    """Its digest never changes, so only the file shows that an index which was read before is not of it."""
    first, *_, kept = (f"a/depth/{index:03}.npy" for index in (5, 6, 7))
    old = SigmaCache(tiny.job().cache)
    before = {name: READS[name](old, kept) for name in READS}
    (tiny.root / kept).unlink()
    tiny.write("a", "005", np.full((24, 32), 3.0, np.float32), 45.0)  # a wall: it packs far better
    shard = Path(old.path, "a/sigma_Z2/c.0.0.0")
    size = shard.stat().st_size
    compute(tiny)
    assert shard.stat().st_size < size
    for name, values in before.items():
        np.testing.assert_array_equal(READS[name](old, kept), values, err_msg=name)
    np.testing.assert_array_equal(old.read(first), SigmaCache(old.path).read(first))


def test_a_view_opens_its_shard_once_and_looks_at_its_digest_afterwards(
    tiny: TinyData, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, paths = SigmaCache(tiny.job().cache), []
    real = LocalStore.get_tagged

    def listed(store: LocalStore, path: str, *part: Any) -> Any:
        paths.append(path)
        return real(store, path, *part)

    before = old.read("a/depth/005.npy", 2)
    monkeypatch.setattr(LocalStore, "get_tagged", listed)
    np.testing.assert_array_equal(old.read("a/depth/005.npy", 2), before)
    assert paths == ["a/sigma_Z2_s2/c.0.0.0", "a/digest/c.0.0"]


# Other parameters


@pytest.mark.parametrize("known", ["all", "another group", "the root"])
def test_other_parameters_are_an_error(tiny: TinyData, known: str) -> None:
    olds = {name: SigmaCache(tiny.job().cache) for name in READS}
    for name, old in olds.items():
        assert old.params["window"] == 5
        for key in {"all": old.keys(), "another group": ["b/depth/005.npy"], "the root": []}[known]:
            READS[name](old, key)
    compute(tiny, overwrite=True, params=OTHER)
    for name, old in olds.items():
        for key in 2 * ("a/depth/005.npy", "b/depth/005.npy", "a/depth/001.npy"):
            with pytest.raises(CacheError, match=ANEW) as caught:
                READS[name](old, key)
            assert "\n" not in str(caught.value)
    copy = pickle.loads(pickle.dumps(olds["read"]))
    assert_same(copy, SigmaCache(tiny.job().cache))
    np.testing.assert_array_equal(annotated(copy, "a/depth/005.npy")["sigma_Z2_params"], np.float32([3, 0.5, 0.3]))


def test_other_strides_are_an_error(tiny: TinyData) -> None:
    old = SigmaCache(tiny.job().cache)
    old.read("a/depth/005.npy", 3)
    compute(tiny, overwrite=True, strides=(1, 2, 4))
    for stride in (1, 3):
        with pytest.raises(CacheError, match=r"\(strides was \[1, 2, 3\] and is \[1, 2, 4\]\)"):
            old.read("a/depth/005.npy", stride)
    with pytest.raises(CacheError, match="computed again"):
        _ = old.strides


def test_the_old_parameters_again_are_followed(tiny: TinyData) -> None:
    old = SigmaCache(tiny.job().cache)
    old.read("a/depth/005.npy")
    compute(tiny, overwrite=True, params=OTHER)
    with pytest.raises(CacheError, match=ANEW):
        old.read("a/depth/005.npy")
    compute(tiny, overwrite=True)
    assert_same(old, SigmaCache(tiny.job().cache))


# In the middle


def after_every_change(monkeypatch: pytest.MonkeyPatch, look: Callable[[], None]) -> None:
    """Call a function after every change that a run makes to the cache."""

    def then_look(real: Callable[..., None]) -> Callable[..., None]:
        def change(*arguments: Any) -> None:
            real(*arguments)
            look()

        return change

    for name in ("put", "delete", "delete_folder"):
        monkeypatch.setattr(LocalStore, name, then_look(getattr(LocalStore, name)))


@pytest.mark.parametrize("params", [KernelParams(), OTHER], ids=["same", "other"])
@pytest.mark.parametrize("known", ["all", "one group", "root"])
def test_while_it_is_computed_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: KernelParams, known: str
) -> None:
    """At each step: the old values, or one line that names no damage."""
    tiny = TinyData(tmp_path / "tiny")
    keys = [tiny.write(sequence, "000", make_depth(24, 32, 1)) for sequence in "ab"]
    compute(tiny)
    old = SigmaCache(tiny.job().cache)
    values = {key: SigmaCache(old.path).sample(key, **VIEW) for key in keys}
    assert old.strides == (1, 2, 3)
    for key in {"all": keys, "one group": keys[:1], "root": []}[known]:
        old.sample(key, **VIEW)
    outcomes, failures = [], []

    def look() -> None:
        for key in keys:
            try:
                np.testing.assert_array_equal(old.sample(key, **VIEW), values[key])
                outcomes.append("values")
            except CacheError as error:
                outcomes.append(str(error))
            except BaseException as error:
                failures.append(error)

    with monkeypatch.context() as patch:
        after_every_change(patch, look)
        compute(tiny, overwrite=True, params=params)
    assert failures == []
    said = ("values", "no cache is there", "not in the cache, or not computed yet", "computed again with other param")
    assert [outcome for outcome in outcomes if not any(part in outcome for part in said)] == []
    assert len(outcomes) > 50
    assert any("no cache is there" in outcome for outcome in outcomes)
    if params == OTHER:
        with pytest.raises(CacheError, match=ANEW):
            old.read(keys[0])
    else:
        assert_same(old, SigmaCache(old.path))


def test_a_group_that_is_removed_while_it_is_opened(tiny: TinyData, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its digests were read, and its keys are gone: that is no damage."""
    cache = tiny.job().cache
    real = LocalStore.get

    def remove_before_keys(store: LocalStore, path: str, *part: Any) -> bytes | None:
        if path == "a/key/c.0.0" and (root := metadata.read_root(store)) is not None:
            remove(store, root)
        return real(store, path, *part)

    monkeypatch.setattr(LocalStore, "get", remove_before_keys)
    with pytest.raises(CacheError, match="no cache is there"):
        SigmaCache(cache).read("a/depth/005.npy")


def test_a_cache_that_is_gone(tiny: TinyData) -> None:
    old = SigmaCache(tiny.job().cache)
    old.read("a/depth/005.npy")
    Path(old.path).rename(tiny.root / "elsewhere.zarr")
    for key in ("a/depth/005.npy", "b/depth/005.npy"):
        for read in READS.values():
            with pytest.raises(CacheError, match="no cache is there"):
                read(old, key)
    (tiny.root / "elsewhere.zarr").rename(old.path)
    assert_same(old, SigmaCache(old.path))


# Consolidated metadata


@pytest.mark.parametrize("where", ["", "a"])
def test_consolidated_metadata_are_not_looked_at(tiny: TinyData, where: str) -> None:
    cache = tiny.job().cache
    with pytest.warns(UserWarning, match="Consolidated metadata"):
        zarr.consolidate_metadata(cache, path=where or None)
    key = tiny.write("a", "009", make_depth(24, 32, 9))
    list(pipeline.run(tiny.job(), execute.serial))
    assert '"consolidated_metadata": {' in Path(cache, where, "zarr.json").read_text()  # of 5 rows, while there are 6
    reader = SigmaCache(cache)
    assert key in reader.keys()
    assert reader.read(key).shape == (24, 32)
