"""The most memory that tensors use at once while a block runs."""

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class PeakBytes(TorchDispatchMode):
    """Count the bytes of every storage that operators make, and forget them when the storage is freed.

    Attributes:
        live: bytes alive now, of storages made inside the block.
        peak: the most that were alive at once.
    """

    def __init__(self, *given: Tensor) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._seen = {_storage_of(t)._cdata for t in given}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and _storage_of(leaf)._cdata not in self._seen:
                self._add(_storage_of(leaf))
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        self._seen.add(storage._cdata)
        self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._remove, storage._cdata, storage.nbytes())

    def _remove(self, key: int, nbytes: int) -> None:
        self._seen.discard(key)
        self.live -= nbytes


def _storage_of(tensor: Tensor) -> torch.UntypedStorage:
    return tensor.untyped_storage()
