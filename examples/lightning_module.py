"""A Lightning module that trains any depth network with σ-weighted L1; needs ``pip install lightning``.

    from lightning import Trainer
    from lightning_module import DepthModule

    from depthvar.precompute.watching.lightning import LossWatch

    module = DepthModule(network)
    trainer = Trainer(max_epochs=20, callbacks=[LossWatch(module.loss)])  # docs/watching.md
    trainer.fit(module, DataLoader(CachedDepthDataset(source, cache), 8))

Batches are those of ``depthvar.datasets.CachedDepthDataset``.
"""

from typing import Any

import torch
from torch import Tensor, nn

from depthvar.loss import WeightedL1

try:
    from lightning import LightningModule
except ImportError as error:
    raise ImportError("examples/lightning_module.py needs the package lightning: pip install lightning") from error


class DepthModule(LightningModule):
    """Trains ``network``, from images (B, 3, h, w) to depth (B, h, w) in metres.

    Args:
        network: the model.
        loss: called with prediction, depth, σ² and mask: ``WeightedL1``, ``LaplaceNLL`` or ``FocusedLogL1``, with your
            options.
        lr: learning rate of AdamW.
    """

    def __init__(self, network: nn.Module, loss: nn.Module | None = None, lr: float = 1e-3) -> None:
        super().__init__()
        self.network = network
        self.loss = loss or WeightedL1()
        self.lr = lr

    def forward(self, image: Tensor) -> Tensor:
        """Return the depth."""
        depth: Tensor = self.network(image)
        return depth

    def training_step(self, batch: dict[str, Any], batch_index: int) -> dict[str, Any]:
        """Log the loss, and return it with what ``LossWatch`` shows."""
        return self._step("train", batch)

    def validation_step(self, batch: dict[str, Any], batch_index: int) -> None:
        """Log the loss."""
        self._step("val", batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer."""
        return torch.optim.AdamW(self.parameters(), self.lr)

    def _step(self, stage: str, batch: dict[str, Any]) -> dict[str, Any]:
        args = self(batch["image"]), batch["depth"], batch["sigma_Z2"], batch["valid"]
        loss: Tensor = self.loss(*args)
        self.log(f"{stage}/loss", loss, prog_bar=True, batch_size=len(batch["image"]))
        return {"loss": loss, "watch": args, "image": batch["image"]}
