"""Frames that can be looked at: of a cache with the depth that is found for it, or straight from a source."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike

from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import ParameterError
from depthvar.datasets.params import Estimator
from depthvar.datasets.scalars import whole
from depthvar.datasets.source.depth_source import DepthSource
from depthvar.datasets.source.source import Source

from .choose import by_sequence, spread
from .depth import StoredDepth, depth_of
from .frames import Shown, frame_of_cache, frame_of_source, sigma_of_cache

log = logging.getLogger("depthvar")


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
        source: as :func:`depth_of`, errors too.
    """
    layout, depth, why_none = depth_of(cache, source)
    if why_none:
        log.warning("σ only: %s", why_none)
    elif isinstance(depth, StoredDepth):
        log.info("no depth files where the cache is: depth of the cache, no images (--root, source=: where they are)")

    def show(key: str, stride: int) -> Shown:
        return sigma_of_cache(cache, key, stride) if depth is None else frame_of_cache(cache, depth, key, stride)

    return Viewed(cache.attributes["dataset"], layout, cache.keys, cache.relative_key, show, depth is not None)
