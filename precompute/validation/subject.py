"""What is validated, and what has been seen of it so far: every check gets it, and yields findings."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from depthvar.datasets.cache.bookkeeping import Bookkeeping
from depthvar.datasets.cache.store import Store
from depthvar.datasets.source.source import Source

from .finding import Report

Progress = Callable[[str, int, int, int], None]
"""Called with what is counted, how many are done, how many there are, and how many of those done have failed."""


@dataclass
class Subject:
    """A cache, and the depth that it is compared with."""

    store: Store
    attributes: dict[str, Any]  # of the root, checked
    files: list[str]  # listed before anything else was looked at: what a run adds meanwhile is no stray file
    report: Report  # every check writes there what it has seen
    recompute: int  # frames drawn to be computed again
    seed: int  # draws them
    full: bool  # all are computed again
    progress: Progress  # called while groups are read, maps are decoded and frames are compared
    source: Source | None = None  # the depth that it was computed from; None: the cache is checked by itself
    groups: list[Bookkeeping] = field(default_factory=list)  # that could be read; ``structure`` fills it
    log_sigma: dict[str, tuple[float, int]] = field(default_factory=dict)  # by kind of pixel: sum and count

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of the cache."""
        found: dict[str, Any] = self.attributes["parameters"]
        return found

    @property
    def url(self) -> str:
        """The cache as people read it."""
        return self.store.url
