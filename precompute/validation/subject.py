"""What is validated, and what has been seen of it so far: every check gets it, and yields findings."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from depthvar.datasets.cache.bookkeeping import Bookkeeping
from depthvar.datasets.cache.store import Store
from depthvar.datasets.source.source import Source

from .contrast import Contrast
from .finding import Report

Progress = Callable[[str, int, int, int], None]
"""Called with what is counted, how many are done, how many there are, and how many of those done have failed."""


@dataclass
class Subject:
    """A cache, and the depth that it is compared with.

    Attributes:
        store: of the cache.
        attributes: of its root, checked.
        files: of the cache, listed before anything else was looked at: what a run adds meanwhile is no stray file.
        report: what has been seen; every check writes its numbers there.
        recompute: how many frames are drawn to be computed again.
        seed: draws them.
        full: all are computed again.
        progress: called while groups are read, maps are decoded and frames are compared.
        source: the depth that it was computed from; None: the cache is checked by itself.
        groups: that could be read; ``structure`` fills it.
        contrast: σ of the frames compared, by kind of pixel.
    """

    store: Store
    attributes: dict[str, Any]
    files: list[str]
    report: Report
    recompute: int
    seed: int
    full: bool
    progress: Progress
    source: Source | None = None
    groups: list[Bookkeeping] = field(default_factory=list)
    contrast: Contrast = field(default_factory=Contrast)

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of the cache."""
        found: dict[str, Any] = self.attributes["parameters"]
        return found

    @property
    def url(self) -> str:
        """The cache as people read it."""
        return self.store.url
