"""The training study: every loss of :mod:`arms`, on every ground truth of :mod:`ground_truth`, paired by seed.

    python evidence/train.py tune     # the learning rate of each arm, on validation rooms: results/lr.csv
    python evidence/train.py study    # the runs, measured on test rooms: results/training.csv
    python evidence/train.py all
    python evidence/report.py

A run is its arm, ground truth, learning rate, seed and number of steps; the seed sets the network, the order and the
noise of the ground truth. It becomes one row when it ends, and a row that is there is not run again: a study that was
interrupted goes on where it stopped. Runs are processes of one thread each.
"""

import csv
import functools
import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import numpy as np
import rooms
import torch
from arms import ARMS, weighted_error, weights
from ground_truth import TRUTHS, GroundTruth, ground_truth
from measures import PRIMARY, SECONDARY, measure
from network import DepthNet

RESULTS = Path(__file__).with_name("results")
RATES = (1e-3, 3e-3, 1e-2)
TUNED_STEPS, TUNED_TRUTH = 600, "all"
BATCH = 8
COMPARED = ("l1", "inverse_sigma", "relative_0.03", "difference_0.03")
SMOKE_ROOMS = {"train": 4, "validation": 1, "test": 1}


@dataclass(frozen=True)
class Run:
    """The identity of a run; see the top of this file. ``split``: what it is measured on."""

    arm: str
    truth: str
    lr: float
    seed: int
    steps: int
    split: str


COLUMNS = [each.name for each in fields(Run)] + [*PRIMARY, *SECONDARY, "gradient_mean", "gradient_max", "seconds"]


@functools.cache
def views_of(counts: tuple[tuple[str, int], ...], seed: int = 0) -> dict[str, rooms.Views]:
    return rooms.load(dict(counts), seed)


@functools.lru_cache(maxsize=1)
def given_of(truth: str, seed: int, counts: tuple[tuple[str, int], ...]) -> GroundTruth:
    return ground_truth(truth, views_of(counts)["train"], seed)


def train(run: Run, counts: tuple[tuple[str, int], ...]) -> dict[str, Any]:
    """Train one network and return its row: the identity, the measures, the norms of the gradient and the time.

    AdamW under a one-cycle schedule to the last step, so a short run is not the beginning of a long one; half of the
    samples are flipped left to right.
    """
    start = time.perf_counter()
    torch.set_num_threads(1)
    torch.manual_seed(run.seed)
    views = views_of(counts)
    given = given_of(run.truth, run.seed, counts)
    weight = weights(ARMS[run.arm], given)
    depth, pictures = torch.from_numpy(given.depth), torch.from_numpy(views["train"]["picture"])
    model = DepthNet().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), run.lr, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, run.lr, total_steps=run.steps + 1, pct_start=0.1)
    norms = []
    for index in itertools.islice(batches(len(depth), run.seed), run.steps):
        flip = torch.rand(BATCH) < 0.5
        picture = flipped(pictures[index].permute(0, 3, 1, 2) / 255, flip)
        target = flipped(depth[index], flip)
        pred = model(picture.contiguous(memory_format=torch.channels_last))
        loss = weighted_error(pred, target, flipped(weight[index], flip), target.isfinite())
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.stack([p.grad.norm() for p in model.parameters()]).norm())
        optimizer.step()
        schedule.step()
    norm = torch.stack(norms)
    errors = measure(predict(model, views[run.split]["picture"]), views[run.split])
    seconds = time.perf_counter() - start
    return asdict(run) | errors | {
        "gradient_mean": norm.mean().item(), "gradient_max": norm.max().item(), "seconds": round(seconds, 2)
    }  # fmt: skip


