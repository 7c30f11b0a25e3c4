"""``inspect``: decode a few frames, check them, and say what was found."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
from PIL import Image

from depthvar.datasets.errors import SourceError, hide_credentials
from depthvar.datasets.scalars import whole
from depthvar.datasets.source.source import Source
from depthvar.precompute.pictures.choose import by_sequence, spread
from depthvar.precompute.pictures.image import read_colour

from .camera import check_camera, check_unusual
from .codes import check_codes
from .images import CHECK as IMAGE
from .images import agreement, check_images
from .kind import check_kind
from .look import Look, Rule, look_at, notes_of, rule_of
from .sheet import sheet
from .text import inspection_text
from .unit import check_unit, observed_step
from .values import check_values
from .verdict import Verdict, untold, warning

Check = Callable[[Sequence[Look], Rule], list[Verdict]]
OF_LENGTHS: tuple[Check, ...] = (check_kind, check_unit)
CHECKS: tuple[Check, ...] = (*OF_LENGTHS, check_values, check_camera, check_images, check_unusual)
NEIGHBOURS = (1, -1, 2, -2, 3, -3)  # frames later whose images are tried where a frame's own does not fit


@dataclass(frozen=True)
class Inspection:
    """What a few frames of a data set hold. ``print`` shows it as ``precompute inspect`` does.

    Attributes:
        dataset: name of the source.
        root: folder or URL of the data.
        frames: of the data set.
        sequences: of the data set.
        looked_at: keys of the frames that were decoded.
        unreadable: (key, message) of those that could not be.
        sizes: (H, W) of the frames looked at, each once.
        image_sizes: the same of their images.
        unit: "m", or "units" where the unit is known to be unknown.
        nearest, median, farthest: depth of the valid pixels; None: there are none.
        valid_share, unknown_share, far_share: of the pixels.
        field_of_view: degrees, horizontal and vertical, of the first frame.
        pixel_size: width of a pixel at the median depth, in the unit of depth.
        step: quantisation step of the depth that the description implies, in the unit of depth; None: none.
        observed_step: the largest usual step (1 to 1/5000) that all depths are multiples of; None: none.

        verdicts: of the checks.
        notes: warnings of the description.
        looks: the frames looked at.
    """

    dataset: str
    root: str
    frames: int
    sequences: int
    looked_at: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...]
    sizes: tuple[tuple[int, int], ...]
    image_sizes: tuple[tuple[int, int], ...]
    unit: str
    nearest: float | None
    median: float | None
    farthest: float | None
    valid_share: float
    unknown_share: float
    far_share: float
    field_of_view: tuple[float, float]
    pixel_size: float | None
    step: float | None
    observed_step: float | None
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...] = ()
    looks: tuple[Look, ...] = field(repr=False, compare=False, default=())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What looks wrong, a line each."""
        return tuple(f"{each.check}: {each.text}" for each in self.verdicts if each.state == "warning")

    def picture(self) -> Image.Image:
        """Return image, depth and states of the pixels of the frames looked at, a row each."""
        return sheet(self.looks, self.unit).draw()

    def to_json(self) -> dict[str, Any]:
        """Return the same as plain values."""
        plain = asdict(replace(self, looks=()))
        del plain["looks"]
        return plain | {
            "unreadable": [{"key": key, "error": error} for key, error in self.unreadable],
            "verdicts": [each._asdict() for each in self.verdicts],
        }

    def __str__(self) -> str:
        return inspection_text(self.to_json())


def inspect(source: Source, frames: int = 8) -> Inspection:
    """Decode a few frames of a source, and say what they hold and what looks wrong (docs/inspect.md).

    Args:
        source: of :func:`~depthvar.datasets.open_source`, or a class of your own. Of that no stored numbers are seen.
        frames: how many are decoded: spread over the sequences, and over each of them.

    Raises:
        SourceError: the source has no frame, or none of those looked at can be read.
        ParameterError: ``frames`` is not a whole number from 1.

    Example:
        >>> from depthvar.datasets import open_source
        >>> from depthvar.precompute import inspect
        >>> found = inspect(open_source("hospital-sample", "data/hospital-sample"), frames=2)
        >>> found.warnings
        ()
        >>> [round(degrees) for degrees in found.field_of_view]
        [90, 74]
    """
    count = whole("frames", frames, "a whole number from 1", lambda number: number >= 1)
    keys = list(source.keys())
    if not keys:
        raise SourceError(f"{source}: expected frames, got none")
    sequences = by_sequence(source, keys)
    looks, unreadable = look_at_some(source, spread(list(sequences.values()), count))
    if not looks:
        key, message = unreadable[0]
        raise SourceError(f"none of the {len(unreadable)} frames looked at can be read; {key}: {message}")
    rule = rule_of(source)
    return Inspection(
        dataset=source.name,
        root=hide_credentials(str(source)),
        frames=len(keys),
        sequences=len(sequences),
        unreadable=tuple(unreadable),
        verdicts=tuple(_other_frames(source, keys, looks, each) for each in check(looks, rule)),
        notes=notes_of(source),
        looks=tuple(looks),
        **measures(looks, rule),
    )


