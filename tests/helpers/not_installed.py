"""What a test needs beyond `pip install`: skipped without it, and a failure in CI."""

import os
from typing import NoReturn

import pytest


def not_installed(message: str) -> NoReturn:
    """Skip the test that asks; where CI=true, fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
