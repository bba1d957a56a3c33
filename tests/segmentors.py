# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The base ADE20K segmentor of `configs/seg`, made tiny, for several tests."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

ROOT = Path(__file__).parents[1]
BASE = ROOT / 'configs/seg/beit3_mask2former_ade20k.py'
WINDOW = (64, 64)
CLASSES, WIDTH, CHANNELS = 13, 32, 16
VIT = dict(
    img_size=64,
    patch_size=16,
    embed_dims=WIDTH,
    num_layers=4,
    num_heads=2,
    feedforward_channels=2 * WIDTH,
    with_cls_token=True,
)
ATTENTION = dict(embed_dims=CHANNELS, num_heads=2)
LAYER = dict(
    self_attn_cfg=ATTENTION,
    ffn_cfg=dict(embed_dims=CHANNELS, feedforward_channels=2 * CHANNELS),
)
POSITIONS = dict(num_feats=CHANNELS // 2)
HEAD = dict(
    in_channels=[WIDTH] * 4,
    feat_channels=CHANNELS,
    out_channels=CHANNELS,
    num_classes=CLASSES,
    num_queries=8,
    pixel_decoder=dict(
        norm_cfg=dict(num_groups=4),
        encoder=dict(num_layers=2, layer_cfg=LAYER),
        positional_encoding=POSITIONS,
    ),
    positional_encoding=POSITIONS,
    transformer_decoder=dict(
        num_layers=3, layer_cfg=dict(LAYER, cross_attn_cfg=ATTENTION)
    ),
    loss_cls=dict(class_weight=[1.0] * CLASSES + [0.1]),
    train_cfg=dict(num_points=64),
)


def config(mode='whole', head='beit3_mm.Mask2FormerHead', **options):
    """Returns a model's config, for a mode of test and with a head."""
    base = Config.fromfile(BASE)
    changes = dict(
        data_preprocessor=dict(size=WINDOW, test_cfg=dict(size=WINDOW)),
        backbone=dict(conv_channels=4, deform_num_heads=4, gamma=0.5),
        decode_head=dict(HEAD, type=head, **options),
        test_cfg=dict(mode=mode, crop_size=WINDOW, stride=(48, 48)),
    )
    base.merge_from_dict(dict(model=changes))
    base.model.backbone.vit = VIT
    return base.model


def batch(*sizes, flip=False):
    """Returns images (H, W) with masks, as a data loader does."""
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
