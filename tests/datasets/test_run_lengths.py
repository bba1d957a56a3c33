# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest
from pycocotools import mask as coco_masks

from beit3_mm.datasets.run_lengths import covered_pixels


@pytest.mark.parametrize('share', [0.0, 0.01, 0.5, 1.0])
def test_masks_of_pycocotools_cover_their_image(share):
    rng = np.random.default_rng(0)
    for height, width in ((1, 1), (7, 300), (480, 640)):
        mask = (rng.random((height, width)) < share).astype(np.uint8)
        mask[: height // 2] = 0  # long runs too
        text = coco_masks.encode(np.asfortranarray(mask))['counts'].decode()
        assert covered_pixels(text) == height * width
        assert covered_pixels(text[:-1]) != height * width


def test_lists():
    assert covered_pixels([10, 20, 4770]) == 4800
    assert covered_pixels([]) == 0


@pytest.mark.parametrize(
    'counts',
    [None, 7, '', 'no run lengths', 'ab\x00', 'o', [1, -1], [1.5], ['1']],
    ids=repr,
)
def test_no_run_lengths(counts):
    assert covered_pixels(counts) is None
