"""Train a small depth network on the sample scene, with one flag for the loss and one for where σ² comes from.

    precompute run --dataset hospital
    python examples/train.py --loss focused_log_l1 --sigma cache
    python examples/train.py --loss l1 --sigma online
    tensorboard --logdir runs

Needs ``pip install -e '.[train]'``. Writes TensorBoard logs, checkpoint.pt and picture.png into the folder ``--out``,
by default runs/LOSS-SIGMA. It shows how the parts fit together; 48 frames are too few to tell which loss is better.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler, Subset
from torch.utils.tensorboard import SummaryWriter

from depthvar.datasets import CachedDepthDataset, DepthVarError, SigmaCache, open_source
from depthvar.loss import focused_log_l1, inverse_depth_l1, laplace_nll, weighted_l1
from depthvar.precompute import sigma_z2

HELD_OUT = 8  # every eighth frame is not trained on
SAMPLE = Path("data/hospital-sample")
SMOOTH = 0.02  # a pixel is smooth where σ is below this part of the depth, else it is at an edge

Batch = dict[str, Any]
Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


class DepthNet(nn.Module):
    """A U-Net of three levels from colour (B, 3, h, w) to depth (B, h, w) in metres, above 0."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width]
        self.down = nn.ModuleList(_block(i, o) for i, o in zip([3, *widths[:-1]], widths, strict=True))
        self.bottom = _block(widths[-1], widths[-1])
        self.up = nn.ModuleList(
            _block(i + o, o) for i, o in zip([widths[-1], *widths[:0:-1]], widths[::-1], strict=True)
        )
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return the depth."""
        x, skips = 2 * image - 1, []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x = F.max_pool2d(x, 2, ceil_mode=True)
        x = self.bottom(x)
        for block, skip in zip(self.up, reversed(skips), strict=True):
            x = block(torch.cat([F.interpolate(x, skip.shape[-2:]), skip], 1))
        # The exponential keeps depth above 0; it starts near 3 m.
        return (self.head(x)[:, 0].float() + math.log(3)).exp()


def _block(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.GroupNorm(4, outputs), nn.ReLU()]
    return nn.Sequential(*layers)


def masked_l1(pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return the mean |pred - target| over the valid pixels, 0 without any; in metres."""
    return torch.where(valid, pred - target, 0.0).abs().sum() / valid.sum().clamp_min(1)


LOSSES: dict[str, Loss] = {
    "l1": lambda pred, target, sigma2, valid: masked_l1(pred, target, valid),
    "inverse_depth_l1": lambda pred, target, sigma2, valid: inverse_depth_l1(pred, target, valid),
    "focused_log_l1": focused_log_l1,
    "weighted_l1": weighted_l1,
    "laplace_nll": laplace_nll,
}


