"""Frames that can be looked at: of a cache with the depth that is found for it, or straight from a source."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike

from depthvar.datasets.cache.described import described_source
from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import CacheError, ParameterError, SourceError
from depthvar.datasets.frame import Frame
from depthvar.datasets.params import Estimator
from depthvar.datasets.scalars import whole
from depthvar.datasets.source.depth_source import DepthSource
from depthvar.datasets.source.source import Source

from .choose import by_sequence, spread
from .frames import Shown, frame_of_cache, frame_of_source, sigma_of_cache

log = logging.getLogger("depthvar")

LOOKED_FOR = 3  # frames of a cache whose depth files are looked for


@dataclass(frozen=True)
class Viewed:
    """Frames that can be looked at.

    Attributes:
        name: of the data set.
        source: gives the sequences.
        keys: lists the frames.
        find: the key as it is listed, of a key or path.
        show: a frame by key and stride; its errors are those of ``frame_of_cache`` or ``frame_of_source``.
        has_depth: whether more than σ² is known.
    """

    name: str
    source: Source
    keys: Callable[[], Sequence[str]]
    find: Callable[[str], str]
    show: Callable[[str, int], Shown]
    has_depth: bool = True

    @property
    def unit(self) -> str:
        """Of depth and σ."""
        is_metric = not isinstance(self.source, DepthSource) or self.source.description.depth.metric
        return "m" if is_metric else "units"

    def choose(self, frames: int | Sequence[str | int], sequence: str | None = None) -> list[str]:
        """Return the keys of some frames.

        Args:
            frames: how many, spread over the sequences and over each of them; or keys, and numbers of frames from 0.
            sequence: only frames of this sequence; None: of all.

        Raises:
            ParameterError: there is no such frame or sequence, or no frame at all.
        """
        keys = list(self.keys())
        if not keys:
            raise ParameterError(f"{self.name}: expected frames, got none; `precompute run` computes them")
        if sequence is not None:
            sequences = by_sequence(self.source, keys)
            if sequence not in sequences:
                few = ", ".join(list(sequences)[:3])
                raise ParameterError(f"sequence: expected one of {len(sequences)}, such as {few}; got {sequence!r}")
            keys = sequences[sequence]
        if isinstance(frames, Sequence) and not isinstance(frames, str):
            known = set(keys)
            return [self._key(frame, keys, known) for frame in frames]
        count = whole("frames", frames, "a whole number from 1, or keys", lambda number: number >= 1)
        return spread(list(by_sequence(self.source, keys).values()), count)

    def _key(self, frame: str | int, keys: Sequence[str], known: set[str]) -> str:
        if isinstance(frame, str) and (key := self.find(frame)) in known:
            return key
        text = str(frame)
        if text.isascii() and text.isdecimal() and int(text) < len(keys):
            return keys[int(text)]
        raise ParameterError(
            f"frame: expected a number from 0 to {len(keys) - 1}, or a key such as {keys[0]!r}, got {frame!r}"
        )


def of_source(source: Source, params: Estimator) -> Viewed:
    """Return the frames of a source; σ² is computed for those that are shown."""
    return Viewed(
        source.name, source, source.keys, str, lambda key, stride: frame_of_source(source, key, params, stride)
    )


def of_cache(cache: SigmaCache, source: Source | str | PathLike[str] | None = None) -> Viewed:
    """Return the frames of a cache, with the depth that is found for it. A log line tells where some is missing.

    Args:
        cache: holds σ².
        source: its depth, or the folder of that. None: the folder that holds the cache; where none of a few frames is
            there, the depth that the cache holds; where it holds none, there is σ only.

    Raises:
        CacheError: there is no cache; or a folder is given for one of a Source class.
        DescriptionError, SourceError: the description is damaged, or the folder is not there.
    """
    attributes, root = cache.attributes, cache.root if source is None else source
    described, stored = bool(attributes["source"]), _StoredDepth(cache, cache.attributes["dataset"])
    layout: Source = stored
    if isinstance(root, Source):
        layout = root
    elif described and root is not None:
        layout = described_source(attributes, root, cache.path)
    elif source is not None:
        raise CacheError(f"{cache.path}: computed by a Source class, got a folder: pass source=, an object of it")
    depth: Source | None = layout
    if source is None and not (described and _is_there(layout, spread([cache.keys()], LOOKED_FOR))):
        depth = stored if cache.params["with_depth"] else None
        if depth is not None:
            log.info("no depth files in %s: depth of the cache, no images (--root, source=: where they are)", root)
        else:
            log.warning("σ only: no depth in %s, and none in the cache (--root, source=: where it is)", root)

    def show(key: str, stride: int) -> Shown:
        return sigma_of_cache(cache, key, stride) if depth is None else frame_of_cache(cache, depth, key, stride)

    return Viewed(attributes["dataset"], layout, cache.keys, cache.relative_key, show, depth is not None)


def _is_there(source: Source, keys: Sequence[str]) -> bool:
    """Return whether the files of any of these frames are there."""
    for key in keys:
        try:
            source.stat(key)
        except SourceError:
            continue
        return True
    return not keys


class _StoredDepth(Source):
    """The depth that a cache holds."""

    def __init__(self, cache: SigmaCache, name: str) -> None:
        self._cache, self.name, self.max_depth = cache, name, cache.params["max_depth"]

    def __str__(self) -> str:
        return self._cache.path

    def keys(self) -> Sequence[str]:
        return self._cache.keys()

    def read(self, key: str) -> Frame:
        return Frame(key, self._cache.depth(key), self._cache.intrinsics(key), self.max_depth)
