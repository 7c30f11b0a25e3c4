"""Numba's ``njit``, also where nothing compiled can be kept; and a line in the log when Numba compiles."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numba
from numba.core import event

_LOG = logging.getLogger("depthvar")


def njit(*signature: Any, cache: bool = False, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return Numba's decorator. Without a writable folder next to the module, or in the home, nothing is kept.

    Numba itself would raise an error there (a read-only installation used without a home); so every process compiles
    again.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        if cache:
            try:
                return numba.njit(*signature, cache=True, **options)(function)
            except RuntimeError as error:
                if "no locator available" not in str(error):
                    raise
        return numba.njit(*signature, **options)(function)

    return decorate


class _FirstCompilation(event.Listener):  # type: ignore[misc]
    """Logs one line when Numba begins to compile, which it does not where it finds the code in its cache."""

    def __init__(self, what: str, seconds: int) -> None:
        self._what, self._seconds, self._said = what, seconds, False

    def on_start(self, event: Any) -> None:
        if self._said:
            return
        self._said = True
        where = event.data["dispatcher"].stats.cache_path
        kept = f"once, about {self._seconds} s; cached in {where}"
        if not where:
            kept = f"about {self._seconds} s in every process: set NUMBA_CACHE_DIR to a folder that can be written"
        _LOG.info("compiling %s for this machine (%s)", self._what, kept)

    def on_end(self, event: Any) -> None:
        """Do nothing: the base class asks for it."""


@contextmanager
def announced(what: str, seconds: int) -> Iterator[None]:
    """Log one line (logger ``depthvar``, INFO) if anything is compiled in this block, as soon as that begins.

    Args:
        what: is compiled.
        seconds: how long that takes without a cache, on a machine of 2023; only for the line.
    """
    with event.install_listener("numba:compile", _FirstCompilation(what, seconds)):
        yield
