"""What validation reports: a finding, and the repairs that it names."""

from dataclasses import dataclass

from depthvar.datasets.cache.arrays import failure, is_machine_fault
from depthvar.datasets.cache.format import FAILED, NOT_DONE
from depthvar.datasets.errors import CacheError
from depthvar.precompute.pipeline.plan import StoredGroup

RUN_AGAIN = "`precompute run` with the options of the cache"
SEE_WHY = f"{RUN_AGAIN} and --on-error fail, which says why; mend the file"
RESTORE = f"restore the file; if it is to be another one from now on, then {RUN_AGAIN}"
CLEAR = f"`precompute validate --clear`, then {RUN_AGAIN}"
OVERWRITE = f"{RUN_AGAIN} and --overwrite"
EXPECTED = "σ² ≥ 0 in the limits of the parameters, finite exactly where the depth is valid"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        check: structure | integrity | meaning | completeness | staleness | recomputation; statistics in a warning.
        where: the frame's key, or the group or array.
        expected: what should be there.
        got: what is there.
        repair: what to type next.
        shard: (group, first row) of the shard that ``--clear`` makes the next run compute again; without a row the
            whole group, or the metadata of a folder of groups.
    """

    check: str
    where: str
    expected: str
    got: str
    repair: str
    shard: tuple[str, int | None] | None = None


def is_done(group: StoredGroup, row: int) -> bool:
    """Return whether the row of a group exists and holds a computed frame."""
    return row < len(group.keys) and group.digest[row].tobytes() not in (NOT_DONE, FAILED)


def refuse_machine_fault(error: Exception, where: str) -> None:
    """Raise CacheError where an error says that the machine could not read: that is no finding, nothing is damaged."""
    fault = error.__cause__ if isinstance(error, CacheError) else error
    if fault is not None and is_machine_fault(fault):
        raise failure(where, fault) from error


def text_of(error: Exception) -> str:
    """Return an error of any kind in one line."""
    text = " ".join(str(error).split())
    return text if isinstance(error, CacheError) else f"{type(error).__name__}: {text}"
