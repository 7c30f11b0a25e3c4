"""What would be missing from a wheel or from an installation of it."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
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


def test_the_package_imports_what_it_declares_and_nothing_else() -> None:
    """Aside are pytest, which loads our plugin; triton, which torch brings for a GPU; and packages of extras."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
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
