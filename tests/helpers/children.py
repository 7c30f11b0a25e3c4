"""What runs in child processes of the tests of the reader: spawned ones import it by name."""

import os
import resource
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import torch
from file_access import accesses

from depthvar.datasets.cache.sigma_cache import SigmaCache


def read(cache: SigmaCache, key: str, results: "Queue[Any]") -> None:
    """Put what a child reads, and how often it opens the root of the cache for its first read and for a second one."""
    root, opened = str(Path(cache.path) / "zarr.json"), []
    for _ in range(2):
        with accesses(Path(cache.path)) as seen:
            values = cache.read(key)
        opened.append(sum(path == root for _, path in seen))
    results.put((values, opened))


class Frames(torch.utils.data.Dataset[torch.Tensor]):
    """The σ² maps of a cache at stride 1."""

    def __init__(self, cache: SigmaCache, keys: list[str]) -> None:
        self.cache, self.keys = cache, keys

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.cache.read(self.keys[index]))


class Watched(torch.utils.data.Dataset[Any]):
    """Adds to each sample the open files and the peak memory in KiB of the process that made it."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[int, int, int]:
        self.dataset[index]
        worker = torch.utils.data.get_worker_info()
        return (
            worker.id if worker else 0,
            len(os.listdir("/dev/fd")),
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        )
