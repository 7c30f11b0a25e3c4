"""What runs in child processes of the tests of the reader: spawned ones import it by name."""

from multiprocessing.queues import Queue
from typing import Any

import torch

from depthvar.datasets.cache import SigmaCache


def read(cache: SigmaCache, key: str, results: "Queue[Any]") -> None:
    """Put what a child reads, whether it inherited an open handle, and whether it then used that handle."""
    before = cache._node
    results.put((cache.read(key), before is not None, cache._node is before))


class Frames(torch.utils.data.Dataset[torch.Tensor]):
    """The σ² maps of a cache at stride 1."""

    def __init__(self, cache: SigmaCache, keys: list[str]) -> None:
        self.cache, self.keys = cache, keys

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.cache.read(self.keys[index]))
