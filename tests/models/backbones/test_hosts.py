# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The backbone inside models of the hosts, by config inheritance."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from beit3_mm.models.backbones import BEiT3ViT

MASK_RCNN = """
_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'
model = dict(
    _scope_='mmdet',
    backbone=dict(_delete_=True, type='beit3_mm.BEiT3ViT', **{options}),
    neck=dict(
        _delete_=True, type='beit3_mm.SimpleFeaturePyramid', in_channels=24
    ),
)
"""
UPERNET = """
_base_ = 'mmseg::_base_/models/upernet_vit-b16_ln_mln.py'
norm_cfg = dict(type='mmengine.BN')
model = dict(
    _scope_='mmseg',
    pretrained=None,
    backbone=dict(
        _delete_=True,
        type='beit3_mm.BEiT3ViT',
        out_indices=(0, 1, 2),
        **{options},
    ),
    neck=dict(in_channels=[24] * 3, out_channels=24, scales=[2, 1, 0.5]),
    decode_head=dict(
        in_channels=[24] * 3,
        in_index=[0, 1, 2],
        channels=16,
        norm_cfg=dict(_delete_=True, type='BN'),
    ),
    auxiliary_head=None,
)
"""
CLASSIFIER = """
_base_ = 'mmpretrain::_base_/models/resnet50.py'
model = dict(
    _scope_='mmpretrain',
    backbone=dict(_delete_=True, type='beit3_mm.BEiT3ViT', **{options}),
    head=dict(in_channels=24, num_classes=10, topk=(1,)),
)
"""


@pytest.mark.parametrize(
    'text', [MASK_RCNN, UPERNET, CLASSIFIER], ids=['mmdet', 'mmseg', 'mmpre']
)
def test_equal_features_from_equal_weights(text, tiny_arch, tmp_path):
    options = dict(tiny_arch, window_size=3, global_attn_indexes=(1,))
    path = tmp_path / 'config.py'
    path.write_text(text.format(options=options))
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(path).model).eval()
    alone = BEiT3ViT(**options, out_indices=model.backbone.out_indices).eval()
    alone.load_state_dict(model.backbone.state_dict())
    image = torch.randn(2, 3, 64, 48)
    with torch.no_grad():
        maps = alone(image)
        expected = model.neck(maps) if model.with_neck else maps
        features = model.extract_feat(image)
    assert len(features) == len(expected)
    for feature, map_ in zip(features, expected):
        assert torch.equal(feature, map_)
    sum(x.square().mean() for x in model.extract_feat(image)).backward()
    gradient = model.backbone.vision_embedding.proj.weight.grad
    assert gradient.abs().max() > 0
