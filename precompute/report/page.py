"""The page: facts and measures go into the template, with all of its styles and scripts inside."""

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined

from depthvar.datasets.errors import hide_credentials, one_line
from depthvar.datasets.frame import valid_depths
from depthvar.datasets.params import KernelParams, params_from_json
from depthvar.precompute.pictures.colour import FAR, UNKNOWN
from depthvar.precompute.pictures.weights import FORMS, OPTIONS

from . import charts
from .checks import Check
from .choose import RULES, Pick
from .measure import DISTANCE_NAMES, OCTAVES, RATIO, SIGMA, WEIGHT, Looked, Totals
from .tiles import MANTISSA_BITS, Scales, colour_tables

SCRIPTS = ("kernel.js", "viewer.js", "controls.js")
ROWS = 200  # of the table of sequences, at most
LEAST_SHARE = 1e-4  # of the pixels that a class of depth needs, so that the charts show it

FORM_NAMES = {
    "focus": "focus (focused_log_l1)",
    "inverse_sigma": "1/σ (weighted_l1)",
    "inverse_sqrt_sigma": "1/√σ",
    "relative": "relative",
    "inverse_sigma_and_depth": "1/σ and depth",
    "inverse_depth": "inverse depth (inverse_depth_l1)",
}
"""How the charts name the forms of ``weight_map``."""


def page(context: Mapping[str, Any]) -> str:
    """Return the page, one HTML file. Every text is escaped; only the script of this package can run in it."""
    folder = files(__package__) / "web"
    read = {name: (folder / name).read_text("utf-8") for name in ("report.html", "report.css", *SCRIPTS)}
    script = "\n".join(['"use strict";', *(read[name] for name in SCRIPTS)])
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    environment.filters |= {"number": charts.number, "plain": plain, "bytes": _bytes}
    template = environment.from_string(read["report.html"])
    return template.render(context, style=read["report.css"], script=script, script_digest=digest)


