"""What a loss adds to a training step: plain L1; weighted_l1 with σ² of a cache, by sigma_z2 or by unfold+sort in it.

    python benchmarks/step.py [--rounds 40] [--batch 4] [--threads 1]
    python benchmarks/step.py --device cuda [--batch 32]

One model (the U-Net of examples/train.py), one batch of 224×224 views of the Redwood frames of tests/data, whose σ² a
cache has delivered with the batch. The steps of a round run one after the other, in an order that rotates; figures are
medians over rounds of times and of ratios within a round. Plain L1 is masked: the mean |error| of the valid pixels.
With ``--device`` all of it is there, and the step also runs compiled and as a captured CUDA graph (step_device.py).
Prints JSON.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from baseline import unfold_sort
from machine import machine, rounds
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from depthvar.loss import weighted_l1
from depthvar.precompute import KernelParams, sigma_z2

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "examples"))

import step_device  # noqa: E402
from train import DepthNet, masked_l1  # noqa: E402

FRAMES = sorted((ROOT / "tests" / "data" / "redwood_rgbd" / "depth").glob("*.png"))
VIEW = 224
CAMERA = (525.0, 525.0, VIEW / 2 - 0.5, VIEW / 2 - 0.5)  # of a crop around the principal point

Loss = Callable[[Tensor], Tensor]


def views(count: int) -> NDArray[np.float32]:
    """Return (count, 224, 224) depth in metres, the middle of each frame."""
    depth = []
    for index in range(count):
        with Image.open(FRAMES[index % len(FRAMES)]) as image:
            depth.append(np.asarray(image)[128 : 128 + VIEW, 208 : 208 + VIEW].astype(np.float32) / 1000)
    return np.stack(depth)


def losses(depth: NDArray[np.float32], device: str) -> dict[str, Loss]:
    """Return the losses of a prediction on a device, for views (B, H, W); every σ² is the same to its rounding."""
    target = torch.from_numpy(depth).to(device)
    valid, camera, params = target > 0, torch.tensor(CAMERA, device=device), KernelParams()
    cached = torch.from_numpy(sigma_z2(depth, CAMERA)).to(device)
    at_once = 1 if target.device.type == "cpu" else len(depth)

    def sorted_windows() -> Tensor:
        return torch.cat([unfold_sort(views, CAMERA, params) for views in target.split(at_once)])

    for found in (sigma_z2(target, camera), sorted_windows()):
        torch.testing.assert_close(found, cached, rtol=1e-3, atol=0)
    return {
        "l1": lambda pred: masked_l1(pred, target, valid),
        "weighted_l1_cached": lambda pred: weighted_l1(pred, target, cached, valid),
        "weighted_l1_in_step": lambda pred: weighted_l1(pred, target, sigma_z2(target, camera), valid),
        "weighted_l1_unfold_sort": lambda pred: weighted_l1(pred, target, sorted_windows(), valid),
    }


def steps(depth: NDArray[np.float32], count: int) -> dict[str, Any]:
    """Return the times of the training step, and those of the loss alone with its backward pass."""
    torch.manual_seed(0)
    image, model = torch.rand(len(depth), 3, *depth.shape[1:]), DepthNet()
    optimizer = torch.optim.AdamW(model.parameters())
    pred = model(image).detach().requires_grad_()

    def step(loss: Loss) -> None:
        optimizer.zero_grad()
        loss(model(image)).backward()
        optimizer.step()

    def alone(loss: Loss) -> None:
        torch.autograd.grad(loss(pred), pred)

    each = losses(depth, "cpu")
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
    parser.add_argument("--device", help="cuda; or cpu, where nothing can be captured")
    parser.add_argument("--backend", default="inductor", help="of torch.compile, with --device")
    parser.add_argument("--rows", type=int, help="only the first rows and columns of each view, for a test")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    depth = views(options.batch)[:, : options.rows, : options.rows]
    report = {"benchmark": "step", "machine": machine(options.device), **vars(options), "shape": depth.shape}
    if options.device:
        ways = step_device.ways(losses(depth, options.device), depth.shape, options.device, options.backend)
        report |= step_device.measured(ways, options.device, options.rounds)
    else:
        report |= steps(depth, options.rounds)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
