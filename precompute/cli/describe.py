"""Descriptions of data sets as people read them: the list, and a page for each."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from depthvar.datasets.source.description import Description, ScalarRule
from depthvar.datasets.source.masks import MaskRule
from depthvar.datasets.source.numbers import NumbersRule
from depthvar.datasets.source.readers import reader_of

UNVERIFIED = "not checked against a real file"
OWN = "Your own: --dataset my.toml, a description next to the data (docs/datasets.md)"
CODES = {
    "rgb24": "R + 256 G + 65536 B",
    "rotate3": "its three low bits stored as the highest",
    "log": "logarithmic between the near and far of the file's text",
    "kinect": "351.3 / (1092.5 − code)",
}
UNITS = {
    "normalised": "relative to width and height",
    "ndc": "in PyTorch3D's NDC",
    "ndc_norm_image_bounds": "in the NDC of CO3D version 1",
    "larger_side": "relative to the larger side, from the centre",
}
QUALITIES = {
    "rendered": "rendered: exact",
    "laser": "laser scanner: dense, exact to millimetres",
    "lidar": "LiDAR: sparse",
    "rgbd": "depth camera: noisy, with holes at edges",
    "stereo": "stereo matching",
    "mvs": "multi-view stereo: holes, and outliers at edges",
    "mixed": "of several kinds",
}


def unique(descriptions: Mapping[str, Description]) -> dict[Description, list[str]]:
    """Return each description once, with all its names, in the order of the first ones."""
    names: dict[Description, list[str]] = {}
    for name, description in descriptions.items():
        names.setdefault(description, []).append(name)
    return names


def list_text(descriptions: Mapping[str, Description]) -> str:
    """Return a line for each description; a star marks those that were not checked against a real file."""
    names = {each: each.names[0] for each in sorted(unique(descriptions), key=lambda each: each.names[0])}
    width = max(map(len, names.values()))
    lines, margin = [], " " * (width + 3)
    for description, name in names.items():
        lines.append(f"{name:{width}} {' ' if description.verified else '*'} {description.summary}")
        others = ", ".join(each for each in description.names if each != name)
        lines += [f"{margin}also {others}"] if others else []
    return "\n".join(
        [*lines, "", f"* {UNVERIFIED}", "precompute datasets NAME: layout, decode rule, licence, and a command", OWN]
    )


def page_text(name: str, description: Description) -> str:
    """Return everything that a description says, and a command to begin with."""
    lines = [f"{label:12}{text}" for label, text in facts(description)]
    return "\n".join([name, description.summary, "", *lines, "", command(name, description)])


def command(name: str, description: Description) -> str:
    """Return the command that computes a cache for it."""
    has_camera = description.intrinsics or reader_of(description).finds_intrinsics
    camera = "" if has_camera else " --intrinsics FX,FY,CX,CY"
    return f"precompute run --dataset {name} --root /path/to/{name}{camera}"


def facts(description: Description) -> Iterator[tuple[str, str]]:
    """Yield (label, one line) for everything that a description says."""
    if len(description.names) > 1:
        yield "names", ", ".join(description.names)
    yield "depth", description.depth_path
    if description.image_path:
        yield "image", description.image_path
    yield "rule", rule_text(description)
    yield from (("mask", mask_text(mask)) for mask in description.masks)
    yield "intrinsics", camera_text(description)
    if step := description.quantisation_step:
        yield "step", f"{1000 * step:g} mm" if description.depth.metric else f"{step:g} scene units"
    if description.quality:
        yield "quality", QUALITIES[description.quality]
    for label in ("licence", "citation", "size", "homepage"):
        if text := getattr(description, label):
            yield label, text
    yield "verified", "checked against a real file" if description.verified else UNVERIFIED
    if description.warning:
        yield "warning", description.warning
    yield from (("note", note) for note in description.notes)


def rule_text(description: Description) -> str:
    """Return how stored values become depth, in one line."""
    rule = description.depth
    name = rule.container if rule.key is None else f"{rule.container} ({rule.key})"
    parts = [f"{name} of {' or '.join(rule.dtype)}"]
    if rule.stack:
        parts.append("many frames in a file")
    if rule.view:
        parts.append(f"bytes read as {rule.view}")
    if rule.encoding:
        parts.append(CODES[rule.encoding])
    if rule.channel is not None:
        parts.append(f"channel {rule.channel}")
    if rule.every > 1:
        parts.append(f"one of {rule.every} rows and columns")
    parts.append(_formula(description))
    depth = "distance" if rule.kind == "ray" else "Z"
    unknown = [f"{value:g}" for value in rule.unknown]
    for limit, sign in ((rule.unknown_above, ">"), (rule.unknown_from, "≥")):
        unknown += [f"{depth} {sign} {limit:g}"] if limit is not None else []
    if unknown:
        parts.append(f"unknown: {', '.join(unknown)}")
    far = [f"{value:g}" for value in rule.far]
    far += [f"{depth} ≥ {rule.far_from:g}"] if rule.far_from is not None else []
    far += [f"Z > {rule.max_depth:g} m"] if rule.max_depth is not None else []
    if far:
        parts.append(f"far: {', '.join(far)}")
    return "; ".join(parts)


def _formula(description: Description) -> str:
    rule = description.depth
    stored = "stored" if rule.units_per_metre == 1 else f"stored / {rule.units_per_metre:g}"
    if rule.kind == "disparity":
        offset = "" if description.doffs is None else " + doffs"
        text = f"Z = baseline · fx / ({stored}{offset})" if offset or "/" in stored else f"Z = baseline · fx / {stored}"
        text += "".join(
            f", {name} {_scalar(scalar)}"
            for name, scalar in (("baseline", description.baseline), ("doffs", description.doffs))
            if scalar is not None
        )
    elif rule.kind == "inverse":
        text = f"Z = 1 / ({stored})" if "/" in stored else f"Z = 1 / {stored}"
    else:
        text = f"{'distance along the ray' if rule.kind == 'ray' else 'Z'} = {stored}"
    if description.scale is not None:
        text += f" {'/' if description.scale.inverse else '·'} scale, scale {_scalar(description.scale)}"
    return text + (" (m)" if rule.metric else " (scene units, not metres)")


def _scalar(rule: ScalarRule) -> str:
    return f"{rule.constant:g}" if rule.numbers is None else _where(rule.numbers)


def mask_text(mask: MaskRule) -> str:
    """Return what a mask says, in one line."""
    value = "value" if mask.channel is None else f"channel {mask.channel}"
    if mask.at_least is not None:
        rule = f"{value} ≥ {mask.at_least:g}"
    elif mask.at_most is not None:
        rule = f"{value} ≤ {mask.at_most:g}"
    else:
        rule = f"{value} {' or '.join(f'{each:g}' for each in mask.values) or 'not 0'}"
    return f"{mask.file}: {mask.marks} where {rule}"


def camera_text(description: Description) -> str:
    """Return where the intrinsics are, in one line."""
    rule = description.intrinsics
    if rule is None:
        finds = reader_of(description).finds_intrinsics
        return "with the depth (docs/datasets.md); else pass --intrinsics" if finds else "pass --intrinsics"
    if rule.numbers is None:
        text = "fx, fy, cx, cy = " + ", ".join(f"{number:g}" for number in rule.constant or ())
    else:
        text = _where(rule.numbers)
        text += f"; numbers {' '.join(rule.names)}" if rule.names else ""
    text += f"; {UNITS[rule.unit]}" if rule.unit in UNITS else ""
    return text + (f"; of {rule.size[0]}×{rule.size[1]}" if rule.size else "")


def _where(numbers: NumbersRule) -> str:
    """Return where numbers are in a file."""
    parts: Iterable[tuple[str, Any]] = (
        ("", " ".join(numbers.key)),
        ("rows ", numbers.rows),
        ("by ", numbers.row_name),
        ("row ", numbers.row),
    )
    return ", ".join([numbers.file, *(f"{label}{text}" for label, text in parts if text)])
