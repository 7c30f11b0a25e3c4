"""σ² in a training's data loader: a wrapper around someone else's data set."""

from collections.abc import Callable, Mapping, MutableMapping
from os import PathLike
from typing import Any, Literal

from torch.utils.data import Dataset

from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import ParameterError
from depthvar.datasets.frame import view_key

Key = Callable[[Mapping[str, Any]], str | PathLike[str]]


class AttachedDataset(Dataset[Any]):
    """What :func:`attach` returns; every attribute that it lacks is the wrapped data set's."""

    def __init__(
        self,
        dataset: Any,
        cache: SigmaCache,
        key: Key,
        resize: Literal["nearest", "linear"],
        lambda_prior: float | None = None,
        alpha_clamp: float | None = None,
    ) -> None:
        self.dataset = dataset
        self.cache = cache
        self.key = key
        self.resize = resize
        self.lambda_prior = lambda_prior
        self.alpha_clamp = alpha_clamp

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.dataset)

    def __getitem__(self, index: Any) -> Any:
        """Return the sample of the wrapped data set, its views with σ²."""
        sample = self.dataset[index]
        for view in [sample] if isinstance(sample, MutableMapping) else sample:
            if not isinstance(view, MutableMapping):
                raise ParameterError(
                    f"sample {index}: expected a view, a dict with 'depthmap' and 'camera_intrinsics', or a list of "
                    f"them, got a {type(sample).__name__} with a {type(view).__name__}; call cache.annotate in the "
                    "data set, or SigmaCache.sample for samples of another form"
                )
            self.cache.annotate(
                view, self.key(view), self.resize, lambda_prior=self.lambda_prior, alpha_clamp=self.alpha_clamp
            )
        return sample

    def __getattr__(self, name: str) -> Any:
        # Not its special methods: the DataLoader would fetch whole batches by __getitems__, past __getitem__.
        if name.startswith("__") or "dataset" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.dataset, name)


def attach(
    dataset: Any,
    cache: SigmaCache,
    key: Key = view_key,
    *,
    resize: Literal["nearest", "linear"] = "nearest",
    lambda_prior: float | None = None,
    alpha_clamp: float | None = None,
) -> AttachedDataset:
    """Wrap a map-style data set, so that ``SigmaCache.annotate`` is called on each of its views.

    For data sets whose samples are a view or a list of views, each a dict with ``depthmap`` (h, w) and
    ``camera_intrinsics`` (3, 3) that show its crop and resize. A data set that also mirrors views must call
    ``cache.annotate(view, key, flip=...)`` itself, since intrinsics cannot show a flip.

    Base classes like DUSt3R's turn portrait views to landscape after ``_get_views`` has made them. A turned view is
    refused. There, annotate inside ``_get_views``, and have what turns ``depthmap`` turn ``sigma_Z2`` too.

    Args:
        dataset: anything with ``__getitem__`` and ``__len__``; other attributes, such as ``set_epoch``, stay reachable.
        cache: the cache of the frames.
        key: tells the frame's key, or its absolute path, from a view; by default ``view["key"]``. For workers that
            are spawned it must pickle: ``operator.itemgetter`` or a function of a module, no lambda.
        resize: how the data set resizes depth; see ``SigmaCache.sample``.
        lambda_prior, alpha_clamp: others than the cache was computed with; see ``SigmaCache.read``.

    Raises:
        ParameterError: no map-style data set, or no SigmaCache.
        ParameterError: when a sample is taken that holds something else than such views, or a view without ``"key"``.
        ParameterError, CacheError, FrameNotFoundError: when a sample is taken, as ``SigmaCache.sample``.

    Example:
        >>> from depthvar.datasets import SigmaCache, attach, open_source
        >>> frame = open_source("hospital-sample", "data/hospital-sample")[0]
        >>> camera = [[frame.intrinsics[0], 0, frame.intrinsics[2]], [0, *frame.intrinsics[[1, 3]]], [0, 0, 1]]
        >>> views = [{"depthmap": frame.depth, "camera_intrinsics": camera, "key": frame.key}]
        >>> view = attach(views, SigmaCache("data/hospital-sample/sigma_Z2.zarr"))[0]
        >>> view["sigma_Z2"].shape == view["depthmap"].shape
        True
    """
    if not isinstance(cache, SigmaCache):
        raise ParameterError(f"cache: expected a SigmaCache, got {repr(cache)[:100]}; open one by SigmaCache(path)")
    if not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
        raise ParameterError(
            "dataset: expected a map-style data set, with __getitem__ and __len__, got "
            f"{type(dataset).__name__}; for another one call cache.annotate where it makes its views"
        )
    return AttachedDataset(dataset, cache, key, resize, lambda_prior, alpha_clamp)
