"""The figures of the training study; see :mod:`report`."""

from pathlib import Path

import numpy as np
from arms import ARMS
from comparison import Group, Key, difference
from ground_truth import TRUTHS
from matplotlib.figure import Figure
from measures import LARGER_IS_BETTER, PRIMARY
from train import ALL_FAULTS, BASELINE, COMPARED

Groups = dict[Key, Group]
WIDEST = 40  # per cent, the end of the colours


def save_differences(groups: Groups, path: Path) -> None:
    """Save how the primary measures of each arm differ from plain L1 with all faults, with intervals."""
    budgets = {steps: group for (truth, steps), group in sorted(groups.items()) if truth == ALL_FAULTS}
    names = [arm for arm in ARMS if arm != BASELINE and any(arm in group for group in budgets.values())]
    figure = Figure(figsize=(3 * len(PRIMARY), 1.2 + 0.3 * len(names)), layout="constrained")
    axes = figure.subplots(1, len(PRIMARY), sharey=True)
    for axis, measure in zip(axes, PRIMARY, strict=True):
        axis.axvline(0, color="0.6", linewidth=1)
        for k, (steps, group) in enumerate(budgets.items()):
            shown = [(y, difference(group, arm, measure, BASELINE)) for y, arm in enumerate(names) if arm in group]
            shown = [(y + 0.2 * (k - (len(budgets) - 1) / 2), each) for y, each in shown if each.pairs]
            for i, (place, each) in enumerate(shown):
                axis.plot((each.low, each.high), (place, place), color=f"C{k}")
                label = f"{steps} steps" if i == 0 else None
                axis.plot(each.change, place, "o", color=f"C{k}", markersize=4, label=label)
        axis.set_title(f"{measure}\n{'right' if measure in LARGER_IS_BETTER else 'left'} is better", fontsize=9)
        axis.set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(budgets), fontsize=8)
    save(figure, path)


def save_faults(groups: Groups, path: Path) -> None:
    """Save how the compared arms differ from plain L1, in per cent of it, on each ground truth at the least budget."""
    least = min(steps for _, steps in groups)
    truths = [truth for truth in TRUTHS if (truth, least) in groups]
    names = [arm for arm in COMPARED if arm != BASELINE]
    width = max(1.6, 0.5 * len(truths))
    figure = Figure(figsize=(2.2 + width * len(PRIMARY), 1.6 + 0.4 * len(names)), layout="constrained")
    axes = figure.subplots(1, len(PRIMARY), sharey=True)
    for axis, measure in zip(axes, PRIMARY, strict=True):
        better = np.full((len(names), len(truths)), np.nan)
        for x, truth in enumerate(truths):
            group = groups[truth, least]
            for y, arm in enumerate(names):
                if arm in group and BASELINE in group:
                    one = difference(group, arm, measure, BASELINE)
                    better[y, x] = one.percent if measure in LARGER_IS_BETTER else -one.percent
                    weight = "bold" if one.verdict else "normal"
                    colour = "white" if abs(one.percent) > WIDEST / 2 else "black"
                    axis.text(
                        x, y, f"{one.percent:+.0f}", ha="center", va="center", fontsize=8, weight=weight, color=colour
                    )
        axis.imshow(better, cmap="RdBu", vmin=-WIDEST, vmax=WIDEST, aspect="auto")
        axis.set_title(measure.replace("_interior", "\ninterior").replace("_beyond", "\nbeyond"), fontsize=9)
        axis.set_xticks(range(len(truths)), truths, rotation=90, fontsize=8)
        axis.set_yticks(range(len(names)), names)
    figure.supxlabel(f"difference from plain L1 in %, {least} steps; blue is better; bold: decided", fontsize=8)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write a PNG, the same for the same figure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Software": None})
