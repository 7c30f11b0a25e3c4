"""Watch a training by Lightning, in all of its loggers."""

from collections.abc import Mapping
from typing import Any

from depthvar.datasets.extras import library

from .watch import Criterion, Watch, Writer
from .writers import Numbers, TensorBoard, WandB

library("lightning", "lightning", "LossWatch")  # before what imports it

from lightning.pytorch import Callback, LightningModule, Trainer  # noqa: E402
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger  # noqa: E402


class LossWatch(Callback):  # type: ignore[misc] # Lightning is not type-checked
    """Writes what a loss sees to the loggers of a Trainer, every few steps of the optimizer.

    ``training_step`` returns what to look at: ``{"loss": loss, "watch": (pred, target, sigma_z2, valid), "image":
    image}``, with the arguments of the loss under ``"watch"`` and, if there is one, the input under ``"image"``.
    Loggers other than those of TensorBoard and Weights & Biases get the numbers only.

    Args:
        criterion: as for :class:`.watch.Watch`; so are ``every`` and ``picture_every``.
        prefix: of all names, before a slash.

    Raises:
        ValueError: as ``Watch``; while training, also where ``training_step`` returns something else.
    """

    def __init__(
        self, criterion: Criterion, every: int = 100, picture_every: int | None = 1000, prefix: str = "depthvar"
    ) -> None:
        self.watch = Watch(criterion, every=every, picture_every=picture_every)
        self.prefix = prefix

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the loggers."""
        if trainer.is_global_zero:
            self.watch.writers = [self._writer(logger) for logger in trainer.loggers]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write what the loss saw, if it is time."""
        if not (isinstance(outputs, Mapping) and "watch" in outputs):
            got = f"a dict with {sorted(outputs)}" if isinstance(outputs, Mapping) else type(outputs).__name__
            raise ValueError(
                "training_step: expected it to return {'loss': loss, 'watch': the arguments of the loss}, for "
                f"LossWatch; got {got}"
            )
        self.watch(trainer.global_step, *outputs["watch"], image=outputs.get("image"))

    def _writer(self, logger: Logger) -> Writer:
        if isinstance(logger, TensorBoardLogger):
            return TensorBoard(logger.experiment, self.prefix)
        if isinstance(logger, WandbLogger):
            return WandB(logger.experiment, self.prefix)
        return Numbers(logger.log_metrics, self.prefix)
