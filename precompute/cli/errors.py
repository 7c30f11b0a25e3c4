"""Errors as one line and an exit code."""

import errno
from typing import Any

import click

from depthvar.datasets.errors import DepthVarError, ParameterError

from .interrupt import INTERRUPTED, cleaned_up
from .screen import say


class Commands(click.Group):
    """Turns an error of depthvar, or of the machine, into one line and an exit code; a bug shows its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "precompute"
            code, text = 2, f"error: {error.format_message()} See `{command} --help`"
        except DepthVarError as error:
            code, text = 2 if isinstance(error, ParameterError) else 1, f"error: {error}"
        except OSError as error:  # no space, no permission, no more open files: where no lower layer knew more
            if error.errno in (None, errno.EPIPE):  # a pipe that is closed ends a command quietly: click
                raise
            where = f"{error.filename}: " if error.filename else ""
            code, text = 1, f"error: {where}{error.strerror}; fix that and run the same command again"
        except MemoryError as error:
            detail = f" ({error})" if str(error) else ""
            code, text = 1, f"error: not enough memory{detail}; nothing was changed by that: use fewer threads"
        except KeyboardInterrupt:
            kept = ": what is done is kept; the same command goes on from there"
            code, text = INTERRUPTED, f"interrupted{kept if ctx.invoked_subcommand == 'run' else ''}"
        finally:
            cleaned_up()  # a second Ctrl-C, while threads end, ends the process
        say(text)
        raise click.exceptions.Exit(code)
