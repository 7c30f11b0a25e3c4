"""A look at every frame of a source, without its depth: what planning needs to know."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from depthvar.datasets.cache.bookkeeping import Bookkeeping
from depthvar.datasets.errors import ParameterError, SourceError
from depthvar.datasets.frame import camera_doubt, check_native
from depthvar.datasets.source.source import Source, frame_facts, frame_shape
from depthvar.datasets.source.templates import stays_below

log = logging.getLogger("depthvar")

MANY_FRAMES = 50_000  # from here on the survey lasts seconds, and says so


@dataclass(frozen=True, slots=True)
class SourceFrame:
    """A frame as the survey of the source found it, without its depth."""

    key: str
    sequence: str
    shape: tuple[int, int] | None  # None: the file's header could not be read
    intrinsics: tuple[float, float, float, float] | None  # None: those that are stored, where the stat is
    stat: tuple[int, int]  # total size and 63-bit hash of (path, size, mtime) over every file of the frame
    error: str | None = None


def survey(source: Source, stored: Iterable[Bookkeeping], on_error: str = "fail") -> Iterator[SourceFrame]:
    """Yield what planning needs of every frame; headers are read only of files that are new or have changed.

    SourceError where a file cannot be read and ``on_error`` is "fail".
    """
    known: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {}
    for group in stored:
        shape = group.layout.height, group.layout.width
        stats = ((size, hash63) for size, hash63 in group.stat.tolist())
        known.update((key, (shape, stat)) for key, stat in zip(group.keys, stats, strict=True) if key)
    keys = _keys(source)
    if len(keys) >= MANY_FRAMES:
        log.info("looking at the files of %d frames (some 15,000 to 40,000 a second)", len(keys))
    warned, looked, last_camera = False, False, None
    for key in keys:
        if not isinstance(sequence := source.sequence(key), str):
            raise SourceError(f"{source}/{key}: sequence: expected a str, got {sequence!r}")
        try:
            facts, camera = frame_facts(source, key, to_compare=True)
            stat = facts.total_size, facts.hash63
            if camera == last_camera:  # equal values are kept once: a million frames are many
                camera = last_camera
            last_camera = camera
            old = known.pop(key, None)
            if old is not None and old[1] == stat:
                shape, stat = old
            else:
                shape = frame_shape(source, key)
                if camera is None and not looked:  # at one of those that are left to the workers
                    (_, camera), looked = frame_facts(source, key), True
            if camera is not None and (error := _camera_fault(camera, shape)):
                raise SourceError(f"{key}: {error}")
            if not warned and camera is not None and (doubt := _camera_doubt(camera, shape)):
                log.warning("%s: %s", key, doubt)
                warned = True
        except SourceError as error:
            if on_error == "fail":
                raise
            yield SourceFrame(key, sequence, None, (0.0, 0.0, 0.0, 0.0), (0, 0), str(error))
            continue
        yield SourceFrame(key, sequence, shape, camera, stat)


def _keys(source: Source) -> list[str]:
    """Return the keys of a source; SourceError where there are none, or they cannot be keys of a cache."""
    listed = source.keys()
    if not isinstance(listed, Iterable) or isinstance(listed, str):
        raise SourceError(f"{source}: expected a list of keys, got {type(listed).__name__}")
    keys = list(listed)
    if not keys:
        raise SourceError(f"{source}: expected frames, got none")
    known: set[object] = set()
    for key in keys:
        if not isinstance(key, str) or key in known or not stays_below(key):
            twice = " twice" if isinstance(key, str) and key in known else ""
            raise SourceError(f"{source}: expected keys that are relative paths as str, each once, got {key!r}{twice}")
        known.add(key)
    return keys


@lru_cache(maxsize=1024)
def _camera_fault(intrinsics: tuple[float, ...], shape: tuple[int, int]) -> str | None:
    """Return why a camera cannot be that of a frame of (H, W); None: it can."""
    try:
        check_native(np.array(intrinsics), shape)
    except ParameterError as error:
        return str(error)
    return None


_camera_doubt = lru_cache(maxsize=1024)(camera_doubt)
