"""The training study: every loss of :mod:`arms`, on every ground truth of :mod:`ground_truth`, paired by seed.

    python evidence/train.py tune         # the learning rate of each arm, on validation rooms: results/lr.csv
    python evidence/train.py study        # the runs, measured on test rooms: results/training.csv
    python evidence/train.py one-rate     # the arms at one rate: results/training.csv
    python evidence/train.py sensitivity  # 1/σ with other knobs of the kernel: results/training.csv
    python evidence/train.py all
    python evidence/train.py choose        # focused losses (:mod:`phases`) on validation rooms: results/choose.csv
    python evidence/train.py confirm       # the best of them on other rooms: results/confirm.csv
    python evidence/train.py multimodal    # two surfaces in a target (:mod:`multimodal`): results/multimodal.csv
    python evidence/report.py

A run becomes a row, and a row that is there is not run again: see :mod:`table`.
"""

import itertools
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import phases
import rooms
from arms import ARMS, SENSITIVITY
from ground_truth import TRUTHS
from run import Run
from table import execute, read

RESULTS = Path(__file__).with_name("results")
RATES = (1e-3, 3e-3, 1e-2)
TIE = 0.01
BUDGETS = (600, 2400)
ALL_FAULTS = "all"
BASELINE = "l1"
COMPARED = (  # on every ground truth
    BASELINE, "inverse_depth", "edge_mask_0.2", "inverse_sigma", "inverse_sigma_cached", "inverse_sigma_difference",
    "difference_and_depth_0.03",
)  # fmt: skip
SHORT_ONLY = (  # too near to another for the time that a long run takes: another constant, or nearly the same weights
    "edge_mask_0.1", "inverse_sigma_raw", "inverse_sigma_cached", "inverse_sigma_native", "laplace_nll", "floor_0.1",
    "relative_0.01", "relative_0.1", "difference_0.01", "difference_0.03", "planarity_0.03", "sigma_and_depth_0.03",
    "difference_and_depth_0.01", "difference_and_depth_0.1", "planarity_and_depth_0.03",
)  # fmt: skip
VARIED = "inverse_sigma"  # the arm whose knobs are varied, and whose learning rates the variants have
SMOKE_ROOMS = {"train": 4, "validation": 1, "test": 1}

Rates = dict[tuple[str, int], float]  # of each arm and budget


def arms_of(arms: Iterable[str], truth: str, is_long: bool) -> list[str]:
    """Return the arms that are run: with all faults all, but for long runs of ``SHORT_ONLY``; else ``COMPARED``."""
    return [arm for arm in arms if (arm in COMPARED or truth == ALL_FAULTS) and not (is_long and arm in SHORT_ONLY)]


def tuning(arms: Iterable[str], budgets: Sequence[int]) -> list[Run]:
    """Return a run for each budget, rate and arm; ground truth with all faults, one seed."""
    return [
        Run(arm, ALL_FAULTS, lr, 0, steps, "validation")
        for steps in budgets
        for arm in arms_of(arms, ALL_FAULTS, steps > min(budgets))
        for lr in RATES
    ]


def study(arms: Iterable[str], truths: Iterable[str], seeds: int, budgets: Sequence[int], rates: Rates) -> list[Run]:
    """Return the runs: all arms of a seed before the next seed, so that an interrupted study has pairs.

    Ground truth with single faults has the least budget only.
    """
    return [
        Run(arm, truth, rates[arm, steps], seed, steps, "test")
        for steps, seed, truth in itertools.product(budgets, range(seeds), truths)
        if truth == ALL_FAULTS or steps == min(budgets)
        for arm in arms_of(arms, truth, steps > min(budgets))
    ]


def sensitivity(seeds: int, budgets: Sequence[int], rates: Rates) -> list[Run]:
    """Return the runs of ``SENSITIVITY``: ground truth with all faults, least budget, the rate of ``VARIED``."""
    steps = min(budgets)
    rate = rates[VARIED, steps]
    return [Run(arm, ALL_FAULTS, rate, seed, steps, "test") for seed in range(seeds) for arm in SENSITIVITY]


def one_rate(arms: Iterable[str], seeds: int, budgets: Sequence[int], rates: Rates) -> list[Run]:
    """Return runs with all faults, all arms of a budget at one rate: is it the loss, or the rate?"""
    return [
        Run(arm, ALL_FAULTS, common_rate(rates, steps), seed, steps, "test")
        for steps, seed in itertools.product(budgets, range(seeds))
        for arm in arms_of(arms, ALL_FAULTS, steps > min(budgets))
    ]