def measures(looks: Sequence[Look], rule: Rule) -> dict[str, Any]:
    """Return the fields of an Inspection that a few frames decide."""
    depths = np.concatenate([look.depth[look.valid] for look in looks])
    nearest, median, farthest = (float(pick(depths)) if len(depths) else None for pick in (np.min, np.median, np.max))
    pixels, far = sum(look.far.size for look in looks), sum(int(look.far.sum()) for look in looks)
    return {
        "looked_at": tuple(look.key for look in looks),
        "sizes": tuple(sorted({look.size for look in looks})),
        "image_sizes": tuple(sorted({look.colour.size for look in looks if look.colour is not None})),
        "unit": rule.unit,
        "nearest": nearest,
        "median": median,
        "farthest": farthest,
        "valid_share": len(depths) / pixels,
        "unknown_share": (pixels - len(depths) - far) / pixels,
        "far_share": far / pixels,
        "field_of_view": field_of_view(looks[0]),
        "pixel_size": None if median is None else median / float(looks[0].camera[0]),
        "step": rule.step,
        "observed_step": observed_step(looks),
    }


def look_at_some(
    source: Source, keys: Sequence[str], with_stored: int | None = None
) -> tuple[list[Look], list[tuple[str, str]]]:
    """Return the frames that can be read, and (key, message) of the others.

    Stored numbers are read of all, or of the first ``with_stored``.
    """
    looks: list[Look] = []
    unreadable = []
    for key in keys:
        try:
            looks.append(look_at(source, key, with_stored is None or len(looks) < with_stored))
        except SourceError as error:
            unreadable.append((key, str(error)))
    return looks, unreadable


def check(looks: Sequence[Look], rule: Rule, checks: Sequence[Check] = CHECKS) -> list[Verdict]:
    """Return what the checks say; where stored numbers are a code, lengths are not looked at."""
    verdicts = check_codes(looks, rule)
    if is_code := any(each.state == "warning" for each in verdicts):
        verdicts.append(untold("distance", "not looked at before the stored numbers are read rightly"))
    rest = [each for each in checks if not (is_code and each in OF_LENGTHS)]
    return verdicts + list(chain.from_iterable(each(looks, rule) for each in rest))


def field_of_view(look: Look) -> tuple[float, float]:
    """Return the horizontal and vertical angle between the outer borders of a frame, in degrees."""
    height, width = look.size
    fx, fy, cx, cy = look.camera.tolist()

    def angle(f: float, c: float, length: int) -> float:
        return float(np.degrees(np.arctan((length - 0.5 - c) / f) + np.arctan((c + 0.5) / f)))

    return angle(fx, cx, width), angle(fy, cy, height)


def _other_frames(source: Source, keys: Sequence[str], looks: Sequence[Look], verdict: Verdict) -> Verdict:
    """Add whose images fit, where those of other frames do."""
    if verdict.check != IMAGE or verdict.state != "warning":
        return verdict
    places = {key: place for place, key in enumerate(keys)}
    for later in NEIGHBOURS:
        pairs = []
        for look in looks:
            place = places[look.key] + later
            if 0 <= place < len(keys) and (colour := read_colour(source.image_path(keys[place]))) is not None:
                pairs.append((look, colour))
        found = agreement(pairs)
        if found is not None and found.fits:
            where = f"{abs(later)} frame{'' if abs(later) == 1 else 's'} {'later' if later > 0 else 'earlier'}"
            return warning(IMAGE, f"{verdict.text}; those of {where} agree ({found.here:.1f})")
    return verdict
