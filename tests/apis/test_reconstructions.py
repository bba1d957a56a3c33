# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest
import torch

from beit3_mm.apis.reconstructions import (
    HIDDEN,
    RIGHT,
    WRONG,
    MeanPatches,
    draw_patches,
    text_rows,
    to_image,
    to_patches,
)
from beit3_mm.tokenizer import load_tokenizer

SIDE, GRID = 8, (2, 3)  # pixels of a patch; patches of an image


@pytest.fixture
def image():
    generator = torch.Generator().manual_seed(0)
    shape = 3, SIDE * GRID[0], SIDE * GRID[1]
    return torch.randint(256, shape, generator=generator).float()


def tile(picture, panel, patch):
    """Returns the pixels of a patch in one of four panels."""
    pixels = np.asarray(picture)
    width = (pixels.shape[1] + 4) // 4  # with the gap of 4 pixels
    side = pixels.shape[0] // GRID[0]
    top, left = (side * place for place in divmod(patch, GRID[1]))
    left += panel * width
    return pixels[top : top + side, left : left + side]


def test_patches_make_the_image_again(image):
    patches = to_patches(image, SIDE)
    assert patches.shape == (6, SIDE, SIDE, 3)
    assert torch.equal(patches[4], image[:, 8:, 8:16].permute(1, 2, 0))
    pixels = torch.from_numpy(np.array(to_image(patches, GRID)))
    assert torch.equal(pixels.permute(2, 0, 1).float(), image)


def test_a_code_is_the_mean_of_its_patches(image):
    means, patches = MeanPatches(5, SIDE), to_patches(image, SIDE)
    means.add(image, torch.tensor([0, 1, 1, 4, 1, 0]))
    means.add(image, torch.tensor([4, 1, 1, 1, 1, 1]))
    found = means[torch.tensor([0, 4, 3])]
    torch.testing.assert_close(found[0], patches[[0, 5]].mean(0))
    torch.testing.assert_close(found[1], patches[[3, 0]].mean(0))
    assert (found[2] == HIDDEN).all()  # never met


def test_guesses_stand_beside_the_true_codes(image):
    means = MeanPatches(5, SIDE)
    for code in range(4):
        means.add(torch.full_like(image, 60.0 * code), torch.full((6,), code))
    mask = torch.tensor([True, False, True, False, False, True])
    true = torch.tensor([1, 0, 2, 0, 0, 3])
    guessed = torch.tensor([1, -1, 3, -1, -1, 4])
    picture = draw_patches(image, mask, true, guessed, means)
    for i in range(6):
        whole, seen, guess, code = (tile(picture, p, i) for p in range(4))
        middle = len(whole) // 2
        if not mask[i]:
            for other in (seen, guess, code):
                assert np.array_equal(whole, other)
            continue
        assert (seen == HIDDEN).all()
        assert (code == 60 * int(true[i])).all()
        shown = HIDDEN if guessed[i] == 4 else 60 * int(guessed[i])
        assert (guess[middle, middle] == shown).all()
        frame = RIGHT if guessed[i] == true[i] else WRONG
        assert tuple(guess[0, 0]) == tuple(guess[-1, -1]) == frame


def test_masked_words_stand_beside_their_guesses(tokenizer_file):
    tokenizer = load_tokenizer(tokenizer_file)
    ids = [0, *tokenizer.encode('the red circle is above'), 2]
    target_ids = torch.tensor(ids)
    red, circle = (tokenizer.encode(x) for x in ('red', 'circle'))
    places = [ids.index(red[-1]), ids.index(circle[-1])]
    text_mask = torch.zeros(len(ids), dtype=torch.bool)
    text_mask[places] = True
    text_ids = target_ids.masked_fill(text_mask, tokenizer.mask_id)
    pred = torch.full_like(target_ids, -1)
    pred[places[0]] = red[-1]
    pred[places[1]] = tokenizer.encode('square')[-1]
    text, first, second = text_rows(
        text_ids, target_ids, text_mask, pred, tokenizer
    )
    assert text.text.startswith('the ')
    assert text.text.count('▢') == 2
    assert text.text.endswith('is above')
    assert (first.text, first.colour) == (tokenizer.decode(red[-1:]), RIGHT)
    assert second.colour == WRONG
    assert 'guessed: ' in second.text
