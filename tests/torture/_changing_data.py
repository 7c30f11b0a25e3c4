"""A data set that is edited, reverted, grown and shrunk at random, and what a cache of it must hold.

The oracle is ``tests/helpers/reference.py``, on the files as they are, and, for rows that a killed run left, on the
content that their digest names.
"""

import os
import time
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import reference
import zarr
from numpy.typing import NDArray
from tiny_data import TinyData, make_depth

from depthvar.datasets.cache.attributes import check_root
from depthvar.datasets.cache.format import NOT_DONE, decode_keys, level_name
from depthvar.datasets.frame import Frame
from depthvar.datasets.params import params_from_json
from depthvar.precompute import KernelParams
from depthvar.precompute.pipeline.fingerprint import frame_digest

SHAPES = ((24, 32), (32, 24), (16, 20))  # the first two have files of equal size
USUAL = 0.9  # part of the edits and new frames that have the first shape
YOUNG = 0.2  # part of them that are as young as they look; the others keep a time of long ago, as `cp -p` does
STORED = 2.0**-9  # relative error of 8 mantissa bits


class Version(NamedTuple):
    """The content of a frame's two files, and their modification times in ns."""

    seed: int
    shape: tuple[int, int]
    focal: float
    depth_time: int
    camera_time: int


class ChangingData(TinyData):
    """A data set whose frames change at random, in ways that a listing by size and time may not show.

    Attributes:
        frames: what each frame's files hold now.
        changed: keys of the frames that have been changed; its user clears it.
    """

    def __init__(self, root: Path, random: np.random.Generator, sequences: int, count: int) -> None:
        super().__init__(root)
        self.random = random
        self.frames: dict[str, Version] = {}
        self.changed: set[str] = set()
        self._past: dict[str, list[Version | None]] = {}
        self._contents: set[tuple[int, tuple[int, int], float]] = set()
        self._clock = time.time_ns() - 10**15
        self._count = sequences * count
        for sequence in range(sequences):
            for frame in range(count):
                self._put(f"s{sequence}/depth/{100 + 50 * frame:03}.npy", self._new(SHAPES[0]))
        self._past.clear()

    @property
    def cache(self) -> Path:
        """Where the cache of the data is."""
        return self.root / "sigma_Z2.zarr"

    def move(self, root: Path) -> None:
        """Look at a copy of the data in another folder."""
        self.root, self.toml = root, root / self.toml.name

    def _new(self, shape: tuple[int, int]) -> Version:
        when = self._tick()
        return Version(int(self.random.integers(60)), shape, self._focal(), when, when)

    def _focal(self) -> float:
        return float(self.random.choice([25.0, 40.0, 60.0]))

    def _tick(self) -> int:
        self._clock += 1_000_000
        return time.time_ns() if self.random.random() < YOUNG else self._clock

    def _shape(self) -> tuple[int, int]:
        return SHAPES[0] if self.random.random() < USUAL else SHAPES[int(self.random.integers(1, 3))]

    def _put(self, key: str, version: Version | None) -> None:
        """Make a frame's files hold a version; None removes them. Half of the files are replaced, half rewritten."""
        self._past.setdefault(key, []).append(self.frames.get(key))
        self.changed.add(key)
        depth_path, camera_path = self.root / key, self.root / key.replace("depth", "camera").replace(".npy", ".txt")
        if version is None:
            depth_path.unlink(missing_ok=True)
            camera_path.unlink(missing_ok=True)
            self.frames.pop(key, None)
            return
        depth = make_depth(*version.shape, version.seed)
        height, width = version.shape
        camera = f"{version.focal} {version.focal} {width / 2} {height / 2}".encode()
        replace = bool(self.random.random() < 0.5)
        for path, when in ((camera_path, version.camera_time), (depth_path, version.depth_time)):
            path.parent.mkdir(parents=True, exist_ok=True)
            written = path.with_name(f".{path.name}") if replace else path
            if path is depth_path:
                with written.open("wb") as file:
                    np.save(file, depth)
            else:
                written.write_bytes(camera)
            os.utime(written, ns=(when, when))
            if replace:
                written.rename(path)
        self.frames[key] = version
        self._contents.add(version[:3])

    def change(self, kind: str | None = None, key: str | None = None) -> str:
        """Make one change, at random unless its kind or frame is given, and return its kind.

        The sizes and times of what is inserted, renamed, or gets other intrinsics stay equal in half the cases.
        """
        keys = sorted(self.frames)
        key, equal = key or str(self.random.choice(keys)), bool(self.random.random() < 0.5)
        version = self.frames[key]
        more, fewer = len(keys) < self._count + 4, len(keys) > self._count - 4
        kinds = ["edit", "revert", "intrinsics", *["insert"] * more, *["remove"] * fewer]
        kind = kind or str(self.random.choice(kinds))
        match kind:
            case "edit":  # an edit that keeps size and time is found by `validate --full` only: docs/format.md
                self._put(key, self._new(self._shape())._replace(focal=version.focal, camera_time=version.camera_time))
            case "revert":
                key = str(self.random.choice(sorted(self._past) or [key]))
                self._put(key, self._past.get(key, [version])[-1])
            case "intrinsics":
                other = version._replace(focal=40.0 if version.focal == 25.0 else 25.0)
                self._put(key, other if equal else other._replace(camera_time=self._tick()))
            case "insert":
                self._put(self._free(key), version if equal else self._new(self._shape()))
            case "remove":
                if equal:  # renamed
                    self._put(self._free(key), version)
                self._put(key, None)
            case "touch":
                self._put(key, version._replace(depth_time=self._tick()))
        return f"{kind}, size and time equal" if equal and kind in ("intrinsics", "insert", "remove") else kind

    def settle(self) -> None:
        """Make files that are young older, so that their stat is trusted from now on."""
        for key, version in list(self.frames.items()):
            self._clock += 1_000_000
            times = (min(when, self._clock) for when in version[3:])
            if (older := Version(*version[:3], *times)) != version:
                self._put(key, older)

    def _free(self, beside: str) -> str:
        names = (f"{beside.split('/')[0]}/depth/{n:03}.npy" for n in self.random.permutation(1000))
        return next(name for name in names if name not in self.frames)

    def revert_to(self, frames: dict[str, Version]) -> None:
        """Give every frame the content and the times that it had; new ones go."""
        for key in {*frames, *self.frames}:
            if frames.get(key) != self.frames.get(key):
                self._put(key, frames.get(key))

    def contents_by_digest(self, fingerprint: str) -> dict[bytes, tuple[int, tuple[int, int], float]]:
        """Return every content that any frame ever had, by its digest."""
        return {_digest(*content, fingerprint): content for content in self._contents}

    def wrong_rows(self, cache: Path) -> list[str]:
        """Return what is wrong with the rows that count as done: a digest, intrinsics or values that never belonged
        together. A cache that is not there yet has none."""
        if not (cache / "zarr.json").exists():
            return []
        attributes, wrong = _attributes(cache), []
        contents = self.contents_by_digest(attributes["fingerprint"])
        for where, row in done_rows(cache).items():
            if row.digest not in contents:
                wrong.append(f"{where}: a digest of nothing that was ever in the file, under these parameters")
                continue
            seed, shape, focal = contents[row.digest]
            if row.intrinsics != (focal, focal, shape[1] / 2, shape[0] / 2):
                wrong.append(f"{where}: stored intrinsics {row.intrinsics}, σ is of {focal}")
            for stride, stored in row.levels.items():
                want = _oracle(seed, shape, focal, stride, params_from_json(attributes["parameters"]))
                if not _equal(stored, want):
                    wrong.append(f"{where}: stride {stride} is not what its digest names")
        return wrong

    def wrong_cache(self, cache: Path) -> list[str]:
        """Return what is wrong with a cache that a run has finished: every frame is there, as its files are now."""
        wrong = self.wrong_rows(cache)
        mark = _attributes(cache)["fingerprint"]
        rows = {(key, row.digest) for (_, key), row in done_rows(cache).items()}
        for key in {*self.frames} | {key for key, _ in rows}:
            got = [digest for other, digest in rows if other == key]
            if key not in self.frames:  # kept: one of the contents that it had
                want = got[:1]
            else:
                want = [frame_digest(Frame(key, *_read_files(self.root / key)), mark)]
            if got != want:
                wrong.append(f"{key}: {len(got)} done rows, expected {len(want)}, of the files as they are")
        partial = [path.name for path in cache.rglob("*.partial")]
        return wrong + [f"{name}: left behind" for name in partial]


