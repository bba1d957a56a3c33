# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest
from PIL import Image

from beit3_mm.apis.canvas import (
    BAR,
    MIN_WIDTH,
    Row,
    add_rows,
    colour_of,
    enlarge,
    put_beside,
)


def picture(width, height, colour='navy'):
    return Image.new('RGB', (width, height), colour)


def heights(rows, width=400):
    return add_rows(picture(width, 10), rows).height


def test_small_pictures_are_enlarged_by_whole_pixels():
    pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    large, factor = enlarge(Image.fromarray(pixels))
    assert factor == -(-MIN_WIDTH // 5)
    assert large.size == (5 * factor, 4 * factor)
    assert np.array_equal(np.asarray(large)[::factor, ::factor], pixels)
    same, factor = enlarge(picture(MIN_WIDTH, 3))
    assert same.size == (MIN_WIDTH, 3)
    assert factor == 1


def test_text_stands_below():
    result = np.asarray(add_rows(picture(400, 50), [Row('word')]))
    assert (result[:50] == (0, 0, 128)).all()
    assert (result[50:] < 99).all(axis=2).sum() > 20  # letters
    assert (result[-1] == 255).all()


def test_a_narrow_picture_gets_room_for_text():
    result = add_rows(picture(3, MIN_WIDTH), [Row('word')])
    assert result.width == MIN_WIDTH


def test_long_texts_are_wrapped_and_stay_inside():
    line = heights([Row('x')]) - heights([])
    three = heights([Row('x')] * 3) - heights([])
    assert three == 3 * line
    words = ' '.join(['words'] * 60)
    for text in (words, 'x' * 300, 'WWW ' * 60):
        assert heights([Row(text)]) > heights([Row('x')] * 3)
        result = np.asarray(add_rows(picture(400, 10), [Row(text)]))
        assert (result[10:, -4:] == 255).all()
    assert heights([Row('')]) == heights([])


@pytest.mark.parametrize('share', [0.0, 0.25, 1.0])
def test_bars_are_as_long_as_their_share(share):
    result = np.asarray(add_rows(picture(400, 10), [Row('i', share)]))
    lengths = (result == BAR).all(axis=2).sum(axis=1)
    full = 400 - 14  # without the margins
    assert lengths.max() == pytest.approx(share * full, abs=2)


def test_squares_have_their_colour():
    result = np.asarray(
        add_rows(picture(400, 10), [Row('name', colour=(1, 2, 3))])
    )
    assert (result == (1, 2, 3)).all(axis=2).sum() > 100


def test_pictures_beside_each_other():
    result = put_beside([picture(10, 20, 'red'), picture(60, 40, 'lime')], 40)
    assert result.size == (20 + 4 + 60, 40)
    assert result.getpixel((19, 20)) == (255, 0, 0)
    assert result.getpixel((22, 20)) == (255, 255, 255)
    assert result.getpixel((24, 20)) == (0, 255, 0)


def test_colours_of_numbers_differ():
    colours = [colour_of(i) for i in range(150)]
    assert len(set(colours)) == 150
    first = np.array(colours[:6])
    gaps = np.abs(first[:, None] - first).sum(2)
    assert gaps[~np.eye(6, dtype=bool)].min() > 60
