"""What watching adds to a training step: a call that does not write, one that writes numbers, and one with a picture.

    python benchmarks/watch.py [--rounds 30] [--threads 1]

The U-Net of examples/train.py on random maps of 4 × 96 × 128, ``focused_log_l1``, TensorBoard. Figures are medians over
rounds of ratios to the training step of the same round. Prints JSON.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from machine import machine
from torch.utils.tensorboard import SummaryWriter

from depthvar.loss import FocusedLogL1
from depthvar.precompute.watching import TensorBoard, Watch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

from train import DepthNet

SHAPE = 4, 96, 128


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    image, target = torch.rand(SHAPE[0], 3, *SHAPE[1:]), 1 + 4 * torch.rand(SHAPE)
    rest = target, 10 ** (-6 * torch.rand(SHAPE)), torch.rand(SHAPE) > 0.1
    network, criterion = DepthNet(), FocusedLogL1()
    optimizer = torch.optim.AdamW(network.parameters())
    pred = network(image).detach()

    def step() -> None:
        optimizer.zero_grad()
        criterion(network(image), *rest).backward()
        optimizer.step()

    found: dict[str, list[float]] = {"not written": [], "numbers": [], "numbers and picture": []}
    with tempfile.TemporaryDirectory() as folder, SummaryWriter(folder) as log:
        writer = TensorBoard(log)
        for number in range(options.rounds + 1):
            watches = Watch(criterion, writer), Watch(criterion, writer, picture_every=None), Watch(criterion, writer)
            watches[0](0, pred, *rest, image=image)  # its next one is step 100
            trained = seconds(step)
            for name, watch, at in zip(found, watches, (1, number, number), strict=True):
                spent = seconds(lambda watch=watch, at=at: watch(at, pred, *rest, image=image))
                if number:  # the first round loads what it needs
                    found[name].append(spent / trained)
    ratios = {name: median(each) for name, each in found.items()}
    off, on, drawn = ratios.values()
    ratios["every 100 steps, pictures every 1000"] = off + on / 100 + (drawn - on) / 1000
    print(json.dumps({"machine": machine(), "part of a training step": ratios}, indent=1))


if __name__ == "__main__":
    main()
