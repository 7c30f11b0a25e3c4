"""Watching a training: when it looks, what each tool then holds, read by the tool's own reader, and the picture."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pi3_views import batch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from wandb_file import rows, step_axes

from depthvar.loss import FocusedLogL1, InverseDepthL1, WeightedL1, weighted_l1
from depthvar.loss.pi3 import Pi3LossMipNeRFVariance
from depthvar.loss.watch import LOG10_EDGES, details, weight_histogram
from depthvar.precompute.pictures.colour import FAR, UNKNOWN
from depthvar.precompute.watching import TensorBoard, WandB, Watch
from depthvar.precompute.watching.picture import GAP, picture
from depthvar.precompute.watching.watch import Seen

Maps = tuple[Tensor, Tensor, Tensor, Tensor]
EVERY = {"scalars": 0, "histograms": 0, "images": 0}  # TensorBoard's reader keeps one histogram otherwise


def maps(seed: int = 0, shape: tuple[int, ...] = (2, 12, 16)) -> Maps:
    """Return pred, target in 1 to 5 m, σ² over six powers of ten, and a mask that leaves out a fifth."""
    rng = torch.Generator().manual_seed(seed)
    target = 1 + 4 * torch.rand(shape, generator=rng)
    pred = target + 0.3 * torch.randn(shape, generator=rng)
    return pred, target, 10 ** (-6 * torch.rand(shape, generator=rng)), torch.rand(shape, generator=rng) > 0.2


class Kept:
    """A writer that keeps what it gets."""

    def __init__(self) -> None:
        self.seen: dict[int, Seen] = {}

    def write(self, step: int, seen: Seen) -> None:
        assert step not in self.seen
        self.seen[step] = seen


class Counted(WeightedL1):
    """A loss that counts how often it is looked at."""

    looks = 0

    def observe(self, *args: Any, **options: Any) -> Any:
        self.looks += 1
        return super().observe(*args, **options)


# ---- when ----


def test_it_looks_every_few_steps_and_draws_less_often() -> None:
    kept, loss = Kept(), Counted()
    watch = Watch(loss, kept, every=3, picture_every=6)
    returned = {step: watch(step, *maps(step)) for step in range(14)}
    assert list(kept.seen) == [0, 3, 6, 9, 12]
    assert [step for step, seen in kept.seen.items() if seen.picture is not None] == [0, 6, 12]
    assert loss.looks == 5
    for step, found in returned.items():
        assert found == (kept.seen[step].details if step in kept.seen else None)
    assert kept.seen[9].details == details(loss.observe(*maps(9)))
    assert kept.seen[9].weights == weight_histogram(loss.observe(*maps(9)))


def test_steps_may_start_late_repeat_and_jump() -> None:
    """A training that goes on from a checkpoint, accumulates gradients, or has two optimizers."""
    kept = Kept()
    watch = Watch(WeightedL1(), kept, every=10, picture_every=None)
    for step in [47, 47, 48, 49, 51, 51, 53, 59, 61, 61, 75]:
        watch(step, *maps())
    assert list(kept.seen) == [47, 51, 61, 75]
    assert all(seen.picture is None for seen in kept.seen.values())


def test_it_takes_the_arguments_of_the_loss() -> None:
    kept = Kept()
    pred, target, sigma_z2, valid = maps()
    assert Watch(FocusedLogL1(), kept)(0, pred, target, valid=valid, scale=2.0) is not None
    assert Watch(InverseDepthL1())(0, pred, target, valid) is not None
    found = Watch(Pi3LossMipNeRFVariance(), kept)(1, *batch())
    assert found is not None
    assert {"depth_loss", "xy_loss", "depth_xy_ratio"} <= set(found)
    with pytest.raises(ValueError, match="sigma_z2: expected the shape of pred"):
        Watch(WeightedL1())(0, pred, target, sigma_z2[:1], valid)


def test_it_changes_nothing_of_the_training() -> None:
    pred, target, sigma_z2, valid = maps()
    gradients = []
    for watched in (False, True):
        guess = pred.clone().requires_grad_()
        loss = FocusedLogL1()
        value = loss(guess, target, sigma_z2, valid)
        if watched:
            Watch(loss, Kept())(0, guess, target, sigma_z2, valid)
        value.backward()
        gradients.append(guess.grad)
    assert torch.equal(*gradients)


def test_wrong_arguments_are_one_line() -> None:
    with pytest.raises(ValueError, match=r"observe\(\), such as .*FocusedLogL1\(\), got weighted_l1; for a function"):
        Watch(weighted_l1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got L1Loss"):
        Watch(nn.L1Loss())  # type: ignore[arg-type]
    for options, got in (({"every": 0}, "every: .*got 0"), ({"picture_every": 0.5}, "picture_every: .*got 0.5")):
        with pytest.raises(ValueError, match=got):
            Watch(WeightedL1(), **options)  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"image: expected shape \(..., 3, 12, 16\), as the maps, got \(2, 12, 16, 3\)"
    ):
        Watch(WeightedL1())(0, *maps(), image=torch.zeros(2, 12, 16, 3))


def test_another_process_than_the_first_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"is_available": True, "is_initialized": True, "get_rank": 1}.items():
        monkeypatch.setattr(torch.distributed, name, lambda value=value: value)
    loss = Counted()
    assert Watch(loss, every=1)(0, *maps()) is None
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    assert Watch(loss, every=1)(0, *maps()) is not None
    assert loss.looks == 1


@pytest.mark.slow
def test_of_two_real_processes_only_the_first_writes(tmp_path: Path) -> None:
    code = """
