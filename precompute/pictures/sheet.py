"""A sheet of pictures: a row for each frame, a column for each quantity, with its colour bar."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from depthvar.datasets.errors import one_line

from .colour import Scale, table, ticks

TILE = 320  # pixels: the width of a picture of 4:3; others have the same area, and are at most twice as long
INK, FAINT, NOTHING = (40, 40, 40), (110, 110, 110), (246, 246, 246)

Pixels = NDArray[np.uint8]


class Column(NamedTuple):
    """What is above the pictures of a quantity.

    Attributes:
        title: ASCII, as all text: the font that Pillow brings has no other letters.
        scale: of the colour bar; None: none.
        is_photo: whether pixels may be mixed when pictures are resized.
    """

    title: str
    scale: Scale | None = None
    is_photo: bool = False


class Row(NamedTuple):
    """A frame.

    Attributes:
        caption: its name.
        shape: (h, w) of its maps; an image of another size is stretched to it.
        tiles: (h, w, 3) for each column; None: there is nothing to show.
    """

    caption: str
    shape: tuple[int, int]
    tiles: Sequence[Pixels | None]


@dataclass(frozen=True)
class Sheet:
    """Pictures in rows and columns, and where each is.

    Attributes:
        columns: at least one.
        rows: at least one.
        legend: the meaning of colours that are in no colour bar.
        tile: pixels, see ``TILE``; with larger ones all else grows.
    """

    columns: Sequence[Column]
    rows: Sequence[Row]
    legend: Mapping[str, tuple[int, int, int]]
    tile: int = TILE

    def box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """Return left, top, right and bottom of a picture in the sheet, for Pillow's ``crop``."""
        width, height = self._sizes[row]
        left, top = self._lefts[column], self._tops[row]
        return left, top, left + width, top + height

    def draw(self) -> Image.Image:
        """Return the sheet, RGB. A reduced picture has the mean colours of the pixels under each of its own."""
        right, bottom = self._lefts[-1] - self._gap + self._margin, self._tops[-1] - self._line + self._margin
        whole = Image.new("RGB", (right, bottom + bool(self.legend) * self._line), "white")
        draw = ImageDraw.Draw(whole)
        for place, column in enumerate(self.columns):
            self._draw_head(whole, draw, self._lefts[place], column)
        for number, row in enumerate(self.rows):
            left, top, *_ = self.box(number, 0)
            width = right - 2 * self._margin
            draw.text((left, top - self._line), self._fitted(row.caption, width), FAINT, self._small)
            for place, tile in enumerate(row.tiles):
                self._paste(whole, self.box(number, place), tile, self.columns[place].is_photo)
        left, top = self._margin, bottom
        for text, colour in self.legend.items():
            draw.rectangle((left, top, left + self._pt(12), top + self._pt(12)), colour, FAINT)
            draw.text((left + self._pt(18), top - self._pt(1)), text, FAINT, self._small)
            left += self._pt(36) + round(self._small.getlength(text))
        return whole

    def _draw_head(self, whole: Image.Image, draw: ImageDraw.ImageDraw, left: int, column: Column) -> None:
        draw.text((left, self._margin), column.title, INK, self._font)
        if column.scale is None:
            return
        width, height = self._column_width, self._pt(10)
        top, colours = self._margin + self._pt(24), table(column.scale.table)
        bar = np.broadcast_to(colours[np.arange(width) * 256 // width], (height, width, 3))
        whole.paste(Image.fromarray(np.ascontiguousarray(bar)), (left, top))
        end, space = left, self._pt(8)
        for number in ticks(column.scale, most=max(4, width // self._pt(45))):
            x = left + round(float(column.scale.parts(number)) * (width - 1))
            text = f"{number:.6g}"
            length = self._small.getlength(text)
            start = round(min(max(x - length / 2, left), left + width - length))
            if start >= end:
                draw.line((x, top + height, x, top + height + self._pt(3)), INK)
                draw.text((start, top + height + self._pt(4)), text, INK, self._small)
                end = start + round(length) + space

    def _paste(self, whole: Image.Image, box: tuple[int, int, int, int], tile: Pixels | None, is_photo: bool) -> None:
        size = box[2] - box[0], box[3] - box[1]
        if tile is None:
            whole.paste(NOTHING, box)
            return
        way = Image.Resampling.LANCZOS if is_photo else Image.Resampling.BOX
        whole.paste(Image.fromarray(tile).resize(size, way), box)

    def _fitted(self, text: str, width: int) -> str:
        """Return the end of a text that is not wider; a letter that the font lacks is "?"."""
        plain = one_line(text).encode("ascii", "replace").decode()
        if self._small.getlength(plain) <= width:
            return plain
        cut = bisect_left(range(len(plain)), True, key=lambda cut: self._small.getlength(f"...{plain[cut:]}") <= width)
        return f"...{plain[cut:]}"

    def _pt(self, length: float) -> int:
        """Return a length as it is at the usual size, in pixels of this sheet."""
        return max(1, round(length * self._zoom))

    @cached_property
    def _zoom(self) -> float:
        return max(self.tile / TILE, 1.0)  # smaller letters cannot be read

    @cached_property
    def _font(self) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        return ImageFont.load_default(size=self._pt(15))

    @cached_property
    def _small(self) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        return ImageFont.load_default(size=self._pt(12))

    @cached_property
    def _margin(self) -> int:
        return self._pt(12)

    @cached_property
    def _gap(self) -> int:
        return self._pt(10)

    @cached_property
    def _line(self) -> int:
        return self._pt(19)

    @cached_property
    def _sizes(self) -> list[tuple[int, int]]:
        """(width, height) of the pictures of each row."""
        area, longest, sizes = 0.75 * self.tile**2, 2 * self.tile, []
        for height, width in (row.shape for row in self.rows):
            shrunk = min(sqrt(area / (height * width)), longest / max(height, width))
            sizes.append((max(1, round(width * shrunk)), max(1, round(height * shrunk))))
        return sizes

    @cached_property
    def _column_width(self) -> int:
        titles = (round(self._font.getlength(column.title)) for column in self.columns)
        return max(*titles, *(width for width, _ in self._sizes))

    @cached_property
    def _lefts(self) -> list[int]:
        """Left border of each column, and of one more."""
        return [self._margin + place * (self._column_width + self._gap) for place in range(len(self.columns) + 1)]

    @cached_property
    def _tops(self) -> list[int]:
        """Upper border of the pictures of each row, and of one more."""
        has_bars = any(column.scale for column in self.columns)
        first = self._margin + self._pt(56 if has_bars else 24) + self._line
        return list(accumulate((height + self._pt(8) + self._line for _, height in self._sizes), initial=first))
