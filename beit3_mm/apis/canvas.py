# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Pictures with text: what drawing needs and knows nothing of tasks."""

import colorsys
import textwrap
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

MIN_WIDTH = 384  # of a picture in pixels: text must fit
BAR = (198, 219, 239)
GOLDEN_RATIO = 0.618034  # hues of neighbouring numbers lie far apart


class Row(NamedTuple):
    """A line of text below a picture.

    Args:
        text: The text; a long one is wrapped.
        share: Length of a bar behind it, as a share of the width.
        colour: Of a square in front of it, or None.
    """

    text: str
    share: float = 0.0
    colour: Colour | None = None


def enlarge(image: Image.Image) -> tuple[Image.Image, int]:
    """Repeats the pixels of a small image until text fits.

    Returns:
        The picture, and how often a pixel was repeated in a row.
    """
    factor = -(-MIN_WIDTH // max(image.size))
    if factor <= 1:
        return image.copy(), 1
    size = image.width * factor, image.height * factor
    return image.resize(size, Image.Resampling.NEAREST), factor


def add_rows(picture: Image.Image, rows: Sequence[Row]) -> Image.Image:
    """Returns a picture with rows of text below it."""
    width = max(picture.width, MIN_WIDTH)
    font = font_for(width)
    margin = font.size // 2
    height = font.size + margin
    lines = []
    for row in rows:
        indent = margin + (height if row.colour else 0)
        wrapped = _wrap(row.text, font, width - indent - margin)
        for line in wrapped:  # bar and square belong to the first one
            lines.append((row._replace(text=line), indent))
            row = Row('')
    size = width, picture.height + len(lines) * height + margin
    result = Image.new('RGB', size, 'white')
    result.paste(picture)
    draw = ImageDraw.Draw(result)
    y = picture.height + margin
    for row, x in lines:
        if row.share > 0:
            right = margin + row.share * (width - 2 * margin)
            draw.rectangle((margin, y, right, y + font.size), fill=BAR)
        if row.colour:
            draw.rectangle(
                (margin, y, margin + font.size, y + font.size),
                fill=row.colour,
            )
        draw.text((x, y), row.text, 'black', font)
        y += height
    return result


def put_beside(
    pictures: Sequence[Image.Image], height: int, gap: int = 4
) -> Image.Image:
    """Returns pictures side by side, all of one height."""
    pictures = [
        picture.resize(
            (max(round(picture.width * height / picture.height), 1), height)
        )
        for picture in pictures
    ]
    width = sum(picture.width + gap for picture in pictures) - gap
    result = Image.new('RGB', (width, height), 'white')
    x = 0
    for picture in pictures:
        result.paste(picture, (x, 0))
        x += picture.width + gap
    return result


def colour_of(number: int) -> Colour:
    """Returns a colour, always the same for a number."""
    rgb = colorsys.hsv_to_rgb(number * GOLDEN_RATIO % 1, 0.85, 0.95)
    return tuple(round(255 * part) for part in rgb)


def font_for(width: int) -> ImageFont.FreeTypeFont:
    """Returns a font whose size goes with the width of a picture."""
    return _font(max(14, width // 38))


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # matplotlib comes with mmengine; its font has Greek and Cyrillic letters
    folder = Path(matplotlib.get_data_path(), 'fonts', 'ttf')
    return ImageFont.truetype(folder / 'DejaVuSans.ttf', size)


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """Breaks a text into lines of at most a width in pixels."""
    columns = max(int(width / font.getlength('i')), 1)
    while True:
        lines = textwrap.wrap(text, columns)
        longest = max(map(font.getlength, lines), default=0)
        if longest <= width or columns == 1:
            return lines
        # Not below what could fit
        columns = max(int(columns * width / longest), 1)