import sys, torch
from depthvar.loss import WeightedL1
from depthvar.precompute.watching import Watch
rank = int(sys.argv[1])
torch.distributed.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
maps = torch.rand(3, 1, 4, 5) + 0.1
print(Watch(WeightedL1(), every=1)(0, *maps) is not None)
"""
    commands = [[sys.executable, "-c", code, str(rank), str(tmp_path / "meet")] for rank in (0, 1)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    assert [process.communicate(timeout=300)[0].strip() for process in started] == ["True", "False"]


# ---- where ----


def test_tensorboard_holds_numbers_weights_and_pictures(tmp_path: Path) -> None:
    kept = Kept()
    with SummaryWriter(str(tmp_path)) as writer:
        watch = Watch(FocusedLogL1(), TensorBoard(writer), kept, every=2, picture_every=4)
        for step in range(6):
            watch(step, *maps(step))
    events = EventAccumulator(str(tmp_path), EVERY).Reload()
    assert {tag.partition("/")[2] for tag in events.Tags()["scalars"]} == set(kept.seen[0].details)
    for name in kept.seen[0].details:
        read = {event.step: event.value for event in events.Scalars(f"depthvar/{name}")}
        assert read == pytest.approx({step: seen.details[name] for step, seen in kept.seen.items()}, rel=1e-6)
    histograms = events.Histograms("depthvar/weight_log10")
    assert [event.step for event in histograms] == [0, 2, 4]
    for event in histograms:
        seen, value = kept.seen[event.step], event.histogram_value
        assert list(value.bucket) == seen.weights
        assert list(value.bucket_limit) == list(LOG10_EDGES[1:])
        assert value.num == sum(seen.weights)
        middle = np.log10(seen.details["weight_mean"])
        assert value.min <= np.log10(seen.details["weight_min"]) <= middle <= value.max
    images = events.Images("depthvar/picture")
    assert [event.step for event in images] == [0, 4]
    for event in images:
        (tmp_path / "read.png").write_bytes(event.encoded_image_string)
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "read.png")), kept.seen[event.step].picture)


def test_tensorboard_takes_a_step_without_valid_pixels(tmp_path: Path) -> None:
    pred, target, sigma_z2, valid = maps()
    with SummaryWriter(str(tmp_path)) as writer:
        Watch(WeightedL1(), TensorBoard(writer, "val"))(0, pred, target, sigma_z2, valid & False)
    events = EventAccumulator(str(tmp_path), EVERY).Reload()
    assert events.Scalars("val/valid_share")[0].value == 0
    assert events.Tags()["histograms"] == []
    assert events.Tags()["images"] == ["val/picture"]


def check_rows(folder: Path, kept: dict[int, Seen], prefix: str = "depthvar") -> None:
    """Compare what a run of W&B holds with what was seen."""
    assert step_axes(folder)[f"{prefix}/*"] == f"{prefix}/step"
    found = [row for row in rows(folder) if f"{prefix}/step" in row]
    assert [row[f"{prefix}/step"] for row in found] == list(kept)
    for row in found:
        seen = kept[row[f"{prefix}/step"]]
        assert {name: row[f"{prefix}/{name}"] for name in seen.details} == pytest.approx(seen.details)
        assert row[f"{prefix}/weight_log10.values"] == seen.weights
        assert row[f"{prefix}/weight_log10.bins"] == list(LOG10_EDGES)
        name = row.get(f"{prefix}/picture.path")
        assert (name is None) == (seen.picture is None)
        if name is not None:
            (path,) = folder.rglob(name)
            np.testing.assert_array_equal(np.asarray(Image.open(path)), seen.picture)


def test_wandb_holds_numbers_weights_and_pictures(wandb_folder: Path) -> None:
    import wandb

    kept = Kept()
    with wandb.init(project="depthvar", mode="offline") as run:
        watch = Watch(FocusedLogL1(), WandB(run), kept, every=2, picture_every=4)
        for step in range(6):
            run.log({"lr": 0.1}, step=10 * step)  # the training counts in its own way
            watch(step, *maps(step))
    check_rows(wandb_folder, kept.seen)
    assert [row["lr"] for row in rows(wandb_folder) if "lr" in row] == [0.1] * 6


# ---- the picture ----


def test_the_picture_shows_image_depth_prediction_sigma_and_weight() -> None:
    pred, target, sigma_z2, valid = maps()
    target[0, 0, 0], valid[0, 0, :2] = torch.inf, False
    pred[0, 1, 1] = torch.nan
    seen = WeightedL1().observe(pred, target, sigma_z2, valid)
    image = torch.randn(2, 3, 12, 16)  # as of a loader that normalises
    drawn = picture(seen, image)
    assert drawn.shape == (12, 5 * 16 + 4 * GAP, 3)
    shown, depth, guess, sigma, weight = (drawn[:, left : left + 16] for left in range(0, drawn.shape[1], 16 + GAP))
    low, high = image[0].min(), image[0].max()
    expected = (image[0].permute(1, 2, 0) - low) / (high - low) * 255
    assert np.abs(shown - expected.numpy()).max() <= 1
    for panel in (depth, sigma, weight):
        assert panel[0, 0].tolist() == list(FAR)
        unknown = (panel == UNKNOWN).all(-1)
        np.testing.assert_array_equal(unknown | (panel == FAR).all(-1), ~valid[0].numpy())
    np.testing.assert_array_equal((guess == UNKNOWN).all(-1), ~(pred[0] > 0).numpy())
    same = WeightedL1().observe(target, target, sigma_z2, valid)  # depth and prediction have one scale
    assert (picture(same)[1:, 16 + GAP : 2 * 16 + GAP][valid[0, 1:]] == depth[1:][valid[0, 1:]]).all()
    brightness = weight.astype(int).sum(-1)[valid[0].numpy()]
    order = np.argsort(seen.weight[0].numpy()[valid[0].numpy()])
    assert (np.diff(brightness[order]) >= -2).all()  # cividis is monotonous up to rounding
    without = picture(InverseDepthL1().observe(pred, target, valid))
    assert without.shape == (12, 3 * 16 + 2 * GAP, 3)


def test_a_batch_of_views_shows_its_first_image() -> None:
    pred, views = batch(h=6, w=5)
    seen = Pi3LossMipNeRFVariance().observe(pred, views)
    assert picture(seen, torch.rand(2, 3, 6, 5)).shape == (6, 5 * 5 + 4 * GAP, 3)