def batches(count: int, seed: int) -> Iterator[torch.Tensor]:
    """Yield the indices of batches, epoch after epoch, the same for every arm of a seed."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(count, generator=generator)[: count // BATCH * BATCH].split(BATCH)


def flipped(x: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
    """Return x (B, ..., W) with the samples where ``which`` (B,) is True flipped left to right."""
    return torch.where(which.view(-1, *[1] * (x.dim() - 1)), x.flip(-1), x)


@torch.no_grad()
def predict(model: DepthNet, pictures: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the depth (N, H, W) of pictures (N, H, W, 3) uint8."""
    model.eval()
    each = torch.from_numpy(pictures).permute(0, 3, 1, 2).split(BATCH)
    return torch.cat([model(x / 255) for x in each]).numpy()


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
    total = sum(run.steps for run in waiting)
    fixed = tuple(counts.items())
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        futures = [pool.submit(train, run, fixed) for run in waiting]
        try:
            steps = 0
            for number, future in enumerate(as_completed(futures), 1):
                row = future.result()
                append(path, row)
                steps += row["steps"]
                spent = time.perf_counter() - start
                say(
                    f"{number}/{len(waiting)} {row['arm']}, {row['truth']}, lr {row['lr']:g}, seed {row['seed']}, "
                    f"{row['steps']} steps: AbsRel {row['abs_rel']:.4f}, interior {row['abs_rel_interior']:.4f}; "
                    f"{1e3 * row['seconds'] / row['steps']:.0f} ms/step, {spent / 60:.1f} min, "
                    f"{spent / steps * (total - steps) / 60:.1f} min to go"
                )
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return len(waiting)


def append(path: Path, row: dict[str, Any]) -> None:
    """Add a row in one write, with the header if the table is new."""
    is_new = not path.exists()
    values = {k: f"{v:.6g}" if isinstance(v, float) else str(v) for k, v in row.items()}
    line = ",".join(values[name] for name in COLUMNS) + "\n"
    with path.open("a") as file:
        file.write((",".join(COLUMNS) + "\n" if is_new else "") + line)
        file.flush()
        os.fsync(file.fileno())


def tuning(arms: Iterable[str], steps: int = TUNED_STEPS) -> list[Run]:
    return [Run(arm, TUNED_TRUTH, lr, 0, steps, "validation") for arm in arms for lr in RATES]


def study(rates: dict[str, float], truths: Iterable[str], seeds: int, budgets: list[int]) -> list[Run]:
    """Return the runs: all arms and budgets on the ground truth with all faults; else ``COMPARED``, least budget.

    All arms of a seed come before the next seed, so that an interrupted study has pairs.
    """
    return [
        Run(arm, truth, rates[arm], seed, budget, "test")
        for budget, seed, truth, arm in itertools.product(budgets, range(seeds), truths, rates)
        if truth == TUNED_TRUTH or (arm in COMPARED and budget == min(budgets))
    ]


def chosen_rates(rows: Iterable[dict[str, Any]], arms: Iterable[str]) -> dict[str, float]:
    """Return the learning rate of each arm that had the least AbsRel on the validation rooms.

    Raises:
        ClickException: an arm was not tuned.
    """
    rates = {}
    rows = list(rows)
    for arm in arms:
        tried = {row["abs_rel"]: row["lr"] for row in rows if row["arm"] == arm and row["abs_rel"] >= 0}
        if not tried:
            raise click.ClickException(
                f"{arm}: has no learning rate yet; run: python evidence/train.py tune --arms {arm}"
            )
        rates[arm] = tried[min(tried)]
    return rates


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


@click.command(context_settings={"show_default": True})
@click.argument("what", type=click.Choice(["tune", "study", "all"]))
@click.option("--arms", callback=chosen(ARMS), help="Names, with commas between; without it all.")
@click.option("--truths", callback=chosen(TRUTHS), help="Names of ground truths, likewise.")
@click.option("--seeds", type=click.IntRange(1), default=5, help="How many.")
@click.option("--steps", default="600,2400", help="Budgets.")
@click.option("--jobs", type=click.IntRange(1), default=2, help="Processes, of one thread each.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, help="Folder of the tables.")
@click.option("--smoke", is_flag=True, help="Five steps of one seed and budget on a few rooms, to see that all runs.")
def main(
    what: str, arms: list[str], truths: list[str], seeds: int, steps: str, jobs: int, out: Path, smoke: bool
) -> None:
    """Tune the learning rates, do the study, or both; see the top of this file."""
    counts, budgets, tuned_steps = rooms.SPLITS, [int(each) for each in steps.split(",")], TUNED_STEPS
    if smoke:
        counts, budgets, tuned_steps, seeds = SMOKE_ROOMS, [5], 5, 1
    if what != "study":
        execute(tuning(arms, tuned_steps), out / "lr.csv", jobs, counts, click.echo)
    if what != "tune":
        rates = chosen_rates(read(out / "lr.csv"), arms)
        execute(study(rates, truths, seeds, budgets), out / "training.csv", jobs, counts, click.echo)


if __name__ == "__main__":
    main()
