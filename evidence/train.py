"""The training study: every loss of :mod:`arms`, on every ground truth of :mod:`ground_truth`, paired by seed.

    python evidence/train.py tune         # the learning rate of each arm, on validation rooms: results/lr.csv
    python evidence/train.py study        # the runs, measured on test rooms: results/training.csv
    python evidence/train.py one-rate     # the arms at one rate: results/training.csv
    python evidence/train.py sensitivity  # 1/σ with other knobs of the kernel: results/training.csv
    python evidence/train.py all
    python evidence/report.py

A run (:mod:`run`) becomes one row when it ends, and a row that is there is not run again: a study that was interrupted
goes on where it stopped. A run has one thread, on the CPU; a GPU is not used.
"""

import csv
import itertools
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import fields
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import rooms
from arms import ARMS, SENSITIVITY
from ground_truth import TRUTHS
from measures import PRIMARY, SECONDARY
from run import Counts, Run, train

RESULTS = Path(__file__).with_name("results")
RATES = (1e-3, 3e-3, 1e-2)
BUDGETS = (600, 2400)
ALL_FAULTS = "all"
BASELINE = "l1"
COMPARED = (
    BASELINE, "inverse_depth", "inverse_sigma", "inverse_sqrt_sigma", "relative_0.03", "inverse_sigma_difference",
    "difference_0.03", "difference_and_depth_0.03",
)  # fmt: skip
# Long runs at the largest rate, for the arm that was tuned to it after short ones and those it is to be told from.
FASTEST, FAST_COMPARED = max(RATES), (BASELINE, "inverse_depth", "inverse_sigma", "inverse_sqrt_sigma")
VARIED = "inverse_sigma"  # the arm whose knobs are varied, and whose learning rates the variants have
SMOKE_ROOMS = {"train": 4, "validation": 1, "test": 1}

COLUMNS = [each.name for each in fields(Run)] + [*PRIMARY, *SECONDARY, "gradient_mean", "gradient_max", "seconds"]

Rates = dict[str, float]  # of each arm


