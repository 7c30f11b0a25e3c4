"""Ctrl-C is one line and exit code 130, from the first import of a command on."""

import signal
import subprocess
import sys

import pytest
from tiny_data import TinyData

from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline

# As the installed command does, but with a Ctrl-C where a module is looked for. HOW: in an import, or in the callback
# of a weak reference, as importlib has them: what is raised there Python prints, and goes on.
COMMAND = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a process of a job in the background ignores Ctrl-C
module, how = sys.argv.pop(1), sys.argv.pop(1)
class Something: pass
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            sys.meta_path.remove(self)
            if how == "import":
                signal.raise_signal(signal.SIGINT)
            else:
                import weakref
                something = Something()
                watched = weakref.ref(something, lambda _: signal.raise_signal(signal.SIGINT))
                del something
sys.meta_path.insert(0, Interrupt())
from depthvar.precompute.cli.__main__ import main
main()
"""


def interrupted(module: str, how: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command that is interrupted while it imports a module."""
    return subprocess.run(
        [sys.executable, "-c", COMMAND, module, how, *words], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("how", ["import", "callback"])
@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("depthvar.precompute.cli.main", ["--help"]),
        ("click", ["--help"]),
        ("depthvar.precompute.cli.options", ["datasets"]),
        ("numpy", ["datasets"]),
        ("numcodecs", ["info", "x.zarr"]),
        ("numba", ["validate", "x.zarr"]),
        ("numcodecs", ["run", "--dataset", "hospital", "--root", "nowhere"]),
        ("numba", ["run", "--dataset", "hospital", "--root", "nowhere"]),
        ("distributed", ["run", "--dataset", "hospital", "--root", "nowhere", "--workers", "2"]),
        ("numba", ["demo", "nowhere"]),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_while_it_imports(module: str, words: list[str], how: str) -> None:
    process = interrupted(module, how, *words)
    assert (process.returncode, process.stdout, process.stderr) == (130, "", "interrupted\n")


def test_a_module_that_is_not_imported_would_be_noticed() -> None:
    process = interrupted("torch", "import", "datasets")
    assert process.returncode == 0


# Ctrl-C, and once more at every later chance.
AT_WORK = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
import depthvar.precompute.pipeline.execute as execute, depthvar.precompute.validation.validate as validate
def interrupt(*_):
    import atexit
    atexit.register(signal.raise_signal, signal.SIGINT)  # the impatient press it once more
    signal.raise_signal(signal.SIGINT)
execute.run_task = interrupt
validate.CHECKS = (interrupt,)
from depthvar.precompute.cli.__main__ import main
main()
"""


@pytest.mark.parametrize("command", ["run", "validate"])
def test_while_it_works(tiny: TinyData, command: str) -> None:
    cache = tiny.root / "sigma_Z2.zarr"
    words = ["run", "--dataset", str(tiny.toml), "--threads", "1"]
    if command == "validate":
        list(pipeline.run(tiny.job(), execute.serial))
        words = ["validate", str(cache)]
    process = subprocess.run([sys.executable, "-c", AT_WORK, *words], capture_output=True, text=True, check=False)
    assert process.returncode == 130
    assert process.stdout == ""
    progress = ("frames ", "groups ", "maps ", "looked at ")
    lines = [line for line in process.stderr.splitlines() if not line.startswith(progress)]
    kept = {"run": ": what is done is kept; the same command goes on from there", "validate": ""}[command]
    assert lines == [f"interrupted{kept}", "interrupted"]
    assert not list(tiny.root.glob("*.lock*"))


def test_where_it_is_ignored_it_stays_ignored() -> None:
    """A shell starts a job behind `&` like this, so that Ctrl-C in the terminal does not end it."""
    ignoring = COMMAND.replace("signal.default_int_handler", "signal.SIG_IGN")
    command = [sys.executable, "-c", ignoring, "click", "import", "datasets"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, "")


def test_the_handler_of_a_program_that_calls_the_command_line_stays() -> None:
    from click.testing import CliRunner

    from depthvar.precompute.cli.main import main

    before = signal.getsignal(signal.SIGINT)
    assert CliRunner().invoke(main, ["datasets"]).exit_code == 0
    assert signal.getsignal(signal.SIGINT) is before
