"""Every block of Python and every line of shell in README.md and docs/ runs in a test, or is listed with a reason.

A new page needs nothing here: its Python runs in a folder that has the sample scene and its cache, and so do its lines
that begin with ``precompute``. A page that needs more has a test of its own, and is listed here.
"""

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from pages import PAGES, ROOT, blocks
from PIL import Image

from depthvar.datasets import open_source
from depthvar.datasets.hospital.write import write_sample
from depthvar.precompute import run
from depthvar.precompute.cli.main import main

PYTHON_ELSEWHERE = {  # page: the test that runs its Python
    "README.md": "test_docs.py",
    "docs/inspect.md": "test_docs.py",
    "docs/loaders.md": "test_docs.py",
    "docs/migrating-from-online.md": "test_migrating.py",
    "docs/object-stores.md": "test_read_cache.py",
    "docs/python.md": "test_docs.py",
    "docs/recipes/dust3r.md": "test_recipes.py",
    "docs/recipes/moge.md": "test_recipes.py",
    "docs/recipes/pi3.md": "test_recipes.py",
    "docs/viewers.md": "test_viewers.py",
    "docs/watching.md": "test_docs.py",
}
SHELL_ELSEWHERE = {  # a pattern of lines: why they do not run here
    r"git clone REPOSITORY": "the address of the repository is not known",
    r"pip install ": "installs; .ci/run does that in an empty environment",
    r"make ": "test_makefile.py runs every target with tools that do nothing; CI runs the real ones",
    r"loss\.train_loss\._target_=|\+loss\.train_loss\.": "test_migrating.py composes them by Hydra",
    r"sbatch |dask |.* --scheduler tcp://head": "test_many_machines.py runs them with stand-ins of Slurm, on loopback",
    r"export AWS_ENDPOINT_URL|.*s3://": "needs a bucket; test_object_stores.py does the same on emulators",
    r"precompute (inspect|run) --dataset hypersim": "needs Hypersim; test_layouts_raw_rendered.py has its layout",
    r"eval .*_PRECOMPUTE_COMPLETE|_PRECOMPUTE_COMPLETE=": "test_terminal.py completes in a real bash and zsh",
    r"rclone serve": "test_viewers.py serves a cache in this way",
    r"tensorboard --logdir|rerun ": "opens a viewer; test_watch.py and test_rerun.py read what it would show",
    r"precompute run --dataset co3d-dust3r": "needs CO3D; test_layouts_processed.py has its layout",
}
STAND_INS = {  # what a command names: where it is in the folder of this test
    "/data/tartanair/hospital": "data/hospital-sample",
    "--part 3/16": "--part 1/1",  # these few frames are one or two shards
}


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def lines_of(page: Path) -> list[str]:
    """Return the lines of shell of a page; those that end in a backslash joined with the next."""
    found = "".join(blocks(page.read_text(), "sh")).replace("\\\n", " ").splitlines()
    return [line for line in found if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with four frames of the sample scene and their cache, and what else the commands of the pages name."""
    folder = tmp_path_factory.mktemp("blocks")
    write_sample(folder / "data/hospital-sample", frames=2)
    run(open_source("hospital", folder / "data/hospital-sample"), folder / "data/hospital-sample/sigma_Z2.zarr")
    for scan in ("scan1", "scans"):
        (folder / scan / "depth").mkdir(parents=True)
        Image.fromarray(np.full((480, 640), 2000, np.uint16)).save(folder / scan / "depth/0.png")
    (described,) = blocks((ROOT / "docs/datasets.md").read_text(), "toml")
    without_masks = re.sub(r"\[\[masks\]\].*(?=\[intrinsics\])", "", described, flags=re.DOTALL)
    for name in ("my_data.toml", "my.toml"):
        (folder / name).write_text(without_masks)
    return folder


@pytest.fixture
def folder(samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, as the current one."""
    shutil.copytree(samples, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DEPTHVAR_DATA", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if blocks(page.read_text(), "python") and name_of(page) not in PYTHON_ELSEWHERE],
    ids=name_of,
)
def test_python_of_a_page_runs(page: Path, folder: Path, depthvar_check_cache: Any) -> None:
    names: dict[str, Any] = {}
    for code in blocks(page.read_text(), "python"):
        for given, at in STAND_INS.items():
            code = code.replace(given, at)
        exec(compile(code, page.name, "exec"), names)
    for name, function in list(names.items()):  # of a test suite: called with the fixture that it names
        if name.startswith("test_"):
            function(depthvar_check_cache)


def is_elsewhere(line: str) -> bool:
    return any(re.match(pattern, line) for pattern in SHELL_ELSEWHERE)


@pytest.mark.parametrize(
    ("page", "line"),
    [(page, line) for page in PAGES for line in dict.fromkeys(lines_of(page)) if not is_elsewhere(line)],
    ids=lambda value: name_of(value) if isinstance(value, Path) else None,
)
def test_a_command_of_a_page_runs(page: Path, line: str, folder: Path) -> None:
    for given, at in STAND_INS.items():
        line = line.replace(given, at)
    program, *arguments = shlex.split(line, comments=True)
    assert program == "precompute", f"{name_of(page)}: {line}: run it in a test, and list it in {Path(__file__).name}"
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output


def test_the_lists_are_current() -> None:
    texts = {name_of(page): page for page in PAGES}
    for page, test in PYTHON_ELSEWHERE.items():
        assert blocks(texts[page].read_text(), "python"), f"{page} has no Python"
        said = (ROOT / "tests" / test).read_text()
        assert Path(page).name in said or f'"{Path(page).stem}"' in said or page == "README.md", f"{test}: not {page}"
    lines = [line for page in PAGES for line in lines_of(page)]
    for pattern in SHELL_ELSEWHERE:
        assert any(re.match(pattern, line) for line in lines), f"no page has {pattern}"


def test_blocks_name_a_language_that_is_known() -> None:
    """A block of another name, or of none, would not be looked at."""
    known = {"python", "sh", "text", "toml", ""}
    for page in PAGES:
        fences = re.findall(r"^ *```(.*)$", page.read_text(), re.MULTILINE)
        opening = fences[::2]
        assert set(opening) <= known, f"{name_of(page)}: {set(opening) - known}"
        assert not fences[1::2] or set(fences[1::2]) == {""}, f"{name_of(page)}: a block is not closed"
