"""σ² in a data set of MapAnything, which reads the WAI format (read at map-anything ad983da).

The base class adds an axis to ``depthmap`` after ``_get_views``, so σ² is added inside. It answers an exception by
another scene, and prints it: pass ``max_num_retries=0`` until the first batches are right.

    dataset = BlendedMVSSigma(ROOT=root, cache=f"{root}/sigma_Z2.zarr", num_views=4, resolution=(518, 392), …)
"""

from typing import Any

from mapanything.datasets import BlendedMVSWAI

from depthvar.datasets import SigmaCache


class BlendedMVSSigma(BlendedMVSWAI):
    """BlendedMVS with ``sigma_Z2`` (h, w) and ``sigma_Z2_params`` (3,) in every view."""

    def __init__(self, *args: Any, cache: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self.cache = SigmaCache(cache)

    def _get_views(self, sampled_idx: int, num_views_to_sample: int, resolution: Any) -> list[dict[str, Any]]:
        views = super()._get_views(sampled_idx, num_views_to_sample, resolution)
        for view in views:
            frame = view["instance"].rpartition("/")[2]
            self.cache.annotate(view, f"{view['label']}/depth/{frame}.exr")  # the line
        return views
