"""What a run reads frames from, as a protocol: depth files on disk, or a class of a user's own."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import ParameterError, SourceError
from depthvar.datasets.frame import Frame, as_intrinsics
from depthvar.datasets.scalars import require


class SourceStat(NamedTuple):
    """What shows whether the files of a frame changed, without reading them.

    Attributes:
        total_size: bytes of all of them.
        hash63: the first 63 bits of SHA-256 over path below the root, size and modification time (or ETag) of each.
        newest_mtime_ns: the last modification of any, in ns since 1970.
        has_camera: whether equal sizes and hashes also mean equal intrinsics, which are then not read to compare them.
    """

    total_size: int
    hash63: int
    newest_mtime_ns: int
    has_camera: bool = False


@runtime_checkable
class Source(Protocol):
    """Frames by key. Derive from it and write ``keys`` and ``read``; override the others where they can be faster.

    Workers get a pickled copy of it (``--workers``, Dask), and threads share it.

    Attributes:
        name: of the data set, as the cache records it.
        max_depth: metres, depth beyond it is far, in every frame; None: no maximum.

    Example:
        >>> import numpy as np
        >>> from depthvar.datasets import Frame, Source
        >>> class Arrays(Source):
        ...     name = "arrays"
        ...
        ...     def __init__(self, depths):
        ...         self.depths = depths
        ...
        ...     def keys(self):
        ...         return sorted(self.depths)
        ...
        ...     def read(self, key):
        ...         return Frame(key, self.depths[key], intrinsics=[500, 500, 31.5, 23.5])
        >>> source = Arrays({"room/000": np.full((48, 64), 2.0, np.float32)})
        >>> source.read("room/000").valid.all()
        np.True_
    """

    name: str
    max_depth: float | None = None

    @abstractmethod
    def keys(self) -> Sequence[str]:
        """Return the keys of all frames: paths with forward slashes, each once, in the order of the cache."""

    @abstractmethod
    def read(self, key: str) -> Frame:
        """Return a frame; raise SourceError where it cannot be read (the run then stops, or skips it)."""

    def __str__(self) -> str:
        return self.name

    def sequence(self, key: str) -> str:
        """Return the sequence of a frame, as a path; frames of one sequence share the shards of the cache."""
        return key.rpartition("/")[0]

    def shape(self, key: str) -> tuple[int, int]:
        """Return (H, W) of a frame."""
        height, width = read_frame(self, key).depth.shape
        return height, width

    def intrinsics(self, key: str) -> NDArray[np.float64]:
        """Return (4,) float64 fx, fy, cx, cy of a frame, in pixels."""
        return read_frame(self, key).intrinsics

    def image_path(self, key: str) -> str | None:
        """Return the path or URL of the frame's image; None: there is none."""
        return None

    def stat(self, key: str) -> SourceStat:
        """Return what shows whether a frame changed; zeros: unknown, so every run reads and hashes the frame."""
        return SourceStat(0, 0, 0)

    def holding(self, keys: Iterable[str]) -> "Source":
        """Return the source for a worker that reads these frames, which gets what is known of them."""
        return self

    def describe(self) -> dict[str, Any]:
        """Return the description that the cache records, JSON-ready; empty: only this class can read the frames."""
        return {}


def read_frame(source: Source, key: str) -> Frame:
    """Return a frame of a source; one without a maximum depth gets the source's.

    Raises:
        SourceError: it cannot be read, or is no Frame.
    """
    try:
        frame = source.read(key)
        require("read", frame, f"a depthvar.datasets.Frame from {type(source).__name__}.read", isinstance(frame, Frame))
    except ParameterError as error:
        raise SourceError(f"{source}/{key}: {error}") from error
    if frame.max_depth == source.max_depth:
        return frame
    limits = [limit for limit in (frame.max_depth, source.max_depth) if limit is not None]
    return replace(frame, max_depth=min(limits))


def frame_facts(
    source: Source, key: str, to_compare: bool = False
) -> tuple[SourceStat, tuple[float, float, float, float] | None]:
    """Return the stat of a frame, and its fx, fy, cx, cy.

    They are None where they are wanted only ``to_compare`` them with earlier ones, and equal stats say as much.

    Raises:
        SourceError: they cannot be read, or a class of a user's own gives something else.
    """
    try:
        stat = source.stat(key)
        if type(stat) is not SourceStat:
            require("stat", stat, "a SourceStat", isinstance(stat, SourceStat))
        if to_compare and stat.has_camera:
            return stat, None
        camera = source.intrinsics(key)
        if not isinstance(camera, np.ndarray) or camera.shape != (4,):
            camera = as_intrinsics(camera)
            require("intrinsics", camera.shape, "one camera", camera.shape == (4,))
        fx, fy, cx, cy = camera.tolist()
    except ParameterError as error:
        raise SourceError(f"{source}/{key}: {error}") from error
    return stat, (fx, fy, cx, cy)


def frame_shape(source: Source, key: str) -> tuple[int, int]:
    """Return (H, W) of a frame; SourceError as :func:`frame_facts`."""
    try:
        shape = source.shape(key)
        require("shape", shape, "(H, W)", isinstance(shape, tuple) and len(shape) == 2)
    except ParameterError as error:
        raise SourceError(f"{source}/{key}: {error}") from error
    return shape
