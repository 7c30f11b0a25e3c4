"""Tables of runs: a run (:mod:`run`) becomes one row when it ends, and a row that is there is not run again.

A study that was interrupted, or whose time was up, goes on where it stopped. A run has one thread, on the CPU.
"""

import csv
import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import fields
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from measures import PRIMARY, SECONDARY
from run import Counts, Run, train, views_of

COLUMNS = [each.name for each in fields(Run)] + [*PRIMARY, *SECONDARY, "gradient_mean", "gradient_max", "seconds"]
TEXTS = ("arm", "truth", "split", "scenes", "network")
WHOLE = ("seed", "steps")
COST = {"small": 1.0, "deep": 1.6}  # of a step, relative to each other
MARGIN = 1.25  # a run may be as much slower than those before it

Rows = list[dict[str, Any]]


def read(path: Path) -> Rows:
    """Return the rows of a table of results, numbers as numbers; none if there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v if k in TEXTS else int(v) if k in WHOLE else float(v) for k, v in row.items()} for row in rows]


def append(path: Path, row: dict[str, Any]) -> None:
    """Add a row in one write, with the header if the table is new."""
    is_new = not path.exists()
    values = {k: f"{v:.6g}" if isinstance(v, float) else str(v) for k, v in row.items()}
    line = ",".join(values[name] for name in COLUMNS) + "\n"
    with path.open("a") as file:
        file.write((",".join(COLUMNS) + "\n" if is_new else "") + line)
        file.flush()
        os.fsync(file.fileno())


def execute(
    runs: Iterable[Run], path: Path, jobs: int, counts: dict[str, int], say: Callable[[str], None],
    until: float = float("inf"),
) -> int:  # fmt: skip
    """Do the runs that have no row in ``path`` yet, appending each row when its run ends; return how many were left.

    A run that would probably not end by ``until``, in seconds of :func:`time.monotonic`, is left out.
    """
    names = [each.name for each in fields(Run)]
    done = {Run(**{name: row[name] for name in names}): row["seconds"] for row in read(path)}
    waiting = [run for run in dict.fromkeys(runs) if run not in done]
    say(f"{path.name}: {len(done)} rows, {len(waiting)} runs to do")
    if not waiting:
        return 0
    few = tuple(counts.items())
    for scenes in dict.fromkeys(run.scenes for run in waiting):
        views_of(scenes, few)  # rendered once, before the processes
    path.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    cost, total = 0.0, sum(map(cost_of, waiting))
    number = 0
    for number, row in enumerate(rows_of(waiting, few, jobs, Clock(until, done)), 1):
        append(path, row)
        cost += cost_of(Run(**{name: row[name] for name in names}))
        spent = time.monotonic() - start
        say(
            f"{number}/{len(waiting)} {row['arm']}, {row['truth']}, lr {row['lr']:g}, seed {row['seed']}, "
            f"{row['steps']} steps: AbsRel {row['abs_rel']:.4f}, interior {row['abs_rel_interior']:.4f}; "
            f"{1e3 * row['seconds'] / row['steps']:.0f} ms/step, {spent / 60:.1f} min, "
            f"{spent / cost * (total - cost) / 60:.1f} min to go"
        )
    return len(waiting) - number


def cost_of(run: Run) -> float:
    """Return the steps of a run, in steps of the small network."""
    return run.steps * COST[run.network]


class Clock:
    """Says whether a run would end in time, by the pace of the runs that have ended, ``done`` with their seconds."""

    def __init__(self, until: float, done: Mapping[Run, float]) -> None:
        self.until = until
        self.cost, self.seconds = sum(map(cost_of, done)), sum(done.values())

    def fits(self, run: Run) -> bool:
        pace = self.seconds / self.cost if self.cost else 0.0
        return time.monotonic() + MARGIN * pace * cost_of(run) < self.until

    def ended(self, run: Run, seconds: float) -> None:
        self.cost, self.seconds = self.cost + cost_of(run), self.seconds + seconds


def rows_of(runs: Iterable[Run], counts: Counts, jobs: int, clock: Clock) -> Iterator[dict[str, Any]]:
    """Yield the row of each run that fits as it ends; one job runs here, more in processes."""
    queue, going = filter(clock.fits, runs), dict[Future[dict[str, Any]], Run]()  # asked when it is its turn
    if jobs == 1:
        for run in queue:
            row = train(run, counts)
            clock.ended(run, row["seconds"])
            yield row
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        try:
            while True:
                for run in itertools.islice(queue, jobs - len(going)):
                    going[pool.submit(train, run, counts)] = run
                if not going:
                    return
                for future in wait(going, return_when=FIRST_COMPLETED).done:
                    row = future.result()
                    clock.ended(going.pop(future), row["seconds"])
                    yield row
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
