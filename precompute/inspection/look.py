"""A few frames of a source, decoded and reduced, with all that the checks look at."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from math import ceil, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from depthvar.datasets.errors import DepthVarError
from depthvar.datasets.source.depth_source import DepthSource
from depthvar.datasets.source.files import read_url
from depthvar.datasets.source.source import Source, read_frame

MOST_PIXELS = 1 << 19  # of a frame that are looked at: every second or third row and column of a larger one
IMAGE_SIDE = 640  # pixels, of the reduced image


class Colour(NamedTuple):
    """An image that belongs to a depth map.

    Attributes:
        pixels: (h, w, 3) uint8, reduced to at most ``IMAGE_SIDE``.
        size: (H, W) of the file.
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]


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


def read_colour(path: str | None) -> Colour | None:
    """Return an image, reduced; None where there is none, or it cannot be read."""
    if path is None:
        return None
    try:
        with Image.open(BytesIO(read_url(path)) if "://" in path else path) as image:
            width, height = image.size
            image.draft("RGB", (IMAGE_SIDE, IMAGE_SIDE))  # of a JPEG: decoded at a fraction of its size
            shrunk = min(1.0, IMAGE_SIDE / max(width, height))
            small = image.convert("RGB").resize(
                (round(width * shrunk) or 1, round(height * shrunk) or 1), Image.Resampling.BOX
            )
            return Colour(np.asarray(small), (height, width))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, DepthVarError):
        return None


def by_sequence(source: Source, keys: Sequence[str]) -> dict[str, list[str]]:
    """Return the keys of each sequence."""
    found: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        found[source.sequence(key)].append(key)
    return dict(found)


def spread(sequences: Sequence[Sequence[str]], count: int) -> list[str]:
    """Return ``count`` keys, or all where there are fewer: spread over the sequences, and over each of them."""
    chosen = [sequences[i] for i in _evenly(len(sequences), count)]
    shares = [count // len(chosen) + (place < count % len(chosen)) for place in range(len(chosen))]
    keys = [keys[i] for keys, share in zip(chosen, shares, strict=True) for i in _evenly(len(keys), share)]
    if len(keys) < count and sum(map(len, sequences)) > len(keys):  # some sequences are shorter than their share
        every = [key for each in sequences for key in each]
        known = set(keys)
        rest = [key for key in every if key not in known]
        known |= {rest[i] for i in _evenly(len(rest), count - len(keys))}
        keys = [key for key in every if key in known]
    return keys


def _evenly(total: int, count: int) -> Iterator[int]:
    """Yield at most ``count`` places of ``total``, each the middle of an equal part."""
    parts = min(total, count)
    return (int((part + 0.5) * total / parts) for part in range(parts))
