"""What the commands print: facts in, text out."""

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from depthvar.datasets.cache.format import FAILED, NOT_DONE, level_name, level_shape
from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import CacheError
from depthvar.datasets.source.description import Description
from depthvar.precompute.pipeline import store
from depthvar.precompute.pipeline.fingerprint import kernel_params
from depthvar.precompute.pipeline.stored import stored_groups

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
    return "\n".join(lines + _failures(facts["failed"]))


def run_text(facts: Mapping[str, Any]) -> str:
    """Return what a run did, and what to type next."""
    lines = [
        f"{facts['dataset']}: {facts['computed']} frames computed, {facts['unchanged']} unchanged, "
        f"{len(facts['failed'])} failed, of {facts['frames']}; {facts['seconds']:.1f} s, "
        f"{facts['frames_per_second']:.1f} frames/s",
        f"{facts['cache']}  (look at it: precompute info {facts['cache']})",
    ]
    return "\n".join(lines + _failures(facts["failed"]))


def _failures(failed: Sequence[Mapping[str, str]]) -> list[str]:
    if not failed:
        return []
    frames = (f"  {frame['key']}: {frame['error']}" for frame in failed)
    return ["failed frames (mend what each says, then run again):", *frames]


def cache_info(cache: str) -> dict[str, Any]:
    """Return what a cache holds: its attributes, and per group size, frames and how many of them are done."""
    attributes = SigmaCache(cache).attributes
    root = store.open_existing(cache)
    if root is None:
        raise CacheError(f"{cache}: no cache is there; write one with `precompute run`, or check the path")
    groups = []
    for group in stored_groups(root, attributes):
        digests = [row.tobytes() for row, key in zip(group.digest, group.keys, strict=True) if key]
        failed = sum(digest == FAILED for digest in digests)
        gone = sum(digest == NOT_DONE for digest in digests)
        groups.append(
            {
                "group": group.name,
                "height": group.layout.height,
                "width": group.layout.width,
                "rows": len(group.keys),
                "done": len(digests) - failed - gone,
                "failed": failed,
                "shard_frames": group.layout.shard_frames,
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
    rows = sum(group["rows"] for group in groups)
    shown = f"estimator {facts['estimator']}, " + ", ".join(
        f"{name} {parameters[name]}"
        for name in ("window", "lambda_prior", "alpha_clamp", "min_valid", "max_depth", "keepbits")
    )
    lines = [
        f"{facts['cache']}: σ_Z² in m² of {facts['dataset']} ({facts['camera_model']} camera), "
        f"format version {facts['format_version']}",
        f"frames       {done} done, {failed} failed, {rows - done - failed} not done, in {len(groups)} groups",
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
        lines.append(f"  {group['group']:24} {group['done']:6}/{group['rows']} frames  {shapes}")
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
