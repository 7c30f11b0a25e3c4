"""Soft multi-modal targets: a network that predicts a distribution of depth, and is told of both surfaces at an edge.

The form of ADL (Xu et al., CVPR 2024, arXiv:2306.15612), whose disparities of stereo are bins of log depth here. The
loss is the cross-entropy between the prediction and a target distribution:

- ``unimodal``, the control: a Laplacian at the depth of the pixel.
- ``multimodal``: of the n known depths in 3×3, those on the other side of the middle of their range than the pixel, m
  of them, are another surface if the range is above ``APART``. Its Laplacian, at their mean, has the part
  ``(1 - OWN) · m / (n - 1)`` of the target, and the pixel's own one the rest. ADL finds surfaces by clustering, any
  number of them, in 1×9 pixels.

The prediction is the mean of the mode with the most probability; modes are split where the smoothed distribution is
least. Constants in bins are those of ADL in pixels of disparity.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from arms import Arm, Loss, one
from network import NETWORKS, DepthNet
from torch import Tensor, nn

BINS = 64
NEAREST, FARTHEST = 0.3, 60.0  # metres, of the first and the last bin: all rooms are between
STEP = math.log(FARTHEST / NEAREST) / (BINS - 1)
WIDTH = 0.8  # bins: of a Laplacian
OWN = 0.8  # the least part of the pixel's own surface
APART = 3.0  # bins between two surfaces
SMOOTHED = 5  # bins


class BinNet(DepthNet):
    """A :class:`DepthNet` with bins: in training it gives logits (B, H, W, BINS), after ``eval()`` depth (B, H, W)."""

    def __init__(self, name: str = "small") -> None:
        super().__init__(name)  # with the same seed the same weights, but for the head
        self.head = nn.Conv2d(NETWORKS[name][0], 4 * BINS, 3, padding=1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits, or the depth of the dominant mode."""
        blocks = self.head(self.features(pictures)).movedim(1, -1).unflatten(-1, (2, 2, BINS))
        logits = blocks.transpose(2, 3).flatten(1, 2).flatten(2, 3)
        return logits if self.training else dominant(logits.softmax(-1))


def unimodal(target: Tensor, valid: Tensor) -> Tensor:
    """Return the target distribution (B, H, W, BINS) of depth (B, H, W) with one Laplacian; any where invalid."""
    return laplacian(bins_of(target, valid))


def multimodal(target: Tensor, valid: Tensor) -> Tensor:
    """Return the same with a second Laplacian where 3×3 pixels have two surfaces."""
    own = bins_of(target, valid)
    other, part = other_surface(own, valid)
    result, edge = laplacian(own), part > 0
    part = part[edge][:, None]
    result[edge] = (1 - part) * result[edge] + part * laplacian(other[edge])
    return result


def bins_of(depth: Tensor, valid: Tensor) -> Tensor:
    """Return where depth lies, in bins from the first; 0 where invalid."""
    return (torch.where(valid, depth, NEAREST) / NEAREST).log() / STEP


def laplacian(position: Tensor) -> Tensor:
    """Return a Laplacian (..., BINS) at positions (...) in bins, of sum 1."""
    return ((torch.arange(BINS) - position[..., None]).abs() / -WIDTH).softmax(-1)


def other_surface(own: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Return the position of the other surface of 3×3 pixels, and its part of the target: 0 where there is none."""
    near, known = around(own), around(valid.to(own.dtype)) > 0
    least = torch.where(known, near, torch.inf).amin(1, keepdim=True)
    most = torch.where(known, near, -torch.inf).amax(1, keepdim=True)
    middle = (least + most) / 2
    is_other = known & ((near > middle) != (own[:, None] > middle)) & (most - least > APART)
    count = is_other.sum(1)
    position = torch.where(is_other, near, 0.0).sum(1) / count.clamp_min(1)
    return position, (1 - OWN) * count / (known.sum(1) - 1).clamp_min(1)


def around(image: Tensor) -> Tensor:
    """Return the 3×3 pixels around each, (B, 9, H, W) of (B, H, W); 0 outside."""
    return F.unfold(image[:, None], 3, padding=1).unflatten(-1, image.shape[-2:])


def dominant(share: Tensor) -> Tensor:
    """Return the depth (...) of the mode with the most probability of distributions (..., BINS)."""
    smooth = F.avg_pool1d(share.reshape(-1, BINS), SMOOTHED, 1, SMOOTHED // 2).reshape(share.shape)
    before, here, after = smooth[..., :-2], smooth[..., 1:-1], smooth[..., 2:]
    mode = F.pad((here < before) & (here <= after), (1, 1)).cumsum(-1)
    most = torch.zeros_like(share).scatter_add_(-1, mode, share).argmax(-1, keepdim=True)
    within = share * (mode == most)
    position = within @ torch.arange(BINS, dtype=share.dtype) / within.sum(-1)
    return NEAREST * (STEP * position).exp()


def cross_entropy(distribution: Callable[[Tensor, Tensor], Tensor]) -> Loss:
    """Return the loss of logits (B, H, W, BINS) by a target distribution of depth: its mean over the valid pixels."""

    def loss(logits: Tensor, target: Tensor, weight: Tensor, valid: Tensor) -> Tensor:
        each = -(distribution(target, valid) * logits.log_softmax(-1)).sum(-1)
        return (torch.where(valid, each, 0.0) * weight).sum() / valid.sum().clamp_min(1)

    return loss


ARMS = {
    distribution.__name__: Arm(one, loss=cross_entropy(distribution), network=BinNet)
    for distribution in (unimodal, multimodal)
}
