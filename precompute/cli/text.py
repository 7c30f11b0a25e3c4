"""What the commands print: facts in, text out."""

import shlex
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from depthvar.precompute.inspection.text import inspection_text

from .numbers import counted, human_bytes, human_seconds, metres, percent

Facts = Mapping[str, Any]

SHOWN = 10  # frames that failed, findings of one kind
STAGES = 4  # of the time of a run
BYTES_PER_RAW_BYTE = 1.95 / (4 * 1.47)  # measured on real depth: benchmarks/cache.py


def dry_run_text(facts: Facts) -> str:
    """Return what a run would do."""
    stored = facts["raw_bytes"] * BYTES_PER_RAW_BYTE
    lines = [
        f"{_data(facts)}: {facts['frames']:,} frames{_of_all(facts)} → {facts['cache']}",
        f"would compute {facts['compute']:,} frames, check {facts['check']:,}, leave {facts['done']:,} as they are "
        f"({facts['shards']:,} shards, in {facts['runs_in']})",
        f"would write about {human_bytes(stored)} ({human_bytes(facts['raw_bytes'])} before compression)",
    ]
    if "://" not in facts["cache"]:
        folder = next(folder for folder in Path(facts["cache"]).absolute().parents if folder.exists())
        free = shutil.disk_usage(folder).free
        lines[-1] += f"; {human_bytes(free)} are free" + (", which is not enough" if free <= stored else "")
    return "\n".join(lines + _gone(facts, "would be removed") + _failures(facts["failed"]))


def run_text(facts: Facts) -> str:
    """Return what a run computed; its last three lines: what was done, where the time went, what to type next."""
    counts = [f"{facts['computed']:,} frames computed"]
    counts += [f"{facts['unchanged']:,} unchanged"] if facts["unchanged"] else []
    counts += [f"{len(facts['failed']):,} failed"] if facts["failed"] else []
    counts += [f"{facts['left']:,} left (--limit)"] if facts["left"] else []
    counts += [f"of its {facts['frames']:,}{_of_all(facts)}"] if facts["part"] else []
    rates = [f"{facts['seconds']:.1f} s" if facts["seconds"] < 100 else human_seconds(facts["seconds"])]
    rates += [f"{facts['frames_per_second']:.1f}/s"] if facts["computed"] else []
    rates += [human_bytes(facts["bytes_written"])] if facts["bytes_written"] else []
    rows = {
        "depth": _depth(facts["depth"]),
        "σ": sigma_text(facts["sigma"]),
        "done": f"{_data(facts)}: {', '.join(counts)}; {', '.join(rates)}",
        "time": _shares(facts),
        "next": _next(facts),
    }
    lines = [f"{name:7}{row}" for name, row in rows.items() if row]
    return "\n".join([*_gone(facts, "removed"), *_failures(facts["failed"]), *lines])


def _shares(facts: Facts) -> str:
    """Return where the wall clock of a run went, the longest first; what is short is added up."""
    seconds, stages = max(facts["seconds"], 1e-3), facts["stages"]
    work, summed = 1 - facts["preparation_seconds"] / seconds, sum(stages.values()) or 1  # of several threads
    shares = {stage: work * each / summed for stage, each in stages.items()}
    idle = shares.pop("idle", 0)
    shares["prepare"] = 1 - work
    longest = sorted(shares.items(), key=lambda share: -share[1])[:STAGES]
    other = 1 - idle - sum(share for _, share in longest)
    shown = [*longest, ("other", other), ("idle", idle)]
    return ", ".join(f"{stage} {100 * share:.0f} %" for stage, share in shown if share >= 0.005)


def _next(facts: Facts) -> str:
    """Return what to type after a run."""
    if facts["failed"]:
        return "the same command again, when the causes above are fixed"
    if facts["left"]:
        return f"the same command again, for the {counted(facts['left'], 'frame')} left"
    cache = shlex.quote(facts["cache"])
    return f"precompute validate {cache}  (after the last part)" if facts["part"] else f"precompute preview {cache}"


def _data(facts: Facts) -> str:
    return f"{facts['dataset']}, part {facts['part']}" if facts["part"] else f"{facts['dataset']}"


def _of_all(facts: Facts) -> str:
    return f" ({facts['total']:,} in all)" if facts["part"] else ""


