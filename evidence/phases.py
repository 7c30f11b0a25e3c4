"""The study of focused losses in two phases: choose among many, then confirm a few on other rooms with other seeds.

``CHOICES`` are compared on the validation rooms of :mod:`train`, at one rate, with two seeds. ``FINALISTS`` and
``CONTROLS`` were fixed by that, before any run of the confirming phase. Names are those of :mod:`focus`.
"""

import itertools

from run import Run

RATES = (1e-3, 3e-3, 1e-2)
RATE = 3e-3  # of the choosing phase: what most losses of 600 steps have in lr.csv
BEST = "log+gradient+focus=8+both"  # of an experiment before this study: what is varied
CHOICES = (
    "l1", "inverse_depth", "log", "power_0.5",
    "l1+gradient", "inverse_depth+gradient", "log+gradient", "power_0.5+gradient", "power_0.25+gradient",
    "log+gradient=0.25", "log+gradient=1", "log+gradient=1+focus=8+both",
    "log+gradient+focus=2", "log+gradient+focus=4", "log+gradient+focus=8",
    "log+gradient+focus=2+both", "log+gradient+focus=4+both", BEST,
    f"{BEST}+c=0.03", f"{BEST}+c=0.3",
    *(f"{BEST}+sigma={source}" for source in ("online", "sigma_window3", "difference", "range3", "sobel")),
    "log+focus=8", "inverse_depth+focus=4", "inverse_depth+gradient+focus=4", "power_0.5+gradient+focus=4",
    "l1+median", "inverse_depth+median", "log+gradient+median", f"{BEST}+median",
)  # fmt: skip


def choosing() -> list[Run]:
    """Return the runs of the choosing phase: all losses of a seed before the next seed."""
    return [Run(arm, "all", RATE, seed, 600, "validation") for seed, arm in itertools.product(range(2), CHOICES)]