def supervision(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Return depth, σ² and the mask of finite σ², the same for every loss so that losses can be compared."""
    return batch["depth"], batch["sigma_Z2"], batch["valid"] & batch["sigma_Z2"].isfinite()


def components(pred: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Return what to watch next to the loss: the plain error in metres, over all, smooth and edge pixels; and σ."""
    target, sigma2, valid = supervision(batch)
    smooth = sigma2 < (SMOOTH * target) ** 2
    sigma = torch.where(valid, sigma2, 0.0).sqrt()
    return {
        "l1_m": masked_l1(pred, target, valid),
        "l1_smooth_m": masked_l1(pred, target, valid & smooth),
        "l1_edge_m": masked_l1(pred, target, valid & ~smooth),
        "sigma_mean_m": sigma.sum() / valid.sum().clamp_min(1),
        "sigma_max_m": sigma.max(),
    }


def open_data(
    dataset: str, root: Path | None, sigma: str, size: tuple[int, int]
) -> tuple[Subset[Batch], Subset[Batch]]:
    """Return the frames to train on, augmented, and those held out.

    Args:
        dataset: a name or a description, as for ``precompute run --dataset``.
        root: its folder; the cache is sigma_Z2.zarr in it.
        sigma: ``"cache"``, or ``"online"`` to run the kernel in the loader.
        size: (h, w) of the samples.
    """
    if root == SAMPLE and not root.exists():
        raise click.ClickException(f"{root}: no such folder; write the sample with `precompute run --dataset hospital`")
    source = open_source(dataset, root)
    if source.description.image_path is None:
        raise click.ClickException(f"{dataset}: names no images to train on: add 'image' to [files] of its description")
    cache = SigmaCache(f"{source.root}/sigma_Z2.zarr")
    if sigma == "cache":
        _ = cache.params  # opens it here, where an error is one line, not a worker's traceback
    online = functools.partial(sigma_z2, max_depth=source.max_depth)
    if sigma == "online":
        online(np.ones((1, 1), np.float32), (1, 1, 0, 0))  # loads the compiled kernel, which forked workers inherit
    make = functools.partial(CachedDepthDataset, source, cache if sigma == "cache" else online, size=size)
    held_out = range(0, len(source), HELD_OUT)
    trained = [index for index in range(len(source)) if index not in held_out]
    return Subset(make(augment=True), trained), Subset(make(augment=False), list(held_out))


def batches(data: Subset[Batch], batch: int, workers: int, device: torch.device) -> Iterator[Batch]:
    """Yield shuffled batches, epoch after epoch."""
    loader = DataLoader(
        data,
        batch,
        # A generator of its own: workers draw from the global one, and would change the order.
        sampler=RandomSampler(data, generator=torch.Generator().manual_seed(torch.initial_seed())),
        drop_last=len(data) >= batch,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
    )
    for epoch in itertools.count():
        data.dataset.set_epoch(epoch)  # type: ignore[attr-defined]
        for each in loader:
            yield to_device(each, device)


def to_device(batch: Batch, device: torch.device) -> Batch:
    return {k: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in batch.items()}


def save_picture(path: Path, sample: Batch, pred: Tensor) -> None:
    """Save image, true depth, predicted depth (one colour scale) and σ of a sample side by side."""
    depth, sigma2, valid = (each.cpu() for each in supervision(sample))
    near, far = (float(limit) for limit in torch.quantile(depth[valid], torch.tensor([0.02, 0.98])))
    true = torch.where(valid, depth, torch.nan).numpy()
    log_sigma = torch.where(valid, sigma2.sqrt().log10(), torch.nan).numpy()
    figure = Figure(figsize=(16, 3.4), layout="constrained")
    axes = figure.subplots(1, 4)
    axes[0].imshow(sample["image"].cpu().permute(1, 2, 0).numpy())
    for axis, values in ((axes[1], true), (axes[2], pred.cpu().numpy())):
        figure.colorbar(axis.imshow(values, cmap="viridis", vmin=near, vmax=far), ax=axis)
    figure.colorbar(axes[3].imshow(log_sigma, cmap="magma"), ax=axes[3])
    for axis, title in zip(axes, ("image", "depth, m", "prediction, m", "log₁₀ σ, m"), strict=True):
        axis.set_title(title)
        axis.set_axis_off()
    figure.savefig(path)


def start_wandb(out: Path, options: dict[str, Any]) -> None:
    """Send what TensorBoard gets to Weights & Biases too."""
    try:
        import wandb
    except ImportError as error:
        raise click.ClickException("--wandb needs the package wandb: pip install wandb") from error
    wandb.init(project="depthvar", name=out.name, config=options, sync_tensorboard=True)


@click.command(context_settings={"show_default": True})
@click.option("--loss", type=click.Choice(list(LOSSES)), default="weighted_l1")
@click.option("--sigma", type=click.Choice(["cache", "online"]), default="cache", help="Where σ² comes from.")
@click.option("--dataset", default="hospital-sample", help="Name, or description (.toml).")
@click.option("--root", type=click.Path(path_type=Path), help="Its folder; of the sample: data/hospital-sample.")
@click.option("--out", type=click.Path(path_type=Path), show_default="runs/LOSS-SIGMA")
@click.option("--steps", type=click.IntRange(1), default=200)
@click.option("--batch", type=click.IntRange(1), default=4)
@click.option("--size", type=(click.IntRange(8), click.IntRange(8)), default=(96, 128), help="Rows and columns.")
@click.option("--lr", type=float, default=2e-3)
@click.option("--workers", type=click.IntRange(0), default=1)
@click.option("--seed", type=int, default=0)
@click.option("--wandb", is_flag=True, help="Also log to Weights & Biases.")
def main(**options: Any) -> None:
    """Train a small depth network; see the top of this file."""
    try:
        train(**options)
    except DepthVarError as error:
        raise click.ClickException(str(error)) from error


def train(
    *,
    loss: str,
    sigma: str,
    dataset: str,
    root: Path | None,
    out: Path | None,
    steps: int,
    batch: int,
    size: tuple[int, int],
    lr: float,
    workers: int,
    seed: int,
    wandb: bool,
) -> None:
    """Train, log, and write checkpoint and picture; the arguments are the options of the command line."""
    options = {"loss": loss, "sigma": sigma, "steps": steps, "batch": batch, "size": size, "lr": lr, "seed": seed}
    if root is None and dataset == "hospital-sample":
        root = SAMPLE
    out = out or Path("runs") / f"{loss}-{sigma}"  # so that runs that are compared do not overwrite each other
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trained, held_out = open_data(dataset, root, sigma, size)
    if wandb:
        start_wandb(out, options)
    model = DepthNet().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps + 1)
    with SummaryWriter(str(out)) as log, click.progressbar(length=steps, label=f"{loss}, σ {sigma}") as bar:
        for step, given in zip(range(steps), batches(trained, batch, workers, device), strict=False):
            pred = model(given["image"])
            value = LOSSES[loss](pred, *supervision(given))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()
            if step % 10 == 0 or step == steps - 1:  # reading a value waits for the device
                for name, each in {"loss": value, **components(pred.detach(), given)}.items():
                    log.add_scalar(f"train/{name}", each.item(), step)
            bar.update(1)
        shown = to_device(next(iter(DataLoader(held_out, len(held_out)))), device)
        with torch.no_grad():
            pred = model(shown["image"])
        errors = components(pred, shown)
        for name, each in errors.items():
            log.add_scalar(f"held_out/{name}", each.item(), steps)
    torch.save({"model": model.state_dict(), "step": steps, "options": options}, out / "checkpoint.pt")
    save_picture(out / "picture.png", {name: values[0] for name, values in shown.items()}, pred[0])
    click.echo(
        f"held out: L1 {errors['l1_m']:.3f} m, smooth {errors['l1_smooth_m']:.3f}, edges {errors['l1_edge_m']:.3f}"
    )
    click.echo(f"{out}/checkpoint.pt, {out}/picture.png; tensorboard --logdir {out}")


if __name__ == "__main__":
    main()