def chosen_rates(rows: Iterable[dict[str, Any]]) -> Rates:
    """Return the learning rate of each arm and budget: the largest of those that are as good as the best.

    That is within ``TIE`` of the least AbsRel on the validation rooms: one seed tells no smaller differences, and a
    rate that is too small costs boundaries.
    """
    tried: dict[tuple[str, int], dict[float, float]] = defaultdict(dict)
    for row in rows:
        if row["split"] == "validation" and row["abs_rel"] >= 0:  # a diverged run is NaN
            tried[row["arm"], row["steps"]][row["lr"]] = row["abs_rel"]
    return {
        key: max(rate for rate, error in errors.items() if error <= (1 + TIE) * min(errors.values()))
        for key, errors in tried.items()
    }


def common_rate(rates: Rates, steps: int) -> float:
    """Return the learning rate that most arms chose for a budget; NaN where none was tuned."""
    return statistics.mode([rate for (_, budget), rate in rates.items() if budget == steps] or [math.nan])


def need_rates(runs_of: Callable[[Rates], list[Run]], path: Path) -> list[Run]:
    """Return the runs with the rates of a table.

    Raises:
        ClickException: an arm was not tuned.
    """
    try:
        return runs_of(chosen_rates(read(path)))
    except KeyError as error:
        arm, steps = error.args[0]
        raise click.ClickException(
            f"{path}: no learning rate of {arm} for {steps} steps yet; run: python evidence/train.py tune --arms {arm}"
        ) from None


def chosen(known: Iterable[str]) -> Callable[[Any, Any, str | None], list[str]]:
    """Return a click callback that splits a list of names at commas and knows them all; nothing means all."""
    names = list(known)

    def parse(context: Any, parameter: Any, text: str | None) -> list[str]:
        picked = text.split(",") if text else names
        for name in picked:
            if name not in names:
                raise click.BadParameter(f"expected some of {','.join(names)}, got {name!r}")
        return picked

    return parse


def chosen_budgets(context: Any, parameter: Any, text: str) -> list[int]:
    """Return the budgets of a text such as 600,2400."""
    try:
        budgets = [int(each) for each in text.split(",")]
    except ValueError:
        budgets = []
    if not budgets or min(budgets) < 1:
        raise click.BadParameter(f"expected whole numbers above 0 with commas between, got {text!r}")
    return budgets


@click.command(context_settings={"show_default": True})
@click.argument(
    "what", type=click.Choice(["tune", "study", "one-rate", "sensitivity", "all", "choose", *phases.PHASES])
)
@click.option("--arms", callback=chosen(ARMS), help="Names, with commas between; without it all.")
@click.option("--truths", callback=chosen(TRUTHS), help="Names of ground truths, in the same form.")
@click.option("--seeds", type=click.IntRange(1), default=5, help="How many.")
@click.option("--steps", callback=chosen_budgets, default=",".join(map(str, BUDGETS)), help="Budgets.")
@click.option("--jobs", type=click.IntRange(1), default=2, help="Runs at a time, of one thread each.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, help="Folder of the tables.")
@click.option(
    "--time-limit", type=click.FloatRange(0), default=math.inf, help="Seconds; no run is begun that would last longer."
)
@click.option("--smoke", is_flag=True, help="Five steps of one seed and budget on a few rooms, to see that all runs.")
def main(
    what: str,
    arms: list[str],
    truths: list[str],
    seeds: int,
    steps: list[int],
    jobs: int,
    out: Path,
    time_limit: float,
    smoke: bool,
) -> None:
    """Do one part of the study, or all; see the top of this file."""
    counts = rooms.SPLITS
    if smoke:
        counts, steps, seeds, jobs = SMOKE_ROOMS, [5], 1, 1
    rates, table = out / "lr.csv", out / "training.csv"
    until = time.monotonic() + time_limit
    if what == "choose":
        runs = phases.choosing(seeds, min(steps))
        execute(runs, out / "choose.csv", jobs, counts, click.echo, until)
    if what in phases.PHASES:
        table, parts = out / f"{what}.csv", phases.PHASES[what]
        parts = phases.small(parts) if smoke else parts
        if execute(phases.tuning(parts), table, jobs, counts, click.echo, until) == 0:
            runs = need_rates(lambda known: phases.confirming(parts, known), table)
            execute(runs, table, jobs, counts, click.echo, until)
    if what in ("tune", "all"):
        execute(tuning(arms, steps), rates, jobs, counts, click.echo)
    if what in ("study", "all"):
        runs = need_rates(lambda known: study(arms, truths, seeds, steps, known), rates)
        execute(runs, table, jobs, counts, click.echo)
    if what in ("one-rate", "all"):
        runs = need_rates(lambda known: one_rate(arms, seeds, steps, known), rates)
        execute(runs, table, jobs, counts, click.echo)
    if what in ("sensitivity", "all"):
        execute(need_rates(lambda known: sensitivity(seeds, steps, known), rates), table, jobs, counts, click.echo)


if __name__ == "__main__":
    main()
