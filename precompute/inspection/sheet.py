"""A picture of the frames looked at: image, depth, and the states of the pixels, a row each."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from depthvar.precompute.pictures.colour import FAR, TABLES, UNKNOWN, Scale, coloured, limits
from depthvar.precompute.pictures.sheet import Column, Row, Sheet

from .look import Look

STATES = {"valid": (70, 130, 90), "unknown": UNKNOWN, "far": FAR}


def sheet(looks: Sequence[Look], unit: str = "m") -> Sheet:
    """Return the sheet; depth is coloured by log z, from the 1st to the 99th percentile of all frames."""
    scale = Scale(*limits(np.concatenate([look.depth[look.valid] for look in looks])), table=TABLES["depth"])
    columns = [Column("image", is_photo=True), Column(f"depth ({unit})", scale), Column("valid, unknown, far")]
    rows = [
        Row(
            look.key,
            look.depth.shape,
            [
                None if look.colour is None else look.colour.pixels,
                coloured(np.where(look.valid, look.depth, np.nan), look.far, scale),
                _states(look),
            ],
        )
        for look in looks
    ]
    return Sheet(columns, rows, STATES)


def _states(look: Look) -> NDArray[np.uint8]:
    states = np.empty((*look.depth.shape, 3), np.uint8)
    states[...] = UNKNOWN
    states[look.valid], states[look.far] = STATES["valid"], STATES["far"]
    return states
