"""The losses in DistributedDataParallel, in two processes: gradients, and a rank whose batch has no valid pixel."""

from pathlib import Path

import pytest
import torch
from ddp import CASES, RANKS, gradients, half, loss_of, make_model, work
from torch import Tensor


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[list[tuple[Tensor, dict[str, Tensor]]]]:
    """Per rank and case: the loss and the gradients."""
    folder = str(tmp_path_factory.mktemp("ddp"))
    torch.multiprocessing.spawn(work, (folder,), nprocs=RANKS)
    return [torch.load(Path(folder) / f"{rank}.pt") for rank in range(RANKS)]


@pytest.mark.parametrize("name", dict(CASES))
def test_a_batch_without_valid_pixels_gives_every_parameter_a_gradient_of_zero(name: str) -> None:
    """DistributedDataParallel waits forever for a parameter without one."""
    model = make_model()
    loss_of(name, model, half(RANKS - 1, empty=True)).backward()
    found = gradients(model)
    assert found.keys() == {"weight", "bias"}
    assert all((each == 0).all() for each in found.values())


@pytest.mark.slow
@pytest.mark.parametrize("case", range(len(CASES)), ids=[f"{name}-{empty}" for name, empty in CASES])
def test_gradients_are_the_mean_of_those_of_the_halves(
    ranks: list[list[tuple[Tensor, dict[str, Tensor]]]], case: int
) -> None:
    name, empty = CASES[case]
    alone = []
    for rank in range(RANKS):
        model = make_model()
        loss = loss_of(name, model, half(rank, empty))
        loss.backward()
        alone.append(gradients(model))
        torch.testing.assert_close(ranks[rank][case][0], loss.detach())
    for parameter in alone[0]:
        expected = torch.stack([each[parameter] for each in alone]).mean(0)
        assert expected.abs().max() > 1e-3
        for rank in range(RANKS):
            torch.testing.assert_close(ranks[rank][case][1][parameter], expected)
        assert torch.equal(ranks[0][case][1][parameter], ranks[-1][case][1][parameter])
