"""Errors as one line and an exit code."""

import errno
from typing import Any

import click

from depthvar.datasets.errors import DepthVarError, ParameterError

from .interrupt import INTERRUPTED, cleaned_up


class Commands(click.Group):
    """Turns an error of depthvar, or of the machine, into one line and an exit code; a bug shows its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "precompute"
            click.echo(f"error: {error.format_message()} See `{command} --help`", err=True)
            ctx.exit(2)
        except DepthVarError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(2 if isinstance(error, ParameterError) else 1)
        except OSError as error:  # no space, no permission, no more open files: where no lower layer knew more
            if error.errno in (None, errno.EPIPE):  # a pipe that is closed ends a command quietly: click
                raise
            where = f"{error.filename}: " if error.filename else ""
            click.echo(f"error: {where}{error.strerror}; fix that and run the same command again", err=True)
            ctx.exit(1)
        except MemoryError as error:
            text = f" ({error})" if str(error) else ""
            click.echo(f"error: not enough memory{text}; nothing was changed by that: use fewer threads", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            cleaned_up()  # a second Ctrl-C, while threads end, ends the process
            kept = ": what is done is kept; the same command goes on from there"
            click.echo(f"interrupted{kept if ctx.invoked_subcommand == 'run' else ''}", err=True)
            ctx.exit(INTERRUPTED)
        finally:
            cleaned_up()
