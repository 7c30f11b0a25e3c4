"""A real terminal: a window of tmux, into which keys are typed, and whose screen is read."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

SECONDS = 30  # until what is waited for is on the screen
FINISHED = r"^exit \d+\n\$\s*\Z"  # `echo exit $?`, and the prompt after it
COMMANDS = {"bash": "bash --norc --noprofile", "zsh": "zsh -f"}


class Terminal:
    """A shell in a window of ``columns`` × ``rows``, in a tmux of its own; its prompt is ``$ ``.

    Args:
        shell: "bash" or "zsh", which read no file of the user.
        environment: added to that of this process.
    """

    def __init__(
        self, folder: Path, environment: Mapping[str, str], shell: str = "bash", columns: int = 80, rows: int = 24
    ) -> None:
        self._sockets = tempfile.TemporaryDirectory()  # a path below pytest's folder may be too long for one
        self._environment = os.environ | environment
        size = ["-x", str(columns), "-y", str(rows)]
        self._tmux("new-session", "-d", *size, "-c", str(folder), COMMANDS[shell])
        self._tmux("set-option", "-g", "status", "off")
        self.resize(columns, rows)
        self.type("PS1='$ '; clear", "Enter")
        self.wait_for(r"\A\$\s*\Z")

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._tmux("kill-server")
        self._sockets.cleanup()

    def _tmux(self, *words: str) -> str:
        command = ["tmux", "-u", "-S", f"{self._sockets.name}/tmux", "-f", "/dev/null", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=self._environment).stdout

    def type(self, text: str, *keys: str) -> None:
        """Type text, then press keys as tmux names them: Enter, Tab, C-c."""
        if text:
            self._tmux("send-keys", "-l", text)
        if keys:
            self._tmux("send-keys", *keys)

    def screen(self) -> list[str]:
        """Return the lines of the screen, without the empty ones at its end."""
        return self._tmux("capture-pane", "-p").rstrip("\n").split("\n")

    def wait_for(self, pattern: str, seconds: float = SECONDS) -> list[str]:
        """Return the screen once a pattern is on it; TimeoutError with the screen if it does not come."""
        end = time.monotonic() + seconds
        while not re.search(pattern, "\n".join(lines := self.screen()), re.MULTILINE):
            if time.monotonic() > end:
                raise TimeoutError(f"no {pattern!r} on the screen:\n" + "\n".join(lines))
            time.sleep(0.05)
        return lines

    def run(self, command: str) -> list[str]:
        """Run a command on an empty screen; return the lines that it printed."""
        self.type("clear", "Enter")
        self.wait_for(r"\A\$\s*\Z")
        self.type(f"{command}; echo exit $?", "Enter")
        lines = self.wait_for(FINISHED)
        first = next(number for number, line in enumerate(lines) if line.endswith("echo exit $?"))
        return lines[first + 1 : -2]  # the prompt is the last

    def resize(self, columns: int, rows: int) -> None:
        """Give the window another size."""
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))


def missing(*programs: str) -> str:
    """Return the programs that are not installed, for a message."""
    return ", ".join(program for program in programs if shutil.which(program) is None)
