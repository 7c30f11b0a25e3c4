"""σ² in MoGe's training pipeline (read at MoGe 4722b10): computed from the depth of the sample, without a cache.

MoGe turns the virtual camera towards a random point, warps image and depth, and mirrors half of the samples. The
warped depth is that of another camera, and so is its σ². Intrinsics show neither the rotation nor the mirror, so a
lookup in a cache would give values of other pixels (``check_loader`` finds that).
"""

from typing import Any

import numpy as np
import torch
from moge.train.dataloader import TrainDataLoaderPipeline

from depthvar.precompute import sigma_z2


def sigma_of(instance: dict[str, Any]) -> torch.Tensor:
    """Return σ² (h, w) of a processed instance, in the square of its unit of depth."""
    height, width = instance["depth"].shape
    camera = instance["intrinsics"].numpy() * [[width], [height], [1]]  # they are parts of the sides
    camera[:2, 2] -= 0.5  # from the border to the first pixel's centre
    depth = np.where(instance["depth_mask"], instance["depth"], 0)
    depth = np.where(instance["depth_mask_inf"], np.inf, depth)  # the sky; 0 would count as unknown
    return torch.from_numpy(sigma_z2(depth, camera))  # the line


class SigmaPipeline(TrainDataLoaderPipeline):
    """MoGe's pipeline with ``sigma_Z2`` (B, h, w) in every batch."""

    def _process_instance(self, instance: dict[str, Any]) -> dict[str, Any]:
        instance = super()._process_instance(instance)
        instance["sigma_Z2"] = sigma_of(instance)
        return instance

    def _collate_batch(self, instances: list[dict[str, Any]]) -> dict[str, Any]:
        sigma = torch.stack([instance["sigma_Z2"] for instance in instances])
        return {**super()._collate_batch(instances), "sigma_Z2": sigma}
