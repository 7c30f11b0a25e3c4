"""A slice of `python tests/torture/corruption.py`, and proof that it can fail."""

import random
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import corruption
import pytest
from _laboratory import Laboratory, kind_of

from depthvar.datasets.cache import codec
from depthvar.precompute.validation import integrity


@pytest.fixture
def lab(tmp_path: Path) -> Laboratory:
    return Laboratory(tmp_path)


def test_a_few_damaged_places_are_found_repaired_and_never_read_wrong(lab: Laboratory) -> None:
    counts = corruption.damage_places(lab, count=4, seed=3)
    assert counts.failures == []
    assert len(counts.places) >= 3  # kinds of place and damage
    assert set(counts.reads) == {"the same values", "an error of ours"}


@pytest.mark.slow
def test_damage_is_found_repaired_and_never_read_wrong(tmp_path: Path) -> None:
    result = corruption.campaign(tmp_path, places=60, seed=7, every=5)
    assert result["failures"] == []
    ended = result["validate_ended_with"]
    assert (result["places"], ended["findings"] + ended["an error"]) == (60, 60)
    assert set(result["reads"]) == {"the same values", "an error of ours"}
    assert sum(result["repairs"].values()) == 60 + result["same_in_meaning"]["source_stat"]
    assert result["found_by_validate_full"] == result["files_of_other_runs"] + result["shards_of_other_runs"] > 10
    assert result["edits_found_by_validate_full"] == result["edits_that_keep_size_and_time"] == 18


@pytest.mark.slow
def test_every_kind_of_place_and_damage_is_drawn(lab: Laboratory) -> None:
    dice = random.Random(0)
    drawn = Counter((place.kind, place.damage) for place in (corruption.draw(lab.whole, dice) for _ in range(800)))
    assert len(drawn) == 4 * len(corruption.KINDS)
    assert {kind_of(name) for name in lab.whole} == set(corruption.KINDS) - {"shard index"}


@pytest.mark.slow
def test_a_reader_without_checksums_is_caught(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "check_crc", lambda data, where: data)
    counts = corruption.Counts()
    for place in places(lab, "map", "bit flipped"):
        corruption.try_place(lab, place, counts)
        lab.restore()
    assert counts.reads["wrong"] > 0
    assert any("wrong" in failure for failure in counts.failures)


@pytest.mark.slow
def test_a_validation_that_skips_the_maps_is_caught(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integrity, "StoredMaps", SimpleNamespace(of=lambda _: SimpleNamespace(arrays={})))
    counts = corruption.Counts()
    for place in places(lab, "shard index", "truncated"):
        corruption.try_place(lab, place, counts)
        lab.restore()
    assert counts.found["nothing"] > 0
    assert any("validate found []" in failure for failure in counts.failures)


def places(lab: Laboratory, kind: str, damage: str, count: int = 8) -> list[corruption.Place]:
    dice, found = random.Random(0), []
    while len(found) < count:
        place = corruption.draw(lab.whole, dice)
        if (place.kind, place.damage) == (kind, damage):
            found.append(place)
    return found
