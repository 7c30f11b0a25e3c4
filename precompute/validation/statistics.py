"""Statistics: σ is mostly larger at edges than elsewhere, and far away than near; where not, that is a warning."""

from collections.abc import Iterator

from .finding import Finding
from .subject import Subject


def check(subject: Subject) -> Iterator[Finding]:
    """Yield a warning where σ of the frames computed again is not as most scenes have it."""
    typical = subject.report.typical = subject.contrast.typical()
    for more, less, what in (("edge", "smooth", "at edges of the depth"), ("far", "near", "in the farther half")):
        if more in typical and less in typical and typical[more] <= typical[less]:
            yield Finding(
                "statistics",
                f"the {subject.report.recomputed} frames computed again",
                f"σ {what} above σ elsewhere",
                f"typically {typical[more]:.3g} m there and {typical[less]:.3g} m elsewhere",
                "none is needed where the scenes are like that; else check that the data set is described as it is "
                "stored (unit, far, intrinsics: docs/datasets.md)",
                is_warning=True,
            )
