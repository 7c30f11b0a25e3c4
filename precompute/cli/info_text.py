"""The page of ``precompute info``: totals first, then the sequences, folded by their folders."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from depthvar.datasets.cache.format import without_size

from .numbers import counted, human_bytes, percent
from .screen import LABEL_CELLS, cells
from .text import sigma_text

LINES = 10  # of sequences or folders, and of incomplete ones
SIZES = 2  # of frames, in a line

Facts = Mapping[str, Any]


def info_text(facts: Facts, every: bool = False) -> str:
    """Return the facts of ``cache_info`` for people; ``every``: a line for each sequence."""
    groups, given, sigma = facts["groups"], facts["parameters"], facts["sigma"]
    ranges = ("window", "lambda_prior", "alpha_clamp", "min_valid", "compat")
    names = ("estimator", *ranges, "quantisation_step", "max_depth", "keepbits", "keep")
    sequences = _by_sequence(groups)
    total = _Part.of(list(sequences.values()))
    rows = {"frames": f"{total.progress()}, in {counted(len(sequences), 'sequence')}"}
    if facts["bytes"] is not None:
        rows["size"] = human_bytes(facts["bytes"])
        if "bytes_per_pixel" in facts:
            every_stride, first = facts["bytes_per_pixel"], facts["bytes_per_pixel_stride_1"]
            rows["size"] += f"; {every_stride:.2f} bytes a pixel for all strides, {first:.2f} for stride 1"
            if "bytes_per_pixel_edge" in facts:
                rows["size"] += f"; {facts['bytes_per_pixel_edge']:.2f} for edge"
    if sigma["frames"]:
        rows["σ"] = sigma_text(sigma) or "none"
        rows["pixels"] = f"{percent(sigma['finite_share'])} have a σ (as seen in {sigma['frames']:,} of "
        rows["pixels"] += f"{total.done:,} frames, evenly spread)"
    if facts["unreadable"]:
        rows["damaged"] = f"{facts['unreadable']} of the frames looked at cannot be read: precompute validate"
    rows |= {
        "strides": ", ".join(map(str, given["strides"])),
        "parameters": ", ".join(f"{name} {_value(given[name])}" for name in names if given.get(name) is not None),
        "engine": f"{facts['engine']}; " + ", ".join(map(" ".join, facts["software"].items())),
        "fingerprint": facts["fingerprint"][:16],
    }
    lines = [
        facts["cache"],
        f"σ_Z² in m² of {facts['dataset']}, {facts['camera_model']} camera, format version {facts['format_version']}",
        "",
        *(f"{name:13}{row}" for name, row in rows.items()),
    ]
    return "\n".join([*lines, "", *_sequence_lines(sequences, every)] if sequences else lines)


def _value(value: Any) -> str:
    return " ".join(value) if isinstance(value, list) else str(value)


@dataclass(frozen=True)
class _Part:
    """Some sequences of a cache."""

    sequences: int
    done: int  # frames
    failed: int
    frames: int  # done, failed or not done
    sizes: frozenset[tuple[int, int]]  # width, height

    @classmethod
    def of(cls, parts: "Collection[_Part]", sequences: int | None = None) -> "_Part":
        """Return several as one; ``sequences``: so many, where they are groups of one."""
        return cls(
            sum(part.sequences for part in parts) if sequences is None else sequences,
            sum(part.done for part in parts),
            sum(part.failed for part in parts),
            sum(part.frames for part in parts),
            frozenset().union(*(part.sizes for part in parts)),
        )

    @property
    def complete(self) -> bool:
        return self.done == self.frames

    def progress(self) -> str:
        if self.complete:
            return f"{counted(self.frames, 'frame')} done"
        left = self.frames - self.done - self.failed
        return f"{self.done:,} of {counted(self.frames, 'frame')} done" + "".join(
            f", {count:,} {what}" for what, count in {"failed": self.failed, "not done": left}.items() if count
        )

    def size(self) -> str:
        shown = ", ".join(f"{width}×{height}" for width, height in sorted(self.sizes))
        return shown if len(self.sizes) <= SIZES else f"{len(self.sizes):,} sizes"


def _by_sequence(groups: Sequence[Facts]) -> dict[str, _Part]:
    """Return each sequence, with its frames of all sizes."""
    found = defaultdict(list)
    for group in groups:
        size = frozenset([(group["width"], group["height"])])
        part = _Part(1, group["done"], group["failed"], group["frames"], size)
        found[without_size(group["group"])].append(part)
    return {name: _Part.of(parts, sequences=1) for name, parts in found.items()}


def _sequence_lines(sequences: Mapping[str, _Part], every: bool) -> Iterator[str]:
    yield "sequences (width × height)"
    if every or len(sequences) <= LINES:
        yield from _table(sequences)
        return
    yield from _first(_folded(sequences))
    if incomplete := {name: part for name, part in sequences.items() if not part.complete}:
        yield "not complete"
        yield from _first(incomplete)
    yield "each sequence: --sequences"


def _first(parts: Mapping[str, _Part]) -> Iterator[str]:
    """Yield a line for each, or for the first ones and one for the rest."""
    shown = len(parts) if len(parts) <= LINES else LINES - 1
    yield from _table(dict(islice(parts.items(), shown)))
    if rest := list(islice(parts.values(), shown, None)):
        whole = _Part.of(rest)
        yield f"  … and {counted(whole.sequences, 'more sequence')}  {whole.progress()}  {whole.size()}"


def _folded(sequences: Mapping[str, _Part]) -> dict[str, _Part]:
    """Return the sequences, or the deepest folders above them that are few enough for a page."""
    split = {name: name.split("/") for name in sequences}
    folders: dict[str, list[_Part]] = {}
    for depth in range(max(map(len, split.values())), 0, -1):
        folders = defaultdict(list)
        for name, folder in split.items():
            folders["/".join(folder[:depth]) + "/" * (len(folder) > depth)].append(sequences[name])
        if len(folders) <= LINES:
            break
    return {name: _Part.of(parts) for name, parts in folders.items()}


def _table(parts: Mapping[str, _Part]) -> Iterator[str]:
    width = min(max(map(cells, parts)), LABEL_CELLS - 4)
    for name, part in parts.items():
        inside = f"{counted(part.sequences, 'sequence')}, " if name.endswith("/") else ""
        yield f"  {name}{' ' * (width - cells(name))}  {inside}{part.progress()}  {part.size()}"
