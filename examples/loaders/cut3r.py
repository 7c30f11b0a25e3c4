"""σ² in a data set of CUT3R (read in its forks Point3R a264a22 and linjohnss d05ebd7), and of StreamVGGT.

CUT3R's base class crops and resizes as DUSt3R's does, but turns no view, so ``attach`` can wrap the finished data set.
In a mixture (``10_000 @ A + 5_000 @ B``), whose parts must be CUT3R's classes, add σ² in ``_get_views`` of a subclass,
as in dust3r.py; only ``_get_views(self, idx, resolution, rng, num_views)`` differs.

    dataset = with_sigma(ScanNet_Multi(split="train", ROOT=root, resolution=(512, 384), num_views=4), root)
"""

from typing import Any

from depthvar.datasets import SigmaCache, attach


def scannet_key(view: dict[str, Any]) -> str:
    """Return the path of the depth file below the root; the label of a view is ``scene0000_00_00012``."""
    scene, _, frame = view["label"].rpartition("_")
    return f"scans_train/{scene}/depth/{frame}.png"


def with_sigma(dataset: Any, root: str) -> Any:
    """Return the data set with ``sigma_Z2`` (h, w) and ``sigma_Z2_params`` (3,) in every view."""
    return attach(dataset, SigmaCache(f"{root}/sigma_Z2.zarr"), scannet_key)  # the line
