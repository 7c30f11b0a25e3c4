"""What the commands print: facts in, text out."""

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from depthvar.datasets.cache.bookkeeping import RowState, read_group
from depthvar.datasets.cache.format import level_name, level_shape
from depthvar.datasets.cache.index import read_root
from depthvar.datasets.cache.store import open_store
from depthvar.datasets.source.description import Description
from depthvar.precompute.pipeline.fingerprint import kernel_params

BYTES_PER_RAW_BYTE = 1.95 / (4 * 1.47)  # measured on real depth: benchmarks/cache.py


def human_bytes(count: float) -> str:
    """Return a size as people write it: 1.5 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def dry_run_text(facts: Mapping[str, Any]) -> str:
    """Return what a run would do."""
    lines = [
        f"{facts['dataset']}: {facts['frames']} frames → {facts['cache']}",
        f"would compute {facts['compute']} frames, check {facts['check']}, leave {facts['done']} as they are "
        f"({facts['shards']} shards)",
        f"would write about {human_bytes(facts['raw_bytes'] * BYTES_PER_RAW_BYTE)} "
        f"({human_bytes(facts['raw_bytes'])} before compression)",
    ]
    if "://" not in facts["cache"]:
        folder = next(folder for folder in Path(facts["cache"]).absolute().parents if folder.exists())
        lines[-1] += f"; {human_bytes(shutil.disk_usage(folder).free)} are free"
    return "\n".join(lines + _gone(facts, "would be removed") + _failures(facts["failed"]))


def run_text(facts: Mapping[str, Any]) -> str:
    """Return what a run did, and what to type next."""
    lines = [
        f"{facts['dataset']}: {facts['computed']} frames computed, {facts['unchanged']} unchanged, "
        f"{len(facts['failed'])} failed, of {facts['frames']}; {facts['seconds']:.1f} s, "
        f"{facts['frames_per_second']:.1f} frames/s",
        f"{facts['cache']}  (look at it: precompute info {facts['cache']})",
    ]
    return "\n".join(lines + _gone(facts, "removed") + _failures(facts["failed"]))


def _gone(facts: Mapping[str, Any], removed: str) -> list[str]:
    """Return a line on frames that are in the cache and not in the source, where there are any."""
    kept, pruned = facts["kept"], facts["pruned"]
    lines = [f"{_frames(kept)} of the cache {'is' if kept == 1 else 'are'} not in the source: kept; --prune removes "
             f"{'it' if kept == 1 else 'them'}"] if kept else []  # fmt: skip
    return lines + ([f"{_frames(pruned)} of the cache that the source does not have: {removed}"] if pruned else [])


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"


def _failures(failed: Sequence[Mapping[str, str]]) -> list[str]:
    if not failed:
        return []
    frames = (f"  {frame['key']}: {frame['error']}" for frame in failed)
    return ["failed frames (mend what each says, then run again):", *frames]


def cache_info(cache: str) -> dict[str, Any]:
    """Return what a cache holds: its attributes, and per group size, frames and how many of them are done."""
    store = open_store(cache)
    attributes = read_root(store, None)
    groups = []
    for name in attributes["groups"]:
        if (book := read_group(store, name, attributes["parameters"])) is None:
            continue
        groups.append(
            {
                "group": book.name,
                "height": book.layout.height,
                "width": book.layout.width,
                "frames": book.frames(),
                "done": book.count(RowState.DONE),
                "failed": book.count(RowState.FAILED),
                "shard_frames": book.layout.shard_frames,
            }
        )
    return (
        {"cache": cache}
        | attributes
        | {"estimator": kernel_params(attributes["parameters"]).estimator}
        | {"groups": groups, "bytes": _disk_bytes(cache)}
        | _per_pixel(groups, attributes, cache)
    )


def _disk_bytes(cache: str) -> int | None:
    if "://" in cache:
        return None
    sizes = 0
    for folder, _, names in os.walk(cache):
        for name in names:
            with suppress(FileNotFoundError):  # a run that goes on renames its files
                sizes += os.lstat(os.path.join(folder, name)).st_size
    return sizes


def _per_pixel(groups: list[dict[str, Any]], attributes: Mapping[str, Any], cache: str) -> dict[str, Any]:
    """Return stored bytes per native pixel, of stride 1 and of all strides together."""
    pixels = sum(group["done"] * group["height"] * group["width"] for group in groups)
    if "://" in cache or pixels == 0:
        return {}
    sizes = {
        stride: sum(_disk_bytes(os.path.join(cache, group["group"], level_name(stride))) or 0 for group in groups)
        for stride in attributes["parameters"]["strides"]
    }
    return {
        "bytes_per_pixel_stride_1": round(sizes[1] / pixels, 3),
        "bytes_per_pixel": round(sum(sizes.values()) / pixels, 3),
    }


def info_text(facts: Mapping[str, Any]) -> str:
    """Return the facts of ``cache_info`` for people."""
    groups, parameters = facts["groups"], facts["parameters"]
    done = sum(group["done"] for group in groups)
    failed = sum(group["failed"] for group in groups)
    frames = sum(group["frames"] for group in groups)
    shown = f"estimator {facts['estimator']}, " + ", ".join(
        f"{name} {parameters[name]}"
        for name in ("window", "lambda_prior", "alpha_clamp", "min_valid", "max_depth", "keepbits")
    )
    lines = [
        f"{facts['cache']}: σ_Z² in m² of {facts['dataset']} ({facts['camera_model']} camera), "
        f"format version {facts['format_version']}",
        f"frames       {done} done, {failed} failed, {frames - done - failed} not done, in {len(groups)} groups",
        f"strides      {', '.join(str(stride) for stride in parameters['strides'])}",
        f"parameters   {shown}" + (f", compat {parameters['compat']}" if parameters["compat"] else ""),
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
    drawn = "" if all_or_none else f" (the same ones: --seed {facts['seed']})"
    head = (
        f"{facts['cache']}: {facts['frames']} frames, {facts['chunks']} chunks decoded, "
        f"{facts['recomputed']} frames computed again{drawn}: "
    )
    many = "1 finding" if len(findings) == 1 else f"{len(findings)} findings"
    lines = [head + (many if findings else "nothing wrong")]
    lines += [
        f"  {level}{finding['check']}: {finding['where']}: expected {finding['expected']}, got {finding['got']}; "
        f"repair: {finding['repair']}"
        for level, found in (("", findings), ("warning: ", facts["warnings"]))
        for finding in found
    ]
    if facts["cleared"]:
        lines.append(f"cleared {facts['cleared']} shards or groups: the next `precompute run` computes them again")
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
    paragraphs.append("Your own: --dataset my.toml, a description beside the data (docs/datasets.md)")
    return "\n\n".join(paragraphs)
