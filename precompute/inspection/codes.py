"""Stored numbers that are a code, read as lengths: rotated bits, a log code, float16 bits, another byte order."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .look import Look, Rule
from .planes import plane_errors, votes
from .verdict import Verdict, frames, ok, untold, warning

CHECK = "code"
NEEDED, SHARE = 10, 0.8  # flat windows that decide on float16, and the share of them that must agree
HALF_CODES = 0x2000, 0x6400  # bits of the float16 numbers from 0.008 to 1024
NOISE = 0.3  # roughness: 0.007 to 0.03 in real depth
SMOOTHER = 3.0  # ratio of the roughness in the two byte orders
FEW = 16  # distinct numbers that are too few to tell
MULTIPLES = 0.9  # least share of multiples of 8


def check_codes(looks: Sequence[Look], rule: Rule) -> list[Verdict]:
    """Look for numbers that are no lengths. One verdict, or a warning for each kind of code that was found."""
    if noise := _noise(looks):
        return [noise]
    if rule.units_per_metre is None:
        return [
            untold(CHECK, "a class of your own reads the frames: its stored numbers were not seen; neighbours agree")
        ]
    if rule.encoded:
        return [ok(CHECK, "stored numbers are unpacked or bit-cast as described, and neighbours agree")]
    pairs = [(look, look.stored) for look in looks if look.stored is not None and look.stored.dtype.kind in "iu"]
    pairs = [(look, stored) for look, stored in pairs if len(np.unique(stored[look.valid][::7])) > FEW]
    if not pairs:
        return [ok(CHECK, "stored floats: no code; neighbours agree")]
    numbers = [stored[look.valid] for look, stored in pairs]
    found = _byte_order(pairs) or _rotated(numbers, rule) or _log_code(numbers) or _float16(pairs)
    return [found or ok(CHECK, "stored integers are no rotated bits, log code or float16 bits, and neighbours agree")]


def _noise(looks: Sequence[Look]) -> Verdict | None:
    """Law: a scene is piecewise smooth; packed channels or bytes that are read wrongly are not."""
    rough = [each for look in looks if (each := roughness(look.depth, look.valid)) is not None]
    noisy = [each for each in rough if each > NOISE]
    if not noisy or 2 * len(noisy) < len(rough):
        return None
    return warning(
        CHECK,
        f"neighbouring pixels differ {np.median(noisy):.2f} times as much as any two pixels, in "
        f"{frames(len(noisy), len(rough))} (real depth: below 0.05): correct [depth] dtype, view or encoding",
    )


def _byte_order(pairs: Sequence[tuple[Look, NDArray[Any]]]) -> Verdict | None:
    """Law: neighbours agree better in the right byte order, at least 5 times in real depth."""
    ratios = []
    for look, stored in pairs:
        straight, swapped = (roughness(values, look.valid) for values in (stored, stored.byteswap()))
        if straight is not None and swapped is not None:
            ratios.append(straight / max(swapped, 1e-9))
    if not ratios or np.median(ratios) < SMOOTHER:
        return None
    return warning(
        CHECK,
        f"neighbouring pixels agree {np.median(ratios):.1f} times better with the bytes of each number swapped: write "
        "the files again in the byte order of their format",
    )


def roughness(values: NDArray[Any], valid: NDArray[np.bool_]) -> float | None:
    """Return the mean difference of horizontal neighbours, divided by that of any two pixels; None: no differences."""
    both = valid[:, 1:] & valid[:, :-1]
    if both.sum() < 100:
        return None
    numbers = np.where(valid, values, 0).astype(np.float64)
    some = numbers[valid]
    any_two = np.abs(some - np.random.default_rng(0).permutation(some)).mean()
    return float(np.abs(numbers[:, 1:] - numbers[:, :-1])[both].mean() / any_two) if any_two > 0 else None


def _rotated(numbers: Sequence[NDArray[Any]], rule: Rule) -> Verdict | None:
    """Law: millimetres below 8.192 m, shifted left by three bits, are multiples of 8 and of no higher power of two."""
    stored = np.concatenate(numbers)
    if stored.dtype != np.uint16 or 8 / (rule.units_per_metre or 1) < 0.004:
        return None
    multiples = float(np.mean(stored & 7 == 0))
    if multiples < MULTIPLES or not 0.2 < np.mean((stored >> 3) & 1) < 0.8:
        return None
    return warning(
        CHECK,
        f"{100 * multiples:.1f} % of the stored numbers are multiples of 8, so depth is 8 times too far: the bits are "
        'rotated (SUN RGB-D) or shifted: set [depth] encoding = "rotate3", or multiply units_per_metre by 8',
    )


def _log_code(numbers: Sequence[NDArray[Any]]) -> Verdict | None:
    """Law: a code from a frame's own near to far uses the whole range in every frame; lengths do not."""
    if not all(int(stored.min()) <= 2 and int(stored[stored < 65535].max(initial=0)) >= 65533 for stored in numbers):
        return None
    return warning(
        CHECK,
        f"stored numbers of {frames(len(numbers), len(numbers))} go from 1 to 65534, the whole range: this is a log "
        'code between near and far (MoGe), not a length: set [depth] encoding = "log"',
    )


def _float16(pairs: Sequence[tuple[Look, NDArray[Any]]]) -> Verdict | None:
    """Law: planes are planes in 1 / z only for the float16 that the bits stand for."""
    least, most = HALF_CODES
    for look, stored in pairs:
        numbers = stored[look.valid]
        if stored.dtype != np.uint16 or np.mean((numbers >= least) & (numbers < most)) < 0.999:
            return None
    counts = np.zeros(2, np.intp)
    for look, stored in pairs:
        known = look.valid & (stored >= least) & (stored < most)
        bits = np.where(known, stored, 0x3C00).astype(np.uint16)
        logs = [np.log(bits.astype(np.float64)), np.log(bits.view(np.float16).astype(np.float64))]
        errors, spreads = plane_errors(logs, np.eye(2), known)
        counts += votes(errors / np.maximum(spreads, 1e-12), flat=errors)  # the code squeezes depth, and its errors
    as_length, as_half = counts.tolist()
    if as_length >= NEEDED and as_length >= SHARE * (as_half + as_length):
        return None
    if as_half < NEEDED or as_half < SHARE * (as_half + as_length):
        return untold(
            CHECK,
            "all stored integers lie between 8192 and 25600, as the bits of float16 do: only "
            f"{as_half + as_length} flat windows tell ({as_half} for float16, {as_length} against it)",
        )
    return warning(
        CHECK,
        f"all stored integers lie between 8192 and 25600, and {as_half} of {as_half + as_length} flat windows are "
        'planes only if they are the bits of float16: set [depth] view = "<f2"',
    )
