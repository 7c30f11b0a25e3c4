"""What the Makefile calls exists, and is of the environment that it is given, activated or not."""

import importlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from pages import PAGES, ROOT

TARGETS = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
TOOLS = ("python", "pytest", "ruff", "mypy", "lint-imports", "sphinx-build")
NOTE = '#!/bin/sh\necho "$(basename "$0")" "$@" >> "$(dirname "$0")/called"\n'


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """An environment whose tools do nothing but note how they are called."""
    folder = tmp_path / "environment/bin"
    folder.mkdir(parents=True)
    for tool in TOOLS:
        (folder / tool).write_text(NOTE)
        (folder / tool).chmod(0o755)
    return folder


def called(target: str, environment: Path, tmp_path: Path) -> list[list[str]]:
    """Run a target where only the tools of the system are on the path; return its calls of the environment's tools."""
    (tmp_path / "tests/torture/results").mkdir(parents=True)
    (tmp_path / "benchmarks/results").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", tmp_path)
    command = [shutil.which("make") or "make", target, f"PYTHON={environment / 'python'}"]
    ran = subprocess.run(command, cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    notes = environment / "called"
    return [line.split() for line in notes.read_text().splitlines()] if notes.exists() else []


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_works_without_an_activated_environment(target: str, environment: Path, tmp_path: Path) -> None:
    calls = called(target, environment, tmp_path)
    assert bool(calls) == (target != "help")
    for tool, *arguments in calls:
        if tool == "python":
            assert (ROOT / arguments[0]).is_file()
        if tool == "pytest":
            assert all((ROOT / argument).exists() for argument in arguments if "/" in argument)


@pytest.mark.parametrize(("target", "folder"), [("torture", "tests/torture"), ("bench", "benchmarks")])
def test_every_result_is_made_by_a_target(target: str, folder: str, environment: Path, tmp_path: Path) -> None:
    scripts = [Path(arguments[0]) for _, *arguments in called(target, environment, tmp_path)]
    assert {script.parent for script in scripts} == {Path(folder)}
    assert {script.stem for script in scripts} == {path.stem for path in (ROOT / folder / "results").glob("*.json")}


def test_the_documents_name_targets_that_exist() -> None:
    for page in PAGES:
        named = re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(), re.MULTILINE)
        assert set(named) <= set(TARGETS), page.name


@pytest.mark.parametrize("script", sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py")))
def test_a_benchmark_finds_what_it_imports(script: str) -> None:
    """They use internals, and run rarely."""
    importlib.import_module(script)
