"""The errors of depthvar: one line each, saying what, where, expected, got and what to do.

Every error is a :class:`DepthVarError` and also the builtin that a caller would expect to catch.
"""

import re
from typing import Any

# What would break a line, steer a terminal, or cannot be encoded.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_RAISED_AGAIN = re.compile(r"Caught \w+ in [^\n]*\.\nOriginal Traceback \(most recent call last\):\n")
_USER = re.compile(r"""(?<=://)(?:[^\s'"@/]*|[^\s'"@]*:[^\s'"@]*)@""")  # a secret key may hold a slash
_QUERY = re.compile(r"""(://[^\s'"?]*)\?[^\s'"]*[^\s'":;,.)]""")  # signatures and tokens
_NAMED = re.compile(r"""(?i)(\b(?:access_token|AccountKey|SharedAccessSignature)|[?&]sig)=[^\s'":;,)]+""")  # of clouds


def hide_credentials(text: str) -> str:
    """Return text with ``***`` for the user, password and query of each URL, and for keys of connection strings."""
    text = _NAMED.sub(r"\1=***", text) if "=" in text else text
    return _QUERY.sub(r"\1?***", _USER.sub("***@", text)) if "://" in text else text


def one_line(text: str) -> str:
    """Return text with its control characters escaped."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class DepthVarError(Exception):
    """Base of every error that depthvar raises on purpose; the command line prints it as one line.

    What a DataLoader's worker raised has more lines in the main process: torch puts the worker's traceback before it.

    What names of files and other libraries bring into the message is made harmless: control characters are escaped,
    and the credentials of URLs hidden.
    """

    def __init__(self, message: str = "") -> None:
        # torch raises an error of a DataLoader's worker again with the whole traceback for its message.
        lines = message.split("\n") if _RAISED_AGAIN.match(message) else [message]
        super().__init__("\n".join(one_line(hide_credentials(line)) for line in lines))

    def __str__(self) -> str:
        """Return the message as it was written (``KeyError`` and ``OSError`` would decorate it)."""
        return str(self.args[0]) if self.args else ""


class ParameterError(DepthVarError, ValueError):
    """A parameter, shape or dtype that a caller passed is not one of those allowed."""


class DescriptionError(DepthVarError, ValueError):
    """A data set is unknown, or its description (TOML) has an unknown, missing or impossible field."""


class SourceError(DepthVarError, OSError):
    """A source file or folder is missing, unreadable, truncated, or not as described."""


class StoreError(DepthVarError, OSError):
    """Data at a URL cannot be reached: a package is missing, or its server refuses or fails.

    That is no fault of a frame: a run stops, also with ``on_error="skip"``.
    """


class MissingLibraryError(DepthVarError, ImportError):
    """A library that only a part of depthvar needs is not installed; the message names the extra that brings it."""


class CacheError(DepthVarError, OSError):
    """A cache is missing, damaged, of another format or of other parameters."""


class DamagedError(CacheError):
    """Stored bytes are not what a run wrote: a checksum does not match, or something is cut short, lost or foreign.

    Never raised for a fault of the machine (memory, permission, open files, a failing disk).

    Attributes:
        where: the file, group or frame.
        reason: what was expected and found.
    """

    def __init__(self, where: str, reason: str | None = None) -> None:
        self.where, self.reason = where, reason
        # A DataLoader raises a worker's error again from its message alone.
        repair = "`precompute validate --clear` and then `precompute run` repair it"
        super().__init__(where if reason is None else f"{where}: damaged ({reason}); {repair}")

    def __reduce__(self) -> tuple[Any, ...]:
        return DamagedError, (self.where, self.reason)


class FrameNotFoundError(CacheError, KeyError):
    """The cache does not list the frame, or has not computed it."""
