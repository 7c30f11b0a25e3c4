"""CachedDepthDataset in a real DataLoader: start methods, workers that persist, and no growth over epochs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from children import Watched
from tiny_data import TinyData
from torch.utils.data import DataLoader

from depthvar.datasets import CachedDepthDataset, FrameNotFoundError, SigmaCache, attach
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline


def make(tiny: TinyData) -> CachedDepthDataset:
    job = tiny.job()
    list(pipeline.run(job, execute.serial))
    dataset = CachedDepthDataset(tiny.source(), SigmaCache(job.cache), size=(12, 16), augment=True)
    dataset[0]  # the parent has open handles when it forks
    return dataset


def of_a_missing_frame(view: Mapping[str, Any]) -> str:
    return f"{view['key']}.missing"


def test_an_error_of_a_worker_keeps_the_lines_of_its_traceback(tiny: TinyData) -> None:
    cache = make(tiny).sigma
    views = [{"depthmap": np.ones((24, 32)), "camera_intrinsics": np.eye(3), "key": "a\nb"}]
    loader = DataLoader(attach(views, cache, of_a_missing_frame), num_workers=1)
    with pytest.raises(FrameNotFoundError) as raised:
        next(iter(loader))
    first, second, *_, last = str(raised.value).rstrip().split("\n")
    assert first == "Caught FrameNotFoundError in DataLoader worker process 0."
    assert second == "Original Traceback (most recent call last):"
    assert r"frame 'a\nb.missing' is not in the cache" in last
    assert all(character.isprintable() for character in str(raised.value).replace("\n", ""))


def samples(loader: DataLoader[Any]) -> dict[str, tuple[torch.Tensor, ...]]:
    return {
        key: (batch["sigma_Z2"][i].clone(), batch["intrinsics"][i].clone())
        for batch in loader
        for i, key in enumerate(batch["key"])
    }


def same(one: dict[str, Any], two: dict[str, Any]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(a, b) for k in one for a, b in zip(one[k], two[k], strict=True))


@pytest.mark.parametrize(
    ("method", "workers"),
    [
        ("fork", 2),
        ("spawn", 1),
        pytest.param("fork", 4, marks=pytest.mark.slow),
        pytest.param("forkserver", 2, marks=pytest.mark.slow),
    ],
)
def test_workers_return_what_the_parent_does_in_every_epoch(tiny: TinyData, method: str, workers: int) -> None:
    dataset = make(tiny)
    alone = DataLoader(dataset, batch_size=2)
    loader = DataLoader(
        dataset, batch_size=2, num_workers=workers, multiprocessing_context=method, persistent_workers=True
    )
    seen = []
    for epoch in range(2):
        dataset.set_epoch(epoch)
        seen.append(samples(loader))
        assert same(seen[-1], samples(alone))
    assert not same(seen[0], seen[1])


@pytest.mark.parametrize(
    ("method", "workers"),
    [
        (None, 0),
        ("fork", 2),
        *(
            pytest.param(method, workers, marks=pytest.mark.slow)
            for method, workers in (("fork", 1), ("fork", 4), ("spawn", 2), ("forkserver", 4))
        ),
    ],
)
def test_open_files_and_memory_do_not_grow(tiny: TinyData, method: str | None, workers: int) -> None:
    loader = DataLoader(
        Watched(make(tiny)), num_workers=workers, multiprocessing_context=method, persistent_workers=workers > 0
    )
    history = [torch.cat([torch.stack(sample, 1) for sample in loader]) for _ in range(60)]
    for worker in range(max(workers, 1)):
        settled, last = (epoch[epoch[:, 0] == worker] for epoch in (torch.cat(history[:10]), torch.cat(history[50:])))
        # Queues come and go; what leaks in every sample adds one for each of the 80 or more between, over all workers.
        assert last[:, 1].max() < settled[:, 1].max() + 20
        assert last[:, 2].max() - settled[:, 2].max() < 8 * 1024
