"""Watching a training by Lightning: a real Trainer, and what its loggers then hold."""

import csv
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.utils.data import DataLoader
from wandb_file import rows

from depthvar.loss import FocusedLogL1
from depthvar.precompute.watching.lightning import LossWatch

EVERY = {"scalars": 0, "histograms": 0, "images": 0}  # TensorBoard's reader keeps one histogram otherwise
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # Lightning's advice on workers and intervals


class Module(LightningModule):
    """A network of one layer, that returns what is asked for."""

    def __init__(self, *, is_told: bool = True) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 1, 1)
        self.loss = FocusedLogL1()
        self.is_told = is_told
        self.losses: list[float] = []

    def training_step(self, batch: dict[str, Tensor], index: int) -> Any:
        pred = self.layer(batch["image"])[:, 0].exp()
        args = pred, batch["depth"], batch["sigma_Z2"], batch["valid"]
        loss = self.loss(*args)
        self.losses.append(loss.item())
        return {"loss": loss, "watch": args, "image": batch["image"]} if self.is_told else loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def samples(count: int = 12) -> list[dict[str, Tensor]]:
    rng = torch.Generator().manual_seed(0)
    shape = 12, 16
    return [
        {
            "image": torch.rand(3, *shape, generator=rng),
            "depth": 1 + 4 * torch.rand(shape, generator=rng),
            "sigma_Z2": 10 ** (-6 * torch.rand(shape, generator=rng)),
            "valid": torch.rand(shape, generator=rng) > 0.2,
        }
        for _ in range(count)
    ]


def fit(folder: Path, loggers: list[Logger], module: LightningModule, **options: Any) -> None:
    """Train one epoch of six batches."""
    Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=loggers,
        callbacks=[LossWatch(FocusedLogL1(), every=2, picture_every=4)],
        default_root_dir=folder,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    ).fit(module, DataLoader(samples(), 2))


def test_every_logger_holds_what_it_can(tmp_path: Path, wandb_folder: Path) -> None:
    board, table = TensorBoardLogger(tmp_path / "board"), CSVLogger(tmp_path / "csv")
    run = WandbLogger(project="depthvar", save_dir=wandb_folder, offline=True)
    module = Module()
    fit(tmp_path, [board, run, table], module)
    run.experiment.finish()
    steps = [1, 2, 4, 6]  # of the optimizer, done: the first, and multiples of 2
    expected = [module.losses[step - 1] for step in steps]
    events = EventAccumulator(board.log_dir, EVERY).Reload()
    scalars = events.Scalars("depthvar/loss")
    assert [event.step for event in scalars] == steps
    assert [event.value for event in scalars] == pytest.approx(expected, rel=1e-6)
    assert len(events.Histograms("depthvar/weight_log10")) == 4
    assert [event.step for event in events.Images("depthvar/picture")] == [1, 4]
    found = [row for row in rows(wandb_folder) if "depthvar/step" in row]
    assert [row["depthvar/step"] for row in found] == steps
    assert [row["depthvar/loss"] for row in found] == pytest.approx(expected, rel=1e-6)
    assert ["depthvar/picture.path" in row for row in found] == [True, False, True, False]
    with open(Path(table.log_dir) / "metrics.csv") as file:
        written = list(csv.DictReader(file))
    assert [int(row["step"]) for row in written] == steps
    assert [float(row["depthvar/loss"]) for row in written] == pytest.approx(expected, rel=1e-6)


def test_accumulated_gradients_are_one_step(tmp_path: Path) -> None:
    board = TensorBoardLogger(tmp_path)
    fit(tmp_path, [board], Module(), accumulate_grad_batches=2)
    events = EventAccumulator(board.log_dir, EVERY).Reload()
    assert [event.step for event in events.Scalars("depthvar/loss")] == [0, 2]


def test_a_module_that_returns_only_the_loss_is_told_what_to_return(tmp_path: Path) -> None:
    message = r"training_step: expected it to return \{'loss': loss, 'watch': the arguments of the loss\}.*; got a dict"
    with pytest.raises(ValueError, match=message):
        fit(tmp_path, [], Module(is_told=False))


def test_without_lightning_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "depthvar.precompute.watching.lightning")
    monkeypatch.setitem(sys.modules, "lightning", None)
    with pytest.raises(ImportError, match=r"needs lightning, which is not .*'depthvar\[lightning\]'"):
        import depthvar.precompute.watching.lightning  # noqa: F401
