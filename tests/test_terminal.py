"""In a real terminal (tmux) of 80×24: completion in bash and zsh, a run with its bar, Ctrl-C, another size."""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from click.testing import CliRunner
from not_installed import not_installed
from pages import ROOT, blocks
from terminal import FINISHED, Terminal, missing
from tiny_data import TinyData, make_depth

from depthvar.precompute.cli import screen
from depthvar.precompute.cli.main import main

Open = Callable[..., Terminal]
BAR = re.compile(r"frames done \[#*-*\] \d+/60(, [\d.]+/s)?(, \d+ s left)?(, [\d.]+ kB)?(, \d+ failed)?")
# As the installed command, but that a frame lasts 50 ms.
SLOW = """#!{python}
import time
from depthvar.datasets import DepthSource
read = DepthSource.read
def slow(self, key):
    time.sleep(0.05)
    return read(self, key)
DepthSource.read = slow
from depthvar.precompute.cli.__main__ import main
main()
"""


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A short path: a word that is longer than a line is not folded, and the terminal divides it."""
    with TemporaryDirectory(prefix="t") as folder:
        yield Path(folder)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Open]:
    """Open terminals in which ``precompute`` is this environment's, or the one in the folder ``bin``."""
    if lacking := missing("tmux", "bash", "zsh"):
        not_installed(f"not installed: {lacking} (apt-get install tmux zsh)")
    path = f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(Terminal(tmp_path, {"PATH": path}, **options))


@pytest.fixture
def slow_run(tiny: TinyData, tmp_path: Path) -> str:
    """A command that computes 60 frames in about two seconds, of which two cannot be read."""
    for index in range(52):
        tiny.write(f"c/P{index:03}", "000", make_depth(24, 32, index))
    for index in (3, 4):
        broken = tiny.root / f"c/P{index:03}/depth/000.npy"
        broken.write_bytes(broken.read_bytes()[:-8])  # its header can be read
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/precompute").write_text(SLOW.format(python=sys.executable))
    (tmp_path / "bin/precompute").chmod(0o755)
    return "precompute run --dataset tiny/tiny.toml --strides 1,2 --threads 1 --on-error skip"


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_completes_commands_options_data_sets_and_caches(terminal: Open, tmp_path: Path, shell: str) -> None:
    (tmp_path / "sigma.zarr").mkdir()
    (tmp_path / "mine.toml").touch()
    window = terminal(shell=shell)
    page = (ROOT / "docs/terminal.md").read_text()
    (line,) = (line for line in blocks(page, "sh")[0].splitlines() if f"={shell}_source" in line)
    if shell == "zsh":
        window.run("autoload -Uz compinit; compinit -D")
    assert window.run(line.partition("  #")[0]) == []
    for typed, completed in (
        ("val", "validate"),
        ("run --with-d", "run --with-depth"),
        ("run --device cu", "run --device cuda"),
        ("run --dataset tartanair-sh", "run --dataset tartanair-shibuya"),
        ("inspect --dataset min", "inspect --dataset mine.toml"),
        ("datasets hyperc", "datasets hyperc"),  # there is none: nothing, and no error
        ("datasets hypersim-u", "datasets hypersim-unik3d"),
        ("info sig", "info sigma.zarr/"),
    ):
        window.run("true")
        window.type(f"precompute {typed}", "Tab")
        if typed == completed:
            window.type("x")  # it is there when the shell has looked
        lines = window.wait_for(rf"^\$ precompute {completed}{'x' * (typed == completed)}\s*$")
        assert len(lines) - lines.index("$ true; echo exit $?") == 3, lines  # exit, and what was typed
        window.type("", "C-u", "C-k")
    window.run("true")
    window.type("precompute run --dataset tar", "Tab")
    window.wait_for(r"^\$ precompute run --dataset tartanair$")
    window.type("", "Tab", "Tab")
    listed = " ".join(window.wait_for("tartanair-v2-cameras"))
    assert {"tartanair-pi3", "tartanair-shibuya", "tartanair-v2"} <= set(listed.split())


