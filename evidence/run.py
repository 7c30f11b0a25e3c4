"""One run of the training study: a network trained with one loss on one ground truth, and measured."""

import functools
import itertools
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import planes
import rooms
import torch
from arms import weights
from focus import arm_of
from ground_truth import GroundTruth, cleaned, ground_truth
from measures import measure
from network import DepthNet, packed

BATCH = 8

GENERATORS = {"rooms": rooms.render_room, "planes": planes.render_scene}

Counts = tuple[tuple[str, int], ...]  # rooms of each split


@dataclass(frozen=True)
class Run:
    """The identity of a run: loss, ground truth, learning rate, seed, budget, split that measures it, scenes, network.

    The seed sets the network, the order of the samples and the faults of the ground truth. ``scenes`` is one of
    ``GENERATORS`` and its seed: another seed makes other scenes.
    """

    arm: str
    truth: str
    lr: float
    seed: int
    steps: int
    split: str
    scenes: str = "rooms-0"
    network: str = "small"


@functools.lru_cache(maxsize=1)
def views_of(scenes: str, counts: Counts) -> dict[str, rooms.Views]:
    generator, _, seed = scenes.partition("-")
    return rooms.load(dict(counts), int(seed), render=GENERATORS[generator])


@functools.lru_cache(maxsize=2)
def pictures_of(scenes: str, counts: Counts, split: str) -> torch.Tensor:
    """Return the pictures of a split as the network reads them, followed by their mirror images."""
    pictures = torch.from_numpy(views_of(scenes, counts)[split]["picture"]).permute(0, 3, 1, 2) / 255
    return packed(with_mirrored(pictures))


@functools.lru_cache(maxsize=1)
def given_of(truth: str, seed: int, scenes: str, counts: Counts) -> GroundTruth:
    return ground_truth(truth, views_of(scenes, counts)["train"], seed)


def train(run: Run, counts: Counts) -> dict[str, Any]:
    """Train one network and return its row: the identity, the measures, the norms of the gradient and the time.

    AdamW under a one-cycle schedule to the last step, so a short run is not the beginning of a long one; half of the
    samples are mirrored. One thread.
    """
    start = time.perf_counter()
    torch.set_num_threads(1)
    torch.manual_seed(run.seed)
    arm = arm_of(run.arm)
    given = given_of(run.truth, run.seed, run.scenes, counts)
    given = cleaned(given) if arm.cleaned else given
    depth = torch.from_numpy(given.depth)
    valid = torch.from_numpy(given.valid)
    pictures = pictures_of(run.scenes, counts, "train")
    target, weight, valid = map(with_mirrored, (torch.where(valid, depth, 0.0), weights(arm, given), valid))
    model = arm.network(run.network).to(memory_format=torch.channels_last)
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, run.lr, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, run.lr, total_steps=run.steps + 1, pct_start=0.1)
    norms = []
    for index in itertools.islice(batches(len(depth), run.seed), run.steps):
        index = index + len(depth) * (torch.rand(BATCH) < 0.5)
        loss = arm.loss(model(pictures[index]), target[index], weight[index], valid[index])
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.get_total_norm(each.grad for each in parameters))
        optimizer.step()
        schedule.step()
    norm = torch.stack(norms)
    views = views_of(run.scenes, counts)[run.split]
    errors = measure(predict(model, pictures_of(run.scenes, counts, run.split)[: len(views["picture"])]), views)
    seconds = time.perf_counter() - start
    return asdict(run) | errors | {
        "gradient_mean": norm.mean().item(), "gradient_max": norm.max().item(), "seconds": round(seconds, 2)
    }  # fmt: skip


def batches(count: int, seed: int) -> Iterator[torch.Tensor]:
    """Yield the indices of batches, epoch after epoch, the same for every arm of a seed."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(count, generator=generator)[: count // BATCH * BATCH].split(BATCH)


def with_mirrored(maps: torch.Tensor) -> torch.Tensor:
    """Return (2 N, ..., W): maps (N, ..., W), and then each flipped left to right."""
    return torch.cat((maps, maps.flip(-1)))


@torch.no_grad()
def predict(model: DepthNet, pictures: torch.Tensor) -> np.ndarray[Any, Any]:
    """Return the depth (N, H, W) of packed pictures."""
    model.eval()
    return torch.cat([model(some) for some in pictures.split(BATCH)]).numpy()
