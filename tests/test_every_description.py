"""Laws of all descriptions of the package: each is tested, says where it is from, and prints."""

import ast
import unicodedata
from pathlib import Path

import pytest
from click.testing import CliRunner

from depthvar.datasets.source.catalogue import FOLDER, builtin_descriptions, find_description
from depthvar.precompute.cli.main import main

TESTS = (
    "test_layouts_*.py",
    "test_readers.py",
    "test_number_descriptions.py",
)  # they write trees of data sets and read them
FIRST_NAMES = sorted({description.names[0] for description in builtin_descriptions().values()})


def names_in(path: Path) -> set[str]:
    """Return the data sets in a Python file: words of texts that consist of nothing else."""
    constants = (node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
    texts = (value.split() for value in constants if isinstance(value, str))
    known = builtin_descriptions().keys()
    return {word for words in texts if known >= set(words) for word in words}


def test_every_description_is_tested() -> None:
    files = [file for pattern in TESTS for file in Path(__file__).parent.glob(pattern)]
    tested = {name for file in files for name in names_in(file)}
    untested = [name for name in FIRST_NAMES if name not in tested]
    assert not untested, f"write a tiny tree of each and read it, as {', '.join(TESTS)} do"


@pytest.mark.parametrize("name", FIRST_NAMES)
def test_a_description_says_where_its_data_is_from(name: str) -> None:
    description = find_description(name)
    assert len(description.summary) < 140  # the list is read in a terminal
    if name != "folder":  # which is nobody's
        for field in ("homepage", "licence", "citation", "size", "quality"):
            assert getattr(description, field).strip(), field
        assert description.homepage.startswith("https://") or description.homepage.startswith("http://")


def test_descriptions_hold_no_control_characters() -> None:
    files = list(FOLDER.glob("*.toml"))
    assert len(files) >= len(FIRST_NAMES)
    for file in files:
        odd = {c for c in file.read_text(encoding="utf-8") if unicodedata.category(c) in ("Cc", "Cf") and c != "\n"}
        assert not odd, file.name


@pytest.mark.parametrize("name", FIRST_NAMES)
def test_a_description_prints(name: str) -> None:
    result = CliRunner().invoke(main, ["datasets", name])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == name
    assert f"precompute run --dataset {name} " in lines[-1]
    description = find_description(name)
    for text in (description.summary, description.depth_path, description.licence, *description.notes):
        assert " ".join(text.split()) in " ".join(result.output.split())
