# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The authors' fine-tuned models fit the recipes' models, weight by weight."""

import gzip
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from beit3_mm.checkpoint import match_names

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / 'tests' / 'golden' / 'official_state_dicts.json.gz'
OFFICIAL = json.loads(gzip.decompress(GOLDEN.read_bytes()))
RELEASED = {
    'vqa/beit3_fusion_vqav2': 'base_patch16_480_vqav2',
    'vqa/beit3-large_fusion_vqav2': 'large_patch16_480_vqav2',
    'vqa/beit3-large_fusion_vqav2-vg_768': 'large_patch16_768_vqav2',
    'nlvr2/beit3_fusion_nlvr2': 'base_patch16_224_nlvr2',
    'nlvr2/beit3_fusion_nlvr2_indomain': 'base_patch16_224_nlvr2',
    'nlvr2/beit3-large_fusion_nlvr2': 'large_patch16_224_nlvr2',
    'nlvr2/beit3-large_fusion_nlvr2_indomain': 'large_patch16_224_nlvr2',
    'caption/beit3_caption_coco': 'base_patch16_480_captioning',
    'caption/beit3-large_caption_coco': 'large_patch16_480_captioning',
    'caption/beit3_caption_nocaps': 'base_patch16_480_captioning',
    'caption/beit3-large_caption_nocaps': 'large_patch16_480_captioning',
    'retrieval/beit3_dual_coco': 'base_patch16_384_retrieval',
    'retrieval/beit3-large_dual_coco': 'large_patch16_384_retrieval',
    'retrieval/beit3_dual_flickr30k': 'base_patch16_384_retrieval',
    'retrieval/beit3-large_dual_flickr30k': 'large_patch16_384_retrieval',
    # "itc"; of large there is no such model
    'retrieval/beit3_dual_flickr30k_zeroshot': 'base_patch16_224_retrieval',
    'classification/beit3_linear_imagenet1k': (
        'base_patch16_224_imageclassification'
    ),
    'classification/beit3-large_linear_imagenet1k': (
        'large_patch16_224_imageclassification'
    ),
}


@pytest.mark.parametrize('name', RELEASED)
def test_a_released_model_is_tested_by_the_recipe(name):
    config = Config.fromfile(ROOT / 'configs' / f'{name}.py')
    scope = DefaultScope.overwrite_default_scope('mmengine')
    with scope, torch.device('meta'):
        model = MODELS.build(config.model)
    own = {key: list(x.shape) for key, x in model.state_dict().items()}
    shapes = OFFICIAL[f'beit3_{RELEASED[name]}']['shapes']
    names = match_names(shapes, own)
    loaded = {names[key]: shape for key, shape in shapes.items()}
    unused = set(loaded) - set(own)
    if 'linear' not in name:
        assert not unused
    for key in unused:  # a vision model has no place for it
        assert any(x in key for x in ('language', 'text_', 'mask_token')), key
        del loaded[key]
    assert loaded == own
