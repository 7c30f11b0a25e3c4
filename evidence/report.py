"""The table and the figure of the training study, from results/training.csv.

    python evidence/report.py

writes results/training.md and docs/images/evidence_training.png. Every loss is compared with plain L1 at the same
ground truth, budget and seed; intervals are 95 % bootstrap intervals of the mean difference over seeds.
"""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import numpy as np
from arms import ARMS
from matplotlib.figure import Figure
from measures import LARGER_IS_BETTER, PRIMARY, SECONDARY
from numpy.typing import ArrayLike
from train import RESULTS, read

BASELINE = "l1"
SAMPLES = 10_000
IMAGE = RESULTS.parents[1] / "docs" / "images" / "evidence_training.png"

Rows = Iterable[dict[str, Any]]
Group = dict[str, dict[int, dict[str, Any]]]


def interval(differences: ArrayLike) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean of (n,) differences; the same for the same differences.

    With few seeds it is too narrow, by the bootstrap's own nature; nothing is corrected for multiple comparisons.
    """
    values = np.asarray(differences, np.float64)
    picks = np.random.default_rng(0).integers(values.size, size=(SAMPLES, values.size))
    low, high = np.percentile(values[picks].mean(1), (2.5, 97.5))
    return float(low), float(high)


def grouped(rows: Rows) -> dict[tuple[str, int], Group]:
    """Return (ground truth, steps) → arm → seed → row."""
    groups: dict[tuple[str, int], Group] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        groups[row["truth"], row["steps"]][row["arm"]][row["seed"]] = row
    return groups


def paired(group: Group, arm: str, measure: str) -> np.ndarray[Any, Any]:
    """Return arm minus plain L1, of every seed that both have; a seed without the measure is left out."""
    base = group.get(BASELINE, {})
    both = sorted(group[arm].keys() & base.keys())
    difference = np.array([group[arm][seed][measure] - base[seed][measure] for seed in both], np.float64)
    return difference[np.isfinite(difference)]


def cell(group: Group, arm: str, measure: str) -> str:
    """Return the mean over seeds, and how it differs from plain L1: bold where better, ↓ where worse, else plain.

    Better and worse are said where the interval of at least three pairs leaves 0 out.
    """
    mean = np.mean([row[measure] for row in group[arm].values()])
    difference = paired(group, arm, measure)
    if arm == BASELINE or difference.size == 0:
        return f"{mean:.4g}"
    low, high = interval(difference)
    text = f"{mean:.4g} ({low:+.2g} to {high:+.2g})"
    if difference.size < 3 or low <= 0 <= high:
        return text
    return f"**{text}**" if (low > 0) == (measure in LARGER_IS_BETTER) else f"{text} ↓"


def table(group: Group, measures: Iterable[str]) -> str:
    """Return a Markdown table: a row for each arm, a column for each measure."""
    names = list(measures)
    lines = ["| loss | seeds | " + " | ".join(names) + " |", "|---" * (2 + len(names)) + "|"]
    for arm in (each for each in ARMS if each in group):
        cells = " | ".join(cell(group, arm, name) for name in names)
        lines.append(f"| {arm} | {len(group[arm])} | {cells} |")
    return "\n".join(lines)


def markdown(rows: Rows) -> str:
    """Return the page: primary measures of every ground truth and budget, then the others."""
    text = (
        "Written by `python evidence/report.py`. Means over seeds; in brackets the 95 % bootstrap interval of the "
        "difference from plain L1, paired by seed. Bold: better than plain L1; ↓: worse; otherwise the interval holds "
        "0 or there are fewer than three pairs. Nothing is corrected for the number of comparisons.\n"
    )
    for (truth, steps), group in sorted(grouped(rows).items(), key=lambda item: (-item[0][1], item[0][0])):
        text += f"\n## Ground truth {truth}, {steps} steps\n\nPrimary measures:\n\n{table(group, PRIMARY)}\n"
        text += f"\nOthers:\n\n{table(group, (*SECONDARY, 'gradient_mean', 'gradient_max', 'seconds'))}\n"
    return text


def save_figure(rows: Rows, path: Path, truth: str = "all") -> None:
    """Save how the primary measures of each arm differ from plain L1 with one ground truth, with intervals."""
    groups = {steps: group for (kind, steps), group in sorted(grouped(rows).items()) if kind == truth}
    names = [arm for arm in ARMS if arm != BASELINE and any(arm in group for group in groups.values())]
    figure = Figure(figsize=(3 * len(PRIMARY), 1.2 + 0.3 * len(names)), layout="constrained")
    axes = figure.subplots(1, len(PRIMARY), sharey=True)
    for axis, measure in zip(axes, PRIMARY, strict=True):
        axis.axvline(0, color="0.6", linewidth=1)
        for k, (steps, group) in enumerate(groups.items()):
            shown = [(y, paired(group, arm, measure)) for y, arm in enumerate(names) if arm in group]
            for y, difference in ((y, each) for y, each in shown if each.size):
                place, colour = y + 0.2 * (k - (len(groups) - 1) / 2), f"C{k}"
                axis.plot(interval(difference), (place, place), color=colour)
                label = f"{steps} steps" if y == shown[0][0] else None
                axis.plot(difference.mean(), place, "o", color=colour, markersize=4, label=label)
        axis.set_title(f"{measure}\n{'right' if measure in LARGER_IS_BETTER else 'left'} is better", fontsize=9)
        axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(groups), fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


@click.command(context_settings={"show_default": True})
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="Folder of training.csv.")
@click.option("--image", type=click.Path(path_type=Path), default=IMAGE, help="The figure.")
def main(results: Path, image: Path) -> None:
    """Write the table and the figure of the training study."""
    rows = read(results / "training.csv")
    if not rows:
        raise click.ClickException(f"{results / 'training.csv'}: no runs yet; run: python evidence/train.py all")
    (results / "training.md").write_text(markdown(rows), encoding="utf-8")
    save_figure(rows, image)
    click.echo(f"{results / 'training.md'}, {image}: {len(rows)} runs")


if __name__ == "__main__":
    main()
