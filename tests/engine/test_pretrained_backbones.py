# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Backbones of detectors and segmentors from files of other models."""

import pytest
import torch
from official_weights import ARCH, adapter_names, build, official, pretrained
from torch import nn

from beit3_mm.checkpoint import CheckpointError, convert_official
from beit3_mm.engine.loading import load_weights
from beit3_mm.engine.pretrained import load_pretrained
from beit3_mm.models.backbones import BEiT3Adapter, BEiT3ViT


def test_a_detectors_backbone_loads_any_file(save):
    vit = dict(ARCH, window_size=2, with_relative_positions=True)
    for weights, kind in (
        (official('vqa'), 'model'),
        (build('captioning').state_dict(), 'state_dict'),
    ):
        backbone = BEiT3ViT(**vit, init_cfg=pretrained(save(weights, kind)))
        tables = backbone.relative_positions[0].state_dict()
        tables = {k: v.clone() for k, v in tables.items()}
        backbone.init_weights()
        if kind == 'model':
            weights = convert_official(weights).weights
        for name, value in backbone.state_dict().items():
            if not name.startswith('relative_positions'):
                assert torch.equal(value, weights[f'backbone.{name}']), name
        kept = backbone.relative_positions[0].state_dict()
        assert all(torch.equal(kept[k], v) for k, v in tables.items())


def test_an_adapters_vit_loads_its_own_file(save):
    weights = official('retrieval', num_layers=4)
    vit = dict(ARCH, num_layers=4, init_cfg=pretrained(save(weights)))
    adapter = BEiT3Adapter(vit=vit, conv_channels=4, deform_num_heads=3)
    up = adapter.up.weight.clone()
    adapter.init_weights()
    expected = convert_official(weights).weights
    for name, value in adapter.vit.state_dict().items():
        assert torch.equal(value, expected[f'backbone.{name}']), name
    assert torch.equal(adapter.up.weight, up)
    # What was trained inside the adapter serves other models.
    trained = {f'backbone.{k}': v for k, v in adapter.state_dict().items()}
    alone = BEiT3ViT(**dict(ARCH, num_layers=4))
    report = load_pretrained(alone, save(trained, 'state_dict'))
    assert report.complete
    assert 'backbone.up.weight' in report.unexpected


def test_official_adapters_load(save):
    vit = dict(ARCH, num_layers=4)
    options = dict(vit=vit, conv_channels=4, deform_num_heads=3)
    source = BEiT3Adapter(**options)
    state = source.state_dict()
    names = list(adapter_names(source))
    weights = {f'backbone.{theirs}': state[ours] for ours, theirs in names}
    weights['backbone.blocks.0.attn.qkv.weight'] = torch.zeros(3)
    init_cfg = pretrained(save(weights, 'state_dict'))
    target = BEiT3Adapter(**options, init_cfg=init_cfg)
    torch.nn.init.zeros_(target.up.weight)
    target.init_weights()
    for ours, _ in names:
        assert torch.equal(target.state_dict()[ours], state[ours]), ours
    other = save({'blocks.0.norm1.weight': torch.ones(2)}, 'state_dict')
    target = BEiT3Adapter(**options, init_cfg=pretrained(other))
    with pytest.raises(CheckpointError, match=r'nothing in .*state_dict\.pth'):
        target.init_weights()


def test_the_papers_form_passes_on_its_experts(save):
    paper = dict(multiway_attention=False, sub_norm=False, num_vl_layers=1)
    source = build('vqa', **paper)
    path = save(source.state_dict(), 'state_dict')
    state = source.backbone.state_dict()
    captioner = build('captioning', **paper)  # has no VL experts by default
    report = load_pretrained(captioner, path)
    backbone = BEiT3ViT(**ARCH, **paper)
    assert load_pretrained(backbone, path).complete
    for model in (captioner.backbone, backbone):
        for name, value in model.state_dict().items():
            assert torch.equal(value, state.get(name, value)), name
    fused = {name for name in state if 'vision_language' in name}
    assert fused
    assert {f'backbone.{name}' for name in fused} <= set(report.unexpected)
    retrieval = build('retrieval', **paper)
    report = load_pretrained(retrieval, path)
    assert {x.partition('.')[0] for x in report.missing[2:]} == {'head'}
    assert report.missing[:2] == [
        'backbone.encoder.norm.shared.weight',
        'backbone.encoder.norm.shared.bias',
    ]


@pytest.mark.parametrize('kind', ['vit', 'adapter'])
def test_inside_a_host_the_backbone_is_found(kind):
    vit = dict(ARCH, num_layers=4)
    backbone = (
        BEiT3ViT(**vit)
        if kind == 'vit'
        else BEiT3Adapter(vit=vit, conv_channels=4, deform_num_heads=3)
    )
    host = nn.Module()
    host.backbone, host.neck = backbone, nn.Linear(24, 24)
    weights = official('nlvr2', num_layers=4)
    report = load_weights(host, weights, 'a.pth')
    encoder = backbone if kind == 'vit' else backbone.vit
    expected = convert_official(weights).weights
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, expected[f'backbone.{name}']), name
    assert len(report.loaded) == len(encoder.state_dict())
    assert {'neck.weight', 'neck.bias'} <= set(report.missing)
    assert 'head.dense1.weight' in report.unexpected


def test_a_few_vectors_that_fit_by_chance_are_an_error():
    host = nn.Module()
    host.backbone, host.fc = BEiT3ViT(**ARCH), nn.Linear(24, 10)
    resnet = {'fc.weight': torch.zeros(10, 8), 'fc.bias': torch.zeros(10)}
    with pytest.raises(CheckpointError, match=r'nothing in a\.pth fits'):
        load_weights(host, resnet, 'a.pth')
