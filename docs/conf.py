"""The documentation site (Sphinx): `make site`. Its pages are the Markdown files of the repository as they are.

They are also read on GitHub, so what only the site needs is added here, as a page is read: the navigation at the end of
README.md, the list of decisions, and the docstrings of the Python reference.
"""

import importlib
from typing import Any, NewType

import numpy.typing
from sphinx.pycode import ModuleAnalyzer

# The navigation. A page that is missing here is a warning, and so an error of `make site`. Globs are sorted by name.
NAV = {
    "Recipes": [
        "docs/recipes/plain",
        "docs/recipes/dust3r",
        "docs/recipes/moge",
        "docs/recipes/pi3",
        "docs/loaders",
        "docs/migrating-from-online",
        "examples/README",
    ],
    "See it": [
        "docs/notebooks/ten_minutes",
        "docs/inspect",
        "docs/preview",
        "docs/report",
        "docs/watching",
        "docs/viewers",
        "docs/terminal",
        "docs/notebooks/choosing_a_loss",
    ],
    "Your data": ["docs/datasets", "docs/sparse-depth"],
    "Large data": ["docs/many-machines", "docs/scaling", "docs/object-stores"],
    "Understand it": ["docs/method", "docs/sweeps", "docs/evidence", "evidence/README", "evidence/results/*"],
    "Reference": [
        "docs/cli",
        "docs/python",
        "docs/reference/datasets",
        "docs/reference/precompute",
        "docs/reference/loss",
        "docs/format",
    ],
    "Promises and figures": ["docs/benchmarks", "docs/reliability", "tests/torture/README", "SECURITY"],
    "Project": ["CHANGELOG", "docs/decisions/README", "CONTRIBUTING"],
}
# Modules that the reference shows whole, after the public names of a package: what is imported from there by its path.
MODULES = {"depthvar.loss": ["depthvar.loss.pi3"]}

project, author, copyright = "depthvar", "the depthvar contributors", "the depthvar contributors, Apache-2.0"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "README"
include_patterns = ["*.md", "docs/**", "examples/README.md", "evidence/**.md", "tests/torture/README.md"]
exclude_patterns = [".*", "**/.*", "build", "data", "runs", "**/__pycache__", "**/node_modules"]

myst_heading_anchors = 4  # as GitHub's
nb_execution_mode = "off"  # a test runs the notebooks; the site shows the outputs that they hold
nb_ipywidgets_js = {}  # nothing from the network

default_role = "code"
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_typehints_description_target = "documented"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes as a list
napoleon_custom_sections = ["Returns"]  # as text: what comes before a colon is no type

html_theme = "furo"
html_title = "depthvar"
html_copy_source = False
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_extra_path = ["site_root"]  # index.html, which leads to README.html


# Signatures show this name, not the long union that it stands for.
numpy.typing.ArrayLike = NewType("ArrayLike", object)  # type: ignore[misc]
numpy.typing.ArrayLike.__module__ = "numpy.typing"


def toctree(pages: list[str], *options: str) -> str:
    """Return a list of links to pages, which is also a branch of the navigation."""
    return "\n".join(["", "```{toctree}", ":glob:", *options, "", *(f"/{page}" for page in pages), "```", ""])


def reference(module: str) -> str:
    """Return the directives that show the docstrings of the public names of a module."""
    lines = ["", "```{eval-rst}", f".. py:module:: {module}"]
    names = importlib.import_module(module).__all__
    for name in sorted(names, key=str.lower):
        public = getattr(importlib.import_module(module), name)
        kind = "class" if isinstance(public, type) else "function"
        lines += ["", f".. auto{kind}:: {module}.{name}"]
        code = ModuleAnalyzer.for_module(public.__module__)
        code.analyze()
        code.overloads.clear()  # one signature, not one for each overload
    for whole in MODULES.get(module, []):
        lines += ["", f".. automodule:: {whole}"]
    return "\n".join([*lines, "```", ""])


def add(app: Any, page: str, text: list[str]) -> None:
    """Add to a page what only the site shows."""
    if page == "README":
        text[0] += "".join(toctree(pages, f":caption: {name}", ":hidden:") for name, pages in NAV.items())
    elif page == "docs/decisions/README":
        text[0] += toctree(["docs/decisions/0*"])
    elif page.startswith("docs/reference/"):
        text[0] += reference(f"depthvar.{page.rpartition('/')[2]}")


def setup(app: Any) -> None:
    """Register what is above (Sphinx calls this)."""
    app.connect("source-read", add)
