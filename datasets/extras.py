"""Libraries that only a part of depthvar needs: the extras in pyproject.toml. A missing one is one line."""

import importlib
from typing import Any

from .errors import MissingLibraryError

WITHOUT_A_GPU = "; without a GPU the small build: pip install torch --index-url https://download.pytorch.org/whl/cpu"


def library(name: str, extra: str, what: str, otherwise: str = "") -> Any:
    """Return a module; MissingLibraryError, which names the extra, where it is not installed.

    Args:
        name: of the module.
        extra: that brings it.
        what: needs it, the first words of the message.
        otherwise: what else a user can do, the end of the message.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingLibraryError(
            f"{what} needs {name.replace('_', '-')}, which is not installed: pip install 'depthvar[{extra}]'{otherwise}"
        ) from error


def need_torch(what: str) -> None:
    """Raise MissingLibraryError where torch is not installed; ``what`` needs it."""
    library("torch", "torch", what, WITHOUT_A_GPU)
