"""Readers never see a torn frame: while runs write, they get the map of one state of the source, or an error."""

from pathlib import Path

import numpy as np
import pytest
from reading import READS, VIEW, make_states, read_during_runs, write_state

from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.cache.store import LocalStore
from depthvar.datasets.errors import CacheError, FrameNotFoundError

KEY = "P0/depth/001.npy"


def test_reads_during_runs_are_of_one_state(tmp_path: Path) -> None:
    make_states(tmp_path)
    runs, came = read_during_runs(tmp_path, seconds=1, readers=2)
    assert runs > 0
    assert set(came) <= {"A", "B", "not done"}, came
    assert came["A"] > 0
    assert came["B"] > 0


def test_a_reader_that_stays_open_follows_the_cache(tmp_path: Path) -> None:
    make_states(tmp_path, sequences=1, frames=2)
    write_state(tmp_path, "A", tmp_path / "live.zarr")
    live = SigmaCache(tmp_path / "live.zarr")
    for state in "ABA":
        write_state(tmp_path, state, tmp_path / "live.zarr")
        for read in READS.values():
            np.testing.assert_array_equal(read(live, KEY), read(SigmaCache(tmp_path / f"{state}.zarr"), KEY))


@pytest.mark.parametrize("written", ["sigma_Z2_s2", "sigma_Z2_s3", "intrinsics", "digest"])
def test_a_view_between_two_strides_while_its_shard_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    """At each step of a write the open reader gives the new view or says that the frame is not done."""
    make_states(tmp_path, sequences=1, frames=2)
    write_state(tmp_path, "A", tmp_path / "live.zarr")
    live, new = SigmaCache(tmp_path / "live.zarr"), SigmaCache(tmp_path / "B.zarr")
    live.sample(KEY, **VIEW)
    real = LocalStore.put

    def stop_after(store: LocalStore, path: str, data: bytes) -> None:
        real(store, path, data)
        if f"/{written}/c." in path and any(data[:-4]):
            raise CacheError("stopped")

    monkeypatch.setattr(LocalStore, "put", stop_after)
    with pytest.raises(CacheError, match="stopped"):
        write_state(tmp_path, "B", tmp_path / "live.zarr")
    if written == "digest":
        np.testing.assert_array_equal(live.sample(KEY, **VIEW), new.sample(KEY, **VIEW))
    else:
        with pytest.raises(FrameNotFoundError, match="not computed yet"):
            live.sample(KEY, **VIEW)
