"""The tables and figures of the training study, from results/lr.csv and results/training.csv.

    python evidence/report.py

writes results/training.md and results/focus.md, the tables of docs/evidence.md and results/README.md between their
markers, and docs/images/evidence_*.png. Losses are compared with plain L1, parameters with the default ones, at the
same ground truth, budget and seed. Intervals are 95 % bootstrap intervals of the mean difference over seeds; verdicts
are by Student's paired test.
"""

import csv
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click
from arms import ARMS, SENSITIVITY
from comparison import Difference, Group, Key, difference, grouped, verdicts
from figures import save_differences, save_faults
from focus_report import blocks as focus_blocks
from focus_report import markdown as focus_markdown
from measures import PRIMARY, SECONDARY
from train import ALL_FAULTS, BASELINE, COMPARED, RESULTS, VARIED, Rates, chosen_rates, common_rate, read

DOCS = RESULTS.parents[1] / "docs"
DEPTH = "inverse_depth"  # what needs no σ
LATER = "soft_edge_error"  # not measured in these runs
OTHERS = (*(name for name in SECONDARY if name != LATER), "gradient_mean", "gradient_max")

Rows = list[dict[str, Any]]
Groups = Mapping[Key, Group]


def at_tuned_rates(rows: Rows, rates: Rates) -> Groups:
    """Return the runs of each arm at the rate that was chosen for it and the budget."""
    return grouped(row for row in rows if row["arm"] in ARMS and row["lr"] == rates.get((row["arm"], row["steps"])))


def at_one_rate(rows: Rows, rates: Rates) -> Groups:
    """Return the runs with all faults at the rate that most arms chose for the budget, where plain L1 has it."""
    with_all = [row for row in rows if row["truth"] == ALL_FAULTS and row["arm"] in ARMS]
    one = {steps: common_rate(rates, steps) for steps in {row["steps"] for row in with_all}}
    groups = grouped(row for row in with_all if row["lr"] == one[row["steps"]])
    return {key: group for key, group in groups.items() if BASELINE in group}


def knobs(rows: Rows, rates: Rates) -> Groups:
    """Return the runs of 1/σ with other parameters, and those with the default ones."""
    varied = [row for row in rows if row["arm"] in SENSITIVITY]
    of = {(row["truth"], row["steps"]) for row in varied}
    default = [row for row in rows if row["arm"] == VARIED and (row["truth"], row["steps"]) in of]
    return grouped(row for row in varied + default if row["lr"] == rates.get((VARIED, row["steps"])))


def full(one: Difference) -> str:
    """Return the mean, and the interval of the difference: bold where better, ↓ where worse."""
    if not one.pairs:
        return f"{one.mean:.4g}"
    return marked(f"{one.mean:.4g} ({one.low:+.2g} to {one.high:+.2g})", one.verdict)


def brief(one: Difference) -> str:
    """Return the difference in per cent, marked in the same way, and for the baseline the mean."""
    return marked(f"{one.percent:+.0f} %", one.verdict) if one.pairs else f"{one.mean:.3f}"


def marked(text: str, verdict: int) -> str:
    return (f"{text} ↓", text, f"**{text}**")[verdict + 1]


def table(
    group: Group, measures: Iterable[str], baseline: str = BASELINE, cell: Callable[[Difference], str] = full
) -> str:
    """Return a Markdown table: a row for each arm, a column for each measure."""
    names = list(measures)
    lines = ["| loss | seeds | " + " | ".join(names) + " |", "|---" * (2 + len(names)) + "|"]
    for arm in (each for each in (*ARMS, *SENSITIVITY) if each in group):
        cells = " | ".join(cell(difference(group, arm, name, baseline)) for name in names)
        lines.append(f"| {arm} | {len(group[arm])} | {cells} |")
    return "\n".join(lines)


def count(groups: Groups, baseline: str = BASELINE) -> str:
    """Return how many comparisons there are in the primary measures, and how they came out."""
    found = [verdict for group in groups.values() for verdict in verdicts(group, PRIMARY, baseline)]
    return (
        f"{len(found)} comparisons in the primary measures: {found.count(1)} better, {found.count(-1)} worse, "
        f"{found.count(0)} undecided; a test at 5 % would decide about {len(found) / 20:.0f} where nothing differs."
    )


def parts(rows: Rows, rates: Rates) -> list[tuple[str, str, Groups, str]]:
    """Return each part of the study: its name, its title, its runs, and what they are compared with."""
    tuned = at_tuned_rates(rows, rates)
    return [
        ("tuned", "Tuned rates, against plain L1", tuned, BASELINE),
        ("depth", "The same, against inverse depth", tuned, DEPTH),
        ("one-rate", "All at the rate that most chose, against plain L1", at_one_rate(rows, rates), BASELINE),
        ("knobs", "Parameters of 1/σ, against the default ones", knobs(rows, rates), VARIED),
    ]


