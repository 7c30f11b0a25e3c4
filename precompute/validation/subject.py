"""What is validated, and what has been seen of it so far: every check gets it, and yields findings."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from depthvar.datasets.cache.bookkeeping import Bookkeeping
from depthvar.datasets.cache.store import Store
from depthvar.datasets.source.source import Source
from depthvar.precompute.pipeline.summary import DepthSummary, SigmaSummary

from .contrast import Contrast

Progress = Callable[[str, int, int, int], None]
"""Called with what is counted, how many are done, how many there are, and how many of those done have failed."""


@dataclass
class Subject:
    """A cache, and the depth that it is compared with.

    Attributes:
        store: of the cache.
        attributes: of its root, checked.
        files: of the cache, listed before anything else was looked at.
        source: the depth that it was computed from; None: the cache is checked by itself.
        recompute: how many frames are drawn to be computed again.
        full: all are computed again.
        seed: draws them.
        progress: called while groups are read, maps are decoded and frames are compared.
        groups: that could be read; ``structure`` fills it.
        chunks: maps that were decoded, by ``integrity``.
        recomputed: frames that were compared with their source, by ``staleness``.
        contrast: σ of those, by kind of pixel, for ``statistics``.
        depth: of those.
        sigma: of all maps of stride 1 that were decoded.
    """

    store: Store
    attributes: dict[str, Any]
    files: list[str]
    source: Source | None
    recompute: int
    full: bool
    seed: int
    progress: Progress
    groups: list[Bookkeeping] = field(default_factory=list)
    chunks: int = 0
    recomputed: int = 0
    contrast: Contrast = field(default_factory=Contrast)
    depth: DepthSummary = field(default_factory=DepthSummary)
    sigma: SigmaSummary = field(default_factory=SigmaSummary)

    @property
    def parameters(self) -> dict[str, Any]:
        """Return the parameters of the cache."""
        found: dict[str, Any] = self.attributes["parameters"]
        return found

    @property
    def url(self) -> str:
        """Return the cache as people read it."""
        return self.store.url
