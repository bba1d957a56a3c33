# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import gzip
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from beit3_mm.checkpoint import OFFICIAL
from beit3_mm.models.multimodal import FusionEncoder

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / 'tests' / 'golden' / 'layer_decay_base_vqa.json.gz'
OPTIMIZER = {'type': 'AdamW', 'lr': 0.1, 'weight_decay': 0.5}


class Backbone(nn.Module):
    """Three layers behind an embedding; mmpretrain's contract."""

    def __init__(self, num_layers=3):
        super().__init__()
        self.num_layers = num_layers
        self.embedding = nn.Conv2d(1, 2, 1)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 2))
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(2)

    def get_layer_depth(self, param_name, prefix=''):
        assert param_name.startswith(prefix)
        parts = param_name.removeprefix(prefix).split('.')
        num_layers = self.num_layers + 2
        if parts[0] == 'layers':
            return int(parts[1]) + 1, num_layers
        if parts[0] == 'norm':
            return num_layers - 1, num_layers
        return 0, num_layers


class Classifier(nn.Module):
    """Has a method of the same name, but not its contract, as mmpretrain's."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(2, 2)

    def get_layer_depth(self, param_name):
        raise AssertionError


def build(model, type='OptimWrapper', optimizer=OPTIMIZER, **paramwise):
    constructor = OPTIM_WRAPPER_CONSTRUCTORS.build(
        {
            'type': 'beit3_mm.LayerDecayOptimWrapperConstructor',
            'optim_wrapper_cfg': {'type': type, 'optimizer': optimizer},
            'paramwise_cfg': paramwise,
        }
    )
    return constructor(model)


def rates(model, wrapper):
    """Returns (lr, weight decay) by the name of the parameter."""
    names = {id(param): name for name, param in model.named_parameters()}
    return {
        names[id(param)]: (group['lr'], group['weight_decay'])
        for group in wrapper.optimizer.param_groups
        for param in group['params']
    }


def test_lr_falls_with_depth_in_the_backbone_only():
    model = Classifier(Backbone())
    found = rates(model, build(model, layer_decay_rate=0.5))
    assert set(found) == {name for name, _ in model.named_parameters()}
    expected = {
        'backbone.embedding.weight': 0.1 / 16,
        'backbone.cls_token': 0.1 / 16,
        'backbone.layers.0.0.weight': 0.1 / 8,
        'backbone.layers.2.1.bias': 0.1 / 2,
        'backbone.norm.weight': 0.1,
        'head.weight': 0.1,
    }
    for name, lr in expected.items():
        assert found[name] == (pytest.approx(lr), 0.5)


def test_backbones_are_found_at_any_depth_and_number():
    model = nn.ModuleDict(
        {
            'student': Classifier(Backbone(1)),
            'teacher': nn.ModuleList([Backbone(2)]),
        }
    )
    found = rates(model, build(model, layer_decay_rate=0.5))
    assert found['student.backbone.cls_token'][0] == pytest.approx(0.1 / 4)
    assert found['teacher.0.cls_token'][0] == pytest.approx(0.1 / 8)
    backbone = Backbone()
    found = rates(backbone, build(backbone, layer_decay_rate=0.5))
    assert found['cls_token'][0] == pytest.approx(0.1 / 16)


def test_groups_are_few_and_the_first_has_the_base_lr():
    model = Classifier(Backbone())
    wrapper = build(
        model,
        layer_decay_rate=0.5,
        norm_decay_mult=0.0,
        custom_keys={'head': {'lr_mult': 20}},
    )
    # Embedding; weights and norms of each layer; final norm; head.
    assert len(wrapper.optimizer.param_groups) == 1 + 3 * 2 + 1 + 1
    assert wrapper.optimizer.param_groups[0]['lr'] == 0.1
    assert wrapper.get_lr()['base_lr'] == [0.1]


@pytest.mark.parametrize(
    ('rule', 'exempt'),
    [
        ('norm_decay_mult', {'layers.0.1.weight', 'layers.0.1.bias'}),
        ('bias_decay_mult', {'layers.0.0.bias', 'layers.0.1.bias'}),
        (
            'flat_decay_mult',
            {'layers.0.0.bias', 'layers.0.1.weight', 'layers.0.1.bias'},
        ),
    ],
)
def test_weight_decay_rules(rule, exempt):
    model = Backbone()
    found = rates(model, build(model, **{rule: 0.0}))
    layer = {name: d for name, (_, d) in found.items() if 'layers.0' in name}
    assert {name for name, decay in layer.items() if decay == 0.0} == exempt
    assert set(layer.values()) == {0.0, 0.5}


def test_a_single_number_is_flat():
    model = nn.Module()
    model.backbone = Backbone()
    model.logit_scale = nn.Parameter(torch.tensor(2.0))  # no dimension
    assert rates(model, build(model))['logit_scale'][1] == 0.5
    found = rates(model, build(model, flat_decay_mult=0.0))
    assert found['logit_scale'] == (0.1, 0.0)


def test_custom_keys_set_lr_and_weight_decay_independently():
    model = Classifier(Backbone())
    found = rates(
        model,
        build(
            model,
            layer_decay_rate=0.5,
            flat_decay_mult=0.0,
            custom_keys={
                'head': {'lr_mult': 20},
                'head.weight': {'decay_mult': 0.1},
                'cls_token': {'decay_mult': 0.0},
                'layers.1': {'lr_mult': 3},
            },
        ),
    )
    assert found['head.bias'] == (pytest.approx(2.0), 0.0)
    assert found['head.weight'] == (pytest.approx(2.0), pytest.approx(0.05))
    assert found['backbone.cls_token'] == (pytest.approx(0.1 / 16), 0.0)
    assert found['backbone.layers.1.0.weight'][0] == pytest.approx(0.3 / 4)


def test_frozen_parameters_are_left_out():
    model = Backbone()
    model.embedding.requires_grad_(False)
    found = rates(model, build(model))
    assert not any('embedding' in name for name in found)


@pytest.mark.parametrize(
    ('paramwise', 'message'),
    [
        ({'layer_decay': 0.7}, "unknown .'layer_decay'.*layer_decay_rate"),
        ({'custom_keys': {'norm': {'lr': 2}}}, "'norm'.* unknown .'lr'"),
        ({'custom_keys': {'haed': {'lr_mult': 2}}}, "'haed'.* no parameter"),
        ({'optimizer': {'type': 'AdamW', 'lr': 1}}, 'state its weight_decay'),
        ({'optimizer': {'type': 'SGD', 'weight_decay': 1}}, 'state its lr'),
    ],
)
def test_wrong_options_are_refused(paramwise, message):
    with pytest.raises(ValueError, match=message):
        build(Backbone(), **paramwise)


def test_a_model_without_backbone_is_refused():
    with pytest.raises(ValueError, match=r'get_layer_depth.*BEiT3ViT'):
        build(Classifier(nn.Linear(2, 2)), layer_decay_rate=0.7)


@pytest.mark.parametrize('head_lr_mult', [1, 20])
def test_official_rates_of_vqa(head_lr_mult):
    golden = json.loads(gzip.decompress(GOLDEN.read_bytes()))
    arch = Config.fromfile(ROOT / 'configs/_base_/archs.py').archs.base
    head = dict(type='beit3_mm.VQAHead', num_answers=3129)
    with torch.device('meta'):
        model = FusionEncoder(
            dict(arch, final_norm=False),
            dict(head, embed_dims=arch.embed_dims),
        )
    frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {'backbone.vision_embedding.mask_token'}
    model.requires_grad_(True)  # its rates are in the file too
    wrapper = build(
        model,
        layer_decay_rate=0.65,
        flat_decay_mult=0.0,
        custom_keys={
            'cls_token': dict(decay_mult=0.0),
            'vision_embedding.positions': dict(decay_mult=0.0),
            'head.classifier': dict(lr_mult=head_lr_mult),
        },
    )
    found = rates(model, wrapper)
    assert set(found) == {OFFICIAL.to_ours(name) for name in golden}
    for name, expected in golden.items():
        lr, decay = found[OFFICIAL.to_ours(name)]
        scale = expected['lr_scale']
        if name.startswith('head.'):  # the factor is not in the file
            scale *= head_lr_mult
        assert lr == pytest.approx(0.1 * scale, rel=1e-12), name
        assert decay == (0.0 if expected['no_weight_decay'] else 0.5), name


def test_a_depth_may_be_given_to_parameters_outside():
    model = Classifier(Backbone())
    wrapper = build(
        model,
        layer_decay_rate=0.5,
        custom_keys={'head.weight': dict(depth=0), 'head': dict(lr_mult=2)},
    )
    rates = {
        id(param): group['lr']
        for group in wrapper.param_groups
        for param in group['params']
    }
    # as the embeddings, depth 0 of 5, and twice as much by the shorter key
    embedding = rates[id(model.backbone.embedding.weight)]
    assert embedding == pytest.approx(0.1 * 0.5**4)
    assert rates[id(model.head.weight)] == pytest.approx(2 * embedding)
    assert rates[id(model.head.bias)] == pytest.approx(0.2)


class Outer(nn.Module):
    """Around a backbone, of whose depths it tells others."""

    def __init__(self):
        super().__init__()
        self.inner = Backbone()

    def get_layer_depth(self, param_name, prefix=''):
        assert param_name.startswith(f'{prefix}inner.')
        return 1, 3


def test_an_outer_backbone_knows_more_than_an_inner_one():
    model = Classifier(Outer())
    found = rates(model, build(model, layer_decay_rate=0.5))
    head = {name for name in found if name.startswith('head')}
    for name, (lr, _) in found.items():
        assert lr == pytest.approx(0.1 if name in head else 0.05), name
