# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest
import torch

from beit3_mm.apis.canvas import MIN_WIDTH
from beit3_mm.apis.contact_sheet import COLUMNS, draw_sample, draw_sheet


def packed(*colour):
    """An image of one BGR colour, 10 x 20 pixels."""
    return (
        torch.tensor(colour, dtype=torch.uint8).view(3, 1, 1).expand(3, 10, 20)
    )


def test_a_sample_is_as_wide_as_others_and_rgb():
    picture = draw_sample(packed(0, 60, 250), ['a text'])
    assert picture.width == MIN_WIDTH
    assert picture.height > MIN_WIDTH // 2
    assert picture.getpixel((5, 5)) == (250, 60, 0)
    below = np.asarray(picture)[MIN_WIDTH // 2 :]
    assert below.min() == 0 and below.max() == 255


def test_a_pair_lies_side_by_side():
    pair = torch.stack([packed(0, 0, 250), packed(250, 0, 0)])
    picture = draw_sample(pair, [])
    assert picture.width == MIN_WIDTH
    assert picture.getpixel((20, 20)) == (250, 0, 0)
    assert picture.getpixel((MIN_WIDTH - 20, 20)) == (0, 0, 250)


def test_groups_fill_rows_below_their_title():
    tiles = [draw_sample(packed(0, 0, 10 * i), []) for i in range(1, 7)]
    one_row = draw_sheet(dict(train=tiles[:COLUMNS]))
    sheet = draw_sheet(dict(train=tiles[:COLUMNS], val=tiles[COLUMNS:]))
    assert sheet.width == one_row.width > COLUMNS * MIN_WIDTH
    assert sheet.height == 2 * one_row.height
    reds = {colour[0] for _, colour in sheet.getcolors(2**20)}
    assert {10 * i for i in range(1, 7)} <= reds
    longer = draw_sheet(dict(train=tiles))
    assert one_row.height < longer.height < sheet.height


def test_no_sample_is_an_error():
    with pytest.raises(ValueError, match='no sample to show'):
        draw_sheet(dict(train=[]))
