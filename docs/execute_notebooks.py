"""Execute the notebooks of docs/notebooks as a user would, and store them with their outputs.

python docs/execute_notebooks.py           execute them, and write them again
python docs/execute_notebooks.py --check   execute them, and report what they print that is not stored; write nothing

They run in the order of ``ORDER`` in a new folder that has what they use of a clone of the repository. Needs
``depthvar[notebooks]``.
"""

import base64
import io
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).parents[1]
NOTEBOOKS = Path("docs/notebooks")
ORDER = ("ten_minutes.ipynb", "choosing_a_loss.ipynb")  # the second uses the data that the first renders
SECONDS = 600  # of a cell
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")


def executed(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """Return a notebook after running it in a folder, without what differs between machines and times."""
    copy = nbformat.from_dict(notebook)
    NotebookClient(copy, timeout=SECONDS, record_timing=False, resources={"metadata": {"path": folder}}).execute()
    return plain(copy)


def plain(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return a notebook with pictures and text as its only outputs, and no metadata that an editor leaves."""
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number:02}", {}
        if cell.cell_type == "code":
            # A picture is an output; the text that stands for it, such as <Figure size …>, and what a line returns
            # that is not printed, are not.
            cell.outputs = [output for output in cell.outputs if output.output_type in ("stream", "display_data")]
            for output in cell.outputs:
                if "data" in output:
                    output.data, output.metadata = {"image/png": smaller(output.data["image/png"])}, {}
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def smaller(png: str) -> str:
    """Return a picture, a PNG in base64, with at most 256 colours: a third of the bytes."""
    packed = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(packed, "png", optimize=True)
    return base64.b64encode(packed.getvalue()).decode()


def printed(notebook: nbformat.NotebookNode) -> list[str]:
    """Return what each cell printed, and how many pictures it drew."""
    found = []
    for cell in notebook.cells:
        outputs: list[Any] = cell.get("outputs", [])
        text = "".join(output.get("text", "") for output in outputs)
        found.append(text + "<picture>\n" * sum("data" in output for output in outputs))
    return found


def same(old: str, new: str) -> bool:
    """Say whether two texts are equal up to 5 % in each number: CPUs round differently, and the last digit may flip."""
    words, numbers = zip(*((NUMBER.sub("#", text).split(), NUMBER.findall(text)) for text in (old, new)), strict=True)
    return words[0] == words[1] and np.allclose(*(np.array(each, float) for each in numbers), rtol=0.05, atol=1e-3)


def clone(folder: Path) -> Path:
    """Copy what the notebooks use of the repository to a folder; return where they run."""
    ignored = shutil.ignore_patterns("tests", "__pycache__")
    shutil.copytree(ROOT / "evidence", folder / "evidence", ignore=ignored)
    (folder / NOTEBOOKS).mkdir(parents=True)
    return folder / NOTEBOOKS


def main() -> int:
    """Write or check; return the exit code."""
    stale = []
    with tempfile.TemporaryDirectory() as folder:
        place = clone(Path(folder))
        for name in ORDER:
            path = ROOT / NOTEBOOKS / name
            stored = nbformat.read(path, as_version=4)
            now = executed(stored, place)
            if leak := re.search(re.escape(folder) + "|" + re.escape(str(Path.home())), nbformat.writes(now)):
                raise SystemExit(f"{name}: an output has a path of this machine, {leak[0]}: print it relative")
            if "--check" not in sys.argv[1:]:
                nbformat.write(now, path)
                continue
            for number, (old, new) in enumerate(zip(printed(stored), printed(now), strict=True)):
                if not same(old, new):
                    stale.append(f"{name}, cell {number}: expected the stored\n{old}\ngot\n{new}\nrun `make notebooks`")
    sys.stderr.write("\n".join(stale))
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
