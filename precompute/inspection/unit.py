"""Millimetres taken for metres, and metres for millimetres."""

from collections.abc import Sequence

import numpy as np

from .look import Look, Rule
from .verdict import Verdict, ok, untold, warning

NEAREST_MOST, FARTHEST_LEAST = 200.0, 0.1  # metres: no camera of a training set sees only more, or only less
COARSE_MEDIAN = 50.0  # metres: from here on whole numbers are looked at
STEPS = (1.0, 0.1, 0.01, 1 / 256, 1 / 512, 1 / 1000, 1 / 4000, 1 / 5000)


def check_unit(looks: Sequence[Look], rule: Rule) -> list[Verdict]:
    """Compare depth with what a camera can see, and its steps with a unit."""
    if not rule.metric:
        return [untold("unit", "depth is described as scene units, which may be anything")]
    depths = [look.depth[look.valid][::7] for look in looks if look.valid.any()]
    if not depths:
        return [untold("unit", "no valid depth")]
    least, middle, most = np.quantile(np.concatenate(depths), [0.01, 0.5, 0.99]).tolist()
    reach = f"depth from {least:.3g} to {most:.3g} m (1 % to 99 % of the pixels)"
    step = observed_step(looks)
    if least > NEAREST_MOST or (middle > COARSE_MEDIAN and step is not None and step >= 1):
        whole = ", all whole numbers," if step is not None and step >= 1 else ""
        return [
            _wrong(f"{reach}{whole} looks like millimetres taken for metres", "millimetres", least, most, 1e-3, rule)
        ]
    if most < FARTHEST_LEAST:
        return [_wrong(f"{reach} looks like metres taken for millimetres", "metres", least, most, 1e3, rule)]
    return [ok("unit", reach)]


def _wrong(what: str, unit: str, least: float, most: float, factor: float, rule: Rule) -> Verdict:
    if rule.units_per_metre is None:
        what_to_do = "return metres"
    else:
        what_to_do = f"set [depth] units_per_metre = {rule.units_per_metre / factor:g} (--units-per-metre)"
    return warning("unit", f"{what}: as {unit} it is {least * factor:.3g} to {most * factor:.3g} m: {what_to_do}")


def observed_step(looks: Sequence[Look]) -> float | None:
    """Return the largest usual step that all depths are multiples of; None: none, or too few depths differ."""
    values = np.unique(np.concatenate([look.depth[look.valid][::13] for look in looks]).astype(np.float64))
    if len(values) < 16:
        return None
    for step in STEPS:
        counts = values / step
        if np.all(np.abs(counts - np.round(counts)) <= 1e-6 * np.maximum(counts, 1)) and counts[0] < 2**20:
            return step
    return None