def bars(lines: list[str]) -> list[str]:
    return [line for line in lines if "frames done" in line or re.search(r"\[#*-*\]|\d+/60", line)]


def test_a_run_has_one_line_of_progress_and_ends_with_three(terminal: Open, slow_run: str) -> None:
    window = terminal()
    window.type(f"{slow_run}; echo exit $?", "Enter")
    seen: list[list[str]] = []
    while not (lines := window.screen())[-2:][0].startswith("exit "):
        seen += [found := bars(lines)]
        assert len(found) <= 1, lines
        assert all(BAR.fullmatch(line) for line in found), lines
        time.sleep(0.05)
    assert len({tuple(found) for found in seen}) > 5  # it moves
    assert any("left" in line and "kB" in line for found in seen for line in found)
    *above, done, spent, following, code, _ = lines
    assert re.fullmatch(r"done   tiny: 58 frames computed, 2 failed; [\d.]+ s, [\d.]+/s, [\d.]+ kB", done)
    assert re.match(r"time   \w+ \d+ %, ", spent)
    assert following == "next   the same command again, when the causes above are fixed"
    assert code == "exit 4"
    assert any(re.search(r"60/60, [\d.]+/s, [\d.]+ kB, 2 failed$", line) for line in above)


def test_ctrl_c_ends_the_line_of_progress_and_says_one_more(terminal: Open, slow_run: str) -> None:
    window = terminal()
    window.type(f"{slow_run}; echo exit $?", "Enter")
    window.wait_for(r"frames done .* [1-9]\d*/60")
    window.type("", "C-c")
    lines = window.wait_for(FINISHED)
    bar, said, code, _ = lines[-4:]
    assert BAR.fullmatch(bar.removeprefix("^C")), lines
    assert said == "interrupted: what is done is kept; the same command goes on from there"
    assert code == "exit 130"
    assert "Traceback" not in " ".join(lines)


def redrawn(window: Terminal, before: list[str]) -> list[str]:
    """Return the screen when its last line is a whole bar, and another one than before."""
    while not BAR.fullmatch((lines := window.screen())[-1]) or lines[-1] == before[-1]:
        assert not lines[-1].startswith("next"), lines
        time.sleep(0.02)
    return lines


@pytest.mark.slow
def test_the_bar_fits_a_window_that_changes_its_size(terminal: Open, slow_run: str) -> None:
    window = terminal(columns=100)
    window.type(slow_run, "Enter")
    window.wait_for(r"frames done .* [1-9]\d*/60")
    for columns in (50, 90):
        window.resize(columns, 24)
        first = redrawn(window, window.screen())
        second = redrawn(window, first)
        assert len(first) == len(second), second  # a drawing takes the place of the last
        assert max(len(first[-1]), len(second[-1])) < columns
    window.type("", "C-c")
    window.wait_for("^interrupted")


@pytest.mark.slow
def test_a_terminal_shows_the_lines_as_they_were_folded(
    terminal: Open, tiny: TinyData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line is divided by the terminal: it counts the cells of a character as we do."""
    tiny.write("走廊/深度" * 6 + "/σ_λ×", "000", make_depth(24, 32, 0))
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, ["run", "--dataset", "tiny/tiny.toml", "--strides", "1"]).exit_code == 0
    window = terminal(rows=60)
    for command in (
        "info tiny/sigma_Z2.zarr",
        "run --dataset tiny/tiny.toml --strides 1 --dry-run",
        "inspect --dataset tiny/tiny.toml",
        "datasets co3d",
        "run --dataset tiny/tiny.toml --strides 1,2",  # an error
    ):
        shown = window.run(f"precompute {command}")
        with monkeypatch.context() as patch:
            patch.setattr(screen, "columns", lambda stream: 80)
            expected = CliRunner().invoke(main, command.split()).output.splitlines()
        assert shown == expected
        assert len(expected) > 1
