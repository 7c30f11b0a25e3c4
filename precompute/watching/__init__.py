"""Watch a training: what the loss sees every few steps, in TensorBoard, Weights & Biases or Lightning's loggers."""

from .watch import Watch as Watch
from .writers import TensorBoard as TensorBoard
from .writers import WandB as WandB
