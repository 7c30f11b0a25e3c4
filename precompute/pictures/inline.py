"""Pictures in a terminal: kitty's graphics protocol, and the inline images of iTerm2.

https://sw.kovidgoyal.net/kitty/graphics-protocol/, https://iterm2.com/documentation-images.html

Which one a terminal knows is told from the environment. It is not asked: one that does not know the question would
print it, or never answer.
"""

from base64 import b64encode
from collections.abc import Mapping
from typing import Literal

Protocol = Literal["kitty", "iterm"]

CHUNK = 4096  # bytes of base64 in one command of kitty
OF_PROGRAM: dict[str, Protocol] = {
    "ghostty": "kitty",
    "iTerm.app": "iterm",
    "iTerm2": "iterm",
    "kitty": "kitty",
    "mintty": "iterm",
    "WezTerm": "iterm",
}


def protocol_of(environment: Mapping[str, str]) -> Protocol | None:
    """Return what a terminal with these variables can show; None: nothing, or not known.

    A multiplexer (tmux, screen) passes pictures on only where it was told to: None.
    """
    term = environment.get("TERM", "")
    if "TMUX" in environment or "STY" in environment or term.startswith(("tmux", "screen")):
        return None
    if "KITTY_WINDOW_ID" in environment or term in ("xterm-kitty", "xterm-ghostty"):
        return "kitty"
    if environment.get("KONSOLE_VERSION", "").isdecimal() and int(environment["KONSOLE_VERSION"]) >= 220400:
        return "kitty"
    program = environment.get("TERM_PROGRAM", "")
    return OF_PROGRAM.get(program) or OF_PROGRAM.get(environment.get("LC_TERMINAL", ""))  # the latter through ssh


def inline(png: bytes, protocol: Protocol, columns: int, environment: Mapping[str, str]) -> str:
    """Return what shows a PNG, as wide as ``columns`` cells, and ends the line."""
    text = kitty(png, columns) if protocol == "kitty" else iterm(png, columns)
    return (through_tmux(text) if "TMUX" in environment else text) + "\n"


def kitty(png: bytes, columns: int) -> str:
    """Return the commands of kitty's protocol; ``q=2``: the terminal does not answer."""
    data = b64encode(png).decode()
    parts = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
    last = len(parts) - 1
    heads = [f"a=T,f=100,q=2,c={columns}," * (not place) + f"m={int(place < last)}" for place in range(len(parts))]
    return "".join(f"\x1b_G{head};{part}\x1b\\" for head, part in zip(heads, parts, strict=True))


def iterm(png: bytes, columns: int) -> str:
    """Return the command of iTerm2."""
    arguments = f"inline=1;size={len(png)};width={columns};preserveAspectRatio=1"
    return f"\x1b]1337;File={arguments}:{b64encode(png).decode()}\a"


def through_tmux(text: str) -> str:
    """Return what tmux passes on to its terminal, where ``allow-passthrough`` is on: each command by itself."""
    end = "\x1b\\"
    commands = [part + end for part in text.split(end) if part] if text.endswith(end) else [text]
    escaped = (command.replace("\x1b", "\x1b\x1b") for command in commands)
    return "".join(f"\x1bPtmux;{command}{end}" for command in escaped)
