"""A slice of tests/torture/kills.py: a handful of kills leave nothing wrong, and mutants of the product are found."""

from pathlib import Path

import pytest
from _mutants import MUTANTS
from _torture import KILLED, Torture

from depthvar.precompute.kernel.numba_engine import warm_up


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
