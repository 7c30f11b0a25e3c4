"""What validation reports: a finding, and the repairs that it names."""

from dataclasses import dataclass
from typing import Literal

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
