"""σ² in a data set of VGGT's training code (read at vggt 5bceaf2, and in the fork GuoWQ222/vggt f6983bb).

``get_data`` returns lists, a map per frame. ``ComposedDataset`` stacks those that it knows; next to ``depths`` add

    sample["sigma_Z2"] = torch.from_numpy(np.stack(batch["sigma_Z2"]))

``landscape_check`` turns some portrait images by 90°, which intrinsics cannot show. So σ² of portrait images is
computed from the depth of the sample.
"""

from typing import Any

import numpy as np
from data.datasets.co3d import Co3dDataset

from depthvar.datasets import SigmaCache
from depthvar.precompute import sigma_z2


class Co3dSigma(Co3dDataset):
    """CO3D with ``sigma_Z2`` in every batch, a list of (h, w) float32 like ``depths``."""

    def __init__(self, *args: Any, cache: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self.cache = SigmaCache(cache)
        sigma_z2(np.ones((8, 8)), (8, 8, 4, 4))  # compiles, before the workers start

    def get_data(self, *args: Any, **options: Any) -> dict[str, Any]:
        batch = super().get_data(*args, **options)
        frames = self.data_store[batch["seq_name"].removeprefix("co3d_")]
        batch["sigma_Z2"] = []
        names = "ids", "depths", "intrinsics", "original_sizes"
        for i, depth, intrinsics, (height, width) in zip(*(batch[name] for name in names), strict=True):
            key = frames[i]["filepath"].replace("/images/", "/depths/") + ".geometric.png"
            if width > height:
                sigma = self.cache.sample(key, intrinsics, depth.shape, valid=depth > 0)  # the line
            else:
                sigma = sigma_z2(depth, intrinsics)
            batch["sigma_Z2"].append(sigma)
        return batch
