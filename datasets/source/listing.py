"""The keys of a data set's frames, sorted and checked."""

import os
from collections.abc import Callable, Iterable

from depthvar.datasets.errors import CONTROL, SourceError, StoreError


def checked_keys(
    list_keys: Callable[[], Iterable[str]], where: str, template: str, found: Callable[[], str]
) -> list[str]:
    """Return sorted keys.

    Args:
        list_keys: returns the keys of all frames, in any order; OSError where a folder cannot be listed.
        where: the root, for messages.
        template: of the depth files, for messages.
        found: returns what is there where no file matches.

    Raises:
        SourceError: there is no frame, a folder cannot be read, or a name is not UTF-8 or has control characters.
    """
    try:
        keys = sorted(list_keys())
        "".join(keys).encode()
    except UnicodeEncodeError as error:
        name = next(key for key in keys if key.encode(errors="ignore").decode() != key)
        shown = os.fsencode(name).decode(errors="backslashreplace")
        raise SourceError(f"{where}/{shown}: expected a name in UTF-8, got other bytes; rename it") from error
    except (SourceError, StoreError):
        raise
    except OSError as error:
        raise SourceError(f"{error.filename}: cannot be listed ({error.strerror}): check the folder") from error
    if CONTROL.search("".join(keys)):
        name = next(key for key in keys if CONTROL.search(key))
        raise SourceError(f"{where}/{name}: expected no control characters in file names; rename the file")
    if not keys:
        raise SourceError(
            f"{where}: no depth file matches '{template}', found {found()}: "
            "check --root, or --pattern and the description"
        )
    return keys
