"""What would be missing from a wheel or from an installation of it."""

import ast
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from not_installed import not_installed

from depthvar.precompute.cli.main import main

ROOT = Path(__file__).parents[1]
FOLDERS = ("precompute", "loss", "datasets")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_every_package_folder_is_listed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {
        "depthvar." + ".".join(init.parent.relative_to(ROOT).parts)
        for folder in FOLDERS
        for init in (ROOT / folder).rglob("__init__.py")
    }
    assert found == set(listed)


def test_the_package_imports_what_it_declares_and_nothing_else() -> None:
    """Aside are pytest, which loads our plugin; triton, which torch brings for a GPU; and packages of extras."""
    declared = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["torch"]
    distributions = packages_distributions()
    aside = {"depthvar", "pytest", "triton", "dask_cuda", "s3fs", "lightning", "wandb", "rerun"}
    imported = {
        distributions[name][0].lower()  # Jinja2
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        for name in modules(ast.parse(path.read_text())) - {*sys.stdlib_module_names, *aside}
    }
    assert imported == {re.split("[<>=]", requirement)[0] for requirement in declared}


def modules(tree: ast.AST) -> set[str]:
    """Return the packages that a file imports, but for its own by a relative import."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.append(node.module)
    return {name.partition(".")[0] for name in names}


# A release


def test_the_version_is_that_of_the_command_and_of_the_citation() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == PROJECT["version"] == version("depthvar")
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()  # what the format requires
    assert cited["license"] == PROJECT["license"]
    assert [author["name"] for author in cited["authors"]] == [author["name"] for author in PROJECT["authors"]]
    assert all(work.keys() >= {"type", "title", "authors"} for work in cited["references"])
    assert CliRunner().invoke(main, ["--version"], prog_name="precompute").stdout.split()[-1] == PROJECT["version"]


def test_the_form_for_a_bug_asks_for_what_commands_print() -> None:
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/bug.yml").read_text())
    assert form.keys() >= {"name", "description", "body"}  # what GitHub requires
    assert all(field["type"] == "textarea" and field["attributes"]["label"] for field in form["body"])
    names = [field["id"] for field in form["body"]]
    assert len(set(names)) == len(names)
    asked = re.findall(r"`precompute (.*?)`", str(form))
    assert {"--version", "info CACHE --json"} <= set(asked)
    for words in asked:
        (answer,) = {CliRunner().invoke(main, [*words.replace("CACHE", "nowhere").split()]).exit_code}
        assert answer == (1 if "CACHE" in words else 2 if words == "inspect" else 0), words


def test_python_m_is_the_command_too() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "depthvar.precompute", "info", "nowhere"], capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("error: nowhere: no cache is there")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of what is committed, with a wheel and an sdist that were built there."""
    folder = tmp_path_factory.mktemp("release") / "clone"
    if not (ROOT / ".git").exists():
        not_installed("not a clone: no .git")
    call("git", "clone", "--quiet", "--depth=1", f"file://{ROOT}", folder)
    call(sys.executable, "-m", "build", "--no-isolation", folder)
    return folder


def call(*command: object, folder: Path | None = None) -> str:
    """Run a command, and return what it prints."""
    ran = subprocess.run([str(word) for word in command], cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.slow
def test_wheel_and_sdist_hold_the_package_and_nothing_else(clone: Path) -> None:
    (wheel,), (sdist,) = clone.glob("dist/*.whl"), clone.glob("dist/*.tar.gz")
    in_wheel = set(zipfile.ZipFile(wheel).namelist())
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    tracked = call("git", "ls-files", *FOLDERS, folder=clone).splitlines()
    assert {f"depthvar/{name}" for name in tracked} == {name for name in in_wheel if name.startswith("depthvar/")}
    assert {name.partition("/")[0] for name in in_wheel} == {"depthvar", f"depthvar-{PROJECT['version']}.dist-info"}
    assert {*tracked, "pyproject.toml", "README.md", "LICENSE", "CITATION.cff"} <= in_sdist
    assert {name.partition("/")[0] for name in in_sdist if "/" in name} == {*FOLDERS, "depthvar.egg-info"}


@pytest.mark.slow
def test_the_wheel_computes_and_reads_without_torch_in_a_new_environment(clone: Path, tmp_path: Path) -> None:
    call(sys.executable, "-m", "venv", tmp_path / "venv")
    tools, work = tmp_path / "venv/bin", tmp_path / "work"
    (wheel,) = clone.glob("dist/*.whl")
    installed = subprocess.run(
        [tools / "pip", "install", "--quiet", "--no-compile", wheel], capture_output=True, text=True
    )
    if installed.returncode:
        not_installed(f"pip cannot install the wheel: {installed.stderr[-300:]}")
    work.mkdir()
    call(tools / "precompute", "run", "--dataset", "hospital", folder=work)
    assert call(tools / "depthvar", "--version").split()[-1] == PROJECT["version"]
    code = """
from importlib.util import find_spec
from depthvar.datasets import SigmaCache, open_source
assert find_spec("torch") is None
frame = open_source("hospital-sample", "data/hospital-sample")[0]
view = {"depthmap": frame.depth, "camera_intrinsics": [[320, 0, 320], [0, 320, 240], [0, 0, 1]]}
SigmaCache("data/hospital-sample/sigma_Z2.zarr").annotate(view, frame.key)
assert view["sigma_Z2"].shape == (480, 640)
"""
    call(tools / "python", "-c", code, folder=work)
