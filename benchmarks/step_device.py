"""The training step on a device, with σ² computed in it (``step.py --device`` calls it).

Three ways to run a step: "eager"; "compiled", where model and loss are one graph of torch.compile without a break; and
"captured", where the whole step, backward pass and optimizer too, is a CUDA graph that is replayed. In each of them
plain L1 is what the others are compared with. Every step is waited for.
"""

from collections.abc import Callable
from typing import Any

import torch
from machine import rounds
from torch import Tensor
from train import DepthNet

Loss = Callable[[Tensor], Tensor]
Step = Callable[[], None]


def ways(
    losses: dict[str, Loss], shape: tuple[int, ...], device: str, backend: str
) -> dict[str, dict[str, Callable[[], Step]]]:
    """Return for each way what prepares a step with each loss; a model and an optimizer of its own each."""

    def prepare(loss: Loss, how: Callable[[Callable[[Tensor], Tensor]], Callable[[Tensor], Tensor]]) -> Step:
        torch.manual_seed(0)
        image, model = torch.rand(shape[0], 3, *shape[1:], device=device), DepthNet().to(device)
        optimizer = torch.optim.AdamW(model.parameters(), capturable=image.is_cuda)
        forward = how(lambda image: loss(model(image)))

        def step() -> None:
            optimizer.zero_grad()
            forward(image).backward()
            optimizer.step()

        return step

    def compiled(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        return torch.compile(forward, fullgraph=True, backend=backend)

    return {
        "eager": {name: lambda loss=loss: prepare(loss, lambda forward: forward) for name, loss in losses.items()},
        "compiled": {name: lambda loss=loss: prepare(loss, compiled) for name, loss in losses.items()},
        "captured": {
            name: lambda loss=loss: captured(prepare(loss, lambda forward: forward), device)
            for name, loss in losses.items()
        },
    }


def captured(step: Step, device: str) -> Step:
    """Return what replays a step as a CUDA graph."""
    if not device.startswith("cuda"):
        raise ValueError(f"a CUDA graph needs a GPU, got device {device}")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):  # compiles, and makes the optimizer's state
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()

    def replay(kept: Step = step) -> None:  # with the step, whose tensors the graph reads
        graph.replay()

    return replay


def measured(
    ways: dict[str, dict[str, Callable[[], Step]]], device: str, count: int
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the figures of every step, or why there are none."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for way, preparations in ways.items():
        failed: dict[str, Any] = {}
        steps: dict[str, Step] = {}
        for name, prepare in preparations.items():
            try:
                steps[name] = waited(prepare(), device)
                steps[name]()
            except Exception as error:  # of the compiler, of the capture, no memory
                failed[name] = {"not_measured": f"{type(error).__name__}: {error}".partition("\n")[0]}
                steps.pop(name, None)
        found[way] = (rounds(steps, count) if steps else {}) | failed
    return found


def waited(step: Step, device: str) -> Step:
    """Return a step after which the device has nothing left to do."""

    def run() -> None:
        step()
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    return run