def markdown(rows: Rows, rates: Rates) -> str:
    """Return the page: primary and other measures of every ground truth and budget, one rate, parameters of 1/σ."""
    text = (
        "# Every measure of the losses with less weight where σ is large\n\n"
        "Written by `python evidence/report.py`. Means over seeds; in brackets the 95 % bootstrap interval of the "
        "difference from what the part compares with, paired by seed. Bold: better; ↓: worse, by Student's paired test "
        "at 5 %; otherwise undecided, or there are fewer than three pairs. Nothing is corrected for the number of "
        "comparisons.\n"
    )
    for _, title, groups, baseline in parts(rows, rates):
        text += f"\n## {title}\n\n{count(groups, baseline)}\n"
        for (truth, steps), group in sorted(groups.items(), key=lambda item: (item[0][1], item[0][0])):
            text += f"\n### Ground truth {truth}, {steps} steps\n\n{table(group, PRIMARY, baseline)}\n"
            text += f"\n{table(group, OTHERS, baseline)}\n"
    return text


def blocks(rows: Rows, rates: Rates) -> dict[str, str]:
    """Return the tables of docs/evidence.md and results/README.md by the names of their markers."""
    found = {"summary": summary(at_tuned_rates(rows, rates))}
    for name, _, groups, baseline in parts(rows, rates):
        for (_, steps), group in ((key, group) for key, group in groups.items() if key[0] == ALL_FAULTS):
            found[f"{name}-{steps}"] = table(group, PRIMARY, baseline, brief)
        found[f"{name}-count"] = count(groups, baseline)
    return found


def summary(groups: Groups) -> str:
    """Return the losses that ran with every budget, all faults: the primary measures of each budget in one cell."""
    budgets = [group for (truth, _), group in sorted(groups.items()) if truth == ALL_FAULTS]
    lines = ["| loss | " + " | ".join(PRIMARY) + " |", "|---" * (1 + len(PRIMARY)) + "|"]
    for arm in (each for each in ARMS if all(each in group for group in budgets)):
        cells = ["; ".join(brief(difference(group, arm, name, BASELINE)) for group in budgets) for name in PRIMARY]
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    return "\n".join(lines)


def weight_table(path: Path) -> str:
    """Return where the weight of the compared losses lies, from results/weights.csv, as a Markdown table."""
    with path.open(encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    lines = [head, ["---"] * len(head)]
    lines += [[name, *(f"{float(x):.2g}" for x in values)] for name, *values in rows if name in COMPARED]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def with_blocks(page: str, found: Mapping[str, str], names: str = r"\S+") -> str:
    """Return a page with each block between the markers of its name, ``<!-- name -->`` and ``<!-- /name -->``.

    Markers whose name does not match the pattern ``names`` are left as they are.
    """

    def put(match: re.Match[str]) -> str:
        if match[1] not in found:
            raise click.ClickException(f"no table {match[1]!r}; expected one of {', '.join(found)}")
        return f"<!-- {match[1]} -->\n{found[match[1]]}\n<!-- /{match[1]} -->"

    return re.sub(rf"<!-- ({names}) -->\n.*?<!-- /\1 -->", put, page, flags=re.DOTALL)


@click.command(context_settings={"show_default": True})
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="Folder of lr.csv and training.csv.")
@click.option("--docs", type=click.Path(path_type=Path), default=DOCS, help="Folder of evidence.md and images/.")
def main(results: Path, docs: Path) -> None:
    """Write the tables and the figures of the training study."""
    rows, rates = read(results / "training.csv"), chosen_rates(read(results / "lr.csv"))
    if not rows:
        raise click.ClickException(f"{results / 'training.csv'}: no runs yet; run: python evidence/train.py all")
    (results / "training.md").write_text(markdown(rows, rates), encoding="utf-8")
    (results / "focus.md").write_text(focus_markdown(results), encoding="utf-8")
    pages = [page for page in (docs / "evidence.md", results / "README.md") if page.exists()]
    for page in pages:
        found = blocks(rows, rates) | focus_blocks(results) | {"weights": weight_table(results / "weights.csv")}
        page.write_text(with_blocks(page.read_text(encoding="utf-8"), found), encoding="utf-8")
    if docs == DOCS:
        front = DOCS.parent / "README.md"
        front.write_text(with_blocks(front.read_text(encoding="utf-8"), focus_blocks(results), "brief"), "utf-8")
    groups = at_tuned_rates(rows, rates)
    save_differences(groups, docs / "images" / "evidence_training.png")
    save_faults(groups, docs / "images" / "evidence_faults.png")
    written = ", ".join(map(str, (results / "training.md", results / "focus.md", *pages, docs / "images")))
    click.echo(f"{written}: {len(rows)} runs")


if __name__ == "__main__":
    main()
