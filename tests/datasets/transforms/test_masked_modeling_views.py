# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest

from beit3_mm.datasets import seeded_random
from beit3_mm.datasets.transforms import (
    BlockMask,
    PackMultimodalInputs,
    TwoViews,
)


def gradient(height, width):
    """An image that says in each pixel where it is."""
    rows = np.linspace(0, 255, height)[:, None] * np.ones(width)
    columns = np.ones((height, 1)) * np.linspace(0, 255, width)
    return np.stack([rows, columns, rows], -1).astype(np.uint8)


def views(seed, img, **options):
    options = {
        'img_size': 28,
        'tokenizer_img_size': 32,
        'crop_ratio_range': (0.2, 1.0),
    } | options
    with seeded_random(seed):
        return TwoViews(**options)(dict(img=img))


def test_both_views_show_the_same_part():
    img = gradient(90, 120)
    parts = set()
    for seed in range(20):
        results = views(seed, img)
        student, tokenizer = results['img'], results['tokenizer_img']
        assert student.shape == (28, 28, 3)
        assert results['img_shape'] == (28, 28)
        assert tokenizer.shape == (32, 32, 3)
        for corner in ((0, 0), (-1, -1)):
            difference = student[corner].astype(int) - tokenizer[corner]
            assert abs(difference).max() <= 3
        parts.add(tuple(student[0, 0]))
    assert len(parts) > 10


def test_crops_are_as_large_as_asked_for():
    img = gradient(100, 100)
    areas, aspects = [], []
    for seed in range(200):
        student = views(seed, img, img_size=64)['img'].astype(float)
        # the gradient over the view, in shares of the image
        height = (student[-1, :, 0] - student[0, :, 0]).mean() / 255
        width = (student[:, -1, 1] - student[:, 0, 1]).mean() / 255
        areas.append(height * width)
        aspects.append(width / height)
    assert 0.17 < min(areas) < 0.3 and max(areas) > 0.8
    assert 0.7 < min(aspects) < 0.85 and 1.2 < max(aspects) < 1.45


def test_the_whole_image_is_squeezed():
    img = gradient(64, 128)
    results = views(0, img, img_size=64, crop_ratio_range=(1, 1))
    expected = gradient(64, 64).astype(int)
    assert abs(results['img'] - expected).max() <= 3


def test_a_narrow_image_gives_its_middle():
    student = views(0, gradient(300, 10), crop_ratio_range=(0.9, 1))['img']
    assert 110 < student[..., 0].mean() < 145
    assert student[-1, 0, 0] - student[0, 0, 0] < 20


def test_one_view_where_the_codes_are_known():
    results = views(0, gradient(50, 50), tokenizer_img_size=None)
    assert 'tokenizer_img' not in results


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(img_size=0), 'img_size=0'),
        (dict(tokenizer_img_size=-1), 'tokenizer_img_size=-1'),
        (dict(crop_ratio_range=(0, 1)), 'crop_ratio_range'),
        (dict(crop_ratio_range=(0.5, 1.5)), 'crop_ratio_range'),
        (dict(aspect_ratio_range=(2, 1)), 'aspect_ratio_range'),
    ],
)
def test_wrong_views_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        views(0, gradient(9, 9), **options)


@pytest.mark.parametrize(
    'grid, ratio, number',
    [
        ((16, 16), 0.4, 102),
        ((14, 14), 0.4, 78),
        ((10, 10), 0.4, 40),
        ((2, 3), 0.4, 2),
        ((1, 1), 0.4, 1),
        ((14, 14), 0.75, 147),
    ],
)
def test_the_number_of_masked_patches_is_exact(grid, ratio, number):
    mask = BlockMask(patch_size=4, mask_ratio=ratio)
    img = np.zeros((4 * grid[0], 4 * grid[1], 3), np.uint8)
    for seed in range(50):
        with seeded_random(seed):
            image_mask = mask(dict(img=img))['image_mask']
        assert image_mask.dtype == bool
        assert image_mask.shape == (grid[0] * grid[1],)
        assert image_mask.sum() == number


def test_masks_are_blocks_all_over_the_image():
    mask = BlockMask(patch_size=1, mask_ratio=0.4)
    drawn = []
    for seed in range(300):
        with seeded_random(seed):
            drawn.append(mask.draw((16, 16)))
    # corners least, as fewer blocks reach them; no side more than the other
    share = np.mean(drawn, axis=0)
    assert share.min() > 0 and share.max() < 0.85
    for side in (share[0], share[-1], share[:, 0], share[:, -1]):
        assert 0.08 < side.mean() < 0.25
    # Of neighbours a masked patch has most masked; alone it would be 40%.
    pairs = np.concatenate([(x[1:] & x[:-1]).ravel() for x in drawn]).sum()
    assert pairs / sum(x[1:].sum() for x in drawn) > 0.75


def test_the_first_block_is_large():
    mask = BlockMask(patch_size=1, mask_ratio=0.4, min_patches=16)
    for seed in range(50):
        with seeded_random(seed):
            grid = np.zeros((16, 16), bool)
            assert mask._add_block(grid, 102)
        rows, columns = grid.any(1).sum(), grid.any(0).sum()
        assert rows * columns == grid.sum() >= 12  # 16, rounded twice
        assert 0.2 < rows / columns < 5


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(mask_ratio=0), 'mask_ratio=0'),
        (dict(mask_ratio=1), 'mask_ratio=1'),
        (dict(patch_size=0), 'patch_size=0'),
        (dict(min_patches=0), 'min_patches=0'),
        (dict(min_aspect=2), 'min_aspect=2'),
    ],
)
def test_wrong_masks_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        BlockMask(**{'patch_size': 16, 'mask_ratio': 0.4} | options)


def test_an_image_of_parts_of_patches_is_refused():
    img = np.zeros((28, 30, 3), np.uint8)
    with pytest.raises(ValueError, match=r'28 x 30 .*patch_size=14'):
        BlockMask(patch_size=14, mask_ratio=0.4)(dict(img=img))


def test_what_is_packed():
    results = views(1, gradient(60, 60))
    results = BlockMask(patch_size=7, mask_ratio=0.4)(results)
    results['visual_ids'] = np.arange(16)
    inputs = PackMultimodalInputs()(results)['inputs']
    assert inputs['tokenizer_image'].shape == (3, 32, 32)
    view = results['tokenizer_img']
    assert np.array_equal(inputs['tokenizer_image'][1], view[..., 1])
    assert inputs['image_mask'].tolist() == results['image_mask'].tolist()
    assert inputs['visual_ids'].tolist() == [*range(16)]
