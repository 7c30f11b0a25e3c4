"""Where the weight of each loss lies: what it asks of a network, before any is trained.

    python evidence/weight_shares.py [--smoke]

writes results/weights.csv, a row for each loss: the part of all weight on pixels next to edges (within 3×3 of one that
mixes two surfaces), nearer than 3 m and beyond 10 m, the effective part of the pixels, (Σw)² / (n Σw²), and the largest
weight over the mean one. Training rooms, ground truth with all faults. --smoke: a few rooms, prints, writes nothing.
"""

import csv
import sys
from pathlib import Path
from typing import TextIO

import click
import numpy as np
import rooms
import torch
from arms import ARMS, SENSITIVITY, Arm, weights
from ground_truth import GroundTruth, ground_truth
from scipy.ndimage import binary_dilation
from train import ALL_FAULTS, RESULTS, SMOKE_ROOMS

COLUMNS = ("loss", "beside_edges", "below_3m", "beyond_10m", "effective", "largest")


def shares(arm: Arm, given: GroundTruth, views: rooms.Views) -> tuple[float, ...]:
    """Return the numbers of a row; weights are those of mean 1 in every image, or raw where the arm is."""
    weight = weights(arm, given).double()
    valid = torch.from_numpy(given.valid)
    edge = torch.from_numpy(binary_dilation(views["mixed"], np.ones((1, 3, 3), bool)))
    depth = torch.from_numpy(given.depth)
    total = weight.sum()
    parts = (weight[where & valid].sum() / total for where in (edge, depth < 3, depth > 10))
    effective = total**2 / (valid.sum() * weight.square().sum())
    return (*(part.item() for part in parts), effective.item(), (weight.max() * valid.sum() / total).item())


def write(file: TextIO, counts: dict[str, int]) -> None:
    """Write the table."""
    views = rooms.load(counts)["train"]
    given = ground_truth(ALL_FAULTS, views)
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for name, arm in (ARMS | SENSITIVITY).items():
        writer.writerow((name, *(f"{value:.4g}" for value in shares(arm, given, views))))


@click.command()
@click.option("--smoke", is_flag=True)
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, help="Folder of the table.")
def main(smoke: bool, out: Path) -> None:
    """Write where the weight of each loss lies; see the top of this file."""
    if smoke:
        write(sys.stdout, SMOKE_ROOMS)
        return
    with (out / "weights.csv").open("w", encoding="utf-8") as file:
        write(file, rooms.SPLITS)
    click.echo(f"{out / 'weights.csv'}: {len(ARMS | SENSITIVITY)} losses")


if __name__ == "__main__":
    main()
