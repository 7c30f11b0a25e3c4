"""``make bench-gpu`` in the small: each part runs; one that cannot run says so, and does not stop the others."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gpu
import numpy as np
import pipeline
import pipeline_device
import pytest
import step
import step_device
import torch
from torch import Tensor, nn

NAMES = ["l1", "weighted_l1_in_step"]  # the others are no news to a compiler


class Pixelwise(nn.Module):
    """In place of the U-Net: quickly compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(image)[:, 0].exp()


@pytest.fixture
def found_of_the_step(device: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(step_device, "DepthNet", Pixelwise)
    depth = step.views(2)[:, :8, :9]
    assert (depth > 0).any()
    losses = {name: loss for name, loss in step.losses(depth, device).items() if name in NAMES}
    return step_device.measured(step_device.ways(losses, depth.shape, device, "eager"), device, 1)


def test_the_step_on_a_device(found_of_the_step: dict[str, Any], device: str) -> None:
    for way in ("eager", "compiled", "captured"):
        steps = found_of_the_step[way]
        assert sorted(steps) == NAMES
        for name, figures in steps.items():
            if way == "captured" and device == "cpu":
                assert figures == {"not_measured": "ValueError: a CUDA graph needs a GPU, got device cpu"}
            else:
                assert figures["ms"] > 0, name
                assert figures["times_l1"] > 0


def test_a_step_that_fails_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_device, "DepthNet", Pixelwise)

    def broken(pred: Tensor) -> Tensor:
        raise RuntimeError("no memory\nat all")

    losses = {"l1": lambda pred: pred.mean(), "broken": broken}
    ways = step_device.ways(losses, (1, 4, 4), "cpu", "eager")
    found = step_device.measured({"eager": ways["eager"]}, "cpu", 1)["eager"]
    assert found["broken"] == {"not_measured": "RuntimeError: no memory"}
    assert found["l1"]["ms"] > 0


def test_the_losses_are_those_of_a_training() -> None:
    """σ² in the step is the kernel's on these views, and each loss has a gradient."""
    depth = step.views(1)[:, :8, :9]
    pred = torch.from_numpy(depth + np.float32(0.1)).requires_grad_()
    values = {name: loss(pred) for name, loss in step.losses(depth, "cpu").items()}
    torch.testing.assert_close(values["weighted_l1_in_step"], values["weighted_l1_cached"], rtol=1e-3, atol=0)
    for value in values.values():
        (gradient,) = torch.autograd.grad(value, pred)
        assert gradient.abs().max() > 0


def test_the_whole_run_on_a_device_next_to_the_cpu(tmp_path: Path) -> None:
    found = pipeline_device.report(tmp_path, pipeline.make_frames, "cpu:0", frames=1, rounds=1, threads=1)
    for kind in ("png", "npy"):
        for where in ("cpu", "cpu:0"):
            figures = found[kind][where]
            assert figures["frames_per_second"] > 0
            assert {"read", "kernel", "encode", "write", "idle"} <= set(figures["stages_ms"])
            assert figures["at_most_times"] == pytest.approx(1 / (1 - figures["kernel_share"]), rel=0.01)
        assert "copy" in found[kind]["cpu:0"]["stages_ms"]


def test_a_whole_run_without_a_gpu_still_measures_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = pipeline_device.report(tmp_path, pipeline.make_frames, "cuda", frames=1, rounds=1, threads=1)["png"]
    assert found["cuda"]["not_measured"].startswith("DepthVarError: device cuda: torch sees no CUDA device")
    assert found["cpu"]["frames_per_second"] > 0


TESTS = """
import pytest

@pytest.mark.gpu
def test_of_a_gpu(): pass

@pytest.mark.gpu
def test_not_run(): pytest.skip("no CUDA device")

def test_of_something_else(): assert False
"""


def benched(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[Any, int, str]:
    """Run all parts, which are scripts in a folder; return their files' contents, the exit status and what is said."""
    monkeypatch.setattr(gpu, "HERE", folder)
    monkeypatch.setattr(gpu, "TESTS", [str(folder / "test_part.py")])
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--out", str(folder / "out")])
    with pytest.raises(SystemExit) as stop:
        gpu.main()
    files = {path.stem: json.loads(path.read_text()) for path in (folder / "out").glob("*.json")}
    return files, stop.value.code, capsys.readouterr().err  # type: ignore[return-value]


def test_a_part_that_cannot_run_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "test_part.py").write_text(TESTS)
    (tmp_path / "kernel.py").write_text("import sys; print('{'); sys.exit('no Triton\\nno kernel')")
    (tmp_path / "step.py").write_text("print('no JSON')")
    (tmp_path / "pipeline.py").write_text("""print('{"png": {"cuda": {"not_measured": "no memory"}}, "npy": 1}')""")
    files, status, said = benched(tmp_path, monkeypatch, capsys)
    assert status == 1
    assert "1 passed, 1 skipped" in files["tests"].pop("not_measured")
    assert files["tests"] == {"tests": 2, "passed": 1, "failed": 0}
    assert files["kernel"] == {"not_measured": "no kernel"}
    assert files["step"]["not_measured"].startswith("JSONDecodeError: ")
    assert files["pipeline"]["npy"] == 1
    assert "kernel: not measured: no kernel\n" in said
    assert "pipeline, png, cuda: not measured: no memory\n" in said


def test_all_parts_that_run_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "tested", lambda paths: {"tests": 1, "passed": 1, "failed": 0})
    for name in ("kernel", "step", "pipeline"):
        (tmp_path / f"{name}.py").write_text("import json, sys; print(json.dumps(sys.argv[1:]))")
    files, status, _ = benched(tmp_path, monkeypatch, capsys)
    assert status == 0
    assert files.pop("tests") == {"tests": 1, "passed": 1, "failed": 0}
    assert files == {name: ["--device", "cuda", *gpu.FULL.get(name, [])] for name in ("kernel", "step", "pipeline")}


@pytest.mark.slow
def test_the_real_parts_run_in_the_small(tmp_path: Path) -> None:
    command = [sys.executable, gpu.__file__, "--device", "cpu:0", "--small", "--out", str(tmp_path)]
    environment = os.environ | {"TRITON_INTERPRET": "0"}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    files = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    assert set(files) == {"tests", "kernel", "step", "pipeline"}, ran.stderr
    assert ran.returncode == ("not_measured" in files["tests"]), ran.stderr  # where there is no GPU
    assert files["kernel"]["estimators"]["range, window 5"]["torch"]["ms"] > 0
    assert files["step"]["compiled"]["weighted_l1_in_step"]["ms"] > 0
    assert files["pipeline"]["png"]["cpu:0"]["frames_per_second"] > 0
