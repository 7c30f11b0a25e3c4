"""An open cache: its root and groups as they were when they were opened, and where each frame is."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import CacheError, FrameNotFoundError

from .arrays import checked_array, failure, find_node
from .attributes import check_key
from .format import FAILED, NOT_DONE, ROOT_SEQUENCE, GroupLayout, check_root, decode_keys, level_name, level_shape
from .local import open_level, read_row


@dataclass
class OpenGroup:
    """The open arrays of one group, and where each of its frames is."""

    where: str
    node: Any
    layout: GroupLayout
    rows: dict[str, int]
    digests: Any  # the open array, and what it held
    digest: NDArray[np.uint8]
    intrinsics: NDArray[np.float64]
    levels: dict[int, Any] = field(default_factory=dict)

    def read(self, row: int, stride: int, where: str, rows: slice = slice(None)) -> NDArray[np.float32]:
        """Return some rows of a map, not none: (rows, ceil(W / stride)) float32.

        Raises:
            CacheError: it is damaged, lost, or cannot be read.
        """
        try:
            values: NDArray[np.float32] = np.asarray(self._level(stride)[row, rows], dtype=np.float32)
        except CacheError:
            raise
        except Exception as error:  # whatever codecs raise on damaged bytes
            raise failure(f"{where}, stride {stride}", error) from error
        height, width = level_shape(self.layout.height, self.layout.width, stride)
        if values.shape != (len(range(height)[rows]), width) or not values.min() >= 0:  # a NaN is the smallest
            raise failure(f"{where}, stride {stride}", "stored values are missing, or negative")
        return values

    def _level(self, stride: int) -> Any:
        if stride not in self.levels:
            array = checked_array(self.node, level_name(stride), self.layout, (stride,))
            self.levels[stride] = open_level(array, self.layout, stride)
        return self.levels[stride]

    def digest_of(self, row: int) -> bytes:
        """Return the digest of a row when the group was opened."""
        digest: bytes = self.digest[row].tobytes()
        return digest

    def is_current(self, row: int) -> bool:
        """Say whether the digest of a row still is what it was when the group was opened.

        A run that computes a frame again takes its digest back first: while it stands, all that was read is of one map.
        """
        try:
            return read_row(self.digests, row) == self.digest_of(row)
        except Exception as error:
            raise failure(f"{self.where}/digest", error) from error


class OpenCache:
    """The root of a cache as it was at one moment, and its groups, each opened when first asked for.

    Args:
        path: the cache.
        parameters: those that it must have, or None.

    Raises:
        CacheError: as ``open_root``.
    """

    def __init__(self, path: str, parameters: dict[str, Any] | None) -> None:
        self.pid = os.getpid()
        self.path = path
        self._groups: dict[str, OpenGroup] = {}
        self._read_root(parameters)
        self.parameters: dict[str, Any] = self.attributes["parameters"]
        self.strides: tuple[int, ...] = tuple(self.parameters["strides"])

    def _read_root(self, parameters: dict[str, Any] | None) -> None:
        self._node, self.attributes = open_root(self.path, parameters)
        by_sequence: dict[str, list[str]] = {}
        for name in self.attributes["groups"]:
            by_sequence.setdefault(_sequence(name), []).append(name)
        self._by_sequence = by_sequence

    def keys(self) -> list[str]:
        """Return the keys of all frames that can be read, by group and row."""
        names, known = self.attributes["groups"], dict(self._groups)
        known |= self._open_groups(name for name in names if name not in known)
        return [
            key
            for group in map(known.get, names)
            if group is not None
            for key, row in group.rows.items()
            if group.digest_of(row) not in (NOT_DONE, FAILED)
        ]

    def find(self, key: str) -> tuple[OpenGroup, int]:
        """Return the group and the row of a frame; FrameNotFoundError where the cache has no σ² of it."""
        found = self._look_up(key)
        if found is None or _failed(*found):  # a run may have added or mended it since the cache was opened
            self._read_root(self.parameters)
            for name in self._near(key):
                self._groups.pop(name, None)
            found = self._look_up(key)
        if found is None:
            raise FrameNotFoundError(
                f"{self.path}: frame {key!r} is not in the cache, or not computed yet; keys look like "
                f"{next(iter(self.keys()), '(the cache is empty)')!r}; `precompute run` adds what is missing"
            )
        if _failed(*found):
            raise FrameNotFoundError(
                f"{self.path}: {key} could not be read when the cache was written; mend the file and run "
                "`precompute run` again"
            )
        return found

    def _look_up(self, key: str) -> tuple[OpenGroup, int] | None:
        for name in self._candidates(key):
            group = self._group(name)
            if group is None or (row := group.rows.get(key)) is None:
                continue
            if group.digest_of(row) != NOT_DONE:
                return group, row
        return None

    def _candidates(self, key: str) -> Iterator[str]:
        """Yield all groups; first the near ones, so that a worker opens few of them."""
        yield from self._near(key)
        yield from (name for name in self.attributes["groups"] if not key.startswith(_sequence(name) + "/"))

    def _near(self, key: str) -> Iterator[str]:
        """Yield the groups of the sequences that a key may be of by its name."""
        folder = key
        while folder:
            folder = folder.rpartition("/")[0]
            yield from self._by_sequence.get(folder, ())
        yield from self._by_sequence.get(ROOT_SEQUENCE, ())

    def _group(self, name: str) -> OpenGroup | None:
        """Return a group, or None where a run has listed but not yet created it."""
        return self._groups.get(name) or self._open_groups([name]).get(name)

    def _open_groups(self, names: Iterable[str]) -> dict[str, OpenGroup]:
        """Open groups, of those that are there."""
        groups = {}
        for name in names:
            where = f"{self.path}/{name}"
            try:
                group = _open_group(self._node, name, where)
            except CacheError:  # perhaps of a run that writes just now; what is damaged is so the second time, too
                group = _open_group(self._node, name, where)
            if group is not None:
                groups[name] = group
        if groups:
            # A group does not say of which parameters it is. A cache that is computed anew gets its root before its
            # groups: if the root is of these parameters still, so are they.
            open_root(self.path, self.parameters)
            self._groups.update(groups)
        return groups


def open_root(path: str, parameters: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
    """Open a cache, and return its group and the attributes of that.

    Raises:
        CacheError: there is none, it is damaged or cannot be read, or its parameters are others than those given.
    """
    import zarr

    try:
        node = zarr.open_group(path, mode="r", zarr_format=3, use_consolidated=False)
    except (FileNotFoundError, NotADirectoryError):
        raise CacheError(f"{path}: no cache is there; write one with `precompute run`, or check the path") from None
    except OSError as error:
        raise failure(path, error) from error
    except Exception as error:  # whatever a damaged zarr.json or a remote store raises
        raise CacheError(f"{path}: cannot be opened as a Zarr group: {error}") from error
    attributes = check_root(node.attrs.asdict(), path)
    got = attributes["parameters"]
    if parameters not in (None, got):
        raise CacheError(
            f"{path}: computed anew with other parameters since it was opened ({_differences(parameters, got)}); "
            "open it again with SigmaCache(…)"
        )
    return node, attributes


def _open_group(root: Any, name: str, where: str) -> OpenGroup | None:
    """Return a group and its index, or None where a run has listed but not yet created it."""
    try:
        node = find_node(root, name)
        if node is None or find_node(node, "digest") is None:
            return None
        _, layout = GroupLayout.from_attributes(node.attrs.asdict(), where)
        digests = checked_array(node, "digest", layout)
        digest = digests[:]  # before all else: what a run changes afterwards, it takes the digest of back first
        keys = decode_keys(checked_array(node, "key", layout)[: len(digest)])
        intrinsics = checked_array(node, "intrinsics", layout)[: len(digest)]
        done = digest.any(1) & (digest != FAILED[0]).any(1)
        if not _are_intrinsics(intrinsics[done]) or not all(compress(keys, done)):
            raise ValueError("the intrinsics or keys of frames that are done are missing")
        for key in keys:
            check_key(key, where)
    except CacheError:
        raise
    except Exception as error:
        raise failure(where, error) from error
    rows = {key: row for row, key in enumerate(keys) if key}
    return OpenGroup(where, node, layout, rows, digests, digest, intrinsics)


def _sequence(group: str) -> str:
    """Return the sequence that the name of a group begins with; a further size of frames follows behind an @."""
    return group.split("@")[0]


def _failed(group: OpenGroup, row: int) -> bool:
    return group.digest_of(row) == FAILED


def _are_intrinsics(values: NDArray[np.float64]) -> bool:
    return bool(np.isfinite(values).all() and (values[:, :2] > 0).all())


def _differences(old: dict[str, Any], new: dict[str, Any]) -> str:
    names = (name for name in dict.fromkeys((*old, *new)) if old.get(name) != new.get(name))
    return "; ".join(f"{name} was {old.get(name)!r} and is {new.get(name)!r}" for name in names)
