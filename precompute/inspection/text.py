"""What ``precompute inspect`` prints: facts in, text out."""

from collections.abc import Mapping, Sequence
from typing import Any

Facts = Mapping[str, Any]


def inspection_text(facts: Facts) -> str:
    """Return the facts of an Inspection for people."""
    unit = facts["unit"]
    rows = {
        "size": _sizes(facts["sizes"])
        + (f", images {_sizes(facts['image_sizes'])}" if facts["image_sizes"] else ", no images"),
        "depth": _depth(facts),
        "pixels": ", ".join(f"{_percent(facts[f'{name}_share'])} {name}" for name in ("valid", "unknown", "far")),
        "view": _view(facts),
        "step": _steps(facts, unit),
    }
    frames, sequences, looked = facts["frames"], facts["sequences"], len(facts["looked_at"])
    lines = [
        f"{facts['dataset']}: {_counted(frames, 'frame')} in {_counted(sequences, 'sequence')}, {looked} looked at  "
        f"({facts['root']})",
        *(f"{name:13}{row}" for name, row in rows.items() if row),
        *(f"cannot be read: {frame['key']}: {frame['error']}" for frame in facts["unreadable"]),
    ]
    for state, mark in {"ok": "ok", "untold": "cannot tell", "warning": "WARNING"}.items():
        found = [each for each in facts["verdicts"] if each["state"] == state]
        lines += [f"{mark:13}{each['check']}: {each['text']}" for each in found]
    lines += [f"{'note':13}{note}" for note in facts["notes"]]
    doubts = sum(each["state"] == "warning" for each in facts["verdicts"])
    lines.append(f"{_counted(doubts, 'warning')}" if doubts else "nothing looks wrong")
    return "\n".join(lines)


def short_text(facts: Facts) -> str:
    """Return one line for a run."""
    warnings = [each for each in facts["verdicts"] if each["state"] == "warning"]
    looked = f"looked at {_counted(len(facts['looked_at']), 'frame')}"
    if not warnings:
        return f"{looked}: {_sizes(facts['sizes'])}, depth {_depth(facts)}: nothing looks wrong"
    more = f"; and {_counted(len(warnings) - 1, 'more warning')}" if len(warnings) > 1 else ""
    return f"{looked}: {warnings[0]['check']}: {warnings[0]['text']}{more} (all: `precompute inspect`, same options)"


def _depth(facts: Facts) -> str:
    if facts["median"] is None:
        return "no valid depth"
    nearest, median, farthest = (f"{facts[name]:.3g}" for name in ("nearest", "median", "farthest"))
    unit = "m" if facts["unit"] == "m" else "scene units"
    return f"{nearest} to {farthest} {unit}, median {median}"


def _view(facts: Facts) -> str:
    across, down = facts["field_of_view"]
    pixel = (
        ""
        if facts["pixel_size"] is None
        else f"; a pixel at the median depth is {_length(facts['pixel_size'], facts['unit'])} wide"
    )
    return f"{across:.0f}° × {down:.0f}° (horizontal × vertical){pixel}"


def _steps(facts: Facts, unit: str) -> str:
    described = "none described" if facts["step"] is None else f"{_length(facts['step'], unit)} by the description"
    seen = "none seen" if facts["observed_step"] is None else f"{_length(facts['observed_step'], unit)} seen"
    return f"{described}, {seen}"


def _length(value: float, unit: str) -> str:
    return f"{1000 * value:.3g} mm" if unit == "m" and value < 1 else f"{value:.3g} {unit}"


def _sizes(sizes: Sequence[Sequence[int]]) -> str:
    shown = ", ".join(f"{width}×{height}" for height, width in sizes[:3])
    return f"{shown} (width × height)" if len(sizes) <= 3 else f"{shown} and {len(sizes) - 3} more (width × height)"


def _percent(share: float) -> str:
    return (
        f"{100 * share:.1f} %"
        if 0.001 <= share < 0.9995 or share in (0, 1)
        else "under 0.1 %"
        if share < 0.5
        else "over 99.9 %"
    )


def _counted(count: int, name: str) -> str:
    return f"{count} {name}" + ("" if count == 1 else "s")
