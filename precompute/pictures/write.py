"""Pictures in files: what the suffix of a name means, and files that are whole or not there."""

import os
import uuid
from contextlib import suppress
from io import BytesIO
from pathlib import Path

from PIL import Image

from depthvar.datasets.errors import ParameterError
from depthvar.datasets.paths import is_url


def check_target(path: str, suffixes: tuple[str, ...] = (".png",)) -> None:
    """Raise ParameterError where no file with one of these suffixes can be written, before any work is done."""
    if is_url(path) or not path.lower().endswith(suffixes):
        raise ParameterError(f"--out: expected a file that ends in {' or '.join(suffixes)}, got {path!r}")
    if not Path(path).absolute().parent.is_dir():
        raise ParameterError(f"--out: expected a file in a folder that is there, got {path!r}")


def write_png(picture: Image.Image, path: str) -> None:
    """Write a PNG. ParameterError as :func:`check_target`."""
    check_target(path)
    write_whole(path, png(picture))


def write_whole(path: str, data: bytes) -> None:
    """Write a file under another name and rename it: it is complete, or what it was before."""
    partial = f"{path}.{uuid.uuid4().hex}.partial"
    try:
        Path(partial).write_bytes(data)
        os.replace(partial, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(partial)


def png(picture: Image.Image) -> bytes:
    """Return the bytes of a PNG."""
    drawn = BytesIO()
    picture.save(drawn, "PNG")
    return drawn.getvalue()