def shown_frames(picks: Sequence[Pick], pictures: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Return what the gallery shows of each frame."""
    return [
        {"key": pick.frame.key, "kind": pick.kind, "why": pick.why, "pictures": each}
        for pick, each in zip(picks, pictures, strict=True)
    ]


def viewer(
    parameters: Mapping[str, Any], picks: Sequence[Pick], numbers: Sequence[Mapping[str, Any]], scales: Scales
) -> dict[str, Any]:
    """Return what the viewer's JavaScript gets, JSON-ready."""
    params = params_from_json(parameters)
    least, most = valid_depths(parameters["max_depth"])
    computes = isinstance(params, KernelParams) and params.compat is None
    kernel = {
        "window": params.window,
        "lambdaPrior": params.lambda_prior,
        "alphaClamp": params.alpha_clamp,
        "minValid": getattr(params, "min_valid", 1),
        "quantisationStep": params.quantisation_step,
        "least": float(least),
        "most": float(most),
    }
    return {
        "frames": [{"key": pick.frame.key, **each} for pick, each in zip(picks, numbers, strict=True)],
        "mantissaBits": MANTISSA_BITS,
        "kernel": kernel if computes else None,
        "limits": {"least": float(least), "most": float(most)},
        "weights": OPTIONS,
        "tables": colour_tables(),
        "colours": {"unknown": UNKNOWN, "far": FAR},
        "scales": {name: scale._asdict() for name, scale in vars(scales).items()},
    }


def distributions(totals: Totals) -> dict[str, Any]:
    """Return the charts of σ, of σ/Z and of the weights, and the numbers behind them as tables."""
    found: dict[str, Any] = {
        "sigma": charts.histogram("σ: share of the pixels", SIGMA, totals.sigma, " m"),
        "ratio": charts.histogram("σ/Z: share of the pixels", RATIO, totals.ratio, ""),
        "weights": [
            (FORM_NAMES[form], charts.histogram(f"weight, {FORM_NAMES[form]}", WEIGHT, totals.weights[form], "", 360))
            for form in FORMS
        ],
        "quantiles": [
            (name, bins.quantiles(counts, (0.05, 0.25, 0.5, 0.75, 0.95)))
            for name, bins, counts in (
                ("σ in m", SIGMA, totals.sigma),
                ("σ/Z", RATIO, totals.ratio),
                *((f"weight, {FORM_NAMES[form]}", WEIGHT, totals.weights[form]) for form in FORMS),
            )
        ],
        "classes": [],
    }
    pixels = int(totals.ratio.sum())
    octaves = [_metres(2.0**power) for power in (*OCTAVES, OCTAVES.stop)]
    names = {
        "depth": [f"{low}–{high}" for low, high in pairwise(octaves)],
        "distance": DISTANCE_NAMES,
    }
    axes = {"depth": "depth in m", "distance": "pixels from an edge of the depth"}
    for kind, axis in axes.items() if pixels else ():
        counts = totals.ratio_by[kind].sum(1)
        kept = np.flatnonzero(counts > LEAST_SHARE * pixels).tolist()
        labels = [names[kind][place] for place in kept]
        spans = [RATIO.quantiles(totals.ratio_by[kind][place], (0.05, 0.5, 0.95)) or [] for place in kept]
        weights = {FORM_NAMES[form]: (totals.weight_by[kind][form][kept] / counts[kept]).tolist() for form in FORMS}
        rows = [
            (label, counts[place] / pixels, spans[row], [values[row] for values in weights.values()])
            for row, (label, place) in enumerate(zip(labels, kept, strict=True))
        ]
        found["classes"].append(
            {
                "axis": axis,
                "spans": charts.spans(f"σ/Z by {axis}", axis, labels, spans),
                "lines": charts.lines(f"Mean weight by {axis}", axis, labels, weights),
                "forms": list(weights),
                "rows": rows,
            }
        )
    return found


def sequences(groups: Sequence[Mapping[str, Any]], frames: Sequence[Looked]) -> dict[str, Any]:
    """Return the rows of the table of sequences: what the cache says, and what the frames looked at hold."""
    by_group: dict[str, list[Looked]] = {}
    for frame in frames:
        by_group.setdefault(frame.group, []).append(frame)
    rows = []
    for group in groups[:ROWS]:
        known = by_group.get(group["group"], [])
        reach = [frame.reach for frame in known if frame.reach is not None]
        rows.append(
            {
                "name": group["group"],
                "size": f"{group['width']}×{group['height']}",
                "done": group["done"],
                "failed": group["failed"],
                "left": group["frames"] - group["done"] - group["failed"],
                "looked": len(known),
                "share": _mid([frame.share for frame in known]),
                "reach": (min(low for low, _ in reach), max(high for _, high in reach)) if reach else None,
                **{
                    name: _mid([value for frame in known if (value := getattr(frame, name)) is not None])
                    for name in ("depth", "sigma", "ratio", "edges")
                },
            }
        )
    return {"rows": rows, "more": max(0, len(groups) - ROWS)}


def summary(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the totals of a cache."""
    groups, sizes = facts["groups"], Counter[str]()
    for group in groups:
        sizes[f"{group['width']}×{group['height']}"] += group["done"]
    return {
        "frames": sum(group["frames"] for group in groups),
        "done": sum(group["done"] for group in groups),
        "failed": sum(group["failed"] for group in groups),
        "sequences": len(groups),
        "sizes": [size for size, _ in sizes.most_common(3)],
        "more_sizes": max(0, len(sizes) - 3),
    }


def standing(checks: Sequence[Check]) -> str:
    """Return in words how many checks hold."""
    counts = Counter(check.state for check in checks)
    parts = [f"{counts['holds']} of {len(checks)} checks hold"]
    parts += [f"{counts['look']} to look at"] if counts["look"] else []
    parts += [f"{counts['not checked']} not checked"] if counts["not checked"] else []
    return ", ".join(parts)


def rules() -> dict[str, str]:
    """Return how frames are chosen, by kind."""
    return {str(kind): rule for kind, rule in RULES.items()}


def _mid(values: Sequence[float]) -> float | None:
    return median(values) if values else None


def _metres(value: float) -> str:
    return f"{value:g}" if value >= 1 else f"1/{1 / value:g}"


def plain(text: object) -> str:
    """Return foreign text on one line, without credentials."""
    return one_line(hide_credentials(str(text)))


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
