"""What a shell completes: names of data sets, and files or folders. docs/terminal.md has how to turn it on."""

from glob import glob

import click
from click.shell_completion import CompletionItem


def data_sets(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Return the names that --dataset knows, and descriptions in this folder; else the shell completes files."""
    from depthvar.datasets.source.builtin import builtin_tables

    known = [*builtin_tables(), *sorted(glob("*.toml"))]
    found = [CompletionItem(name) for name in known if name.startswith(typed)]
    return found or files(_context, _parameter, typed)


def files(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Let the shell complete files."""
    return [CompletionItem(typed, type="file")]


def folders(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Let the shell complete folders: caches, data."""
    return [CompletionItem(typed, type="dir")]
