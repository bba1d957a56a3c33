# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
import torch.nn.functional as F
from official_weights import ARCH, HEAD_TYPES, build, head_names, official

from beit3_mm.checkpoint import (
    TASKS,
    convert_official,
    convert_ours,
    recognise_task,
    resize_images,
)
from beit3_mm.registry import MODELS

POSITIONS = 'beit3.encoder.embed_positions.A.weight'


@pytest.mark.parametrize('dtype', [torch.float32, torch.half, torch.bfloat16])
@pytest.mark.parametrize('task', [*TASKS, None])
def test_round_trip_is_exact(task, dtype):
    if task == 'classification':
        weights = official(None, dtype)
        for expert in 'AB':  # of the final norm
            for leaf in ('weight', 'bias'):
                del weights[f'beit3.encoder.layer_norm.{expert}.{leaf}']
        for name in ('fc_norm.weight', 'fc_norm.bias', 'head.bias'):
            weights[name] = torch.randn(24).to(dtype)
        weights['head.weight'] = torch.randn(24, 24).to(dtype)
    else:
        weights = official(task, dtype)
    ours = convert_official(weights)
    assert ours.task == task
    assert ours.fresh == ours.unused == []
    back = convert_ours(ours.weights)
    assert back.task == task
    assert back.fresh == back.unused == []
    assert back.weights.keys() == weights.keys()
    for name, value in back.weights.items():
        assert value.dtype == dtype
        assert torch.equal(value, weights[name])


@pytest.mark.parametrize('task', HEAD_TYPES)
def test_converted_weights_are_those_of_our_models(task):
    conversion = convert_official(official(task))
    build(task).load_state_dict(conversion.weights)  # strictly


def test_pretraining_files_serve_any_task():
    weights = official('pretraining')
    for task in HEAD_TYPES:
        conversion = convert_official(weights, task)
        assert conversion.task == task
        unused = {'mim_head.weight', 'mim_head.bias'}
        if task != 'captioning':
            unused |= {'mlm_head.weight', 'mlm_head.bias'}
            model = set(build(task).state_dict())
            assert set(conversion.fresh) == head_names(task) & model
        if task == 'vqa':
            unused |= {x for x in weights if '.layer_norm.' in x}
        assert set(conversion.unused) == unused
    # and files without a head
    assert convert_official(official(None), 'nlvr2').unused == []


def test_what_is_lost_on_the_way_is_listed():
    weights = official('vqa')
    del weights['head.3.bias']
    weights |= {'optimizer_state': torch.zeros(2), 'epoch': 3}
    conversion = convert_official(weights)
    assert conversion.fresh == ['head.classifier.3.bias']
    assert conversion.unused == ['optimizer_state', 'epoch']
    back = convert_ours(conversion.weights | {'epoch': 3})
    assert back.fresh == ['head.3.bias']
    assert back.unused == ['epoch']


def test_a_dense_backbone_becomes_an_official_encoder():
    backbone = dict(ARCH, type='beit3_mm.BEiT3ViT', window_size=2)
    model = MODELS.build(dict(backbone, with_relative_positions=True))
    weights = {f'backbone.{k}': v for k, v in model.state_dict().items()}
    weights['neck.layers.0.bias'] = torch.zeros(1)
    conversion = convert_ours(weights)
    assert conversion.task is None
    assert set(conversion.weights) | set(conversion.fresh) == set(
        official(None)
    )
    assert 'beit3.text_embed.weight' in conversion.fresh
    assert 'beit3.encoder.layers.0.ffn.A.fc1.bias' in conversion.weights
    assert 'neck.layers.0.bias' in conversion.unused
    assert any('relative_positions' in name for name in conversion.unused)


@pytest.mark.parametrize('task', HEAD_TYPES)
def test_tasks_are_recognised_from_our_names(task):
    assert recognise_task(build(task).state_dict()) == task


@pytest.mark.parametrize(
    ('convert', 'weights', 'options', 'message'),
    [
        (
            convert_official,
            official('vqa'),
            dict(task='nlvr2'),
            'a.pth is a model of vqa, not of nlvr2',
        ),
        (convert_official, official(None), dict(task='tea'), "'tea' must be"),
        (
            convert_official,
            {'blocks.0.attn.qkv.weight': torch.zeros(3, 1)},
            {},
            r'a.pth is no official .* blocks.0.attn.qkv.weight \(3, 1\)',
        ),
        (
            convert_official,
            {'beit3.text_embed.weight': torch.zeros(3, 1)},
            {},
            'no vision encoder: it has no vision_embedding.proj.weight, '
            'officially beit3.vision_embed.proj.weight',
        ),
        (
            convert_official,
            official('vqa') | official('nlvr2'),
            {},
            r"a.pth holds heads of several tasks: \['nlvr2', 'vqa'\]",
        ),
        (
            convert_official,
            official(None)
            | {'beit3.encoder.layers.1.ffn.B.fc1.bias': torch.zeros(36)},
            {},
            r'a.pth is a mixture .*\(48,\), .*layers.1.*fc1.bias \(36,\)',
        ),
        (
            convert_official,
            official(None) | {'beit3.text_embed.weight': torch.zeros(40, 12)},
            {},
            r'a.pth is a mixture .*\(24, 3, 8, 8\), .*words.weight \(40, 12',
        ),
        (
            convert_official,
            official(None) | {POSITIONS: torch.zeros(18, 24)},
            {},
            r'a.pth: vision positions of shape \(18, 24\)',
        ),
        (convert_ours, official('vqa'), {}, 'has official names already'),
        (
            convert_ours,
            {'head.fc.bias': torch.zeros(1)},
            {},
            r'a.pth must hold one .* holds 0; it has 1 entries: head.fc.bias',
        ),
        (
            convert_ours,
            build(
                'vqa',
                multiway_attention=False,
                sub_norm=False,
                num_vl_layers=1,
            ).state_dict(),
            {},
            "a.pth is of the paper's form",
        ),
        (
            convert_ours,
            build('vqa').state_dict(),
            dict(task='retrieval'),
            'a.pth is a model of vqa, not of retrieval',
        ),
    ],
)
def test_other_files_are_refused(convert, weights, options, message):
    with pytest.raises(ValueError, match=message):
        convert(weights, **options, source='a.pth')


@pytest.mark.parametrize('names', ['official', 'ours'])
def test_positions_are_resized_in_float32_whatever_their_dtype(names):
    weights = official(None, torch.half)
    table = weights[POSITIONS]
    name = POSITIONS
    if names == 'ours':
        weights = convert_official(weights).weights
        name = 'backbone.vision_embedding.positions.weight'
    resized = resize_images(weights, img_size=56)
    grid = table[3:].float().T.reshape(1, 24, 4, 4)
    grid = F.interpolate(grid, (7, 7), mode='bicubic', align_corners=False)
    expected = grid[0].flatten(1).T.half()
    assert resized[name].dtype == torch.half
    assert torch.equal(resized[name], torch.cat([table[:3], expected]))
    assert all(resized[k] is v for k, v in weights.items() if k != name)
    assert torch.equal(resize_images(weights, 32)[name], table)
    for size in (30, 0):
        with pytest.raises(ValueError, match=f'img_size={size} must be a mul'):
            resize_images(weights, size)
