"""What the commands print: facts in, text out."""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from depthvar.datasets.cache.format import level_shape
from depthvar.datasets.source.description import Description

SHOWN = 10  # findings of one kind
BYTES_PER_RAW_BYTE = 1.95 / (4 * 1.47)  # measured on real depth: benchmarks/cache.py


def human_bytes(count: float) -> str:
    """Return a size as people write it: 1.5 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def depth_text(depth: Mapping[str, Any]) -> str:
    """Return the range of the depth of some frames, and what their pixels are; "" without any."""
    if not depth["frames"]:
        return ""
    reach = (
        "no valid depth"
        if depth["min_m"] is None
        else f"depth {_metres(depth['min_m'], 3)} to {_metres(depth['max_m'], 3)} m"
    )
    shares = ", ".join(f"{_percent(depth[f'{kind}_share'])} {kind}" for kind in ("valid", "unknown", "far"))
    return f"{reach} (pixels: {shares})"


def sigma_text(sigma: Mapping[str, Any]) -> str:
    """Return the range of σ of some frames; "" without any."""
    if sigma["min_m"] is None:
        return ""
    return (
        f"σ {_metres(sigma['min_m'])} to {_metres(sigma['max_m'])} m, median {_metres(sigma['median_m'])} m, "
        f"95 % below {_metres(sigma['p95_m'])} m"
    )


def _metres(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}g}" if value < 100 else f"{value:.0f}"


def _percent(share: float) -> str:
    if share in (0, 1):
        return f"{100 * share:.0f} %"
    return f"{100 * share:.1f} %" if 0.001 <= share <= 0.999 else "under 0.1 %" if share < 0.5 else "over 99.9 %"


def dry_run_text(facts: Mapping[str, Any]) -> str:
    """Return what a run would do."""
    lines = [
        f"{_data(facts)}: {facts['frames']} frames{_of_all(facts)} → {facts['cache']}",
        f"would compute {facts['compute']} frames, check {facts['check']}, leave {facts['done']} as they are "
        f"({facts['shards']} shards, in {facts['runs_in']})",
        f"would write about {human_bytes(facts['raw_bytes'] * BYTES_PER_RAW_BYTE)} "
        f"({human_bytes(facts['raw_bytes'])} before compression)",
    ]
    if "://" not in facts["cache"]:
        folder = next(folder for folder in Path(facts["cache"]).absolute().parents if folder.exists())
        free = shutil.disk_usage(folder).free
        enough = "" if free > facts["raw_bytes"] * BYTES_PER_RAW_BYTE else ", which is not enough"
        lines[-1] += f"; {human_bytes(free)} are free{enough}"
    return "\n".join(lines + _gone(facts, "would be removed") + _failures(facts["failed"]))


def run_text(facts: Mapping[str, Any]) -> str:
    """Return what a run did, what it computed, and what to type next."""
    left = f", {facts['left']} left (--limit)" if facts["left"] else ""
    rate = f", {facts['frames_per_second']:.1f} frames/s" if facts["computed"] else ""
    its = "its " if facts["part"] else ""
    lines = [
        f"{_data(facts)}: {facts['computed']} frames computed, {facts['unchanged']} unchanged, "
        f"{len(facts['failed'])} failed{left}, of {its}{facts['frames']}{_of_all(facts)}; "
        f"{facts['seconds']:.1f} s{rate}",
        "; ".join(filter(None, (depth_text(facts["depth"]), sigma_text(facts["sigma"])))),
        f"{facts['cache']}  (look at it: precompute info {facts['cache']})",
    ]
    return "\n".join([line for line in lines if line] + _gone(facts, "removed") + _failures(facts["failed"]))


def _gone(facts: Mapping[str, Any], removed: str) -> list[str]:
    """Return a line on frames that are in the cache and not in the source, where there are any."""
    kept, pruned = facts["kept"], facts["pruned"]
    lines = []
    if kept:
        are, them = ("is", "it") if kept == 1 else ("are", "them")
        lines = [f"{_frames(kept)} of the cache {are} not in the source: kept; --prune removes {them}"]
    return lines + ([f"{_frames(pruned)} of the cache that the source does not have: {removed}"] if pruned else [])


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"


def _data(facts: Mapping[str, Any]) -> str:
    return f"{facts['dataset']}, part {facts['part']}" if facts["part"] else f"{facts['dataset']}"


def _of_all(facts: Mapping[str, Any]) -> str:
    return f" ({facts['total']} in all)" if facts["part"] else ""


def _failures(failed: Sequence[Mapping[str, str]]) -> list[str]:
    if not failed:
        return []
    frames = (f"  {frame['key']}: {frame['error']}" for frame in failed)
    return ["failed frames (fix the cause given, then run again):", *frames]


def info_text(facts: Mapping[str, Any]) -> str:
    """Return the facts of ``cache_info`` for people."""
    groups, parameters = facts["groups"], facts["parameters"]
    done = sum(group["done"] for group in groups)
    failed = sum(group["failed"] for group in groups)
    frames = sum(group["frames"] for group in groups)
    names = ("estimator", "window", "lambda_prior", "alpha_clamp", "min_valid", "compat", "max_depth", "keepbits")
    shown = ", ".join(f"{name} {parameters[name]}" for name in names if name in parameters)
    lines = [
        f"{facts['cache']}: σ_Z² in m² of {facts['dataset']} ({facts['camera_model']} camera), "
        f"format version {facts['format_version']}",
        f"frames       {done} done, {failed} failed, {frames - done - failed} not done, in {len(groups)} groups",
        f"strides      {', '.join(str(stride) for stride in parameters['strides'])}",
        f"parameters   {shown}",
        f"fingerprint  {facts['fingerprint'][:16]}",
        f"engine       {facts['engine']}; "
        + ", ".join(f"{name} {version}" for name, version in facts["software"].items()),
    ]
    if facts["bytes"] is not None:
        per_pixel = facts.get("bytes_per_pixel")
        detail = (
            ""
            if per_pixel is None
            else (f" ({per_pixel} bytes a pixel for all strides, {facts['bytes_per_pixel_stride_1']} for stride 1)")
        )
        lines.append(f"size         {human_bytes(facts['bytes'])}{detail}")
    if facts["sigma"]["frames"]:
        sigma = facts["sigma"]
        lines.append(
            f"values       {sigma_text(sigma) or 'no σ'}; {_percent(sigma['finite_share'])} of the pixels have one "
            f"({sigma['frames']} of {done} frames, evenly spread)"
        )
    if facts["unreadable"]:
        lines.append(f"             {facts['unreadable']} of the frames looked at cannot be read: precompute validate")
    for group in groups[:20]:
        shapes = " ".join(
            "×".join(map(str, level_shape(group["height"], group["width"], s))) for s in parameters["strides"]
        )
        lines.append(f"  {group['group']:24} {group['done']:6}/{group['frames']} frames  {shapes}")
    if len(groups) > 20:
        lines.append(f"  … and {len(groups) - 20} more groups (--json lists all)")
    return "\n".join(lines)


def validate_text(facts: Mapping[str, Any]) -> str:
    """Return what a validation found."""
    findings = facts["findings"]
    all_or_none = facts["seed"] is None or facts["recomputed"] == facts["frames"]
    drawn = "" if all_or_none else f" (drawn by --seed {facts['seed']})"
    head = (
        f"{facts['cache']}: {facts['frames']} frames, {facts['chunks']} chunks decoded, "
        f"{facts['recomputed']} frames recomputed{drawn}: "
    )
    many = "1 finding" if len(findings) == 1 else f"{len(findings)} findings"
    lines = [head + (many if findings else "nothing wrong")]
    for level, found in (("", findings), ("warning: ", facts["warnings"])):
        kinds = Counter((finding["check"], finding["repair"]) for finding in found)
        shown: Counter[tuple[str, str]] = Counter()
        for finding in found:
            kind = finding["check"], finding["repair"]
            shown[kind] += 1
            if shown[kind] <= SHOWN:
                lines.append(
                    f"  {level}{finding['check']}: {finding['where']}: expected {finding['expected']}, got "
                    f"{finding['got']}; repair: {finding['repair']}"
                )
            elif shown[kind] == kinds[kind]:
                lines.append(
                    f"  {level}{finding['check']}: … and {kinds[kind] - SHOWN} more of this kind (--json: all)"
                )
    values = [
        f"{text} in {facts[name]['frames']} frames"
        for name, text in (("sigma", sigma_text(facts["sigma"])), ("depth", depth_text(facts["depth"])))
        if text
    ]
    lines += ["; ".join(values)] if values else []
    if facts["cleared"]:
        lines.append(f"cleared {facts['cleared']} shards or groups: the next `precompute run` recomputes them")
    return "\n".join(lines)


def datasets_text(descriptions: Mapping[str, Description]) -> str:
    """Return one paragraph per description: its names, layout, and where to get it."""
    names: dict[Description, list[str]] = {}
    for name, description in descriptions.items():
        names.setdefault(description, []).append(name)
    paragraphs = []
    for description, known in names.items():
        lines = [description.summary, f"  --dataset  {', '.join(known)}", f"  layout     {description.depth_path}"]
        if description.homepage:
            lines.append(f"  from       {description.homepage}")
        paragraphs.append("\n".join(lines))
    paragraphs.append("Your own: --dataset my.toml, a description next to the data (docs/datasets.md)")
    return "\n\n".join(paragraphs)
