"""The tables about data in docs/*.md: data sets, formats, sparse and rounded depth, mistakes that `inspect` finds."""

from speed_tables import result

from depthvar.datasets.source.catalogue import builtin_descriptions
from depthvar.precompute.cli import describe


def datasets_table() -> str:
    """Return the table of all data sets of docs/datasets.md, from their descriptions."""
    lines = ["| `--dataset` | what it is | depth | licence |", "|---|---|---|---|"]
    found = describe.unique(builtin_descriptions())
    for description in sorted(found, key=lambda each: each.names[0]):
        names = description.names
        known = ", ".join(f"`{name}`" for name in names) + ("" if description.verified else " *")
        what = f"[{description.summary}]({description.homepage})" if description.homepage else description.summary
        cells = known, what, describe.rule_text(description), description.licence
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join([*lines, "", f"\\* {describe.UNVERIFIED}"])


def formats_table() -> str:
    """Return the table of file formats of docs/datasets.md: how fast each is decoded, and by what else it could be."""
    measured = result("containers")
    lines = [
        "| format | ms | header, ms | damage not noticed | other decoders: time relative to ours |",
        "|---|---|---|---|---|",
    ]
    for name, decoders in measured["files"].items():
        ours, others = decoders["ours"], []
        for other, each in decoders.items():
            if "times_ours" in each and other != "ours":
                others.append(f"{other} {each['times_ours']:.2g}" + ("" if each["right"] else " (wrong values)"))
        cells = f"{ours['ms']:.2f}", f"{decoders['header']['ms']:.2f}", f"{100 * ours['unnoticed']:.0f} %"
        lines.append(f"| {name} | {' | '.join(cells)} | {', '.join(others)} |")
    machine = measured["machine"]
    about = f"CPU time of a 640×480 frame, {machine['cores']} cores of an {machine['cpu']}, medians of "
    return "\n".join([f"{about}{measured['rounds']} rounds.", "", *lines])


def sparse_table() -> str:
    """Return the table of min_valid on LiDAR frames, and on the scene with as few pixels."""
    measured = result("others_data/sparse_depth")
    head = ("`min_valid`", "KITTI: without a range", "σ / depth: median, 90 %, 99 %")
    head += ("scene: without a range", "rank correlation", "edges found")
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for least, real in measured["kitti"]["min_valid"].items():
        made = measured["thinned"]["min_valid"][least]
        parts = ", ".join(f"{100 * real[f'sigma_of_depth_{q}']:.2f} %" for q in (50, 90, 99))
        cells = [f"{100 * real['without_range']:.1f} %", parts, f"{100 * made['without_range']:.1f} %"]
        cells += [f"{made['rank_correlation']:.3f}", f"{100 * made['edges_found']:.0f} %"]
        lines.append(f"| {least} | {' | '.join(cells)} |")
    return "\n".join(lines)


def steps_table() -> str:
    """Return the table of what a quantisation step changes in σ; bands with at least 2 % of the pixels."""
    names = {"stored": "of the file", "sensor": "of the sensor"}
    head = ("data", "depth", "pixels", "step", "range: above 1 %, 10 %; median", "difference: above 1 %, 10 %; median")
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for data, each in result("others_data/quantisation")["data"].items():
        for depth, band in each["bands"].items():
            for name, about in names.items():
                if name in band["range"] and band["share"] >= 0.02:
                    both = [band[kind][name] for kind in ("range", "difference")]
                    changes = [
                        f"{100 * one['above_1_percent']:.0f} %, {100 * one['above_10_percent']:.0f} %; "
                        f"{one['median_ratio']:.2f}"
                        for one in both
                    ]
                    step = f"{both[0]['step_mm']:.3g} mm, {about}"
                    lines.append(f"| {data} | {depth} | {100 * band['share']:.0f} % | {step} | {' | '.join(changes)} |")
    return "\n".join(lines)


def exact_table() -> str:
    """Return the table of σ of rounded depth, relative to that of the exact depth with the variance of rounding."""
    lines = ["| depth | range: off, on | difference: off, on |", "|---|---|---|"]
    for depth, band in result("others_data/quantisation")["data"]["scene rounded to 10 mm"]["bands"].items():
        both = [band[kind]["of_exact"] for kind in ("range", "difference")]
        lines.append(f"| {depth} | " + " | ".join("{off:.2f}, {on:.2f}".format(**one) for one in both) + " |")
    return "\n".join(lines)


def mistakes_table() -> str:
    """Return the table of docs/inspect.md: mistakes made on purpose, found in the cases that can be told."""
    measured = result("others_data/inspect_mistakes")
    sets, right = measured["frames"], measured["right"]
    lines = [
        f"Frames: {', '.join(f'{count} of {name}' for name, count in sets.items())}. False alarms: "
        f"{right['false alarms']} in {right['frames and variants']} right frames and variants, "
        f"{right['false alarms of data sets']} in the {right['data sets']} data sets.",
        "",
        "| mistake | each frame alone: found of told (not told) | a data set's frames together |",
        "|---|---|---|",
    ]
    for name, each in measured["mistakes"].items():
        cells = [_told(each[kind]) if kind in each else "–" for kind in ("frames alone", "data sets")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _told(counts: dict[str, int]) -> str:
    found, told = counts["found"], counts["found"] + counts["missed"]
    return (f"{found} of {told}" if told else "none told") + (f" ({counts['untold']})" if counts["untold"] else "")
