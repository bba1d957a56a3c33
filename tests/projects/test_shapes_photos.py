# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Photographs differ in size; generated scenes do not."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS
from PIL import Image

import beit3_mm  # noqa: F401  registers

CONFIG = (
    Path(__file__).parents[2]
    / 'projects/shapes/configs/seg/beit3_mask2former_photos.py'
)


@pytest.mark.parametrize('part', ['train', 'val'])
def test_photographs_of_two_sizes_are_one_batch(part, tmp_path):
    for folder in ('images', 'semantic'):
        (tmp_path / folder).mkdir()
    for name, (width, height) in (('a', (60, 40)), ('b', (30, 45))):
        pixels = np.full((height, width), 7, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f'semantic/{name}.png')
        picture = Image.fromarray(np.repeat(pixels[..., None], 3, 2))
        picture.save(tmp_path / f'images/{name}.jpg')
    config = Config.fromfile(CONFIG)
    data = config[f'{part}_dataloader'].dataset
    (data.dataset if part == 'train' else data).data_root = str(tmp_path)
    dataset = DATASETS.build(data)
    prepare = MODELS.build(config.model.data_preprocessor)
    samples = [dataset[0], dataset[1]]
    batches = [samples] if part == 'train' else [[x] for x in samples]
    masks = []
    for batch in batches:
        found = prepare(pseudo_collate(batch), training=part == 'train')
        assert found['inputs'].shape == (len(batch), 3, 256, 256)
        masks += [x.gt_sem_seg.data for x in found['data_samples']]
    for mask in masks:
        assert set(mask.unique().tolist()) <= {6, 255}  # 0 is unlabelled
        assert 6 in mask
    if part == 'val':  # compared at the size of the image
        assert [x.shape for x in masks] == [(1, 40, 60), (1, 45, 30)]
