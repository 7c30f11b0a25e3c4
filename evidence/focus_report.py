"""The tables of the study of focused losses, from choose.csv, confirm.csv and multimodal.csv; see :mod:`report`."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import phases
from comparison import Difference, Group, Key, difference, grouped
from measures import PRIMARY
from table import read
from train import chosen_rates

MEASURES = (*PRIMARY, "soft_edge_error", "flying_share")
TITLES = ("interior", "δ<1.01", "next to edges", "boundary F1", "beyond 10 m", "soft edge error", "flying share")
PLAIN, GRADIENT = "log+gradient", "inverse_depth+gradient"
CONTRASTS = (  # a loss, and what shows what it adds
    (phases.BEST, "l1"),
    (phases.BEST, "inverse_depth"),
    (phases.BEST, PLAIN),
    (phases.ONLINE, PLAIN),
    (phases.ONLINE, phases.BEST),
    (f"{phases.BEST}+sigma=difference", phases.BEST),
    ("log+gradient+focus=4+both", phases.BEST),
    (phases.CLEANED, phases.BEST),
    (f"{PLAIN}+median", PLAIN),
    (phases.RELATIVE, "inverse_depth"),
    (phases.RELATIVE, GRADIENT),
    (phases.RELATIVE, phases.BEST),
    (PLAIN, "log"),
    (PLAIN, "l1"),
    (PLAIN, "inverse_depth"),
    (GRADIENT, "inverse_depth"),
)
TARGETS = (  # of :mod:`multimodal`, against the control and losses of the confirming phase
    ("multimodal", "unimodal"),
    *itertools.product(("multimodal", "unimodal"), ("inverse_depth", PLAIN, phases.BEST)),
)
SHOWN = {  # in docs/evidence.md, under these names; the first four in README.md too
    "focused log, against plain L1": (phases.BEST, "l1"),
    "focused log, against inverse depth": (phases.BEST, "inverse_depth"),
    "focused log, against log with gradients": (phases.BEST, PLAIN),
    "focused inverse depth, against inverse depth": (phases.RELATIVE, "inverse_depth"),
    "focused inverse depth, against inverse depth with gradients": (phases.RELATIVE, GRADIENT),
    "3×3 range as σ, against cached σ": (phases.ONLINE, phases.BEST),
    "cleaned target, against the nearest pixel": (phases.CLEANED, phases.BEST),
}
BRIEF, IN_BRIEF = 4, (600, 2400)
ONE_RATE = phases.MULTIMODAL[0].one_rate

Groups = Mapping[Key, Group]


def measured(path: Path, split: str) -> Groups:
    """Return the runs of a table that a split measures, (ground truth, steps) → loss → seed → row."""
    return grouped(row for row in read(path) if row["split"] == split)


def with_targets(results: Path) -> tuple[Groups, Groups]:
    """Return the test runs of :mod:`multimodal` and of the confirming phase: those at tuned rates, and at one rate."""
    rows = [row for name in ("multimodal.csv", "confirm.csv") for row in read(results / name)]
    rates = chosen_rates(rows)
    test = [row for row in rows if row["split"] == "test"]
    tuned = grouped(row for row in test if row["lr"] == rates.get((row["arm"], row["steps"])))
    return tuned, grouped(row for row in test if row["lr"] == ONE_RATE)


def title_of(key: Key) -> str:
    """Return what a part of the confirming phase is called."""
    return f"ground truth {key[0]}, {where(key)} steps"


def where(key: Key) -> str:
    """Return the budget of a part, and its scenes and network where they are others."""
    truth, steps = key
    like = next(part for part in phases.CONFIRMING if part.steps == steps and truth in part.truths)
    elsewhere = "" if like.scenes.startswith("rooms") else f" ({like.scenes.partition('-')[0]}, {like.network} network)"
    return f"{steps:,}{elsewhere}"


def cell(one: Difference) -> str:
    """Return a difference in per cent: bold where better, ↓ where worse; or the mean where there is none."""
    if not one.pairs:
        return f"{one.mean:.3f}"
    text = f"{one.percent:+.0f} %"
    return (f"{text} ↓", text, f"**{text}**")[one.verdict + 1]


def rows_of(lines: Iterable[tuple[str, ...]], *head: str) -> str:
    """Return a Markdown table."""
    names = (*head, *TITLES)
    return "\n".join(f"| {' | '.join(line)} |" for line in (names, ("---",) * len(names), *lines))


def against(group: Group, baseline: str) -> str:
    """Return the table of every loss of a group against one; the baseline's row holds its means."""
    lines = (
        (f"`{arm}`", str(len(seeds)), *(cell(difference(group, arm, each, baseline)) for each in MEASURES))
        for arm, seeds in group.items()
    )
    return rows_of(lines, "loss", "seeds")


