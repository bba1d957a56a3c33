# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest

from beit3_mm.datasets.transforms import LoadVisualTokens, TwoViews
from beit3_mm.datasets.visual_tokens import (
    NONE,
    VisualTokensWriter,
    name_hash,
)


@pytest.fixture
def load(tmp_path):
    """Returns the transform of two images, of which the second is damaged."""
    about = dict(samples=2, height=1, width=2, num_codes=8, codebook='')
    writer = VisualTokensWriter(tmp_path, about)
    names = [name_hash('a.jpg'), name_hash('b.jpg')]
    writer.add(names, np.array([[3, 4], [NONE] * 2], np.uint16), [])
    writer.keep()
    return LoadVisualTokens(str(tmp_path))


def sample(index=0, **others):
    img = np.zeros((20, 30, 3), np.uint8)
    path = f'images/{"ab"[index]}.jpg'
    return dict(sample_idx=index, img_path=path, img=img, **others)


def views(low):
    return TwoViews(16, None, crop_ratio_range=(low, 1.0))


def test_ids_are_added(load):
    results = load(sample(flip=False))
    assert results['visual_ids'].tolist() == [3, 4]
    assert results['visual_ids'].dtype == np.int64
    assert views(1.0)(results)['img'].shape == (16, 16, 3)


def test_a_damaged_image_is_rejected(load):
    results = sample(1)
    assert load(results) is None
    assert results['rejected'].startswith('images/b.jpg has no visual tokens')


def test_a_flipped_or_cropped_image_is_refused(load):
    with pytest.raises(ValueError, match=r'a\.jpg was flipped, but the vis'):
        load(sample(flip=True))
    with pytest.raises(ValueError, match=r'crop_ratio_range=\(0\.2, 1\.0\)'):
        views(0.2)(load(sample()))
    with pytest.raises(ValueError, match='flip=True, but the visual tokens'):
        views(1.0)(load(sample()) | dict(flip=True))
