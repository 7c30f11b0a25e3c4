"""Arms of the training study compared in pairs: same ground truth, budget and seed."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from measures import LARGER_IS_BETTER
from numpy.typing import ArrayLike
from scipy.stats import t as student

SAMPLES = 10_000
FEWEST_PAIRS = 3  # for a verdict

Row = Mapping[str, Any]
Group = Mapping[str, Mapping[int, Row]]  # arm → seed → row
Key = tuple[str, int]  # ground truth, steps


class Difference(NamedTuple):
    """How an arm differs from a baseline in one measure.

    Attributes:
        mean: of the arm, over its seeds.
        change: mean of the differences, arm minus baseline, over the seeds that both have; NaN without any.
        low, high: 95 % bootstrap interval of ``change``.
        percent: ``change`` in per cent of the baseline's mean over those seeds.
        pairs: seeds that both have.
        verdict: 1 better, -1 worse, by :func:`differs`; else, or with fewer pairs than ``FEWEST_PAIRS``, 0.
    """

    mean: float
    change: float
    low: float
    high: float
    percent: float
    pairs: int
    verdict: int


def interval(differences: ArrayLike) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean of (n,) differences; the same for the same differences.

    With few seeds it is too narrow, by the bootstrap's own nature (with five it leaves out the true mean in 15 % of
    cases, not 5), so verdicts go by :func:`differs`.
    """
    values = np.asarray(differences, np.float64)
    picks = np.random.default_rng(0).integers(values.size, size=(SAMPLES, values.size))
    low, high = np.percentile(values[picks].mean(1), (2.5, 97.5))
    return float(low), float(high)


def differs(differences: ArrayLike) -> bool:
    """Say whether the mean of (n,) differences is other than 0: Student's paired test at 5 %, no correction."""
    values = np.asarray(differences, np.float64)
    error = values.std(ddof=1) / np.sqrt(values.size)
    return bool(abs(values.mean()) > student.ppf(0.975, values.size - 1) * error)


def grouped(rows: Iterable[Row]) -> dict[Key, Group]:
    """Return (ground truth, steps) → arm → seed → row."""
    groups: dict[Key, dict[str, dict[int, Row]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        groups[row["truth"], row["steps"]][row["arm"]][row["seed"]] = row
    return {key: dict(arms) for key, arms in groups.items()}


def difference(group: Group, arm: str, measure: str, baseline: str) -> Difference:
    """Compare an arm with a baseline; a seed without the measure is left out."""
    base = group.get(baseline, {})
    both = sorted(group[arm].keys() & base.keys())
    pairs = np.array([(group[arm][seed][measure], base[seed][measure]) for seed in both], np.float64).reshape(-1, 2)
    pairs = pairs[np.isfinite(pairs).all(1)]
    mean = float(np.mean([row[measure] for row in group[arm].values()]))
    if arm == baseline or not len(pairs):
        return Difference(mean, np.nan, np.nan, np.nan, np.nan, 0, 0)
    changes = pairs[:, 0] - pairs[:, 1]
    change, (low, high) = float(changes.mean()), interval(changes)
    better = (change > 0) == (measure in LARGER_IS_BETTER)
    decided = len(pairs) >= FEWEST_PAIRS and differs(changes)
    verdict = (1 if better else -1) if decided else 0
    return Difference(mean, change, low, high, float(100 * change / pairs[:, 1].mean()), len(pairs), verdict)


def verdicts(group: Group, measures: Iterable[str], baseline: str) -> Iterator[int]:
    """Yield the verdict of every arm and measure that has enough pairs for one."""
    measures = list(measures)
    for arm in group:
        each = (difference(group, arm, measure, baseline) for measure in measures)
        yield from (one.verdict for one in each if one.pairs >= FEWEST_PAIRS)
