"""The examples run: two steps of each loss and source of σ², what they write, and what they say when they cannot."""

import importlib.util
import inspect
import itertools
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_data import TinyData
from torch.utils.data import DataLoader, default_collate

import depthvar.loss
from depthvar.datasets import CachedDepthDataset, SigmaCache, open_source
from depthvar.loss import focused_log_l1, weighted_l1
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name: str) -> ModuleType:
    """Import a file of examples/, newly each time."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


train = load("train")


@pytest.fixture
def coloured(tiny: TinyData) -> TinyData:
    """The tiny data set with images and a cache."""
    for key in tiny.source().keys():
        path = tiny.root / key.replace("depth", "rgb").replace(".npy", ".png")
        path.parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(len(key)).integers(0, 256, (24, 32, 3), np.uint8)
        Image.fromarray(pixels).save(path)
    text = tiny.toml.read_text().replace("[files]", '[files]\nimage = "{sequence}/rgb/{frame}.png"')
    tiny.toml.write_text(text)
    list(pipeline.run(tiny.job(), execute.serial))
    return tiny


def run(data: TinyData, out: Path, *arguments: str) -> Result:
    common = ["--dataset", str(data.toml), "--out", str(out), "--batch", "2", "--size", "12", "16", "--workers", "0"]
    return CliRunner().invoke(train.main, [*common, "--steps", "2", *arguments])


@pytest.mark.parametrize("sigma", ["cache", "online"])
@pytest.mark.parametrize("loss", train.LOSSES)
def test_two_steps_write_log_checkpoint_and_picture(coloured: TinyData, tmp_path: Path, loss: str, sigma: str) -> None:
    out = tmp_path / "run"
    result = run(coloured, out, "--loss", loss, "--sigma", sigma)
    assert result.exit_code == 0, result.output
    assert "held out: L1" in result.output
    checkpoint = torch.load(out / "checkpoint.pt")
    assert checkpoint["step"] == 2
    assert (checkpoint["options"]["loss"], checkpoint["options"]["sigma"]) == (loss, sigma)
    torch.manual_seed(0)
    start = train.DepthNet()
    trained = train.DepthNet()
    trained.load_state_dict(checkpoint["model"])
    assert any(not torch.equal(a, b) for a, b in zip(start.parameters(), trained.parameters(), strict=True))
    assert all(parameter.isfinite().all() for parameter in trained.parameters())
    with Image.open(out / "picture.png") as picture:
        assert picture.width > 4 * picture.height / 2
        assert len(set(picture.convert("L").resize((40, 10)).tobytes())) > 5
    events = EventAccumulator(str(out)).Reload()
    names = {"l1_m", "l1_smooth_m", "l1_edge_m", "sigma_mean_m", "sigma_max_m"}
    expected = {f"train/{name}" for name in names | {"loss"}} | {f"held_out/{name}" for name in names}
    assert set(events.Tags()["scalars"]) == expected
    assert [event.step for event in events.Scalars("train/loss")] == [0, 1]


def test_every_loss_of_the_package_can_be_trained_with() -> None:
    functions = {name for name in dir(depthvar.loss) if inspect.isfunction(getattr(depthvar.loss, name))}
    parts = {"depth_range3", "focus_weight", "gradient_matching"}  # of a loss
    assert {"weighted_l1", "laplace_nll", "inverse_depth_l1", "focused_log_l1"} <= functions
    assert set(train.LOSSES) == functions - parts | {"l1"}


def test_the_losses_are_those_of_their_names() -> None:
    target = 1 + torch.rand(2, 6, 8, generator=torch.Generator().manual_seed(0))
    pred, sigma_z2, valid = target + 0.5, target**2 / 100, target > 1.2
    values = {name: loss(pred, target, sigma_z2, valid).item() for name, loss in train.LOSSES.items()}
    assert values["l1"] == pytest.approx(0.5)
    assert values["l1"] == pytest.approx(weighted_l1(pred, target, torch.ones_like(sigma_z2), valid).item())
    assert values["inverse_depth_l1"] == pytest.approx((0.5 / target[valid]).mean().item(), rel=1e-4)
    assert values["focused_log_l1"] == pytest.approx(focused_log_l1(pred, target, sigma_z2, valid).item())
    b = target[valid] / 10 / 2**0.5
    assert values["laplace_nll"] == pytest.approx((0.5 / b + b.log()).mean().item(), rel=1e-4)


def test_workers_give_the_batches_of_the_main_process(coloured: TinyData) -> None:
    def keys_and_depth(workers: int) -> list[tuple[list[str], torch.Tensor]]:
        torch.manual_seed(0)
        trained, _ = train.open_data(str(coloured.toml), None, "cache", (12, 16))
        device = torch.device("cpu")
        seven = itertools.islice(train.batches(trained, 2, workers, device), 7)
        return [(batch["key"], batch["depth"]) for batch in seven]

    here, there = keys_and_depth(0), keys_and_depth(1)
    assert len(here) == 7
    for (keys, depth), (other_keys, other_depth) in zip(here, there, strict=True):
        assert keys == other_keys
        assert torch.equal(depth, other_depth)


def test_held_out_frames_are_not_trained_on(coloured: TinyData) -> None:
    trained, held_out = train.open_data(str(coloured.toml), None, "online", (12, 16))
    apart = [{sample["key"] for sample in part} for part in (trained, held_out)]
    assert apart[0] | apart[1] == set(coloured.source().keys())
    assert not apart[0] & apart[1]
    assert all(apart)


def test_runs_of_another_loss_or_sigma_have_another_folder(
    coloured: TinyData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    common = ["--dataset", str(coloured.toml), "--size", "12", "16", "--workers", "0", "--steps", "1"]
    result = CliRunner().invoke(train.main, [*common, "--loss", "l1", "--sigma", "online"])
    assert result.exit_code == 0, result.output
    assert Path("runs/l1-online/checkpoint.pt").exists()


def test_a_missing_sample_names_the_command_that_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(train.main, [])
    assert result.exit_code == 1
    message = "data/hospital-sample: no such folder; write the sample with `precompute run --dataset hospital`"
    assert result.output == f"Error: {message}\n"


@pytest.mark.parametrize("workers", ["0", "1"])
def test_missing_cache_and_missing_images_are_one_line(coloured: TinyData, tmp_path: Path, workers: str) -> None:
    (coloured.root / "sigma_Z2.zarr").rename(tmp_path / "elsewhere.zarr")
    result = run(coloured, tmp_path / "run", "--sigma", "cache", "--workers", workers)
    assert len(result.output.splitlines()) == 1
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)  # no traceback
    assert "sigma_Z2.zarr: no cache is there" in result.output.splitlines()[-1]
    coloured.toml.write_text(coloured.toml.read_text().replace("image =", "#"))
    result = run(coloured, tmp_path / "run")
    assert result.exit_code == 1
    assert "names no images to train on: add 'image' to [files]" in result.output


def test_wandb_is_asked_for_by_name_or_mirrors_tensorboard(
    coloured: TinyData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    result = run(coloured, tmp_path / "a", "--wandb")
    assert result.exit_code == 1
    assert "--wandb needs the package wandb: pip install wandb" in result.output
    calls: list[dict[str, Any]] = []
    stand_in = ModuleType("wandb")
    stand_in.init = lambda **settings: calls.append(settings)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    assert run(coloured, tmp_path / "b", "--wandb").exit_code == 0
    assert [(call["name"], call["sync_tensorboard"]) for call in calls] == [("b", True)]


def test_lightning_module_without_lightning_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning", None)
    with pytest.raises(ImportError, match="needs the package lightning: pip install lightning"):
        load("lightning_module")


class LoggingModule(torch.nn.Module):
    """What the example takes of LightningModule, for machines without it."""

    def __init__(self) -> None:
        super().__init__()
        self.logged: dict[str, float] = {}

    def log(self, name: str, value: torch.Tensor, **options: object) -> None:
        self.logged[name] = value.item()


def test_lightning_module_steps_with_the_weighted_loss(coloured: TinyData, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = ModuleType("lightning")
    stand_in.LightningModule = LoggingModule  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lightning", stand_in)
    module = load("lightning_module").DepthModule(train.DepthNet())
    cache = SigmaCache(str(coloured.root / "sigma_Z2.zarr"))
    data = CachedDepthDataset(open_source(str(coloured.toml)), cache, size=(12, 16))
    batch = default_collate([data[0], data[1]])
    optimizer = module.configure_optimizers()
    values = []
    for _ in range(5):
        loss = module.training_step(batch, 0)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    expected = weighted_l1(module(batch["image"]), batch["depth"], batch["sigma_Z2"], batch["valid"]).item()
    module.validation_step(batch, 0)
    assert module.logged == {"train/loss": values[-1], "val/loss": expected}
    assert expected < values[0]


@pytest.mark.filterwarnings("ignore::UserWarning")  # its advice on the number of workers
def test_lightning_trainer_fits_and_watches_the_module(coloured: TinyData, tmp_path: Path) -> None:
    from lightning import Trainer
    from lightning.pytorch.loggers import TensorBoardLogger

    from depthvar.precompute.watching.lightning import LossWatch

    module = load("lightning_module").DepthModule(train.DepthNet())
    before = module.network.head.weight.detach().clone()
    data = CachedDepthDataset(open_source(str(coloured.toml)), SigmaCache(str(coloured.root / "sigma_Z2.zarr")))
    logger = TensorBoardLogger(tmp_path)
    options = {"logger": logger, "enable_checkpointing": False, "enable_progress_bar": False, "log_every_n_steps": 1}
    Trainer(max_steps=2, accelerator="cpu", callbacks=[LossWatch(module.loss, every=1)], **options).fit(
        module, DataLoader(data, 2), DataLoader(data, 2)
    )
    assert not torch.equal(before, module.network.head.weight)
    events = EventAccumulator(logger.log_dir).Reload()
    own, watched = ([event.value for event in events.Scalars(name)] for name in ("train/loss", "depthvar/loss"))
    assert len(own) == 2
    assert watched == pytest.approx(own)
    assert len(events.Images("depthvar/picture")) == 1
