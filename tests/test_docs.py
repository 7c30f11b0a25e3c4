"""The documentation says what the code does: commands, code blocks, links, descriptions."""

import ast
import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest
from click.testing import CliRunner
from pages import PAGES, README, ROOT, blocks

from depthvar.datasets.hospital.write import write_sample
from depthvar.datasets.source.catalogue import find_description
from depthvar.precompute.cli.main import main


def first_command(folder: Path) -> subprocess.CompletedProcess[str]:
    """Type the README's first command in a folder."""
    command = [str(Path(sys.executable).with_name("precompute")), "run", "--dataset", "hospital"]
    environment = {name: value for name, value in os.environ.items() if name != "DEPTHVAR_DATA"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)


@pytest.fixture(scope="session")
def sample_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the README's first command was typed; two frames of the sample were there already."""
    folder = tmp_path_factory.mktemp("readme")
    write_sample(folder / "data/hospital-sample", frames=1)
    ran = first_command(folder)
    assert "using the built-in sample scene, data/hospital-sample" in ran.stderr
    assert "done   hospital-sample: 2 frames computed; " in ran.stdout
    return folder


@pytest.mark.slow
def test_the_first_command_needs_nothing_and_prints_what_the_readme_shows(tmp_path: Path) -> None:
    ran = first_command(tmp_path)
    (shown,) = re.findall(r"<!-- output -->\n```text\n(.*?)```", README, re.DOTALL)
    lines = shown.splitlines()
    assert timeless("\n".join(lines[3:]) + "\n") == timeless(ran.stdout)
    plain = [re.sub(r" \[#+\]", "", line) for line in lines[:3]]  # stderr is no terminal here
    printed = timeless(ran.stderr).splitlines()
    said = [line for line in printed if "48/48" in line or line.startswith("looked at")]
    assert said == [timeless(line) for line in plain]
    lines = ran.stderr.splitlines()
    assert lines[0].startswith("no --root and no $DEPTHVAR_DATA: using the built-in sample scene, data/hospital-sample")
    assert lines[1] == "rendering the built-in scene, 48 frames of 640×480 (once)"
    assert next(line for line in lines[2:] if not line.startswith("compiling ")) == "frames rendered 0/48"
    assert "0 frames computed, 48 unchanged" in first_command(tmp_path).stdout


def test_the_pictures_of_a_terminal_show_the_end_that_the_readme_shows() -> None:
    picture = (ROOT / "docs/images/terminal_end.svg").read_text()
    lines = [unescape(line) for line in re.findall(r"<text .*>(.*)</text>", picture)]
    (shown,) = re.findall(r"<!-- output -->\n```text\n(.*?)```", README, re.DOTALL)
    assert [timeless(line) for line in lines[-5:]] == [timeless(line) for line in shown.splitlines()[-5:]]


def timeless(text: str) -> str:
    """Return text without what the speed of the machine decides."""
    return re.sub(r"[\d.]+( s|/s| MB)\b", r"…\1", re.sub(r"^time .*", "time …", text, flags=re.MULTILINE))


