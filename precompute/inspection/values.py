"""Values that repeat: one constant map, sky that is a wall, holes coded as an extreme value."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .look import Look, Rule
from .verdict import Verdict, frames, ok, warning

CONSTANT = 0.999  # of the valid pixels with one value
SHARE = 0.005  # of a frame's pixels that have the same extreme value
CODE_SHARE = 0.001  # where that value is the largest of its dtype
GAP = 3.0  # ratio of the extreme value to the depth next to it
WIDE_GAP = 20.0  # where only one of several frames has it
SEVERAL = 4
PILED = 5.0  # times as many pixels as the values next to it
SAME = 1e-6  # relative difference of equal depths
CODES = (65535.0, 65504.0, 2.0**32 - 1, 2.0**31 - 1)  # the largest of uint16, float16, uint32, int32


class Pile(NamedTuple):
    """Pixels of a frame that have its smallest or largest value."""

    look: Look
    value: float  # depth
    stored: float | None
    pixels: NDArray[np.bool_]
    share: float  # of the frame's pixels
    gap: float  # ratio to the depth next to it, at least 1
    piled: float  # times as many pixels as one of the next values has


def check_values(looks: Sequence[Look], rule: Rule) -> list[Verdict]:
    """Look for values that are no depth because they repeat."""
    if constant := _constant(looks):
        return [constant]
    ends = [_ends(look, rule) for look in looks]
    piles = [[pile for pile in end if pile is not None] for end in zip(*ends, strict=True)]
    verdicts = [
        found
        for end, largest in zip(piles, (False, True), strict=True)
        if (found := _explain(end, looks, largest, rule))
    ]
    return verdicts or [ok("repeated value", "no smallest or largest depth is repeated in a way that holes or sky are")]


def _constant(looks: Sequence[Look]) -> Verdict | None:
    empty = sum(not look.valid.any() for look in looks)
    if 2 * empty > len(looks):
        return warning(
            "constant map",
            f"no pixel has a valid depth in {frames(empty, len(looks))}: check the unit, unknown values, the mask and "
            "max_depth",
        )
    one = [look for look in looks if look.valid.any() and _share_of_median(look) >= CONSTANT]
    if one:
        value = float(np.median(one[0].depth[one[0].valid]))
        return warning(
            "constant map",
            f"every pixel is {value:.6g} in {frames(len(one), len(looks))} ({one[0].key}): a placeholder, not a depth: "
            "check [files] depth, and [depth] key or channel",
        )
    first = looks[0]
    if len(looks) >= 3 and all(
        look.depth.shape == first.depth.shape and np.array_equal(look.depth, first.depth) for look in looks
    ):
        return warning(
            "constant map",
            f"all {len(looks)} frames have the same depth map: check that {{frame}} in [files] depth tells them apart",
        )
    return None


def _share_of_median(look: Look) -> float:
    values = look.depth[look.valid]
    return float(np.mean(np.abs(values - np.median(values)) <= SAME * np.abs(values)))


def _ends(look: Look, rule: Rule) -> tuple[Pile | None, Pile | None]:
    """Return the pixels with a frame's smallest and with its largest value, where there are many of them."""
    # Along a ray a constant distance is no constant depth, so the stored numbers are looked at where there are any.
    source: NDArray[Any] = look.depth if rule.kind != "ray" or look.stored is None else look.stored
    values, counts = np.unique(source[look.valid & (source > 0)], return_counts=True)
    if len(values) < 2:
        return None, None
    return _pile(look, source, values[::-1], counts[::-1]), _pile(look, source, values, counts)


def _pile(look: Look, source: NDArray[Any], values: NDArray[Any], counts: NDArray[np.intp]) -> Pile | None:
    """Return the pixels with the last of a frame's sorted values."""
    same = np.abs(values - values[-1]) <= SAME * np.abs(values[-1])
    rest, rest_counts = values[~same], counts[~same]
    if not len(rest):
        return None
    share = float(counts[same].sum() / source.size)
    if share < CODE_SHARE:
        return None
    # Next to it: what a thousandth of the other pixels reaches, so that a few wrong ones do not count.
    near = rest[np.searchsorted(np.cumsum(rest_counts), 0.999 * rest_counts.sum())]
    ratio = max(float(values[-1]) / float(near), float(near) / float(values[-1]))
    pixels = look.valid & (np.abs(source - values[-1]) <= SAME * np.abs(values[-1]))
    stored = None if look.stored is None else float(look.stored[pixels][0])
    value = float(np.median(look.depth[pixels]))
    return Pile(look, value, stored, pixels, share, ratio, float(counts[same].sum() / rest_counts[-3:].mean()))


def _explain(piles: Sequence[Pile], looks: Sequence[Look], largest: bool, rule: Rule) -> Verdict | None:
    """Return what the piles of the frames are taken for, if they cannot be surfaces."""
    codes = [pile for pile in piles if largest and pile.stored in CODES]
    alone = [pile for pile in piles if pile.share >= SHARE and pile.gap >= GAP]
    if len(alone) == 1 and len(looks) >= SEVERAL and alone[0].gap < WIDE_GAP:
        alone = []  # a distant wall that happens to face the camera
    found = codes or alone or (_same_in_several(piles) if largest else [])
    if not found:
        return None
    worst = max(found, key=lambda pile: pile.share)
    stored = "" if worst.stored is None or worst.stored == worst.value else f" (stored {worst.stored:g})"
    where = f"{worst.value:.6g} {rule.unit}{stored} in {100 * worst.share:.1f} % of {worst.look.key}"
    if len(looks) > 1:
        where += f" (in {frames(len(found), len(looks))})"
    number = f"{worst.value if worst.stored is None else worst.stored:g}"
    if largest and _is_above(worst.pixels):
        return warning("sky", f"the sky is a wall: {where}: set [depth] far = [{number}], or max_depth below it")
    end = "largest" if largest else "smallest"
    return warning(
        "repeated value",
        f"the {end} depth is repeated: {where}: if these are holes, set [depth] unknown = [0, {number}]"
        + (f"; if they are sky, far = [{number}]" if largest else ""),
    )


def _same_in_several(piles: Sequence[Pile]) -> list[Pile]:
    """Return piles of one value in frames that differ: a wall that is seen from two places has two depths."""
    heaped = [pile for pile in piles if pile.share >= 2 * SHARE and pile.piled >= PILED]
    for pile in heaped:
        same = [other for other in heaped if abs(other.value - pile.value) <= SAME * pile.value]
        middles = [float(np.median(other.look.depth[other.look.valid & ~other.pixels])) for other in same]
        if max(middles) > 1.02 * min(middles):
            return same
    return []


def _is_above(pixels: NDArray[np.bool_]) -> bool:
    """Return whether pixels lie where the sky is: mostly in the upper half, and at the upper border."""
    height = pixels.shape[0]
    return bool(pixels[: height // 2].sum() >= 0.7 * pixels.sum() and pixels[: max(1, height // 20)].mean() >= 0.1)
