"""The study of focused losses in two phases: choose among many, then confirm a few on other rooms with other seeds.

``CHOICES`` are compared on the validation rooms of :mod:`train`, at one rate, with two seeds. What ``CONFIRMING`` has
was fixed by that, before any run of it. Names of losses are those of :mod:`focus`.
"""

import itertools
from collections.abc import Iterable
from typing import NamedTuple

from ground_truth import TRUTHS
from run import Run

RATE = 3e-3  # of the choosing phase: what most losses of 600 steps have in lr.csv
BEST = "log+gradient+focus=8+both"  # of an experiment before this study: what is varied
CHOICES = (
    "l1", "inverse_depth", "log+gradient", BEST, f"{BEST}+sigma=range3", f"{BEST}+median",
    "inverse_depth+gradient", "inverse_depth+gradient+focus=4", "log+gradient+focus=4+both", "log+gradient+focus=8",
    f"{BEST}+sigma=difference", f"{BEST}+c=0.03", f"{BEST}+c=0.3", "log+gradient+median",
    f"{BEST}+sigma=sigma_window3", "log+gradient=1+focus=8+both", "log+gradient=1",
    "log", "l1+gradient", "power_0.5", "power_0.5+gradient", "power_0.25+gradient", "power_0.5+gradient+focus=4",
    "log+gradient+focus=2+both", "log+gradient+focus=2", "log+gradient+focus=4", "log+gradient=0.25",
    f"{BEST}+sigma=online", f"{BEST}+sigma=sobel", "log+focus=8", "inverse_depth+focus=4",
    "l1+median", "inverse_depth+median",
    f"{BEST}+sigma=lambda_prior_0.0", f"{BEST}+sigma=lambda_prior_2.0",
    f"{BEST}+sigma=alpha_clamp_0.1", f"{BEST}+sigma=alpha_clamp_0.5",
    "log+gradient+focus=1+both", "log+gradient+focus=1", "power_0.25",
)  # fmt: skip
ONLINE, CLEANED, RELATIVE = f"{BEST}+sigma=range3", f"{BEST}+median", "inverse_depth+gradient+focus=4"
MAIN = ("l1", "inverse_depth", "log+gradient", BEST, ONLINE)
CONTROLS = ("log", "power_0.5", "l1+gradient", "inverse_depth+gradient", "power_0.5+gradient", "log+gradient+median")
FINALISTS = (CLEANED, "log+gradient+focus=4+both", RELATIVE, f"{BEST}+sigma=difference")
SINGLE_FAULTS = tuple(truth for truth in TRUTHS if truth != "all")


class Part(NamedTuple):
    """A part of the confirming phase: losses at one budget.

    Attributes:
        arms: names of losses.
        steps: the budget.
        seeds: how many test seeds.
        truths: ground truths.
        rates: learning rates to try on the validation scenes; none: those of the budget ``tuned_at``.
        tuned_at: the budget whose rates the runs have; 0: this one's own.
        scenes, network: of the runs.
        first: test seed.
        one_rate: a rate that all losses have in further runs: is it the loss, or the rate? 0: none.
    """

    arms: tuple[str, ...]
    steps: int
    seeds: int
    truths: tuple[str, ...] = ("all",)
    rates: tuple[float, ...] = ()
    tuned_at: int = 0
    scenes: str = "rooms-1"
    network: str = "small"
    first: int = 10
    one_rate: float = 0.0


CONFIRMING = (
    Part(("inverse_depth", "log+gradient", BEST), 9600, 3, tuned_at=2400),
    Part((*MAIN, *CONTROLS, *FINALISTS), 600, 8, rates=(1e-3, 3e-3, 1e-2)),
    Part(("inverse_depth", "log+gradient", BEST), 600, 5, SINGLE_FAULTS, tuned_at=600),
    Part((*MAIN, CLEANED, "inverse_depth+gradient", RELATIVE), 2400, 8, rates=(3e-3, 1e-2)),
    Part(MAIN, 1200, 6, rates=(3e-3, 1e-2), scenes="planes-1", network="deep"),
)
# Later than the others, with seeds whose other losses ran on the same machine.
MULTIMODAL = (Part(("unimodal", "multimodal"), 600, 3, rates=(1e-3, 3e-3, 1e-2), first=15, one_rate=1e-2),)
PHASES = {"confirm": CONFIRMING, "multimodal": MULTIMODAL}
LONG = 9600  # such runs begin first, or they would not end in a limited time


def choosing(seeds: int, steps: int) -> list[Run]:
    """Return the runs of the choosing phase: all losses of a seed before the next seed."""
    return [Run(arm, "all", RATE, seed, steps, "validation") for seed, arm in itertools.product(range(seeds), CHOICES)]


def tuning(parts: Iterable[Part]) -> list[Run]:
    """Return a run for each loss, budget and rate that is to be tried, the longest first."""
    runs = [
        Run(arm, "all", rate, 0, part.steps, "validation", part.scenes, part.network)
        for part in parts
        for arm, rate in itertools.product(part.arms, part.rates)
    ]
    return sorted(runs, key=lambda run: -run.steps)


def confirming(parts: Iterable[Part], rates: dict[tuple[str, int], float]) -> list[Run]:
    """Return the runs of the confirming phase, by seed: time that is up costs all parts seeds, and none its pairs.

    ``rates`` are those of each loss and budget.
    """
    runs = [
        Run(arm, truth, rate, seed, part.steps, "test", part.scenes, part.network)
        for part in parts
        for seed, truth, arm in itertools.product(range(part.first, part.first + part.seeds), part.truths, part.arms)
        for rate in {rates[arm, part.tuned_at or part.steps], part.one_rate} - {0.0}
    ]
    return sorted(runs, key=lambda run: (run.steps < LONG, run.seed))


def small(parts: Iterable[Part]) -> list[Part]:
    """Return the parts with two losses, one seed and a hundredth of the steps, to see that all runs."""
    few = ("log+gradient", BEST, "unimodal", "multimodal")
    return [
        part._replace(
            arms=tuple(arm for arm in part.arms if arm in few),
            seeds=1,
            steps=part.steps // 100,
            tuned_at=part.tuned_at // 100,
        )
        for part in parts
    ]
