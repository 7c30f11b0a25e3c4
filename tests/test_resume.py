"""What a run finds where another died, step by step; tests/torture/kills.py has random ones."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_data import TinyData, make_depth

from depthvar.datasets import DepthSource
from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.cache.store import LocalStore
from depthvar.datasets.errors import CacheError, SourceError
from depthvar.datasets.frame import Frame
from depthvar.precompute import KernelParams
from depthvar.precompute.pipeline import execute, worker
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.worker import Job
from depthvar.precompute.validation.validate import validate

PARTIAL = "zarr.json.0123456789abcdef0123456789abcdef.partial"


def run(job: Job, **options: object) -> None:
    list(pipeline.run(job, execute.serial, **options))  # type: ignore[arg-type]


class Killed(BaseException):
    """Nothing in the product catches it, as nothing catches SIGKILL."""


def dies_at_call(number: int, real: Callable[..., object]) -> Callable[..., object]:
    """Return ``real`` as far as its n-th call, counted from 1, at which the process dies."""
    calls = 0

    def call(*arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls == number:
            raise Killed
        return real(*arguments, **options)

    return call


def test_a_frame_that_came_and_went_while_its_group_grew(tiny: TinyData, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tiny.job())
    key = tiny.write("b", "new", make_depth(24, 32, 9))
    monkeypatch.setattr(LocalStore, "put", dies_at_call(3, LocalStore.put))
    with pytest.raises(Killed):
        run(tiny.job())
    monkeypatch.undo()
    (tiny.root / key).unlink()
    run(tiny.job())
    assert len(SigmaCache(tiny.job().cache).keys()) == 8
    assert validate(tiny.job().cache, tiny.source(), full=True).findings == []


@pytest.mark.parametrize("arrays", [1, 3, 6])
def test_half_a_group_and_then_other_frames(tiny: TinyData, arrays: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another first frame gives the group another size; a longer key other rows."""
    monkeypatch.setattr(LocalStore, "put", dies_at_call(arrays + 4, LocalStore.put))  # the root, a, and a/P0 come first
    with pytest.raises(Killed):
        run(tiny.job())
    monkeypatch.undo()
    tiny.write("a/P0", "00", make_depth(16, 20, 9))  # sorts first
    tiny.write("a/P0", 80 * "x", make_depth(16, 20, 9))
    run(tiny.job())
    assert SigmaCache(tiny.job().cache).attributes["groups"] == ["a/P0", "a/P0@24x32", "b"]
    assert validate(tiny.job().cache, tiny.source(), full=True).findings == []


def test_files_that_a_dead_run_was_writing_go_and_no_others(tiny: TinyData) -> None:
    run(tiny.job())
    cache = Path(tiny.job().cache)
    left = [cache / PARTIAL, cache / "b" / PARTIAL, cache / "b/digest" / PARTIAL.replace("zarr.json", "c.0.0")]
    others = [cache / "b/mine.partial", cache / "b/0.partial"]
    for path in left + others:
        path.write_bytes(b"half")
    run(tiny.job())
    assert [path.exists() for path in left + others] == [False, False, False, True, True]


def test_a_folder_with_nothing_but_half_a_root_is_no_cache_yet(tiny: TinyData) -> None:
    cache = Path(tiny.job().cache)
    cache.mkdir()
    (cache / PARTIAL).write_bytes(b"half")
    run(tiny.job())
    assert not (cache / PARTIAL).exists()
    assert validate(str(cache), tiny.source(), full=True).findings == []


def test_a_removal_that_died_is_known_as_ours_to_its_end(tiny: TinyData, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tiny.job())
    cache = Path(tiny.job().cache)
    monkeypatch.setattr(LocalStore, "delete_folder", dies_at_call(2, LocalStore.delete_folder))
    with pytest.raises(Killed):
        run(tiny.job(), overwrite=True)
    monkeypatch.undo()
    left = [path for path in cache.rglob("*") if path.is_file()]
    assert cache / "zarr.json" in left
    assert len(left) > 1
    assert not [path for path in left if path.match("digest/c.*.*")]
    run(tiny.job(keepbits=10), overwrite=True)
    assert validate(str(cache), tiny.source(), full=True).findings == []


def test_a_frame_completed_while_it_was_read_is_tried_again(tiny: TinyData, monkeypatch: pytest.MonkeyPatch) -> None:
    """What says that a broken frame has not changed must be of the broken file."""
    path = tiny.root / "b/depth/001.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:300])
    real = DepthSource.read

    def read(self: DepthSource, key: str) -> Frame:
        try:
            return real(self, key)
        except SourceError:
            path.write_bytes(whole)
            raise

    monkeypatch.setattr(DepthSource, "read", read)
    monkeypatch.setattr(worker, "YOUNG_NS", 0)
    run(tiny.job(on_error="skip"))
    assert "b/depth/001.npy" not in SigmaCache(tiny.job().cache).keys()
    run(tiny.job(on_error="skip"))
    assert "b/depth/001.npy" in SigmaCache(tiny.job().cache).keys()


def test_stored_intrinsics_are_those_that_sigma_was_computed_with(
    tiny: TinyData, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "b/depth/001.npy"
    real = DepthSource.intrinsics
    seen = 0

    def intrinsics(self: DepthSource, asked: str) -> np.ndarray:
        nonlocal seen
        found = real(self, asked)
        if asked == key:
            seen += 1
            if seen == 2:  # by the task, after the survey
                tiny.write("b", "001", make_depth(24, 32, 1), fx=30.0)
        return found

    monkeypatch.setattr(DepthSource, "intrinsics", intrinsics)
    run(tiny.job())
    monkeypatch.undo()
    assert SigmaCache(tiny.job().cache).intrinsics(key)[0] == 30.0


def test_a_first_run_that_computed_nothing_leaves_the_choice_of_parameters_open(tiny: TinyData) -> None:
    keys = tiny.source().keys()
    whole = {key: (tiny.root / key).read_bytes() for key in keys}
    for key in keys:
        (tiny.root / key).write_bytes(whole[key][:-8])  # the header is right, so planning sees nothing
    with pytest.raises(SourceError):
        run(tiny.job())
    for key in keys:
        (tiny.root / key).write_bytes(whole[key])
    corrected = tiny.job(params=KernelParams(window=7))
    assert pipeline.plan_run(corrected).compute == len(keys)
    run(corrected)
    assert SigmaCache(corrected.cache).params["window"] == 7
    with pytest.raises(CacheError, match="computed with other parameters"):
        run(tiny.job())
    assert validate(corrected.cache, tiny.source(), full=True).findings == []
