"""Where it is written what a loss sees: TensorBoard, Weights & Biases, or any function that takes numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np

from depthvar.loss.watch import LOG10_EDGES

from .watch import Seen


class TensorBoard:
    """Writes scalars, the histogram of log₁₀ of the weights, and pictures to TensorBoard.

    Args:
        writer: a ``torch.utils.tensorboard.SummaryWriter``.
        prefix: of all names, before a slash.
    """

    def __init__(self, writer: Any, prefix: str = "depthvar") -> None:
        self.writer = writer
        self.prefix = prefix

    def write(self, step: int, seen: Seen) -> None:
        """Write what was seen at a step."""
        for name, value in seen.details.items():
            self.writer.add_scalar(f"{self.prefix}/{name}", value, step)
        edges, counts = np.array(LOG10_EDGES), np.array(seen.weights)
        if counts.any():  # TensorBoard cannot show an empty one
            filled, middles = counts.nonzero()[0], (edges[1:] + edges[:-1]) / 2
            self.writer.add_histogram_raw(
                f"{self.prefix}/weight_log10",
                min=float(edges[filled[0]]),
                max=float(edges[filled[-1] + 1]),
                num=int(counts.sum()),
                sum=float(counts @ middles),
                sum_squares=float(counts @ middles**2),
                bucket_limits=edges[1:].tolist(),
                bucket_counts=counts.tolist(),
                global_step=step,
            )
        if seen.picture is not None:
            self.writer.add_image(f"{self.prefix}/picture", seen.picture, step, dataformats="HWC")


class WandB:
    """Writes scalars, the histogram of log₁₀ of the weights, and pictures to Weights & Biases.

    They have a step axis of their own, ``<prefix>/step``, so that they fit any way of counting in ``run.log``.

    Args:
        run: what ``wandb.init`` returned.
        prefix: of all names, before a slash.
    """

    def __init__(self, run: Any, prefix: str = "depthvar") -> None:
        self.run = run
        self.prefix = prefix
        run.define_metric(f"{prefix}/step", hidden=True)
        run.define_metric(f"{prefix}/*", step_metric=f"{prefix}/step")

    def write(self, step: int, seen: Seen) -> None:
        """Write what was seen at a step."""
        import wandb

        values: dict[str, Any] = {"step": step, **seen.details}
        values["weight_log10"] = wandb.Histogram(np_histogram=(np.array(seen.weights), np.array(LOG10_EDGES)))
        if seen.picture is not None:
            values["picture"] = wandb.Image(seen.picture)
        self.run.log({f"{self.prefix}/{name}": value for name, value in values.items()})


class Numbers:
    """Writes scalars by ``log(values, step)``, such as ``log_metrics`` of Lightning's other loggers."""

    def __init__(self, log: Callable[[dict[str, float], int], None], prefix: str = "depthvar") -> None:
        self.log = log
        self.prefix = prefix

    def write(self, step: int, seen: Seen) -> None:
        """Write the details of a step."""
        self.log({f"{self.prefix}/{name}": value for name, value in seen.details.items()}, step)
