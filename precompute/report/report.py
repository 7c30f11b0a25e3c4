"""``write_report``: look at some frames of a cache, and write what they hold as one HTML file."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from typing import Any

from depthvar.datasets.cache.index import read_root
from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.cache.store import open_store
from depthvar.datasets.errors import CacheError, ParameterError, SourceError, hide_credentials
from depthvar.datasets.frame import Frame
from depthvar.datasets.params import params_from_json
from depthvar.datasets.paths import cache_path, is_url
from depthvar.datasets.scalars import whole
from depthvar.datasets.source.source import Source, read_frame
from depthvar.precompute.pictures.depth import depth_of
from depthvar.precompute.pictures.frames import Shown, frame_of_source
from depthvar.precompute.pictures.write import write_whole
from depthvar.precompute.validation.statistics import JUMP

from . import page, tiles
from .checks import Check, checks
from .choose import Pick, choose
from .frames import looked_at
from .info import cache_info
from .measure import Looked, Totals

FRAMES = 64

Progress = Callable[[str, int, int, int], None]
"""Called with what is counted, how many are done, how many there are, and how many of those done have failed."""


@dataclass(frozen=True)
class CacheReport:
    """What a report says, and where it is.

    Attributes:
        cache: path or URL.
        path: of the file.
        bytes: of the file.
        frames: of the cache that are done.
        looked_at: how many of them were read.
        unreadable: (key, message) of those that could not be.
        no_depth: why no depth was read, and what to do; "": it was.
        checks: each with its name, state, numbers and meaning.
        shown: (key, kind, why) of the frames in the gallery.
    """

    cache: str
    path: str
    bytes: int
    frames: int
    looked_at: int
    unreadable: tuple[tuple[str, str], ...]
    no_depth: str
    checks: tuple[Check, ...]
    shown: tuple[tuple[str, str, str], ...]

    def to_json(self) -> dict[str, Any]:
        """Return the same as plain values."""
        return vars(self) | {
            "unreadable": [{"key": key, "error": error} for key, error in self.unreadable],
            "checks": [each._asdict() for each in self.checks],
            "shown": [{"key": key, "kind": kind, "why": why} for key, kind, why in self.shown],
        }


def write_report(
    cache: str | PathLike[str],
    out: str | PathLike[str] = "report.html",
    source: Source | str | PathLike[str] | None = None,
    *,
    frames: int = FRAMES,
    progress: Progress = lambda what, done, total, failed: None,
) -> CacheReport:
    """Write what a cache holds as one HTML file, which needs no network: docs/report.md says what it shows.

    The same cache and depth give the same bytes.

    Args:
        cache: path or URL.
        out: the file, which ends in ``.html``. It is written under another name and renamed.
        source: the depth that the cache was computed from, or the folder that holds it. None: the folder that holds the
            cache, else the depth in the cache itself. Without any depth, the report has what needs none, and says so.
        frames: how many are read: spread over the sequences, and over each of them.
        progress: called as frames are read.

    Raises:
        ParameterError: ``frames`` is not a whole number from 1, or ``out`` is no name of an HTML file.
        CacheError: there is no cache, it cannot be read, or no frame of it is in the ``source`` that is given.
        DescriptionError: the cache describes its source in a way that this version does not know.

    Example:
        >>> from depthvar.precompute import write_report
        >>> report = write_report("data/hospital-sample/sigma_Z2.zarr", "report.html", frames=2)
        >>> report.looked_at, report.no_depth
        (2, '')
    """
    count = whole("frames", frames, "a whole number from 1", lambda number: number >= 1)
    path = os.fspath(out)
    if is_url(path) or not path.lower().endswith((".html", ".htm")):
        raise ParameterError(f"out: expected a file that ends in .html, got {path!r}")
    location = cache_path(cache)
    store = open_store(location)
    attributes = read_root(store, None)
    places = looked_at(store, attributes, count)
    reader, totals = SigmaCache(location), Totals(attributes["parameters"])
    _, depth, no_depth = depth_of(reader, source)
    looked: list[Looked] = []
    damaged: list[tuple[str, str]] = []
    unreadable: list[tuple[str, str]] = []
    progress("frames read", 0, len(places), 0)
    for done, place in enumerate(places, 1):
        frame: Frame | None = None
        try:
            variance = reader.read(place.key)
        except CacheError as error:
            damaged.append((place.key, str(error)))
            continue
        finally:
            progress("frames read", done, len(places), len(damaged) + len(unreadable))
        if depth is not None:
            try:
                frame = read_frame(depth, place.key)
            except SourceError as error:
                unreadable.append((place.key, str(error)))
        if frame is not None and frame.depth.shape != variance.shape:
            got = f"depth of {frame.depth.shape}, σ² of {variance.shape}: `precompute validate` compares them"
            unreadable.append((place.key, got))
            frame = None
        looked.append(totals.add(place.key, place.group, variance, frame))

    picks, left_out = choose(looked)
    facts = cache_info(location)
    found = checks(totals, looked, damaged, no_depth)
    context = {
        "facts": facts,
        "summary": page.summary(facts),
        "looked": len(looked),
        "no_depth": no_depth,
        "unreadable": [*damaged, *unreadable],
        "checks": found,
        "standing": page.standing(found),
        "rules": page.rules(),
        "forms": page.FORM_NAMES,
        "jump": JUMP,
        "left_out": left_out,
        "distributions": page.distributions(totals),
        "sequences": page.sequences(facts["groups"], looked),
        **_frames(reader, depth, picks),
    }
    data = page.page(context).encode()
    write_whole(path, data)
    return CacheReport(
        cache=hide_credentials(location),
        path=path,
        bytes=len(data),
        frames=context["summary"]["done"],
        looked_at=len(looked),
        unreadable=(*damaged, *unreadable),
        no_depth=no_depth,
        checks=tuple(found),
        shown=tuple((pick.frame.key, pick.kind, pick.why) for pick in picks),
    )


def _frames(reader: SigmaCache, depth: Source | None, picks: list[Pick]) -> dict[str, Any]:
    """Return the gallery and what the viewer gets; without depth, the gallery has σ alone, and there is no viewer."""
    params = params_from_json(reader.params)
    if depth is None:
        pictures = tiles.sigma_pictures([reader.read(pick.frame.key) for pick in picks])
        return {"gallery": page.shown_frames(picks, pictures), "viewer": None}
    with_depth = [pick for pick in picks if pick.frame.far is not None]
    shown: list[Shown] = []
    for pick in with_depth:
        stride = tiles.stride_of(reader.shape(pick.frame.key))
        shown.append(frame_of_source(depth, pick.frame.key, params, stride))
    scales = tiles.Scales.of(shown)
    pictures = [tiles.pictures(frame, scales) for frame in shown]
    numbers = [{"stride": frame.stride, **tiles.numbers(frame, params)} for frame in shown]
    viewer = page.viewer(reader.params, with_depth, numbers, scales) if shown else None
    return {"gallery": page.shown_frames(with_depth, pictures), "viewer": viewer}
