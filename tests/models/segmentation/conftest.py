# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The segmentor of projects/shapes, made smaller still."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

ROOT = Path(__file__).parents[3]
SHAPES = ROOT / 'projects/shapes/configs/seg/beit3_mask2former_shapes.py'
WINDOW = (64, 64)


@pytest.fixture
def build_segmentor():
    """Builds it; keyword arguments replace parts of the model's config."""

    def build(mode='whole', head='beit3_mm.Mask2FormerHead', **changes):
        config = Config.fromfile(SHAPES).model
        test_cfg = dict(mode=mode, crop_size=WINDOW, stride=(48, 48))
        changes = {
            'backbone.vit.img_size': 64,
            'backbone.vit.embed_dims': 32,
            'backbone.vit.feedforward_channels': 64,
            'backbone.conv_channels': 4,
            'backbone.gamma': 0.5,
            'decode_head.type': head,
            'decode_head.in_channels': [32] * 4,
            'decode_head.train_cfg.num_points': 64,
            'data_preprocessor.size': WINDOW,
            'data_preprocessor.test_cfg': dict(size=WINDOW),
            **changes,
        }
        config = Config(dict(model=config))
        config.merge_from_dict({f'model.{k}': v for k, v in changes.items()})
        config.model.test_cfg = test_cfg
        torch.manual_seed(0)
        return MODELS.build(config.model).eval()

    return build


@pytest.fixture
def make_batch():
    """Makes a batch of images (H, W) with masks, as a data loader does."""

    def make(*sizes, flip=False):
        torch.manual_seed(1)
        images, samples = [], []
        for size in sizes:
            image = torch.randint(0, 255, (3, *size), dtype=torch.uint8)
            mask = torch.randint(0, 4, (1, *size))
            sample = SegDataSample(gt_sem_seg=PixelData(data=mask))
            sample.set_metainfo(
                dict(
                    img_path='x.jpg',
                    img_shape=size,
                    ori_shape=size,
                    flip=flip,
                    flip_direction='horizontal' if flip else None,
                )
            )
            images.append(image.flip(2) if flip else image)
            samples.append(sample)
        return {'inputs': images, 'data_samples': samples}

    return make
