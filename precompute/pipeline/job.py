"""What the shards of a run share, and what became of each."""

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

from depthvar.datasets.cache.attributes import MAX_STRIDES
from depthvar.datasets.cache.format import EDGE, MAX_SHARD_FRAMES
from depthvar.datasets.cache.stored_maps import StoredMaps
from depthvar.datasets.errors import ParameterError
from depthvar.datasets.frame import MAX_DEPTH_RULE, is_max_depth
from depthvar.datasets.params import Estimator, KernelParams, params_to_json
from depthvar.datasets.scalars import require, whole
from depthvar.datasets.source.description import DECODING
from depthvar.datasets.source.source import Source
from depthvar.precompute.kernel.api import KERNEL_VERSION, auto_engine

from .summary import DepthSummary, SigmaSummary

MAX_STRIDE = 1024

OnError = Literal["fail", "skip"]
Failures = tuple[tuple[str, str], ...]
"""(key, message) of each frame that could not be read."""


@dataclass(frozen=True)
class Job:
    """What all shards of a run share; a few kilobytes when pickled."""

    cache: str = field(repr=False)  # a URL may hold credentials, and Dask logs what it is given
    source: Source
    params: Estimator = field(default_factory=KernelParams)
    strides: tuple[int, ...] = (1, 2, 3, 4, 6, 8)  # 1 is added, and they are sorted
    keepbits: int = 8
    with_depth: bool = False
    device: str = "cpu"
    on_error: OnError = "fail"
    shard_frames: int = MAX_SHARD_FRAMES  # of new groups, at most
    keep: tuple[str, ...] = ()  # or ("edge",)

    def __post_init__(self) -> None:
        require("source", self.source, "a Source, as open_source returns", isinstance(self.source, Source))
        name, limit = getattr(self.source, "name", None), self.source.max_depth
        is_line = isinstance(name, str) and bool(name) and name.isprintable()
        require("name of the source", name, "one line of text", is_line)
        is_limit = limit is None or (type(limit) in (int, float) and is_max_depth(limit))
        require("max_depth of the source", limit, MAX_DEPTH_RULE, is_limit)
        require("on_error", self.on_error, "'fail' or 'skip'", self.on_error in get_args(OnError))
        require("device", self.device, "'cpu', 'cuda' or another device of torch", isinstance(self.device, str))
        require("params", self.params, "KernelParams or Difference", isinstance(self.params, Estimator))
        rule = f"whole numbers from 1 to {MAX_STRIDE}, at most {MAX_STRIDES} of them"
        require("strides", self.strides, rule, isinstance(self.strides, Iterable))
        strides = {whole("strides", each, rule, lambda stride: 1 <= stride <= MAX_STRIDE) for each in self.strides}
        require("strides", self.strides, rule, len(strides | {1}) <= MAX_STRIDES)
        keepbits = whole("keepbits", self.keepbits, "a whole number from 1 to 23", lambda bits: 1 <= bits <= 23)
        rule = "nothing, or ('edge',)"
        is_some = isinstance(self.keep, Iterable) and not isinstance(self.keep, str)
        require("keep", self.keep, rule, is_some and set(self.keep) <= {EDGE})
        self._check_keep()
        object.__setattr__(self, "keep", tuple(dict.fromkeys(self.keep)))
        object.__setattr__(self, "strides", tuple(sorted(strides | {1})))
        object.__setattr__(self, "keepbits", keepbits)

    def _check_keep(self) -> None:
        """Raise ParameterError where σ² of other parameters does not follow from the stored one and the half range."""
        if self.keep and self.params.estimator != KernelParams.estimator:
            got = f"{self.params.estimator!r}, which has neither lambda_prior nor alpha_clamp"
            raise ParameterError(f"keep: edge needs the estimator 'range', got {got}; leave --keep out")
        if self.keep and self.params.compat is not None:
            got = f"compat={self.params.compat!r}, whose lower bound is in metres"
            raise ParameterError(f"keep: edge needs the definition of docs/method.md, got {got}; leave --keep out")

    @cached_property
    def maps(self) -> StoredMaps:
        """What is stored of every frame."""
        return StoredMaps(self.strides, self.with_depth, self.keep)

    @cached_property
    def engine(self) -> str:
        """Name of the kernel's engine, as the cache records it: "numba", or "triton" or "torch" with the device.

        Chosen where it is first asked for, at the start of a run; the workers get it with the job.
        """
        chosen = auto_engine(self.device, self.params)
        return chosen if chosen == "numba" else f"{chosen}-{self.device}"

    def holding(self, keys: Iterable[str]) -> "Job":
        """Return the job for a worker process that reads these frames."""
        job = copy(self)  # with the engine
        object.__setattr__(job, "source", self.source.holding(keys))
        return job

    def parameters(self) -> dict[str, Any]:
        """Return all that decides the stored values, JSON-ready. Path, workers, device and shard size do not."""
        described = self.source.describe()
        others = {name: described[name] for name in DECODING if name in described}
        rule = {**described.get("depth", {}), **others}
        return {
            "kernel_version": KERNEL_VERSION,
            **params_to_json(self.params),
            "strides": list(self.strides),
            "max_depth": self.source.max_depth,
            "keepbits": self.keepbits,
            "with_depth": self.with_depth,
            **({"keep": list(self.keep)} if self.keep else {}),  # an older cache has the same fingerprint
            "decode_rule": {name: value for name, value in rule.items() if name != "max_depth"},
        }


@dataclass(frozen=True)
class TaskResult:
    """What became of one shard, in frames."""

    group: str
    start: int  # first row of the shard
    computed: int = 0  # σ² was computed and written
    checked: int = 0  # found unchanged by their content; only ``source_stat`` was written
    failed: Failures = ()
    depth: DepthSummary = field(default_factory=DepthSummary)  # of the frames computed
    sigma: SigmaSummary = field(default_factory=SigmaSummary)  # of the frames computed, as stored
    seconds: Mapping[str, float] = field(default_factory=dict)  # by stage: read, kernel, …
