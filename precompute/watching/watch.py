"""When a training step is looked at, and what is written of it."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from depthvar.loss.watch import Observation, details, weight_histogram

from .picture import picture


class Seen(NamedTuple):
    """What is written of a step.

    Attributes:
        details: of :func:`depthvar.loss.watch.details`.
        weights: how many pixels are in each bin of :func:`depthvar.loss.watch.weight_histogram`.
        picture: (h, w, 3) uint8, of :func:`.picture.picture`; None at a step without one.
    """

    details: dict[str, float]
    weights: list[int]
    picture: NDArray[np.uint8] | None


class Writer(Protocol):
    """Where it is written: :mod:`.writers` has those of TensorBoard and Weights & Biases."""

    def write(self, step: int, seen: Seen) -> None:
        """Write what was seen at a step."""


class Criterion(Protocol):
    """A loss of depthvar as a module; of Pi3 too."""

    def observe(self, *args: Any, **options: Any) -> Observation:
        """Return what the loss sees, without a gradient."""


class Watch:
    """Writes what a loss sees, every few steps. Call it in each step with the step and the arguments of the loss.

    At other steps a call only compares two numbers, so the GPU does not wait. A call that writes computes the loss once
    more, without a gradient, and waits for the GPU. Where several processes train together, only the first one writes:
    what it sees of its own part of the batch.

    Args:
        criterion: the loss: a class of :mod:`depthvar.loss` or :mod:`depthvar.loss.pi3`.
        writers: such as ``TensorBoard(SummaryWriter("runs/a"))``.
        every: steps from one call that writes to the next: at multiples of it, and at the first step.
        picture_every: the same for pictures, which are written where numbers are. None: no pictures.

    Raises:
        ValueError: a criterion without ``observe``, or an interval that is not a whole number above 0.
    """

    def __init__(
        self, criterion: Criterion, *writers: Writer, every: int = 100, picture_every: int | None = 1000
    ) -> None:
        if not callable(getattr(criterion, "observe", None)):
            got = getattr(criterion, "__name__", type(criterion).__name__)
            raise ValueError(
                f"criterion: expected a loss that has observe(), such as depthvar.loss.FocusedLogL1(), got {got}; for "
                "a function, pass the class of that loss with your options"
            )
        for name, value in (("every", every), ("picture_every", picture_every)):
            whole = isinstance(value, int) and not isinstance(value, bool) and value > 0
            if not (whole or (name == "picture_every" and value is None)):
                raise ValueError(f"{name}: expected a whole number > 0, got {value!r}")
        self.criterion = criterion
        self.writers: Sequence[Writer] = writers
        self.every = every
        self.picture_every = picture_every
        self._next = self._next_picture = 0

    def __call__(self, step: int, *args: Any, image: Tensor | None = None, **options: Any) -> dict[str, float] | None:
        """Write what the loss sees, if it is time.

        Args:
            step: a number that grows.
            args: of the loss, such as ``pred, target, sigma_z2, valid``; of Pi3's, ``pred, gt_raw``.
            image: (..., 3, H, W), the input of the network, for the picture. Numbers are shown from their smallest to
                their largest, so a normalisation does not matter.
            options: of the loss, such as ``scale``.

        Returns:
            The details; None at a step that is not looked at.

        Raises:
            ValueError: as the loss, or an image of another shape.
        """
        if step < self._next or not _is_first_process():
            return None
        self._next = _multiple_after(step, self.every)
        seen = self.criterion.observe(*args, **options)
        drawn = None
        if self.picture_every is not None and step >= self._next_picture:
            self._next_picture = _multiple_after(step, self.picture_every)
            drawn = picture(seen, image)
        found = Seen(details(seen), weight_histogram(seen), drawn)
        for writer in self.writers:
            writer.write(step, found)
        return found.details


def _multiple_after(step: int, every: int) -> int:
    return (step // every + 1) * every


def _is_first_process() -> bool:
    distributed = torch.distributed
    return not (distributed.is_available() and distributed.is_initialized()) or distributed.get_rank() == 0
