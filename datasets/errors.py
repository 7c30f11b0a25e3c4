"""The errors of depthvar: one line each, saying what, where, expected, got and what to do.

Every error is a :class:`DepthVarError` and also the builtin that a caller would expect to catch.
"""


class DepthVarError(Exception):
    """Base of every error that depthvar raises on purpose; the command line prints it as one line."""

    def __str__(self) -> str:
        """Return the message as it was written (``KeyError`` and ``OSError`` would decorate it)."""
        return str(self.args[0]) if self.args else ""


class ParameterError(DepthVarError, ValueError):
    """A parameter, shape or dtype that a caller passed is not one of those allowed."""


class DescriptionError(DepthVarError, ValueError):
    """A data set is unknown, or its description (TOML) has an unknown, missing or impossible field."""


class SourceError(DepthVarError, OSError):
    """A source file or folder is missing, unreadable, truncated, or not what the description says."""


class CacheError(DepthVarError, OSError):
    """A cache is missing, damaged, of another format or of other parameters."""


class FrameNotFoundError(CacheError, KeyError):
    """The cache does not list the frame, or has not computed it."""