def _gone(facts: Facts, removed: str) -> list[str]:
    """Return lines on frames that are in the cache and not in the source, where there are any."""
    kept, pruned = (counted(facts[name], "frame") for name in ("kept", "pruned"))
    are, them = ("is", "it") if facts["kept"] == 1 else ("are", "them")
    lines = [f"{kept} of the cache {are} not in the source: kept; --prune removes {them}"] if facts["kept"] else []
    return lines + ([f"{pruned} of the cache that the source does not have: {removed}"] if facts["pruned"] else [])


def _failures(failed: Sequence[Mapping[str, str]]) -> list[str]:
    lines = ["failed frames (fix the cause given, then run again):"] if failed else []
    lines += [f"  {frame['key']}: {frame['error']}" for frame in failed[:SHOWN]]
    return lines + ([f"  … and {len(failed) - SHOWN:,} more (--json: all)"] if len(failed) > SHOWN else [])


def inspect_text(facts: Facts) -> str:
    """Return what an inspection found, and where its picture is."""
    drawn = facts["picture"]
    end = f"picture: {drawn}" if drawn else "a picture of these frames: the same command with -o look.png"
    return f"{inspection_text(facts)}\n{end}"


def preview_text(facts: Facts) -> str:
    """Return what a picture shows, and where it is."""
    scales, where = facts["scales"], facts["picture"] or f"shown above ({facts['inline']})"
    of = {"depth": facts["unit"], "sigma": facts["unit"], "weight": facts["weight"]}
    ends = [f"{name} {scale['low']:.3g} to {scale['high']:.3g} ({of[name]})" for name, scale in scales.items()]
    colours = f"; colours: {', '.join(ends)}" if ends else ""
    shown = f"{facts['dataset']}: {counted(len(facts['frames']), 'frame')}, stride {facts['stride']}{colours}"
    return f"{shown}\nrerun {shlex.quote(where)}" if where.endswith(".rrd") else f"{shown}\npicture: {where}"


def validate_text(facts: Facts) -> str:
    """Return what a validation found."""
    found, recomputed = facts["findings"], f"{facts['recomputed']} frames recomputed"
    if facts["seed"] is not None and facts["recomputed"] != facts["frames"]:
        recomputed += f" (drawn by --seed {facts['seed']})"
    lines = [
        f"{facts['cache']}: {facts['frames']} frames, {facts['chunks']} chunks decoded, {recomputed}: "
        + (counted(len(found), "finding") if found else "nothing wrong"),
        *_findings("", found),
        *_findings("warning: ", facts["warnings"]),
    ]
    rows = {"σ": (sigma_text(facts["sigma"]), facts["sigma"]), "depth": (_depth(facts["depth"]), facts["depth"])}
    lines += [f"{name:7}{text} in {of['frames']:,} frames" for name, (text, of) in rows.items() if text]
    if facts["cleared"]:
        lines.append(f"cleared {facts['cleared']} shards or groups: the next `precompute run` recomputes them")
    return "\n".join(lines)


def report_text(facts: Facts) -> str:
    """Return what a report found, and where it is."""
    checks = facts["checks"]
    held = sum(check["state"] == "holds" for check in checks)
    lines = [
        f"{facts['cache']}: {facts['looked_at']} of {facts['frames']} frames read, {held} of {len(checks)} checks hold",
        *(f"  {check['state']}: {check['name']}: {check['numbers']}" for check in checks if check["state"] != "holds"),
        *(f"  not read: {each['error']}" for each in facts["unreadable"][:SHOWN]),
        f"{facts['path']}, {human_bytes(facts['bytes'])}  (open it in a browser; it needs no network)",
    ]
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
    """Return the range of the depth of some frames, and what their pixels are; "" without any frame."""
    if not depth["frames"]:
        return ""
    least, most = depth["min_m"], depth["max_m"]
    reach = "no valid depth" if least is None else f"{metres(least, 3)} to {metres(most, 3)} m"
    shares = (f"{percent(depth[f'{kind}_share'])} {kind}" for kind in ("valid", "unknown", "far"))
    return f"{reach} (pixels: {', '.join(shares)})"


def sigma_text(sigma: Facts) -> str:
    """Return the range of σ of some frames; "" without any."""
    if sigma["min_m"] is None:
        return ""
    least, most, median, p95 = (metres(sigma[f"{name}_m"]) for name in ("min", "max", "median", "p95"))
    return f"{least} to {most} m, median {median} m, 95 % below {p95} m"
