"""What each process of tests/test_loss_ddp.py does; spawned ones import it by name."""

from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from depthvar.loss import focused_log_l1, laplace_nll, weighted_l1
from depthvar.loss.pi3 import Pi3LossMipNeRFVariance

FUNCTIONS = {"weighted_l1": weighted_l1, "laplace_nll": laplace_nll, "focused_log_l1": focused_log_l1}
RANKS, IMAGES, VIEWS, H, W = 2, 4, 2, 6, 5
CASES = [(loss, empty) for loss in (*FUNCTIONS, "pi3") for empty in (False, True)]


def half(rank: int, empty: bool) -> dict[str, Tensor]:
    """The half batch of a rank, float64; with ``empty`` that of the last rank has no valid pixel."""
    rng = torch.Generator().manual_seed(0)
    options: dict[str, Any] = {"generator": rng, "dtype": torch.float64}
    depth = 1 + torch.rand(IMAGES, VIEWS, H, W, **options)
    ray = torch.rand(IMAGES, VIEWS, H, W, 2, **options) - 0.5
    maps = {
        "points": torch.cat((ray, torch.ones_like(depth)[..., None]), dim=-1) * depth[..., None],
        "sigma_z2": 10 ** (-4 * torch.rand(IMAGES, VIEWS, H, W, **options)),
        "valid": torch.rand(IMAGES, VIEWS, H, W, generator=rng) > 0.5,  # another number of pixels on each rank
    }
    mine = {name: each.chunk(RANKS)[rank] for name, each in maps.items()}
    if empty and rank == RANKS - 1:
        mine["valid"] = torch.zeros_like(mine["valid"])
    return mine


def make_model() -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(3, 3, dtype=torch.float64)


def loss_of(name: str, model: nn.Module, maps: dict[str, Tensor]) -> Tensor:
    """The loss of a model that maps each true point to a predicted one."""
    points, sigma_z2, valid = maps["points"], maps["sigma_z2"], maps["valid"]
    pred = model(points)
    if name == "pi3":
        poses = torch.eye(4, dtype=torch.float64).expand(len(points), VIEWS, 4, 4)
        views = [
            {"pts3d": points[:, i], "valid_mask": valid[:, i], "camera_pose": poses[:, i], "sigma_Z2": sigma_z2[:, i]}
            for i in range(VIEWS)
        ]
        loss: Tensor = Pi3LossMipNeRFVariance()({"local_points": pred, "camera_poses": poses}, views)[0]
        return loss
    return FUNCTIONS[name](pred.sum(-1), points[..., 2], sigma_z2, valid)


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def work(rank: int, folder: str) -> None:
    """Run in each process: two steps of every case; write the gradients of the second."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=RANKS, timeout=timedelta(seconds=120)
    )
    results = []
    for name, empty in CASES:
        model = DistributedDataParallel(make_model())
        for _ in range(2):  # a parameter that the first step left without gradient stops the second
            model.zero_grad()
            loss = loss_of(name, model, half(rank, empty))
            loss.backward()
        results.append((loss.detach(), gradients(model.module)))
    torch.save(results, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()