class Row(NamedTuple):
    """A row that counts as done."""

    digest: bytes
    intrinsics: tuple[float, ...]
    levels: dict[int, NDArray[np.float32]]


def done_rows(cache: Path) -> dict[tuple[str, str], Row]:
    """Return the rows of a cache that count as done, by (group, key)."""
    attributes, rows = _attributes(cache), {}
    root: Any = zarr.open_group(cache, mode="r")
    for name in attributes["groups"]:
        if f"{name}/digest" not in root:
            continue
        group = root[name]
        digests = group["digest"][:]
        if not digests.any():
            continue
        keys, intrinsics = decode_keys(group["key"][:], name), group["intrinsics"][:]
        levels = {stride: group[level_name(stride)][:] for stride in attributes["parameters"]["strides"]}
        for index, key in enumerate(keys[: len(digests)]):
            digest = digests[index].tobytes()
            if digest != NOT_DONE:
                maps = {stride: level[index] for stride, level in levels.items()}
                rows[name, key] = Row(digest, tuple(intrinsics[index].tolist()), maps)
    return rows


def _attributes(cache: Path) -> dict[str, Any]:
    return check_root(zarr.open_group(cache, mode="r").attrs.asdict(), str(cache))


def _read_files(depth_path: Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    camera = depth_path.parents[1] / "camera" / f"{depth_path.stem}.txt"
    return np.load(depth_path), np.array(camera.read_text().split(), dtype=np.float64)


@cache
def _digest(seed: int, shape: tuple[int, int], focal: float, fingerprint: str) -> bytes:
    camera = np.array([focal, focal, shape[1] / 2, shape[0] / 2])
    return frame_digest(Frame("", make_depth(*shape, seed), camera), fingerprint)


@cache
def _oracle(seed: int, shape: tuple[int, int], focal: float, stride: int, params: KernelParams) -> reference.Reference:
    camera = np.array([focal, focal, shape[1] / 2, shape[0] / 2]) / stride
    return reference.sigma_z2_of_arrays(make_depth(*shape, seed)[::stride, ::stride], camera, params)


def _equal(stored: NDArray[np.float32], oracle: reference.Reference) -> bool:
    want, finite = oracle.sigma_z2, np.isfinite(oracle.sigma_z2)
    if stored.shape != want.shape:
        return False
    allowed = (STORED + reference.rounding(oracle)[finite]) * want[finite]
    return bool((stored[~finite] == np.inf).all() and (np.abs(stored[finite] - want[finite]) <= allowed).all())
