# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Names and shapes of every official model, against our models."""

import gzip
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS as HOST_MODELS
from mmengine.registry import DefaultScope
from official_weights import adapter_names

from beit3_mm.checkpoint import (
    OFFICIAL,
    TASKS,
    VIT_ADAPTER,
    key_table,
    match_names,
)
from beit3_mm.models.backbones import BEiT3Adapter
from beit3_mm.registry import MODELS

ROOT = Path(__file__).parents[2]
ARCHS = Config.fromfile(ROOT / 'configs/_base_/archs.py').archs


def official_models():
    path = ROOT / 'tests/golden/official_state_dicts.json.gz'
    with gzip.open(path, 'rt') as file:
        return json.load(file)


OFFICIAL_MODELS = official_models()
TASK_OF = {  # how official models are called
    'imageclassification': 'classification',
    'vqav2': 'vqa',
    **{task: task for task in ('captioning', 'nlvr2', 'retrieval')},
}
HEADS = {
    'retrieval': dict(type='beit3_mm.ContrastiveHead'),
    'vqa': dict(type='beit3_mm.VQAHead', num_answers=3129),
    'nlvr2': dict(type='beit3_mm.NLVR2Head'),
    'captioning': dict(type='beit3_mm.CaptionHead', vocab_size=64010),
    'classification': dict(
        type='beit3_mm.ClassificationHead', num_classes=1000
    ),
}
MODEL_TYPES = {
    'retrieval': 'beit3_mm.DualEncoder',
    'captioning': 'beit3_mm.ImageToText',
}


def build(task, arch):
    """Builds our model of a task without memory for its weights."""
    backbone = dict(arch)
    if task in ('vqa', 'classification'):
        backbone['final_norm'] = False
    head = dict(HEADS[task], embed_dims=arch['embed_dims'])
    kind = MODEL_TYPES.get(task, 'beit3_mm.FusionEncoder')
    cfg = dict(type=kind, backbone=backbone, head=head)
    if task == 'classification':  # of the host, and of vision alone
        backbone.pop('final_norm')
        backbone |= dict(type='beit3_mm.BEiT3ViT', with_cls_token=True)
        cfg['type'] = 'mmpretrain.ImageClassifier'
        cfg['neck'] = dict(type='mmpretrain.GlobalAveragePooling')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        registry = HOST_MODELS if task == 'classification' else MODELS
        with torch.device('meta'):
            return registry.build(cfg)


def shapes_of(model):
    return {key: list(x.shape) for key, x in model.state_dict().items()}


@pytest.mark.parametrize('name', sorted(OFFICIAL_MODELS))
def test_names_and_shapes_of_every_official_model(name):
    _, size, patch, img_size, task = name.split('_')
    task, arch = TASK_OF[task], dict(ARCHS[size], img_size=int(img_size))
    assert f'patch{arch["patch_size"]}' == patch
    shapes = OFFICIAL_MODELS[name]['shapes']
    ours = {OFFICIAL.to_ours(key): shape for key, shape in shapes.items()}
    # and back again, to the letter
    assert [OFFICIAL.to_official(key) for key in ours] == list(shapes)
    assert key_table(arch['num_layers'], task) == {
        key: OFFICIAL.to_official(key) for key in ours
    }
    model = shapes_of(build(task, arch))
    if task == 'classification':
        left = {key: ours.pop(key) for key in set(ours) - set(model)}
        assert left
        for key in left:
            assert any(x in key for x in ('language', 'text_', 'mask_token'))
    assert ours == model


def test_there_are_all_tasks_and_sizes():
    assert len(OFFICIAL_MODELS) == 15
    names = {(n.split('_')[1], n.split('_')[4]) for n in OFFICIAL_MODELS}
    assert names == {(s, t) for s in ('base', 'large') for t in TASK_OF}
    assert set(TASKS) == {*TASK_OF.values(), 'pretraining'}


def test_pretraining_files_hold_two_heads():
    table = key_table(2, 'pretraining')
    heads = {k: v for k, v in table.items() if k.startswith('head.')}
    assert heads == {
        'head.lm.weight': 'mlm_head.weight',
        'head.lm.bias': 'mlm_head.bias',
        'head.visual.weight': 'mim_head.weight',
        'head.visual.bias': 'mim_head.bias',
    }
    assert set(table) - set(heads) == set(key_table(2))
    # The LM head is the one that captioning begins with.
    assert set(key_table(2, 'captioning')) == set(table) - {
        'head.visual.weight',
        'head.visual.bias',
    }


def test_unknown_names_have_no_translation():
    for name in (
        'beit3.encoder.layers.0.ffn.C.fc1.weight',
        'encoder.layers.0.ffn.A.fc1.weight',
        'head.2.weight',
        'head.norm3.weight',
    ):
        assert OFFICIAL.to_ours(name) is None
    for name in (
        'backbone.encoder.layers.0.ffn.vision_language.fc1.bias',
        'encoder.layers.0.ffn.vision.fc1.bias',
        'backbone.relative_positions.0.height',
    ):
        assert OFFICIAL.to_official(name) is None


def test_names_of_an_adapter(tiny_arch):
    vit = dict(tiny_arch, num_layers=4)
    with torch.device('meta'):
        adapter = BEiT3Adapter(vit=vit, conv_channels=4, deform_num_heads=3)
    names = list(adapter_names(adapter))
    assert len(names) > 100
    for ours, theirs in names:
        assert VIT_ADAPTER.to_ours(theirs) == ours
        assert VIT_ADAPTER.to_official(ours) == theirs
    for other in (
        'blocks.0.attn.qkv.weight',
        'backbone.up.weight',
        'spm.conv5.0.weight',
    ):
        assert VIT_ADAPTER.to_ours(other) is None


def test_the_encoder_is_found_wherever_it_is():
    names = [OFFICIAL.to_official(name) for name in key_table(1, 'nlvr2')]
    for prefix in ('', 'backbone.', 'backbone.vit.', 'model.encoder.'):
        model = [f'{prefix}vision_embedding.proj.weight']
        matched = match_names(names, model)
        assert matched['beit3.text_embed.weight'] == (
            f'{prefix}text_embedding.words.weight'
        )
        assert matched['head.dense1.bias'] == 'head.dense1.bias'
        # and from there, without anything official
        ours = list(matched.values())
        anywhere = match_names(ours, ['x.vision_embedding.proj.weight'])
        assert anywhere[f'{prefix}encoder.norm.language.bias'] == (
            'x.encoder.norm.language.bias'
        )
        assert anywhere['head.dense1.bias'] == 'head.dense1.bias'
