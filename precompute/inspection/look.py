"""A few frames of a source, decoded and reduced, with all that the checks look at."""

from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.source.depth_source import DepthSource
from depthvar.datasets.source.source import Source, read_frame
from depthvar.precompute.pictures.image import Colour, read_colour

MOST_PIXELS = 1 << 19  # of a frame that are looked at: every second or third row and column of a larger one


class Rule(NamedTuple):
    """How the stored numbers are read, as far as a check depends on it.

    Attributes:
        kind: "z", "ray", "disparity" or "inverse".
        metric: whether depth is in metres.
        units_per_metre: stored units in a metre; None: a class of the user's own reads the frames.
        step: quantisation step in metres that follows from the rule; None: none does.
        encoded: whether stored numbers are unpacked or bit-cast before they are read.
    """

    kind: str = "z"
    metric: bool = True
    units_per_metre: float | None = None
    step: float | None = None
    encoded: bool = False

    @property
    def unit(self) -> str:
        """Unit of the depth, for people."""
        return "m" if self.metric else "units"


@dataclass(frozen=True, eq=False)
class Look:
    """One frame; maps of a large one are reduced to every ``stride``-th row and column.

    Attributes:
        key: of the frame.
        size: (H, W) of the whole frame.
        camera: (4,) fx, fy, cx, cy of the whole frame, in pixels.
        stride: of the maps.
        depth: (h, w) float32, in metres or scene units; 0 where unknown, ``+inf`` where far without a depth.
        valid: (h, w) bool, neither unknown nor far.
        far: (h, w) bool.
        stored: (h, w), the numbers in the file; None where a class of the user's own reads it.
        colour: the image; None: there is none, or it cannot be read.
        image_path: path or URL of the image; None: there is none.
    """

    key: str
    size: tuple[int, int]
    camera: NDArray[np.float64]
    stride: int
    depth: NDArray[np.float32]
    valid: NDArray[np.bool_]
    far: NDArray[np.bool_]
    stored: NDArray[Any] | None = None
    colour: Colour | None = None
    image_path: str | None = None

    @property
    def reduced_camera(self) -> NDArray[np.float64]:
        """(4,) fx, fy, cx, cy in pixels of the maps."""
        return self.camera / self.stride  # exact: pixel centres are integers


def rule_of(source: Source) -> Rule:
    """Return how a source reads its stored numbers."""
    if not isinstance(source, DepthSource):
        return Rule()
    rule = source.description.depth
    is_coded = rule.view is not None or rule.encoding is not None
    return Rule(rule.kind, rule.metric, rule.units_per_metre, source.description.quantisation_step, is_coded)


def notes_of(source: Source) -> tuple[str, ...]:
    """Return what the description of a source warns about."""
    if not isinstance(source, DepthSource):
        return ()
    described = source.description
    return (described.warning, *described.notes) if described.warning else described.notes


def look_at(source: Source, key: str, with_stored: bool = True) -> Look:
    """Decode one frame; SourceError where it cannot be read. An image that cannot be read is left out.

    The stored numbers are read by themselves, which takes as long again.
    """
    frame = read_frame(source, key)
    height, width = frame.depth.shape
    stride = max(1, ceil(sqrt(height * width / MOST_PIXELS)))
    depth, valid = frame.depth[::stride, ::stride], frame.valid[::stride, ::stride]
    stored = source.stored(key) if with_stored and isinstance(source, DepthSource) else None
    path = source.image_path(key)
    return Look(
        key=key,
        size=(height, width),
        camera=frame.intrinsics,
        stride=stride,
        depth=depth,
        valid=valid,
        far=(depth > 0) & ~valid,
        stored=stored[::stride, ::stride] if stored is not None and stored.shape == frame.depth.shape else None,
        colour=read_colour(path),
        image_path=path,
    )
