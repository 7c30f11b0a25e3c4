"""What a loss adds to a training step: plain L1, weighted_l1 with σ² of a cache, with σ² by unfold+sort. Prints JSON.

    python benchmarks/step.py [--rounds 40] [--batch 4] [--threads 1]

One model (the U-Net of examples/train.py), one batch of 224×224 views of the Redwood frames of tests/data, whose σ² a
cache has delivered with the batch. The steps of a round run one after the other, in an order that rotates; figures are
medians over rounds of times and of ratios within a round. Plain L1 is masked: the mean |error| of the valid pixels.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from baseline import unfold_sort_sigma_z2
from machine import machine
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from depthvar.loss import weighted_l1
from depthvar.precompute import sigma_z2

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "examples"))

from train import DepthNet, masked_l1  # noqa: E402

FRAMES = sorted((ROOT / "tests" / "data" / "redwood_rgbd" / "depth").glob("*.png"))
VIEW = 224
CAMERA = np.array([525, 525, VIEW / 2 - 0.5, VIEW / 2 - 0.5])  # of a crop around the principal point

Loss = Callable[[Tensor], Tensor]


def views(count: int) -> NDArray[np.float32]:
    """Return (count, 224, 224) depth in metres, the middle of each frame."""
    depth = []
    for index in range(count):
        with Image.open(FRAMES[index % len(FRAMES)]) as image:
            depth.append(np.asarray(image)[128 : 128 + VIEW, 208 : 208 + VIEW].astype(np.float32) / 1000)
    return np.stack(depth)


def losses(depth: NDArray[np.float32]) -> dict[str, Loss]:
    target, valid = torch.from_numpy(depth), torch.from_numpy(depth > 0)
    cached = torch.from_numpy(sigma_z2(depth, CAMERA, valid=depth > 0))

    def unfold_sort() -> Tensor:
        return torch.stack([torch.from_numpy(unfold_sort_sigma_z2(each, CAMERA)) for each in depth])

    torch.testing.assert_close(unfold_sort(), cached, rtol=1e-3, atol=0)
    return {
        "l1": lambda pred: masked_l1(pred, target, valid),
        "weighted_l1_cached": lambda pred: weighted_l1(pred, target, cached, valid),
        "weighted_l1_unfold_sort": lambda pred: weighted_l1(pred, target, unfold_sort(), valid),
    }


def rounds(calls: dict[str, Callable[[], None]], count: int) -> dict[str, Any]:
    """Return median milliseconds of each call, and median ratios to the first, after two rounds that don't count."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for turn in range(count + 2):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = time.perf_counter()
            calls[name]()
            seconds[name].append(time.perf_counter() - start)
    first = seconds[names[0]][2:]
    result = {}
    for name in names:
        times = seconds[name][2:]
        ratios = [mine / base for mine, base in zip(times, first, strict=True)]
        result[name] = {"ms": statistics.median(times) * 1e3, f"times_{names[0]}": statistics.median(ratios)}
    return result


def steps(batch: int, count: int) -> dict[str, Any]:
    """Return the times of the training step, and those of the loss alone with its backward pass."""
    torch.manual_seed(0)
    depth = views(batch)
    image, model = torch.rand(batch, 3, VIEW, VIEW), DepthNet()
    optimizer = torch.optim.AdamW(model.parameters())
    pred = model(image).detach().requires_grad_()

    def step(loss: Loss) -> None:
        optimizer.zero_grad()
        loss(model(image)).backward()
        optimizer.step()

    def alone(loss: Loss) -> None:
        torch.autograd.grad(loss(pred), pred)

    each = losses(depth)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "step": rounds({name: lambda loss=loss: step(loss) for name, loss in each.items()}, count),
        "loss_alone": rounds({name: lambda loss=loss: alone(loss) for name, loss in each.items()}, count),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1, help="of torch; other work on the machine disturbs one least")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    report = {"benchmark": "step", "machine": machine(), **vars(options), "shape": (options.batch, VIEW, VIEW)}
    print(json.dumps(report | steps(options.batch, options.rounds), indent=2))


if __name__ == "__main__":
    main()
