"""The pictures of docs/terminal.md: commands typed into a real terminal (tmux) of 80 columns, its screen as SVG."""

import os
import sys
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent / "tests/helpers"))
CELL, LINE, MARGIN = 8.43, 18, 14  # pixels; a cell of a monospaced font of 14 pixels
STYLE = """\
text { font: 14px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #1f2328; white-space: pre }
rect { fill: #f6f8fa; stroke: #d1d9e0 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } rect { fill: #0d1117; stroke: #3d444d } }"""


def terminal_pictures() -> None:
    """Write them: a run that has come half way, its end, and the page of its cache."""
    from terminal import Terminal

    from depthvar.datasets.hospital.write import write_sample

    os.environ.pop("DEPTHVAR_DATA", None)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as folder:
        write_sample(Path(folder) / "data/hospital-sample")
        with Terminal(Path(folder), {"PATH": path}) as window:
            window.type("precompute run --dataset hospital --threads 1", "Enter")
            half = window.wait_for(r"\] (2\d|3\d)/48")
            write("terminal_run", half, "a run, half done: frames, frames a second, time left, bytes")
            done = window.wait_for(r"^next ")
            write("terminal_end", done, "the end of a run: what was done, where the time went, what to type next")
            info = ["$ precompute info data/hospital-sample/sigma_Z2.zarr"]
            info += window.run(info[0].removeprefix("$ "))
            write("terminal_info", info, "the page of a cache")


def write(name: str, lines: Sequence[str], what: str) -> None:
    """Write lines of 80 cells as docs/images/NAME.svg, which follows the reader's light or dark mode."""
    width, height = 80 * CELL + 2 * MARGIN, len(lines) * LINE + 2 * MARGIN
    texts = [
        f'<text x="{MARGIN}" y="{MARGIN + LINE * row + 13}" textLength="{len(line) * CELL:.1f}">{escape(line)}</text>'
        for row, line in enumerate(lines)
        if line
    ]
    size = f'width="{width:.0f}" height="{height}" viewBox="0 0 {width:.0f} {height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" xml:space="preserve">'
    frame = f'<rect x="0.5" y="0.5" width="{width - 1:.0f}" height="{height - 1}" rx="6"/>'
    parts = [head, f"<title>{escape(what)}</title>", f"<style>{STYLE}</style>", frame, *texts, "</svg>"]
    (DOCS / f"images/{name}.svg").write_text("\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    terminal_pictures()
