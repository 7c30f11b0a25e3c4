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
    """Write a PNG; the file is complete, or what it was before. ParameterError as :func:`check_target`."""
    check_target(path)
    partial = f"{path}.{uuid.uuid4().hex}.partial"
    try:
        Path(partial).write_bytes(png(picture))
        os.replace(partial, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(partial)


def png(picture: Image.Image) -> bytes:
    """Return the bytes of a PNG."""
    drawn = BytesIO()
    picture.save(drawn, "PNG")
    return drawn.getvalue()
