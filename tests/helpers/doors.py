"""What the tests of the doors share: a good frame, its camera, and what a refusal is."""

import io
import unicodedata
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from depthvar.datasets.errors import DepthVarError

HEIGHT, WIDTH = 24, 32
DEPTH = np.random.default_rng(0).uniform(1, 3, (HEIGHT, WIDTH)).astype(np.float32)
MILLIMETRES = np.round(DEPTH * 1000).astype(np.uint16)
KNOWN = DEPTH < 2.5
CAMERA = [40.0, 44.0, 15.5, 11.5]
MATRIX = [[40.0, 0, 15.5], [0, 44, 11.5], [0, 0, 1]]
NFC, NFD = (unicodedata.normalize(form, "Flügel") for form in ("NFC", "NFD"))


def refusal(act: Callable[[], object], message: str) -> None:
    """Assert that an act ends in an error of depthvar, of one printable line that matches."""
    with pytest.raises(DepthVarError, match=message) as caught:
        act()
    assert str(caught.value).isprintable()


def npy(values: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()
