"""Many frames and sequences: what planning, `info` and a worker's first sample need does not grow with them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from file_access import accesses
from tiny_data import TinyData, make_depth

from depthvar.datasets import Frame, SigmaCache, Source
from depthvar.datasets.cache.bookkeeping import RowState, read_group
from depthvar.datasets.cache.store import open_store
from depthvar.precompute import run
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "million.py"
MOST_BYTES = {"plan": 1000, "resume": 1000, "info": 100, "keys": 500}  # of memory for each further frame
SEQUENCES = {20_000: 20, 60_000: 60}
SPREAD_MIB = 4  # of the peak memory of two equal processes


class Rooms(Source):
    """Frames of some rooms, without a description of their layout."""

    name = "rooms"

    def __init__(self, rooms: int, folder: str = "house/room{}") -> None:
        self.listed = [f"{folder.format(room)}/{frame}" for room in range(rooms) for frame in range(2)]

    def keys(self) -> list[str]:
        return self.listed

    def read(self, key: str) -> Frame:
        return Frame(key, make_depth(24, 32, len(key)), [40.0, 40.0, 16.0, 12.0])


@pytest.mark.parametrize("folder", ["house/room{}", "key/depth{}", "0/{}/depth"])
def test_a_first_sample_opens_as_many_files_for_many_sequences_as_for_few(folder: str, tmp_path: Path) -> None:
    opened = {}
    for rooms in (3, 30):
        source, out = Rooms(rooms, folder), tmp_path / f"{rooms}.zarr"
        run(source, out, strides=(1, 2), threads=1)
        reader = SigmaCache(out)
        with accesses(out) as seen:
            assert reader.sample(source.keys()[-1], (40, 40, 8, 6), (12, 16)).shape == (12, 16)
        opened[rooms] = len(seen)
    assert opened[3] == opened[30] > 0


def test_a_frame_whose_sequence_is_not_its_folder_is_found(tmp_path: Path) -> None:
    class Odd(Rooms):
        def sequence(self, key: str) -> str:
            return f"no{int(key[-1]) % 2}"

    run(Odd(2), tmp_path / "s.zarr", strides=(1,), threads=1)
    reader = SigmaCache(tmp_path / "s.zarr")
    assert {key: reader.shape(key) for key in Odd(2).keys()} == dict.fromkeys(Odd(2).keys(), (24, 32))


def test_states_need_only_the_digests_of_shards_that_are_done(tmp_path: Path) -> None:
    """One shard done, one with a frame that failed, one with a frame that was removed, and one not reached."""
    data = TinyData(tmp_path / "tiny", shard_frames=2)
    keys = [data.write("a", f"{index:03}", make_depth(24, 32, index)) for index in range(8)]
    broken = data.root / keys[2]
    broken.write_bytes(broken.read_bytes()[:-8])
    for path in data.root.rglob("*.*"):
        os.utime(path, (1e9, 1e9))  # old enough for their times to be trusted
    list(pipeline.run(data.job(on_error="skip"), execute.serial, limit=6))
    (data.root / keys[4]).unlink()
    list(pipeline.run(data.job(on_error="skip"), execute.serial, prune=True, limit=1))
    store = open_store(data.job().cache)
    whole, states = read_group(store, "a"), read_group(store, "a", states_only=True)
    assert whole is not None
    assert states is not None
    assert set(whole.states.tolist()) == {RowState.UNUSED, RowState.REMOVED, RowState.FAILED, RowState.DONE}
    np.testing.assert_array_equal(states.states, whole.states)
    assert states.frames() == whole.frames() == 7
    left_out, read = slice(0, 4), slice(4, None)  # the removed frame has no digest
    assert not states.intrinsics[left_out].any()
    assert states.keys[left_out] == [""] * 4
    np.testing.assert_array_equal(states.intrinsics[read], whole.intrinsics[read])
    assert states.keys[read] == whole.keys[read]


@pytest.mark.slow
def test_memory_grows_by_less_than_a_stated_rate_with_frames(tmp_path: Path) -> None:
    """A million frames so need at most 1 GiB with the 100 MiB of the imports: planned, or found done."""
    peaks: dict[str, list[float]] = {}
    for frames, sequences in SEQUENCES.items():
        size = ["--frames", str(frames), "--sequences", str(sequences)]
        command = [sys.executable, str(BENCHMARK), *size, "--rounds", "1", "--folder", str(tmp_path / str(frames))]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["depthvar"]
        assert {step: found[step]["frames"] for step in MOST_BYTES} == dict.fromkeys(MOST_BYTES, frames)
        for step in MOST_BYTES:
            peaks.setdefault(step, []).append(found[step]["mib"])
        for step in ("worker_forked", "worker_spawned"):
            peaks.setdefault(step, []).append(found[step]["files"])
    few, many = SEQUENCES
    for step, most in MOST_BYTES.items():
        less, more = peaks[step]
        assert more - less <= most * (many - few) / 2**20 + SPREAD_MIB, (step, peaks[step])
    assert peaks["worker_forked"][0] == peaks["worker_forked"][1] > 0
    assert peaks["worker_spawned"][0] == peaks["worker_spawned"][1] > 0
