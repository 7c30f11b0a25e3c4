"""What is validated, and what has been seen of it so far: every check gets it, and yields findings."""

from dataclasses import dataclass, field
from typing import Any

from depthvar.datasets.cache.bookkeeping import Bookkeeping
from depthvar.datasets.cache.store import Store
from depthvar.datasets.source.depth_source import DepthSource

from .contrast import Contrast


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
        groups: that could be read; ``structure`` fills it.
        chunks: maps that were decoded, by ``integrity``.
        recomputed: frames that were compared with their source, by ``staleness``.
        contrast: σ of those, by kind of pixel, for ``statistics``.
    """

    store: Store
    attributes: dict[str, Any]
    files: list[str]
    source: DepthSource | None
    recompute: int
    full: bool
    seed: int
    groups: list[Bookkeeping] = field(default_factory=list)
    chunks: int = 0
    recomputed: int = 0
    contrast: Contrast = field(default_factory=Contrast)

    @property
    def parameters(self) -> dict[str, Any]:
        """Return the parameters of the cache."""
        found: dict[str, Any] = self.attributes["parameters"]
        return found

    @property
    def url(self) -> str:
        """Return the cache as people read it."""
        return self.store.url
