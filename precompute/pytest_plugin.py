"""Fixtures for the tests of a training: is the σ² of its loader right, and is its cache?

pytest loads this module at its start, so nothing heavy is imported before a fixture's check is called.
"""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="session")
def depthvar_check_loader() -> Callable[..., None]:
    """``depthvar_check_loader(views, cache, key=...)`` fails with what ``precompute.check_loader`` finds."""

    def check(*arguments: Any, **options: Any) -> None:
        from .loader_check.check import check_loader

        report = check_loader(*arguments, **options)
        if report.findings:
            pytest.fail(str(report), pytrace=False)

    return check


@pytest.fixture(scope="session")
def depthvar_check_cache() -> Callable[..., None]:
    """``depthvar_check_cache(path, root=None, recompute=8, full=False)`` fails with what ``precompute validate`` finds.

    ``root`` is the folder of the depth; by default the one that holds the cache. ``recompute`` random frames are
    recomputed, or every frame (``full``); with ``recompute=0`` the cache is checked by itself, without its depth.
    """

    def check(path: Any, root: Any = None, **options: Any) -> None:
        from depthvar.datasets.errors import DepthVarError

        from .cli.text import validate_text
        from .validation.validate import validate

        try:
            report = validate(path, root, **options)
            failure = validate_text(report.to_json()) if report.findings else ""
        except DepthVarError as error:
            failure = str(error)
        if failure:  # not inside of the handler, where pytest would show both
            pytest.fail(failure, pytrace=False)

    return check
