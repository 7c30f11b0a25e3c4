"""The commands that need no cache: ``datasets`` and ``demo``."""

import json
from pathlib import Path

import click

from .complete import data_sets, folders
from .options import write_demo
from .screen import show


@click.command()
@click.argument("name", required=False, shell_complete=data_sets)
@click.option("--json", "as_json", is_flag=True, help="Print the descriptions as JSON.")
def datasets(name: str | None, as_json: bool) -> None:
    """List the data sets that --dataset knows, or show all about NAME.

    NAME can also be a description of your own (.toml).

    \b
    Example:
      precompute datasets hypersim
    """
    from depthvar.datasets.source.catalogue import builtin_descriptions, find_description

    from . import describe

    found = builtin_descriptions() if name is None else {name: find_description(name)}
    if as_json:
        tables = {known: description.to_dict() for known, description in found.items()}
        click.echo(json.dumps(tables, ensure_ascii=False))
    else:
        show(describe.list_text(found) if name is None else describe.page_text(name, found[name]))


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path), shell_complete=folders)
def demo(folder: Path) -> None:
    """Write the built-in hospital scene to DIR.

    48 ray-cast frames of 640×480, in the file layout of TartanAir.

    \b
    Example:
      precompute demo data/hospital-sample
    """
    write_demo(folder)
    click.echo(folder)
