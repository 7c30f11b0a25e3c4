"""CachedDepthDataset in a real DataLoader: start methods, workers that persist, and no growth over epochs."""

import os
import resource
from typing import Any

import pytest
import torch
from tiny_data import TinyData
from torch.utils.data import DataLoader, get_worker_info

from depthvar.datasets import CachedDepthDataset, SigmaCache
from depthvar.precompute import execute, pipeline


def make(tiny: TinyData) -> CachedDepthDataset:
    job = tiny.job()
    list(pipeline.run(job, execute.serial))
    dataset = CachedDepthDataset(tiny.source(), SigmaCache(job.cache), size=(12, 16), augment=True)
    dataset[0]  # the parent has open handles when it forks
    return dataset


def samples(loader: DataLoader[Any]) -> dict[str, tuple[torch.Tensor, ...]]:
    return {
        key: (batch["sigma_Z2"][i].clone(), batch["intrinsics"][i].clone())
        for batch in loader
        for i, key in enumerate(batch["key"])
    }


def same(one: dict[str, Any], two: dict[str, Any]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(a, b) for k in one for a, b in zip(one[k], two[k], strict=True))


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # on machines with fewer cores
@pytest.mark.parametrize(("method", "workers"), [("fork", 2), ("fork", 4), ("spawn", 2), ("forkserver", 2)])
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


class Watched(torch.utils.data.Dataset[Any]):
    """Adds to each sample the open files and the peak memory in KiB of the process that made it."""

    def __init__(self, dataset: CachedDepthDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[int, int, int]:
        self.dataset[index]
        worker = get_worker_info()
        assert worker is not None
        return worker.id, len(os.listdir("/dev/fd")), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_open_files_and_memory_of_a_worker_do_not_grow(tiny: TinyData) -> None:
    loader = DataLoader(Watched(make(tiny)), num_workers=1, multiprocessing_context="fork", persistent_workers=True)
    history = [torch.cat([torch.stack(sample, 1) for sample in loader]) for _ in range(60)]
    settled, last = history[10], history[-1]
    assert last[:, 1].max() < settled[:, 1].max() + 20  # queues come and go; a leak adds one in each of 49 epochs
    assert last[:, 2].max() - settled[:, 2].max() < 8 * 1024
