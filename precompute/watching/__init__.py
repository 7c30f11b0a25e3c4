"""Watch a training: what the loss sees every few steps, in TensorBoard, Weights & Biases or Lightning's loggers."""

from depthvar.datasets.extras import need_torch

need_torch("depthvar.precompute.watching")  # before what imports it

from .watch import Watch as Watch  # noqa: E402
from .writers import TensorBoard as TensorBoard  # noqa: E402
from .writers import WandB as WandB  # noqa: E402
