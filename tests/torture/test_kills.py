"""A slice of tests/torture/kills.py: a handful of kills leave nothing wrong, and mutants of the product are found."""

from pathlib import Path

import pytest
from _mutants import MUTANTS
from _shards import digest_chunks, has_new_digest
from _torture import KILLED, Torture
from tiny_data import TinyData, make_depth

from depthvar.datasets.cache.store import LocalStore
from depthvar.precompute.kernel.numba_engine import warm_up
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    warm_up("range")  # before the runs are forked


@pytest.mark.slow
def test_killed_at_random_times_with_changes_between(tmp_path: Path) -> None:
    torture = Torture(tmp_path, 1, sequences=2, frames=6)
    for number in range(6):
        torture.trial(["serial", "threads"][number % 2], finished=number > 1)
    assert torture.violations == []
    assert sum(number for name, number in torture.counts.items() if name.endswith(": kills")) >= 6


def test_a_run_that_only_cleared_digests_has_ended_no_shard(tiny: TinyData, monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves that of a frame which is gone, so the shard still has one: the campaign must not take it for done."""
    tiny.shard_frames = 2
    tiny.age()
    list(pipeline.run(tiny.job(), execute.serial))
    shard, before = ("a/P0", 1), digest_chunks(Path(tiny.job().cache))
    (tiny.root / "a/P0/depth/003.npy").unlink()
    tiny.write("a/P0", "002", make_depth(24, 32, 99))
    put = LocalStore.put

    def die_before_maps(store: LocalStore, path: str, data: bytes) -> None:
        if "/sigma_Z2" in path and "zarr.json" not in path:
            raise KeyboardInterrupt
        put(store, path, data)

    monkeypatch.setattr(LocalStore, "put", die_before_maps)
    with pytest.raises(KeyboardInterrupt):
        list(pipeline.run(tiny.job(), execute.serial))
    monkeypatch.undo()
    cleared = digest_chunks(Path(tiny.job().cache))
    assert cleared[shard] != before[shard]
    assert not has_new_digest(before[shard], cleared[shard])
    list(pipeline.run(tiny.job(), execute.serial))
    assert has_new_digest(before[shard], digest_chunks(Path(tiny.job().cache))[shard])
    assert has_new_digest(None, before[shard])


@pytest.mark.parametrize(
    ("scenario", "step"),
    [
        ("touched", 3),
        pytest.param("fresh", 41, marks=pytest.mark.slow),
        pytest.param("grown", 17, marks=pytest.mark.slow),
        pytest.param("overwrite", 47, marks=pytest.mark.slow),
    ],
)
def test_killed_before_a_change_to_the_file_system(tmp_path: Path, scenario: str, step: int) -> None:
    torture = Torture(tmp_path, 0, sequences=2, frames=3)
    torture.sweep(scenario, step)
    assert torture.violations == []
    assert torture.counts[f"every change, {scenario}: kills"] >= 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["no_zeroing", "digest_first"])
def test_a_mutant_is_found(tmp_path: Path, name: str) -> None:
    torture = Torture(tmp_path, 0, MUTANTS[name], sequences=1, frames=3)
    torture.sweep("grown", step=11)
    assert any(moment == KILLED and "not what its digest names" in text for moment, text in torture.violations)
