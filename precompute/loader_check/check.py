"""Is σ² attached to the right pixels? A user's own samples against the kernel run on their own depth."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import ParameterError
from depthvar.datasets.frame import view_key

from .agreement import Agreement
from .findings import Finding, Wrong, causes, findings, plain_cause, small_shift
from .verdict import judge, wrong_views
from .view import Frames, LoaderView

Key = Callable[[Mapping[str, Any]], str | PathLike[str]]

ENOUGH_PIXELS = 256  # of a view, to compare it


@dataclass(frozen=True)
class LoaderCheck:
    """What :func:`check_loader` found. The figures are means over the views compared, NaN where there are none.

    Attributes:
        findings: what is wrong, one line each as ``str``; empty: the samples are right.
        agreement: of the samples' σ with the kernel's.
        limit: weight error up to which they are right.
        elsewhere: weight error of lookups an eighth of the view from there.
        pixels: compared, over all views.
        views: compared: those with enough pixels.
    """

    findings: tuple[Finding, ...]
    agreement: Agreement
    limit: float
    elsewhere: float
    pixels: int
    views: int

    @property
    def right(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def __str__(self) -> str:
        """Return a line per finding, or one on the figures where all is right."""
        if self.findings:
            return "\n".join(map(str, self.findings))
        return (
            f"right: σ agrees with the kernel on the loader's depth at {self.pixels} pixels of {self.views} views: "
            f"weight error {self.agreement.weight_error:.3f} (limit {self.limit:.3f}, elsewhere {self.elsewhere:.3f}), "
            f"rank correlation {self.agreement.rank:.3f}"
        )


def check_loader(views: Iterable[Mapping[str, Any]], cache: SigmaCache, key: Key = view_key) -> LoaderCheck:
    """Compare σ² in samples of a loader with the kernel run on the samples' own depth, and name what is wrong.

    A view is right if its weights are as close to those of the kernel as the weights of a lookup that is half a pixel
    wrong. For a larger error the cause is estimated: the scale and shift between σ and depth, a flip, another frame,
    another form of σ or depth, other units, other parameters. An error without a cause is a finding too. Pass about
    eight views from different frames and crops, with structure in them.

    Args:
        views: mappings of arrays or tensors, one view each, no batches:

            - ``depthmap`` or ``depth`` (h, w), planar depth in the unit of the training; 0, NaN or +inf: none,
            - ``camera_intrinsics`` or ``intrinsics`` (3, 3) in pixels of the view. A negative fx is a flip, and rows
              exchanged as in DUSt3R's portrait views a transposed view,
            - ``sigma_Z2`` (h, w) in m²,
            - where there are, ``valid_mask`` or ``valid`` (h, w), pixels to leave out; and ``sigma_Z2_params`` (3,),
              compared with the cache's.

        cache: from which their ``sigma_Z2`` was looked up.
        key: returns the frame's key, or a path to it, for a view; by default ``view["key"]``.

    Returns:
        The findings (none if the samples are right), and the figures behind them. Only pixels whose whole window has
        depth are compared.

    Raises:
        ParameterError: there are no views or no cache; a view is a batch or no mapping, or lacks depth, intrinsics,
            ``sigma_Z2`` or (by default) ``"key"``, or has one with a wrong number of dimensions; or no view has 256
            pixels to compare, as with sparse depth.
        FrameNotFoundError, CacheError: as ``SigmaCache.read``.

    Example:
        >>> from depthvar.datasets import CachedDepthDataset, SigmaCache, open_source
        >>> from depthvar.precompute import check_loader
        >>> cache = SigmaCache("data/hospital-sample/sigma_Z2.zarr")
        >>> source = open_source("hospital-sample", "data/hospital-sample")
        >>> dataset = CachedDepthDataset(source, cache, size=(224, 224), augment=True)
        >>> report = check_loader([dataset[i % len(dataset)] for i in range(8)], cache)
        >>> print(report)  # doctest: +ELLIPSIS
        right: σ agrees with the kernel on the loader's depth at ... pixels of 8 views: weight error ...
    """
    _check_arguments(views, cache)
    frames = Frames(cache)
    samples = []
    for view in views:
        if not isinstance(view, Mapping):
            raise ParameterError(
                f"check_loader: view: expected a dict, got {type(view).__name__}; where samples are lists of views, "
                "pass [view for sample in samples for view in sample]"
            )
        samples.append(LoaderView(view, frames, str(key(view))))
    if not samples:
        raise ParameterError("check_loader: expected some views, got none; pass a few samples of the loader")
    found: list[Wrong] = [(sample, cause) for sample in samples if (cause := plain_cause(sample))]
    plain = {id(sample) for sample, _ in found}
    judged = [judge(one) for one in samples if id(one) not in plain and one.pixels >= ENOUGH_PIXELS]
    if not (judged or found):
        raise ParameterError(
            f"check_loader: expected a view with at least {ENOUGH_PIXELS} pixels in whole windows of depth above 0, "
            f"got {max(sample.pixels for sample in samples)} at most; pass dense depth: sparse depth, as a LiDAR's, "
            "cannot be checked"
        )
    wrong = wrong_views(judged)
    found += causes(wrong, cache) if wrong else small_shift(judged)
    figures = [(*one.given, min(one.limit, one.most), one.elsewhere) for one in judged] or [(np.nan,) * 5]
    error, rank, ratio, limit, elsewhere = np.mean(figures, axis=0).tolist()
    pixels = sum(one.view.pixels for one in judged)
    return LoaderCheck(
        findings(found, len(samples)), Agreement(error, rank, ratio), limit, elsewhere, pixels, len(judged)
    )


def _check_arguments(views: Any, cache: Any) -> None:
    """Raise ParameterError where they are no views, or no cache."""
    if isinstance(views, SigmaCache):
        raise ParameterError("check_loader: expected views, then the cache, got a cache first; exchange them")
    if not isinstance(cache, SigmaCache):
        got = repr(cache)[:100]
        raise ParameterError(f"check_loader: cache: expected a SigmaCache, got {got}; open one by SigmaCache(path)")
    if isinstance(views, Mapping | str) or not (isinstance(views, Iterable) or hasattr(views, "__getitem__")):
        raise ParameterError(
            f"check_loader: views: expected several, each a dict, got one {type(views).__name__}; pass a list, such as "
            "[view], best of some eight views"
        )