def read(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a table of results, numbers as numbers; none if there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    texts = ("arm", "truth", "split")
    whole = ("seed", "steps")
    return [{k: v if k in texts else int(v) if k in whole else float(v) for k, v in row.items()} for row in rows]


def execute(runs: Iterable[Run], path: Path, jobs: int, counts: dict[str, int], say: Callable[[str], None]) -> int:
    """Do the runs that have no row in ``path`` yet, appending each row when its run ends; return how many."""
    names = [each.name for each in fields(Run)]
    done = {Run(**{name: row[name] for name in names}) for row in read(path)}
    waiting = [run for run in runs if run not in done]
    say(f"{path.name}: {len(done)} rows, {len(waiting)} runs to do")
    if not waiting:
        return 0
    rooms.load(counts)  # rendered once, before the processes
    path.parent.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    steps, total = 0, sum(run.steps for run in waiting)
    for number, row in enumerate(rows_of(waiting, tuple(counts.items()), jobs), 1):
        append(path, row)
        steps += row["steps"]
        spent = time.perf_counter() - start
        say(
            f"{number}/{len(waiting)} {row['arm']}, {row['truth']}, lr {row['lr']:g}, seed {row['seed']}, "
            f"{row['steps']} steps: AbsRel {row['abs_rel']:.4f}, interior {row['abs_rel_interior']:.4f}; "
            f"{1e3 * row['seconds'] / row['steps']:.0f} ms/step, {spent / 60:.1f} min, "
            f"{spent / steps * (total - steps) / 60:.1f} min to go"
        )
    return len(waiting)


def rows_of(runs: Iterable[Run], counts: Counts, jobs: int) -> Iterator[dict[str, Any]]:
    """Yield the row of each run as it ends; one job runs here, more in processes."""
    if jobs == 1:
        yield from (train(run, counts) for run in runs)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        futures = [pool.submit(train, run, counts) for run in runs]
        try:
            yield from (future.result() for future in as_completed(futures))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def append(path: Path, row: dict[str, Any]) -> None:
    """Add a row in one write, with the header if the table is new."""
    is_new = not path.exists()
    values = {k: f"{v:.6g}" if isinstance(v, float) else str(v) for k, v in row.items()}
    line = ",".join(values[name] for name in COLUMNS) + "\n"
    with path.open("a") as file:
        file.write((",".join(COLUMNS) + "\n" if is_new else "") + line)
        file.flush()
        os.fsync(file.fileno())


def arms_of(arms: Iterable[str], truth: str) -> list[str]:
    """Return the arms that are run: all on the ground truth with all faults, else ``COMPARED``."""
    return [arm for arm in arms if arm in COMPARED or truth == ALL_FAULTS]


def tuning(arms: Iterable[str], steps: int) -> list[Run]:
    """Return a run for each rate and arm; ground truth with all faults, one seed."""
    return [Run(arm, ALL_FAULTS, lr, 0, steps, "validation") for arm in arms for lr in RATES]


def study(arms: Iterable[str], truths: Iterable[str], seeds: int, budgets: Sequence[int], rates: Rates) -> list[Run]:
    """Return the runs: all arms of a seed before the next seed, so that an interrupted study has pairs.

    Ground truth with single faults has the least budget only.
    """
    return [
        Run(arm, truth, rates[arm], seed, steps, "test")
        for steps, seed, truth in itertools.product(budgets, range(seeds), truths)
        if truth == ALL_FAULTS or steps == min(budgets)
        for arm in arms_of(arms, truth)
    ]


def sensitivity(seeds: int, budgets: Sequence[int], rates: Rates) -> list[Run]:
    """Return the runs of ``SENSITIVITY``: ground truth with all faults, least budget, the rate of ``VARIED``."""
    steps = min(budgets)
    return [Run(arm, ALL_FAULTS, rates[VARIED], seed, steps, "test") for seed in range(seeds) for arm in SENSITIVITY]


def one_rate(arms: Iterable[str], seeds: int, budgets: Sequence[int], rate: float) -> list[Run]:
    """Return runs with all faults, all at one rate: is it the loss, or the rate? Long ones of ``COMPARED`` only."""
    return [
        Run(arm, ALL_FAULTS, rate, seed, steps, "test")
        for steps, seed in itertools.product(budgets, range(seeds))
        for arm in arms
        if arm in COMPARED or steps == min(budgets)
    ]


def chosen_rates(rows: Iterable[dict[str, Any]]) -> Rates:
    """Return the learning rate of each arm that had the least AbsRel on the validation rooms."""
    tried: dict[str, dict[float, float]] = defaultdict(dict)
    for row in rows:
        if row["abs_rel"] >= 0:  # a diverged run is NaN
            tried[row["arm"]][row["abs_rel"]] = row["lr"]
    return {arm: rates[min(rates)] for arm, rates in tried.items()}


def need_rates(runs_of: Callable[[Rates], list[Run]], path: Path) -> list[Run]:
    """Return the runs with the rates of a table.

    Raises:
        ClickException: an arm was not tuned.
    """
    try:
        return runs_of(chosen_rates(read(path)))
    except KeyError as error:
        arm = error.args[0]
        raise click.ClickException(
            f"{path}: no learning rate of {arm} yet; run: python evidence/train.py tune --arms {arm}"
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
@click.argument("what", type=click.Choice(["tune", "study", "one-rate", "sensitivity", "all"]))
@click.option("--arms", callback=chosen(ARMS), help="Names, with commas between; without it all.")
@click.option("--truths", callback=chosen(TRUTHS), help="Names of ground truths, likewise.")
@click.option("--seeds", type=click.IntRange(1), default=5, help="How many.")
@click.option("--steps", callback=chosen_budgets, default=",".join(map(str, BUDGETS)), help="Budgets.")
@click.option("--jobs", type=click.IntRange(1), default=2, help="Runs at a time, of one thread each.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, help="Folder of the tables.")
@click.option("--smoke", is_flag=True, help="Five steps of one seed and budget on a few rooms, to see that all runs.")
def main(
    what: str, arms: list[str], truths: list[str], seeds: int, steps: list[int], jobs: int, out: Path, smoke: bool
) -> None:
    """Do one part of the study, or all; see the top of this file."""
    counts = rooms.SPLITS
    if smoke:
        counts, steps, seeds, jobs = SMOKE_ROOMS, [5], 1, 1
    rates, table = out / "lr.csv", out / "training.csv"
    if what in ("tune", "all"):
        execute(tuning(arms, min(steps)), rates, jobs, counts, click.echo)
    if what in ("study", "all"):
        runs = need_rates(lambda known: study(arms, truths, seeds, steps, known), rates)
        execute(runs, table, jobs, counts, click.echo)
    if what in ("one-rate", "all"):
        runs = need_rates(lambda known: one_rate(arms, seeds, steps, known[BASELINE]), rates)
        fast = [arm for arm in arms if arm in FAST_COMPARED]
        runs += one_rate(fast, seeds, [each for each in steps if each > min(steps)], FASTEST)
        execute(runs, table, jobs, counts, click.echo)
    if what in ("sensitivity", "all"):
        execute(need_rates(lambda known: sensitivity(seeds, steps, known), rates), table, jobs, counts, click.echo)


if __name__ == "__main__":
    main()
