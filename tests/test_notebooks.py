"""The notebooks of the documentation are what they print and draw when a user runs them."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from pages import ROOT

NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))
EXECUTE = ROOT / "docs/execute_notebooks.py"


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ("median 0.5991 m, 3 views", True),
        ("median  0.5992 m, 3 views", True),
        ("median 0.7 m, 3 views", False),
        ("median 0.5991 m, 4 views", False),
        ("median -0.5991 m, 3 views", False),
        ("mean 0.5991 m, 3 views", False),
        ("median 0.5991 m", False),
    ],
)
def test_another_text_is_noticed(new: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXECUTE.parent)
    import execute_notebooks

    assert execute_notebooks.same("median 0.5991 m, 3 views", new) is expected


@pytest.mark.slow
def test_they_run_and_print_what_is_stored() -> None:
    ran = subprocess.run([sys.executable, EXECUTE, "--check"], capture_output=True, text=True, timeout=590)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_small_plain_and_has_been_run(path: Path) -> None:
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert path.stat().st_size < 300_000
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert {output.output_type for output in outputs} == {"stream", "display_data"}
    assert all(output.get("name", "stdout") == "stdout" for output in outputs)
    assert sum("data" in output for output in outputs) >= 3
    assert not any(cell.metadata for cell in notebook.cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_links_lead_somewhere(path: Path) -> None:
    text = "\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown")
    targets = re.findall(r"\]\(([^)#]+)", text)
    assert targets
    assert all((path.parent / target).exists() for target in targets if "://" not in target)


def test_each_is_executed() -> None:
    listed = [path.name for path in NOTEBOOKS]
    assert all(f'"{name}"' in EXECUTE.read_text() for name in listed)
    assert len(listed) == 2