def contrasts(
    groups: Groups, pairs: Iterable[tuple[str, str]] = CONTRASTS
) -> Iterator[tuple[str, str, Key, tuple[str, ...]]]:
    """Yield, for each pair of losses and part that has both, the pair, the part, and the seeds and cells of a line."""
    for arm, baseline in pairs:
        for key, group in groups.items():
            if arm in group and baseline in group:
                found = [difference(group, arm, each, baseline) for each in MEASURES]
                yield arm, baseline, key, (str(found[0].pairs), *map(cell, found))


def lines_of(groups: Groups, pairs: Iterable[tuple[str, str]]) -> str:
    """Return the table of :func:`contrasts`."""
    lines = ((f"`{arm}`", f"`{base}`", title_of(key), *cells) for arm, base, key, cells in contrasts(groups, pairs))
    return rows_of(lines, "loss", "against", "part", "pairs")


def count(groups: Groups) -> str:
    """Return how many contrasts in primary measures there are, and how they came out."""
    found = [
        difference(group, arm, each, baseline).verdict
        for arm, baseline in CONTRASTS
        for group in groups.values()
        if arm in group and baseline in group
        for each in PRIMARY
    ]
    return (
        f"{len(found)} comparisons in the primary measures: {found.count(1)} better, {found.count(-1)} worse, "
        f"{found.count(0)} undecided; a test at 5 % would decide about {len(found) / 20:.0f} where nothing differs."
    )


def in_order(groups: Groups) -> Groups:
    """Return the groups of all faults by budget, and then those of single faults."""
    return dict(sorted(groups.items(), key=lambda item: (item[0][0] != "all", item[0][1])))


def markdown(results: Path) -> str:
    """Return the page of results/focus.md."""
    confirmed = in_order(measured(results / "confirm.csv", "test"))
    text = (
        "# Focused losses: every comparison\n\n"
        "Written by `python evidence/report.py`. Differences in per cent of what a table compares with, paired by "
        "seed. Bold: better; ↓: worse, by Student's paired test at 5 %; otherwise undecided, or fewer than three "
        "pairs. Nothing is corrected for the number of comparisons. The measures named before the runs are the first "
        "five; the last two are secondary.\n\n"
        f"## Confirming phase: what each adds\n\n{count(confirmed)}\n\n"
        f"{lines_of(confirmed, CONTRASTS)}\n"
    )
    for key, group in confirmed.items():
        for baseline in (name for name in ("l1", "inverse_depth") if name in group):
            text += f"\n## Confirming phase: {title_of(key)}, against `{baseline}`\n\n{against(group, baseline)}\n"
    tuned, at_one_rate = with_targets(results)
    text += (
        f"\n## Two surfaces in a target\n\nTuned rates:\n\n{lines_of(tuned, TARGETS)}\n\n"
        f"All at {ONE_RATE}:\n\n{lines_of(at_one_rate, TARGETS)}\n"
    )
    for (_, steps), group in measured(results / "choose.csv", "validation").items():
        text += f"\n## Choosing phase: {steps} steps, against `{PLAIN}`\n\n{against(group, PLAIN)}\n"
    return text


def blocks(results: Path) -> dict[str, str]:
    """Return the tables of docs/evidence.md and README.md by the names of their markers."""
    confirmed = in_order(measured(results / "confirm.csv", "test"))
    return {
        "focus": shown({key: group for key, group in confirmed.items() if key[0] == "all"}),
        "brief": brief(confirmed),
    }


def shown(groups: Groups) -> str:
    """Return the table of ``SHOWN``: a line for each contrast and part that has both of its losses."""
    lines = [
        (name, where(key), *cells) for name, pair in SHOWN.items() for _, _, key, cells in contrasts(groups, [pair])
    ]
    return rows_of(lines, "what", "steps", "pairs")


def brief(groups: Groups) -> str:
    """Return the first of ``SHOWN`` with all faults, each cell with the budgets of ``IN_BRIEF``."""
    few = {("all", steps): groups["all", steps] for steps in IN_BRIEF if ("all", steps) in groups}
    lines = []
    for name in list(SHOWN)[:BRIEF]:
        cells = [cells[1:] for _, _, _, cells in contrasts(few, [SHOWN[name]])]
        lines.append((name, *map("; ".join, zip(*cells, strict=True))))
    return rows_of(lines, "what")
