"""``preview``: image, depth, σ and weight of some frames as one picture."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import ParameterError
from depthvar.datasets.params import Estimator, KernelParams
from depthvar.datasets.scalars import as_float, require, whole
from depthvar.datasets.source.source import Source

from .colour import FAR, TABLES, UNKNOWN, Scale, coloured, limits, table
from .frames import Shown
from .relief import relief
from .sheet import TILE, Column, Row, Sheet
from .viewed import Viewed, of_cache, of_source
from .weights import FORMS, OF_SIGMA, Form, weight_map

Choice = Form | Literal["auto", "none"]
CHOICES: tuple[Choice, ...] = ("auto", *FORMS, "none")
FRAMES = 6  # of a sheet, where nothing is asked for
SMALLEST_TILE, LARGEST_TILE = 32, 4096


@dataclass(frozen=True)
class Style:
    """How a sheet looks; quantities are "depth", "sigma" and "weight".

    Attributes:
        colours: colour map of a quantity, a name that the library cmap knows.
        ranges: (low, high) of the first and last colour of a quantity, in its unit. One without a range spans the 1st
            to the 99th percentile of all frames shown.
        linear: quantities whose scale is not logarithmic.
        tile: pixels, the width of a picture of 4:3.

    Raises:
        ParameterError: an unknown quantity or colour map, or an impossible range or width.
    """

    colours: Mapping[str, str] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    linear: Sequence[str] = ()
    tile: int = TILE

    def __post_init__(self) -> None:
        rule = f"a whole number of pixels from {SMALLEST_TILE} to {LARGEST_TILE}"
        whole("tile", self.tile, rule, lambda pixels: SMALLEST_TILE <= pixels <= LARGEST_TILE)
        for name, given in (("colours", self.colours), ("range", self.ranges), ("linear", self.linear)):
            for quantity in given:
                require(name, quantity, f"one of {', '.join(TABLES)}", quantity in TABLES)
        for quantity, name in self.colours.items():
            try:
                table(name)
            except (TypeError, ValueError) as error:
                rule = "a colour map of the library cmap, such as viridis, magma or gray_r"
                raise ParameterError(f"colours of {quantity}: expected {rule}, got {name!r}") from error
        for quantity, ends in self.ranges.items():
            is_log = quantity not in self.linear
            rule = "two numbers, low < high, above 0 where the scale is logarithmic"
            require(f"range of {quantity}", tuple(ends), rule, _is_range(ends, is_log))

    def scale(self, quantity: str, values: Sequence[NDArray[np.floating]]) -> Scale:
        """Return the scale of a quantity for the values of all frames."""
        is_log = quantity not in self.linear
        low, high = self.ranges.get(quantity) or limits(np.concatenate([each.ravel() for each in values]), is_log)
        return Scale(float(low), float(high), is_log, self.colours.get(quantity, TABLES[quantity]))


@dataclass(frozen=True)
class Preview:
    """A picture of some frames.

    Attributes:
        sheet: the picture, and where each frame is in it.
        scales: of each quantity shown.
        weight: form of the weights; None: none are shown.
    """

    sheet: Sheet
    scales: Mapping[str, Scale]
    weight: Form | None

    def to_json(self) -> dict[str, Any]:
        """Return what is shown as plain values."""
        return {"scales": {name: scale._asdict() for name, scale in self.scales.items()}, "weight": self.weight}


def preview(
    data: SigmaCache | Source | str | PathLike[str],
    frames: int | Sequence[str | int] = FRAMES,
    *,
    source: Source | str | PathLike[str] | None = None,
    sequence: str | None = None,
    stride: int = 1,
    params: Estimator | None = None,
    weight: Choice = "auto",
    colours: Mapping[str, str] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    linear: Sequence[str] = (),
    tile: int = TILE,
) -> Image.Image:
    """Return image, depth, σ and weight of some frames as one RGB picture, a row for each frame (docs/preview.md).

    Args:
        data: a cache or its path; or a source, whose σ² is computed for the frames shown.
        frames: how many, spread over the data; or keys, and numbers of frames from 0.
        source: of a cache: its depth, or the folder of that. None: the folder that holds the cache; where the files are
            not there, the depth that the cache holds; where it holds none, σ only.
        sequence: only frames of this sequence; None: of all.
        stride: of the maps, one that the cache holds; of a source any.
        params: of a source: :class:`~depthvar.datasets.KernelParams` or :class:`~depthvar.datasets.Difference`.
        weight: the form of the loss, with its default options: "focus" (``focused_log_l1``), "inverse_depth"
            (``inverse_depth_l1``), or a weighting of ``weighted_l1``; "none": no column; "auto": "focus", or none where
            depth is not known.
        colours, ranges, linear, tile: see :class:`Style`.

    Raises:
        ParameterError: an argument is not one of those allowed, or there is no such frame.
        CacheError, SourceError, DescriptionError: what is read is not there, or damaged.

    Example:
        >>> from depthvar.precompute import preview
        >>> preview("data/hospital-sample/sigma_Z2.zarr", 2, ranges={"depth": (0.5, 50)}).save("two_frames.png")
    """
    style = Style(colours or {}, ranges or {}, linear, tile)
    if isinstance(data, Source):
        require("source", source, "None for a source, as that is the depth", source is None)
        viewed = of_source(data, params or KernelParams())
    else:
        require("params", params, "None for a cache, whose σ² is computed", params is None)
        viewed = of_cache(data if isinstance(data, SigmaCache) else SigmaCache(data), source)
    keys = viewed.choose(frames, sequence)
    return draw(viewed, (viewed.show(key, stride) for key in keys), weight, style).sheet.draw()


def draw(viewed: Viewed, shown: Iterable[Shown], weight: Choice = "auto", style: Style | None = None) -> Preview:
    """Return the sheet of some frames; ParameterError, before any is read, for a weight that cannot be had."""
    style, form = style or Style(), form_of(weight, viewed.has_depth)
    frames = list(shown)
    maps = [_maps(frame, form) for frame in frames]
    scales = {name: style.scale(name, [each[name] for each in maps]) for name in maps[0]}
    titles = {"depth": f"depth ({viewed.unit})", "sigma": f"sigma ({viewed.unit})", "weight": f"weight ({form})"}
    photos = [_photo(frame) for frame in frames]
    has_images, has_photos = any(frame.image for frame in frames), any(photo is not None for photo in photos)
    photo = Column("image" if has_images else "relief of the depth", is_photo=has_images)
    columns = [photo] * has_photos + [Column(titles[name], scales[name]) for name in scales]
    rows = [
        Row(
            frame.key if frame.stride == 1 else f"{frame.key}, stride {frame.stride}",
            frame.depth.shape,
            [photo] * has_photos + [coloured(values[name], frame.far, scales[name]) for name in scales],
        )
        for frame, values, photo in zip(frames, maps, photos, strict=True)
    ]
    far = any(frame.far.any() for frame in frames)
    unknown = any((np.isnan(values["sigma"]) & ~frame.far).any() for frame, values in zip(frames, maps, strict=True))
    unknown_is = "unknown" if viewed.has_depth else "unknown or far"
    legend = ({unknown_is: UNKNOWN} if unknown else {}) | ({"far": FAR} if far else {})
    return Preview(Sheet(columns, rows, legend, style.tile), scales, form)


def form_of(weight: Choice, has_depth: bool) -> Form | None:
    """Return the form of the weights; None: no weights. ParameterError: there is no such form, or no depth for it."""
    require("weight", weight, f"one of {', '.join(CHOICES)}", weight in CHOICES)
    if weight == "auto":
        return "focus" if has_depth else None
    if weight == "none":
        return None
    require(
        "weight", weight, f"one that needs no depth ({', '.join(OF_SIGMA)}) or none", has_depth or weight in OF_SIGMA
    )
    return weight


def _maps(frame: Shown, form: Form | None) -> dict[str, NDArray[np.float32]]:
    """Return the quantities that are shown, NaN where a pixel has none."""
    found = {"sigma": frame.sigma}
    if frame.has_depth:
        found = {"depth": np.where(frame.valid, frame.depth, np.float32(np.nan))} | found
    if form is not None:
        depth = frame.depth if frame.has_depth else np.ones_like(frame.depth)  # ``form`` does not use it
        found["weight"] = weight_map(depth, frame.sigma, form)
    return found


def _photo(frame: Shown) -> NDArray[np.uint8] | None:
    """Return (h, w, 3): the image, the relief where there is none, or None."""
    if frame.image is not None:
        return frame.image.pixels
    return relief(frame.depth, frame.valid) if frame.has_depth else None


def _is_range(ends: Any, is_log: bool) -> bool:
    try:
        low, high = map(as_float, ends)
    except (TypeError, ValueError):
        return False
    return (0 if is_log else -np.inf) < low < high < np.inf
