"""Distance along the ray taken for depth, and the other way round; disparity taken for depth, and the other way round.

Law: 1 / z of a plane is affine in the pixel (``planes.py``). With s = sqrt(x² + y² + 1) for the ray (x, y, 1) of a
pixel, a distance is z · s. A disparity is proportional to 1 / z.
"""

from collections.abc import Sequence

import numpy as np

from .look import Look, Rule
from .planes import Map, plane_errors, votes
from .verdict import Verdict, ok, untold, warning

NEEDED = 10  # windows that decide
SHARE = 0.8  # of them that must agree
# A reading: log z as so much of the log of what was read, and so much of the log of distance / z.
SAME = (1, 0)
# Distance and depth taken for each other; and twice and minus that, which only curved surfaces need.
BENT = {"z": [(1, -1), (1, -2), (1, 1)], "ray": [(1, 1), (1, 2), (1, -1)], "inverse": []}
INVERSE = {"z": (-1, 0), "ray": (-1, -1), "inverse": (-1, 0)}
NAMES = {
    "ray": "the distance along the ray",
    "z": "depth along the optical axis",
    "inverse": "disparity or inverse depth",
}
FIX = {
    "ray": 'set [depth] kind = "ray"',
    "z": 'set [depth] kind = "z"',
    "inverse": 'set [depth] kind = "disparity" (or "inverse")',
}


def check_kind(looks: Sequence[Look], rule: Rule) -> list[Verdict]:
    """Compare the described kind with each that it may have been mistaken for."""
    declared = "inverse" if rule.kind in ("disparity", "inverse") else rule.kind
    readings = np.array([SAME, *BENT[declared], INVERSE[declared]])
    errors = np.concatenate([_errors(look, readings) for look in looks])
    other = "z" if declared == "inverse" else "inverse"
    as_described, inverse = int(votes(errors[:, [0, -1]])[0]), int(votes(errors)[-1])
    disparity = _judge("disparity", rule, declared, other, as_described, inverse)
    if declared == "inverse" or disparity.state == "warning":
        return [disparity]
    mine, its, *neither = votes(errors[:, :-1]).tolist()
    return [_judge("distance", rule, declared, "ray" if declared == "z" else "z", mine, its, sum(neither)), disparity]


def _errors(look: Look, readings: Map) -> Map:
    log_z: Map = np.log(np.where(look.valid, look.depth, 1).astype(np.float64))
    return plane_errors([log_z, _log_stretch(look)], readings, look.valid)[0]


def _log_stretch(look: Look) -> Map:
    """Return (h, w) log of distance / z."""
    fx, fy, cx, cy = look.reduced_camera
    height, width = look.depth.shape
    x, y = (np.arange(width) - cx) / fx, (np.arange(height) - cy) / fy
    stretch: Map = 0.5 * np.log(1 + x * x + (y * y)[:, None])
    return stretch


def _judge(check: str, rule: Rule, declared: str, other: str, mine: int, its: int, neither: int = 0) -> Verdict:
    all_of_them = mine + its + neither
    if its >= NEEDED and its >= SHARE * all_of_them:
        return warning(
            check,
            f"read as {NAMES[declared]}, but {its} of {all_of_them} flat windows are planes only if it is "
            f"{NAMES[other]}: {'convert it in your Source.read' if rule.units_per_metre is None else FIX[other]}",
        )
    if mine >= NEEDED and mine >= SHARE * all_of_them:
        return ok(check, f"{mine} of {all_of_them} flat windows are planes as {NAMES[declared]}, not as {NAMES[other]}")
    if all_of_them < NEEDED:
        why = f"{all_of_them or 'no'} flat windows tell, {NEEDED} are needed"
    else:
        why = f"{mine} flat windows are for the first, {its} for the second, {neither} for neither (curved)"
    return untold(check, f"{NAMES[declared]}, or {NAMES[other]}: {why}")
