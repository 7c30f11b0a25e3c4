"""What the shards of a run share, and what becomes of each."""

from dataclasses import dataclass, field
from typing import Any, Literal

from depthvar.datasets.cache.format import MAX_SHARD_FRAMES
from depthvar.datasets.source.depth_source import DepthSource
from depthvar.precompute.kernel.api import KernelParams

from .fingerprint import parameters

OnError = Literal["fail", "skip"]


@dataclass(frozen=True)
class Job:
    """What all shards of a run share; a few kilobytes when pickled."""

    cache: str = field(repr=False)  # a URL may hold credentials, and Dask logs what it is given
    source: DepthSource
    params: KernelParams = field(default_factory=KernelParams)
    strides: tuple[int, ...] = (1, 2, 3, 4, 6, 8)
    keepbits: int = 8
    with_depth: bool = False
    device: str = "cpu"
    on_error: OnError = "fail"
    shard_frames: int = MAX_SHARD_FRAMES  # of new groups, at most

    def parameters(self) -> dict[str, Any]:
        """Return all that decides the stored values (see ``fingerprint``)."""
        return parameters(self.source, self.params, self.strides, self.keepbits, self.with_depth)


@dataclass(frozen=True)
class TaskResult:
    """What became of one shard.

    Attributes:
        group: the group of the shard.
        start: its first row.
        computed: frames whose σ was computed and written.
        checked: frames found unchanged by their content; nothing but ``source_stat`` was written.
        failed: (key, message) of the frames that could not be read.
        seconds: wall-clock time of the task.
    """

    group: str
    start: int
    computed: int
    checked: int
    failed: tuple[tuple[str, str], ...]
    seconds: float
