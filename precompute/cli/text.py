"""What the commands print: facts in, text out."""

import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from depthvar.datasets.cache.format import level_shape
from depthvar.precompute.inspection.text import inspection_text

Facts = Mapping[str, Any]

SHOWN = 10  # findings of one kind
GROUPS = 20  # shown
BYTES_PER_RAW_BYTE = 1.95 / (4 * 1.47)  # measured on real depth: benchmarks/cache.py


def dry_run_text(facts: Facts) -> str:
    """Return what a run would do."""
    stored = facts["raw_bytes"] * BYTES_PER_RAW_BYTE
    lines = [
        f"{_data(facts)}: {facts['frames']} frames{_of_all(facts)} → {facts['cache']}",
        f"would compute {facts['compute']} frames, check {facts['check']}, leave {facts['done']} as they are "
        f"({facts['shards']} shards, in {facts['runs_in']})",
        f"would write about {_bytes(stored)} ({_bytes(facts['raw_bytes'])} before compression)",
    ]
    if "://" not in facts["cache"]:
        folder = next(folder for folder in Path(facts["cache"]).absolute().parents if folder.exists())
        free = shutil.disk_usage(folder).free
        lines[-1] += f"; {_bytes(free)} are free" + (", which is not enough" if free <= stored else "")
    return "\n".join(lines + _gone(facts, "would be removed") + _failures(facts["failed"]))


def run_text(facts: Facts) -> str:
    """Return what a run did, what it computed, and what to type next."""
    left = f", {facts['left']} left (--limit)" if facts["left"] else ""
    rate = f", {facts['frames_per_second']:.1f} frames/s" if facts["computed"] else ""
    lines = [
        f"{_data(facts)}: {facts['computed']} frames computed, {facts['unchanged']} unchanged, "
        f"{len(facts['failed'])} failed{left}, of {'its ' if facts['part'] else ''}{facts['frames']}{_of_all(facts)}; "
        f"{facts['seconds']:.1f} s{rate}",
        "; ".join(filter(None, (_depth(facts["depth"]), _sigma(facts["sigma"])))),
        _stages(facts["stages"]) if facts["computed"] else "",
        f"{facts['cache']}  (look at it: precompute info {facts['cache']})",
    ]
    return "\n".join([*filter(None, lines), *_gone(facts, "removed"), *_failures(facts["failed"])])


def _data(facts: Facts) -> str:
    return f"{facts['dataset']}, part {facts['part']}" if facts["part"] else f"{facts['dataset']}"


def _of_all(facts: Facts) -> str:
    return f" ({facts['total']} in all)" if facts["part"] else ""


def _gone(facts: Facts, removed: str) -> list[str]:
    """Return lines on frames that are in the cache and not in the source, where there are any."""
    kept, pruned = (_counted(facts[name], "frame") for name in ("kept", "pruned"))
    are, them = ("is", "it") if facts["kept"] == 1 else ("are", "them")
    lines = [f"{kept} of the cache {are} not in the source: kept; --prune removes {them}"] if facts["kept"] else []
    return lines + ([f"{pruned} of the cache that the source does not have: {removed}"] if facts["pruned"] else [])


def _failures(failed: Sequence[Mapping[str, str]]) -> list[str]:
    head = ["failed frames (fix the cause given, then run again):"] if failed else []
    return head + [f"  {frame['key']}: {frame['error']}" for frame in failed]


def info_text(facts: Facts) -> str:
    """Return the facts of ``cache_info`` for people."""
    groups, parameters, sigma = facts["groups"], facts["parameters"], facts["sigma"]
    done, failed, frames = (sum(group[name] for group in groups) for name in ("done", "failed", "frames"))
    ranges = ("window", "lambda_prior", "alpha_clamp", "min_valid", "compat")
    names = ("estimator", *ranges, "quantisation_step", "max_depth", "keepbits", "keep")
    rows = {
        "frames": f"{done} done, {failed} failed, {frames - done - failed} not done, in {len(groups)} groups",
        "strides": ", ".join(map(str, parameters["strides"])),
        "parameters": ", ".join(f"{name} {parameters[name]}" for name in names if name in parameters),
        "fingerprint": facts["fingerprint"][:16],
        "engine": f"{facts['engine']}; " + ", ".join(map(" ".join, facts["software"].items())),
    }
    if facts["bytes"] is not None:
        rows["size"] = _bytes(facts["bytes"])
        if "bytes_per_pixel" in facts:
            every, first = facts["bytes_per_pixel"], facts["bytes_per_pixel_stride_1"]
            edge = f"; edge {facts['bytes_per_pixel_edge']}" if "bytes_per_pixel_edge" in facts else ""
            rows["size"] += f" ({every} bytes a pixel for all strides, {first} for stride 1{edge})"
    if sigma["frames"]:
        share, looked_at = _percent(sigma["finite_share"]), f"{sigma['frames']} of {done} frames, evenly spread"
        rows["values"] = f"{_sigma(sigma) or 'no σ'}; {share} of the pixels have one ({looked_at})"
    if facts["unreadable"]:
        rows[""] = f"{facts['unreadable']} of the frames looked at cannot be read: precompute validate"
    lines = [
        f"{facts['cache']}: σ_Z² in m² of {facts['dataset']} ({facts['camera_model']} camera), "
        f"format version {facts['format_version']}",
        *(f"{name:12} {row}" for name, row in rows.items()),
    ]
    for group in groups[:GROUPS]:
        shapes = (level_shape(group["height"], group["width"], stride) for stride in parameters["strides"])
        sizes = " ".join(f"{height}×{width}" for height, width in shapes)
        lines.append(f"  {group['group']:24} {group['done']:6}/{group['frames']} frames  {sizes}")
    if len(groups) > GROUPS:
        lines.append(f"  … and {len(groups) - GROUPS} more groups (--json lists all)")
    return "\n".join(lines)


