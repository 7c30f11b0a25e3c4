"""A browser without a window: the Chromium of the machine (`apt-get install chromium`), driven by playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from not_installed import not_installed

OPTIONS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]


@contextmanager
def chromium() -> Iterator[Any]:
    """Start a browser of playwright."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        not_installed("playwright is not installed: pip install playwright")
    if (program := shutil.which("chromium")) is None:
        not_installed("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=OPTIONS)
        yield browser
        browser.close()
