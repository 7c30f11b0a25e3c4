"""σ² in a data set of DUSt3R (read at dust3r c4f675b), on whose base class those of MASt3R and Fast3R build.

DUSt3R's base class checks views after ``_get_views`` and turns portrait ones to landscape at the end, so σ² is added in
``_get_views`` and turned at the end, too. Other data sets differ in the key: the path of the depth file below the root
of the cache, from ``label`` and ``instance`` of the view.

    dataset = Co3dSigma(split="train", ROOT=root, resolution=224, cache=f"{root}/sigma_Z2.zarr")
"""

from typing import Any

from dust3r.datasets import Co3d

from depthvar.datasets import SigmaCache


class Co3dSigma(Co3d):
    """CO3D with ``sigma_Z2`` (h, w) and ``sigma_Z2_params`` (3,) in every view."""

    def __init__(self, *args: Any, cache: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self.cache = SigmaCache(cache)

    def _get_views(self, idx: int, resolution: tuple[int, int], rng: Any) -> list[dict[str, Any]]:
        views = super()._get_views(idx, resolution, rng)
        for view in views:
            self.cache.annotate(view, f"{view['label']}/depths/{view['instance']}.geometric.png")  # the line
        return views

    def __getitem__(self, idx: Any) -> list[dict[str, Any]]:
        views = super().__getitem__(idx)
        for view in views:
            height, width = view["true_shape"]
            if width < height:  # DUSt3R has turned the view
                view["sigma_Z2"] = view["sigma_Z2"].swapaxes(0, 1)
        return views
