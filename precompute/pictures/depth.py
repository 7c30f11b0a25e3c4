"""Where the depth of a cache is: in the files that it was computed from, in the cache itself, or nowhere."""

from collections.abc import Sequence
from os import PathLike
from typing import NamedTuple

from depthvar.datasets.cache.described import described_source
from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import CacheError, SourceError, StoreError
from depthvar.datasets.frame import Frame
from depthvar.datasets.source.source import Source, read_frame

from .choose import spread

LOOKED_FOR = 3  # frames of a cache whose depth files are looked for
CURE = "pass the folder of the depth as --root"


class DepthOfCache(NamedTuple):
    """The depth of a cache.

    Attributes:
        layout: gives the sequence of each frame.
        source: reads the depth; None: nothing can.
        why_none: why not, and what to do; "": it can.
    """

    layout: Source
    source: Source | None
    why_none: str


def depth_of(cache: SigmaCache, given: Source | str | PathLike[str] | None = None) -> DepthOfCache:
    """Return the depth of a cache.

    Args:
        cache: holds σ².
        given: its source, or the folder or URL of that. None: the folder that holds the cache; where none of a few
            frames is there, the depth that the cache holds.

    Raises:
        CacheError: there is no cache; or no frame of it is in what is given; or a folder is given for one of a Source
            class.
        DescriptionError: the description is damaged, or of a newer version.
    """
    attributes, stored = cache.attributes, StoredDepth(cache)
    root, source = cache.root if given is None else given, None
    why = f"the depth files are not where the cache is: {CURE}"
    if isinstance(root, Source):
        source = root
    elif not attributes["source"]:
        why = "only its own Source class reads this data set: pass source= in Python, an object of that class"
        if given is not None:
            raise CacheError(f"{cache.path}: computed by a Source class, got a folder; {why}")
    elif root is not None:
        source = described_source(attributes, root, cache.path)
    keys = cache.keys()
    if source is not None and (not keys or _reads_any(source, spread([keys], LOOKED_FOR))):
        return DepthOfCache(source, source, "")
    if given is not None:
        raise CacheError(f"{given}: no frame of the cache is there: expected files such as {keys[0]}; {CURE}")
    layout = stored if source is None else source
    if attributes["parameters"]["with_depth"]:
        return DepthOfCache(layout, stored, "")
    return DepthOfCache(layout, None, why)


def _reads_any(source: Source, keys: Sequence[str]) -> bool:
    for key in keys:
        try:
            read_frame(source, key)
        except (SourceError, StoreError):
            continue
        return True
    return False


class StoredDepth(Source):
    """The depth that a cache holds (``precompute run --with-depth``)."""

    def __init__(self, cache: SigmaCache) -> None:
        self._cache, self.name, self.max_depth = cache, cache.attributes["dataset"], cache.params["max_depth"]

    def __str__(self) -> str:
        return self._cache.path

    def keys(self) -> Sequence[str]:
        return self._cache.keys()

    def read(self, key: str) -> Frame:
        return Frame(key, self._cache.depth(key), self._cache.intrinsics(key), self.max_depth)