def inspect_text(facts: Facts) -> str:
    """Return what an inspection found, and where its picture is."""
    drawn = facts["picture"]
    end = f"picture: {drawn}" if drawn else "a picture of these frames: the same command with -o look.png"
    return f"{inspection_text(facts)}\n{end}"


def preview_text(facts: Facts) -> str:
    """Return what a picture shows, and where it is."""
    scales, where = facts["scales"], facts["picture"] or f"shown above ({facts['inline']})"
    of = {"depth": facts["unit"], "sigma": facts["unit"], "weight": facts["weight"]}
    ends = (f"{name} {scale['low']:.3g} to {scale['high']:.3g} ({of[name]})" for name, scale in scales.items())
    frames = _counted(len(facts["frames"]), "frame")
    return "\n".join(
        [
            f"{facts['dataset']}: {frames}, stride {facts['stride']}; colours: {', '.join(ends)}",
            f"picture: {where}",
        ]
    )


def validate_text(facts: Facts) -> str:
    """Return what a validation found."""
    found, recomputed = facts["findings"], f"{facts['recomputed']} frames recomputed"
    if facts["seed"] is not None and facts["recomputed"] != facts["frames"]:
        recomputed += f" (drawn by --seed {facts['seed']})"
    lines = [
        f"{facts['cache']}: {facts['frames']} frames, {facts['chunks']} chunks decoded, {recomputed}: "
        + (_counted(len(found), "finding") if found else "nothing wrong"),
        *_findings("", found),
        *_findings("warning: ", facts["warnings"]),
    ]
    texts = {"sigma": _sigma(facts["sigma"]), "depth": _depth(facts["depth"])}
    values = [f"{text} in {facts[name]['frames']} frames" for name, text in texts.items() if text]
    lines += ["; ".join(values)] if values else []
    if facts["cleared"]:
        lines.append(f"cleared {facts['cleared']} shards or groups: the next `precompute run` recomputes them")
    return "\n".join(lines)


def _findings(level: str, found: Sequence[Facts]) -> list[str]:
    """Return a line for each finding, with those of one check and one repair together."""
    kinds: dict[tuple[str, str], list[Facts]] = defaultdict(list)
    for each in found:
        kinds[each["check"], each["repair"]].append(each)
    lines = []
    for (check, repair), alike in kinds.items():
        texts = [f"{each['where']}: expected {each['expected']}, got {each['got']}; repair: {repair}" for each in alike]
        if len(texts) > SHOWN:
            texts[SHOWN:] = [f"… and {len(texts) - SHOWN} more of this kind (--json: all)"]
        lines += [f"  {level}{check}: {text}" for text in texts]
    return lines


def _depth(depth: Facts) -> str:
    """Return the range of the depth of some frames, and what their pixels are; "" without any."""
    if not depth["frames"]:
        return ""
    least, most = depth["min_m"], depth["max_m"]
    reach = "no valid depth" if least is None else f"depth {_metres(least, 3)} to {_metres(most, 3)} m"
    shares = (f"{_percent(depth[f'{kind}_share'])} {kind}" for kind in ("valid", "unknown", "far"))
    return f"{reach} (pixels: {', '.join(shares)})"


def _sigma(sigma: Facts) -> str:
    """Return the range of σ of some frames; "" without any."""
    if sigma["min_m"] is None:
        return ""
    least, most, median, p95 = (_metres(sigma[f"{name}_m"]) for name in ("min", "max", "median", "p95"))
    return f"σ {least} to {most} m, median {median} m, 95 % below {p95} m"


def _stages(stages: Mapping[str, float]) -> str:
    """Return which part of the time each stage needed; those below half a percent are left out."""
    total = sum(stages.values())
    parts = (f"{stage} {100 * seconds / total:.0f} %" for stage, seconds in stages.items() if seconds >= total / 200)
    return f"time: {', '.join(parts)}"


def _metres(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}g}" if value < 100 else f"{value:.0f}"


def _percent(share: float) -> str:
    if share in (0, 1):
        return f"{100 * share:.0f} %"
    return f"{100 * share:.1f} %" if 0.001 <= share <= 0.999 else "under 0.1 %" if share < 0.5 else "over 99.9 %"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _counted(count: int, name: str) -> str:
    return f"{count} {name}" + ("" if count == 1 else "s")
