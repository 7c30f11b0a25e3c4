"""A picture in a real terminal, xterm.js, which VS Code has too: its add-on shows the inline images of iTerm2."""

from base64 import b64decode, b64encode
from pathlib import Path

import numpy as np
import pytest
from chromium import chromium
from click.testing import CliRunner
from npm import names_no_registry, npm_install
from PIL import Image
from tiny_data import TinyData

from depthvar.precompute.cli.main import main

XTERM = Path(__file__).parent / "xterm"


@pytest.mark.slow
def test_xterm_js_shows_the_picture_above_what_is_said(tiny: TinyData, tmp_path: Path) -> None:
    npm_install(XTERM, tmp_path / "xterm", "xterm.js")
    command = ["preview", "--dataset", str(tiny.toml), "--frames", "2"]
    assert CliRunner().invoke(main, [*command, "-o", str(tmp_path / "sheet.png")]).exit_code == 0
    sheet = Image.open(tmp_path / "sheet.png").convert("RGBA")
    shown = CliRunner(env={"COLUMNS": "100"}).invoke(main, [*command, "--inline", "iterm"])
    assert shown.exit_code == 0
    with chromium() as browser:
        page = browser.new_page()
        page.goto((tmp_path / "xterm/page.html").as_uri())
        lines = page.evaluate("show", b64encode(shown.stdout.encode()).decode())
        picture = page.evaluate("pictureAt(0, 0)")
        below = [page.evaluate(f"pictureAt(0, {row})") for row, line in enumerate(lines) if line]
    pixels = np.frombuffer(b64decode(picture["pixels"]), np.uint8).reshape(picture["height"], picture["width"], 4)
    height, width = pixels.shape[:2]
    assert width < sheet.width  # the terminal has reduced it to its 100 columns
    assert height / width == pytest.approx(sheet.height / sheet.width, rel=0.01)
    expected = np.asarray(sheet.resize((width, height), Image.Resampling.BOX), float)
    difference = np.abs(pixels - expected).mean()
    assert difference < 2 < 20 < np.abs(pixels[::-1] - expected).mean()  # of 255: another filter, not another picture
    assert "picture: shown above (iterm)" in lines
    assert below == [None] * len(below)  # no text lies on the picture


def test_the_lock_file_names_no_registry() -> None:
    assert names_no_registry(XTERM)