def test_the_python_of_the_readme_runs(sample_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    monkeypatch.chdir(sample_run)
    names: dict[str, object] = {}
    for code in blocks(README, "python"):
        exec(compile(code, "README.md", "exec"), names)
    view, prediction = names["view"], names["prediction"]
    assert view["sigma_Z2_params"].tolist() == np.float32([5, 0.5, 0.3]).tolist()  # type: ignore[index]
    gradient = prediction.grad.numpy()  # type: ignore[attr-defined]
    assert np.isfinite(gradient).all()
    assert (gradient != 0).mean() > 0.5
    assert np.isfinite(view["sigma_Z2"]).mean() > 0.5  # type: ignore[index]


def test_cached_and_in_loader_agree_on_a_stride(sample_run: Path) -> None:
    """The cache and the kernel in the loader, on the README's view (windows at the crop's border left out)."""
    import numpy as np

    from depthvar.datasets import SigmaCache, open_source
    from depthvar.precompute import sigma_z2

    frame = open_source("hospital-sample", sample_run / "data/hospital-sample")[0]
    depth = frame.depth[72:408, 96:544][::2, ::2]
    camera = np.array([[160, 0, 111.75], [0, 160, 83.75], [0, 0, 1.0]])  # of the resize, by pixel centres
    cached = SigmaCache(sample_run / "data/hospital-sample/sigma_Z2.zarr").sample(frame.key, camera, depth.shape)
    fresh = sigma_z2(depth, (160, 160, 112, 84), max_depth=80)  # of the pixels that it took
    inner = (slice(2, -2), slice(2, -2))
    np.testing.assert_array_equal(np.isfinite(cached), np.isfinite(fresh))
    finite = np.isfinite(fresh[inner])
    np.testing.assert_allclose(cached[inner][finite], fresh[inner][finite], rtol=2**-8)


@pytest.mark.parametrize("sky", [10000.0, float("inf")])
def test_the_in_loader_lines_keep_sky_that_the_loader_zeroes_apart_from_holes(sky: float) -> None:
    """TartanAir's sky is 10000: taken for a hole once it is 0, it would leave the σ next to it far too small."""
    import numpy as np
    from tiny_data import make_depth

    from depthvar.precompute import sigma_z2

    depth = make_depth(24, 32, 0)
    depth[depth == 0] = np.nan  # unknown
    camera = [[40, 0, 16], [0, 40, 12], [0, 0, 1]]
    expected = sigma_z2(depth, camera, max_depth=80)  # its far is +inf
    page = (ROOT / "docs/python.md").read_text()
    (code,) = (block for block in blocks(page, "python") if "far = " in block)
    statements = ast.parse(code).body
    first = next(number for number, each in enumerate(statements) if isinstance(each, ast.Assign))  # far = …
    view = {"depthmap": np.where(np.isinf(depth), np.float32(sky), depth), "camera_intrinsics": camera}
    names: dict[str, object] = {"view": view}
    exec(compile(ast.Module(statements[: first + 1], []), "python.md", "exec"), names)
    view["depthmap"] = np.where(view["depthmap"] == sky, np.float32(0), view["depthmap"])  # as its comment says
    exec(compile(ast.Module(statements[first + 1 :], []), "python.md", "exec"), names)
    np.testing.assert_array_equal(view["sigma_Z2"], expected)
    assert np.isinf(depth).any()
    assert np.isnan(depth).any()


def test_a_second_command_has_nothing_to_do(sample_run: Path) -> None:
    assert "0 frames computed, 2 unchanged" in first_command(sample_run).stdout


def test_every_command_of_the_documentation_parses() -> None:
    """Options that a page shows exist: the command gets as far as looking for the data."""
    commands = [
        line
        for page in PAGES
        for block in blocks(page.read_text(), "sh")
        for line in block.splitlines()
        if line.startswith("precompute")
    ]
    assert len(commands) >= 3
    for line in commands:
        result = CliRunner().invoke(main, [*line.split()[1:], "--dry-run"] if " run " in line else line.split()[1:])
        assert "No such option" not in result.output, line
        assert result.exit_code in (0, 1), (line, result.output)


def test_the_command_page_is_current() -> None:
    checked = subprocess.run([sys.executable, ROOT / "docs/generate.py", "--check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_the_described_data_set_is_a_description(tmp_path: Path) -> None:
    (block,) = blocks((ROOT / "docs/datasets.md").read_text(), "toml")
    (tmp_path / "lab.toml").write_text(block)
    description = find_description(str(tmp_path / "lab.toml"))
    assert description.depth.units_per_metre == 4000


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_two_commands_are_on_the_first_screen() -> None:
    first_screen = README.splitlines()[:30]
    for command in ("pip install -e . && precompute run --dataset hospital", "pip install -e '.[dev]' && pytest"):
        assert command in first_screen
        assert any(f"{command}\n" in block for block in blocks(README, "sh"))


def test_the_clone_comes_first_and_a_small_torch_only_before_the_tests() -> None:
    clone, sample, tests, *_ = blocks(README, "sh")
    assert re.match(r"git clone .* && cd depthvar\b", clone)
    assert sample == "pip install -e . && precompute run --dataset hospital\n"
    assert tests.startswith(
        "pip install torch --index-url https://download.pytorch.org/whl/cpu\npip install -e '.[dev]'"
    )


def test_the_inspection_page_runs(sample_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").symlink_to(sample_run / "data")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for code in blocks((ROOT / "docs/inspect.md").read_text(), "python"):
        exec(compile(code, "inspect.md", "exec"), names)
    assert len(names["found"].looked_at) == 2  # type: ignore[attr-defined]
    assert (tmp_path / "look.png").stat().st_size > 10_000


def test_the_preview_page_runs(sample_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").symlink_to(sample_run / "data")
    monkeypatch.chdir(tmp_path)
    for code in blocks((ROOT / "docs/preview.md").read_text(), "python"):
        exec(compile(code, "preview.md", "exec"), {})
    for name in ("frames.png", "window7.png"):
        assert (tmp_path / name).stat().st_size > 100_000


def test_the_report_page_runs(sample_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").symlink_to(sample_run / "data")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for code in blocks((ROOT / "docs/report.md").read_text(), "python"):
        exec(compile(code, "report.md", "exec"), names)
    assert (tmp_path / "report.html").stat().st_size == names["report"].bytes  # type: ignore[attr-defined]


@pytest.mark.slow
def test_an_inspection_prints_what_its_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sample(tmp_path / "data/hospital-sample")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/inspect.md").read_text()
    (line,) = blocks(page, "sh")
    printed = CliRunner().invoke(main, line.split()[1:]).stdout
    (shown,) = re.findall(r"<!-- output -->\n```text\n(.*?)```", page, re.DOTALL)
    assert printed.replace(f"{tmp_path}/", "") == shown


def test_the_python_page_runs(sample_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").symlink_to(sample_run / "data")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for code in blocks((ROOT / "docs/python.md").read_text(), "python"):
        exec(compile(code, "python.md", "exec"), names)
    assert names["sigma_z2"].shape == (480, 640)  # type: ignore[attr-defined]
    assert (names["prediction"].grad > 0).all()  # type: ignore[attr-defined]
    known = (names["smaller"] > 0) & (names["smaller"] <= 80)  # type: ignore[operator]
    assert known.mean() > 0.5  # type: ignore[attr-defined]
    assert (names["smaller_sigma_z2"][known] < float("inf")).mean() > 0.99  # type: ignore[index]
    assert names["loss"].isfinite()  # type: ignore[attr-defined]
    assert names["loss"] > 0  # type: ignore[operator]


def test_the_page_of_sweeps_prints_what_it_shows(
    sample_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").symlink_to(sample_run / "data")
    monkeypatch.chdir(tmp_path)
    import numpy as np

    page = (ROOT / "docs/sweeps.md").read_text()
    table, loader = blocks(page, "python")
    names: dict[str, object] = {}
    exec(compile(table, "sweeps.md", "exec"), names)
    (shown,) = re.findall(r"<!-- output -->\n```text\n(.*?)```", page, re.DOTALL)
    assert capsys.readouterr().out == shown
    exec(compile(loader, "sweeps.md", "exec"), names)
    assert capsys.readouterr().out == "[5.  2.  0.3]\n"
    assert names["views"][0]["sigma_Z2_params"].tolist() == np.float32([5, 2, 0.1]).tolist()  # type: ignore[index]
    assert names["samples"][0]["sigma_Z2"].shape == (224, 224)  # type: ignore[index]


def test_the_loaders_page_runs(
    sample_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(sample_run)
    names: dict[str, object] = {}
    for code in blocks((ROOT / "docs/loaders.md").read_text(), "python"):
        exec(compile(code, "loaders.md", "exec"), names)
    checked, shape = capsys.readouterr().out.splitlines()
    assert checked.startswith("right: ")
    assert shape == "torch.Size([960, 1280]) tensor([640.0000,   0.0000, 640.5000])"


@pytest.mark.filterwarnings("ignore::UserWarning")  # Lightning's advice on workers
def test_the_watching_page_runs(sample_run: Path, wandb_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pi3_views import batch
    from rerun.chunk import RrdReader
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (wandb_folder / "data").symlink_to(sample_run / "data")
    monkeypatch.chdir(wandb_folder)
    pred, views = batch()
    names: dict[str, object] = {"pred": pred, "gt_raw": views}
    page = (ROOT / "docs/watching.md").read_text()
    for code in blocks(page, "python"):
        exec(compile(code, "watching.md", "exec"), names)
    described = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| `[^|]*\|", page, re.MULTILINE))))
    assert set(names["numbers"]) <= described  # type: ignore[call-overload]
    for folder in ("a", "b", "pi3", "lightning_logs/version_0"):
        tags = EventAccumulator(f"runs/{folder}").Reload().Tags()
        assert tags["histograms"] == ["depthvar/weight_log10"]
        assert tags["images"] == ["depthvar/picture"]
    assert list(wandb_folder.glob("wandb/offline-run-*/*.wandb"))
    assert len(RrdReader("frames.rrd").recordings()) == 1


@pytest.mark.slow
def test_the_sample_has_the_numbers_that_the_watching_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sample(tmp_path / "data/hospital-sample")
    first_command(tmp_path)
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/watching.md").read_text()
    codes = [code for code in blocks(page, "python") if "open_source(" in code or "import details" in code]
    codes.append(next(code for code in blocks(page, "python") if "every = " in code))
    names: dict[str, object] = {}
    for code in codes:
        capsys.readouterr()
        exec(compile(code, "watching.md", "exec"), names)
    (shown,) = re.findall(r"<!-- output -->\n```text\n(.*?)```", page, re.DOTALL)
    assert capsys.readouterr().out == shown
