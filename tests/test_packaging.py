"""What would be missing from a wheel, and layers that import-linter cannot see at run time."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("precompute", "loss", "datasets")


def test_every_package_folder_is_listed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {
        "depthvar." + ".".join(init.parent.relative_to(ROOT).parts)
        for folder in FOLDERS
        for init in (ROOT / folder).rglob("__init__.py")
    }
    assert found == set(listed)


def test_every_public_name_resolves() -> None:
    code = (
        "import depthvar.datasets as d, depthvar.precompute as p, depthvar.loss as l\n"
        "for module in (d, p, l):\n"
        "    for name in module.__all__: getattr(module, name)\n"
        "try: d.nothing\n"
        "except AttributeError as error: print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "module 'depthvar.datasets' has no attribute 'nothing'\n"


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    note = (ROOT / "docs/decisions/0002-dependencies.md").read_text()
    for dependency in project["dependencies"]:
        name = dependency.split(">")[0]
        assert name in note.split("Extras:")[0], f"{name} has no line in 0002-dependencies.md"
