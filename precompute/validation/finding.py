"""What validation reports: findings, the repairs that they name, and what was looked at."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from depthvar.precompute.pipeline.summary import DepthSummary, SigmaSummary

RUN_AGAIN = "`precompute run` with the options of the cache"
SEE_WHY = f"{RUN_AGAIN} and --on-error fail, which prints why; fix the file"
RESTORE = f"restore the file; if it is to be another one from now on, then {RUN_AGAIN}"
CLEAR = f"`precompute validate --clear`, then {RUN_AGAIN}"
OVERWRITE = f"{RUN_AGAIN} and --overwrite"
PRUNE = f"none is needed; {RUN_AGAIN} and --prune removes them"

CheckName = Literal["structure", "integrity", "limits", "completeness", "staleness", "recomputation", "statistics"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or (as a warning) worth a look.

    Attributes:
        check: the check that found it; each is a file of this folder.
        where: the frame's key, or the group, array or file.
        expected: what should be there.
        got: what is there.
        repair: what to type next.
        group: of what ``--clear`` makes the next run compute again: the whole group, or the metadata of a folder of
            groups, where there is no ``row``.
        row: of the frame in the group.
        is_warning: it does not make the cache wrong.
    """

    check: CheckName
    where: str
    expected: str
    got: str
    repair: str
    group: str | None = None
    row: int | None = None
    is_warning: bool = False


@dataclass
class Report:
    """Result of a validation. Most counts are in frames.

    Attributes:
        cache: path or URL.
        frames: number of frames in the cache: done, failed or not done.
        chunks: number of decoded maps.
        recomputed: number of frames that were compared with their source.
        cleared: number of shards or groups that the next run will compute again.
        findings: faults of the cache. Empty: everything that was checked is right.
        warnings: things to look at that are no fault of the cache.
        typical: σ in metres of the compared frames, by kind of pixel: edge, smooth, far, near.
        seed: the seed that drew the compared frames; None: none were drawn.
        sigma: summary of σ² at stride 1 over all decoded frames.
        depth: summary of the depth of the compared frames.
    """

    cache: str
    frames: int = 0
    chunks: int = 0
    recomputed: int = 0
    cleared: int = 0
    findings: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    typical: dict[str, float] = field(default_factory=dict)
    seed: int | None = None
    sigma: SigmaSummary = field(default_factory=SigmaSummary)
    depth: DepthSummary = field(default_factory=DepthSummary)

    def to_json(self) -> dict[str, Any]:
        """Return the same as plain values; ranges and shares in place of the sums."""
        return asdict(self) | {"sigma": self.sigma.to_json(), "depth": self.depth.to_json()}
