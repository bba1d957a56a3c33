# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Many samples in one picture, as the model gets them."""

from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from beit3_mm.apis.canvas import MIN_WIDTH, Row, add_rows, put_beside

COLUMNS, GAP = 4, 8  # samples in a row; pixels between them


def draw_sample(image: Tensor, lines: Sequence[str]) -> Image.Image:
    """Draws packed images, and text below.

    Args:
        image: uint8 `(3, H, W)`, or `(K, 3, H, W)` for K images, BGR.
        lines: The text; long lines are wrapped.

    Returns:
        A picture that is `MIN_WIDTH` pixels wide.
    """
    images = image if image.ndim == 4 else image[None]
    pictures = [
        Image.fromarray(part.flip(0).permute(1, 2, 0).numpy())  # to RGB
        for part in images
    ]
    picture = put_beside(pictures, max(p.height for p in pictures))
    height = max(round(picture.height * MIN_WIDTH / picture.width), 1)
    picture = picture.resize((MIN_WIDTH, height))
    return add_rows(picture, [Row(line) for line in lines])


def draw_sheet(groups: dict[str, Sequence[Image.Image]]) -> Image.Image:
    """Draws groups of samples below their titles.

    Args:
        groups: Pictures of `draw_sample` by the title of their group.

    Raises:
        ValueError: If there is no picture.
    """
    rows = []
    for title, tiles in groups.items():
        for i in range(0, len(tiles), COLUMNS):
            rows.append((title if i == 0 else '', tiles[i : i + COLUMNS]))
    if not rows:
        raise ValueError('there is no sample to show')
    width = COLUMNS * (MIN_WIDTH + GAP) - GAP
    strips = []
    for title, tiles in rows:
        if title:
            blank = Image.new('RGB', (width, 1), 'white')
            strips.append(add_rows(blank, [Row(title)]))
        height = max(tile.height for tile in tiles)
        strip = Image.new('RGB', (width, height), 'white')
        for i, tile in enumerate(tiles):
            strip.paste(tile, (i * (MIN_WIDTH + GAP), 0))
        strips.append(strip)
    height = sum(strip.height for strip in strips)
    sheet = Image.new('RGB', (width, height), 'white')
    top = 0
    for strip in strips:
        sheet.paste(strip, (0, top))
        top += strip.height
    return sheet
