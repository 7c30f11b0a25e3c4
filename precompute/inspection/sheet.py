"""A picture of the frames looked at: image, depth, and the states of the pixels, a row each."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from depthvar.datasets.errors import ParameterError
from depthvar.datasets.paths import is_url

from .look import Look

TILE = 320  # width in pixels
GAP, LINE = 4, 14
STATES = {"valid": (70, 130, 90), "unknown": (232, 232, 232), "far": (80, 140, 220)}
NO_IMAGE = (250, 250, 250)
# Near to far, between which colours are interpolated.
RAMP = np.array([(255, 245, 170), (250, 160, 80), (200, 60, 90), (90, 25, 110), (10, 5, 40)], np.float64)


def sheet(looks: Sequence[Look]) -> Image.Image:
    """Return an RGB image. Depth is coloured by log z, from the 1st to the 99th percentile of all frames."""
    depths = np.concatenate([look.depth[look.valid][::17] for look in looks])
    least, most = np.quantile(depths, [0.01, 0.99]).tolist() if len(depths) else (1.0, 1.0)
    rows = [_row(look, least, most) for look in looks]
    whole = Image.new("RGB", (3 * TILE + 2 * GAP, LINE + sum(row.height + GAP for row in rows)), "white")
    draw = ImageDraw.Draw(whole)
    titles = (
        "image",
        f"depth, {least:.3g} (yellow) to {most:.3g} (black)",
        "valid (green), unknown (grey), far (blue)",
    )
    for place, title in enumerate(titles):
        draw.text((place * (TILE + GAP) + 2, 1), title, "black")
    top = LINE
    for row in rows:
        whole.paste(row, (0, top))
        top += row.height + GAP
    return whole


def write_picture(picture: Image.Image, path: str) -> None:
    """Write a PNG; ParameterError for a name that is none."""
    if is_url(path) or not path.lower().endswith(".png"):
        raise ParameterError(f"--out: expected a file that ends in .png, got {path!r}")
    drawn = BytesIO()
    picture.save(drawn, "PNG")
    Path(path).write_bytes(drawn.getvalue())


def _row(look: Look, least: float, most: float) -> Image.Image:
    height, width = look.depth.shape
    size = TILE, max(1, round(TILE * height / width))
    image = Image.new("RGB", size, NO_IMAGE)
    if look.colour is not None:
        image = Image.fromarray(look.colour.pixels).resize(size)
    states = np.empty((height, width, 3), np.uint8)
    states[...] = STATES["unknown"]
    states[look.valid], states[look.far] = STATES["valid"], STATES["far"]
    tiles = [
        image,
        *(
            Image.fromarray(part).resize(size, Image.Resampling.NEAREST)
            for part in (_coloured(look, least, most), states)
        ),
    ]
    row = Image.new("RGB", (3 * TILE + 2 * GAP, size[1] + LINE), "white")
    for place, tile in enumerate(tiles):
        row.paste(tile, (place * (TILE + GAP), 0))
    ImageDraw.Draw(row).text((2, size[1]), look.key.encode("ascii", "replace").decode(), "black")
    return row


def _coloured(look: Look, least: float, most: float) -> NDArray[np.uint8]:
    log_z = np.log(np.where(look.valid, look.depth, least))
    part = np.clip((log_z - np.log(least)) / max(np.log(most / least), 1e-6), 0, 1) * (len(RAMP) - 1)
    channels = [np.interp(part, np.arange(len(RAMP)), RAMP[:, channel]) for channel in range(3)]
    colours = np.stack(channels, -1).astype(np.uint8)
    colours[look.far], colours[~(look.valid | look.far)] = STATES["far"], STATES["unknown"]
    return colours
