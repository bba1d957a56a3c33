# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import gzip
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from beit3_mm.checkpoint import (
    ADAPTER_TABLE,
    convert_official,
    encoder_weights,
    from_official,
    from_official_adapter,
    load_vision_weights,
    resize_patch_embedding,
    to_official,
)
from beit3_mm.models.backbones import BEiT3Adapter, BEiT3ViT
from beit3_mm.models.beit3 import BEiT3

ROOT = Path(__file__).parents[1]
ARCHS = Config.fromfile(ROOT / 'configs/_base_/archs.py').archs


def official_models():
    path = ROOT / 'tests/golden/official_state_dicts.json.gz'
    with gzip.open(path, 'rt') as file:
        return json.load(file)


OFFICIAL = official_models()
HEADS = ('mlm_head', 'fc_norm', 'head.', 'logit_scale', 'pooler')
HEADS += ('language_head', 'vision_head')


@pytest.mark.parametrize('name', sorted(OFFICIAL))
def test_names_and_shapes_of_every_official_model(name):
    _, size, patch, img_size, task = name.split('_', 4)
    final_norm = not task.startswith(('vqa', 'imageclassification'))
    arch = dict(ARCHS[size], img_size=int(img_size))
    with torch.device('meta'):
        model = BEiT3(**arch, final_norm=final_norm)
    assert f'patch{arch["patch_size"]}' == patch
    ours = {key: list(x.shape) for key, x in model.state_dict().items()}
    shapes = OFFICIAL[name]['shapes']
    converted, heads = convert_official(shapes)
    assert converted == ours
    assert all(head.startswith(HEADS) for head in heads), heads
    # and back again, to the letter
    back = {to_official(key): shape for key, shape in ours.items()}
    assert back == {k: v for k, v in shapes.items() if k not in heads}


def test_unknown_names_have_no_translation():
    assert from_official('beit3.encoder.layers.0.ffn.C.fc1.weight') is None
    assert from_official('encoder.layers.0.ffn.A.fc1.weight') is None
    assert to_official('encoder.layers.0.ffn.vision_language.fc1.bias') is None


def test_patches_are_resized_in_float32():
    weight = torch.randn(5, 3, 14, 14)
    resized = resize_patch_embedding(weight.half(), 16)
    assert resized.shape == (5, 3, 16, 16)
    assert resized.dtype == torch.half
    expected = torch.nn.functional.interpolate(
        weight.half().float(), 16, mode='bicubic', align_corners=False
    )
    assert torch.equal(resized, expected.half())
    assert resize_patch_embedding(weight, 14) is weight


@pytest.fixture
def official_file(golden, tmp_path):
    _, tensors = golden('beit3_tiny_retrieval')
    weights = {
        name.removeprefix('weights/'): x
        for name, x in tensors.items()
        if name.startswith('weights/')
    }
    path = tmp_path / 'official.pth'
    torch.save({'model': weights}, path)
    return path, weights


WIDTHS = dict(
    embed_dims=32, num_layers=2, num_heads=4, feedforward_channels=64
)


def test_a_backbone_loads_an_official_file(official_file):
    path, weights = official_file
    backbone = BEiT3ViT(
        img_size=32,
        patch_size=8,
        **WIDTHS,
        init_cfg=dict(type='Pretrained', checkpoint=str(path)),
    )
    backbone.init_weights()
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, weights[to_official(name)]), name


def test_positions_and_patches_are_resized_on_the_way(official_file):
    path, weights = official_file
    backbone = BEiT3ViT(img_size=60, patch_size=10, **WIDTHS)
    load_vision_weights(backbone, str(path))
    embedding = backbone.vision_embedding
    proj = weights['beit3.vision_embed.proj.weight']
    assert torch.equal(embedding.proj.weight, resize_patch_embedding(proj, 10))
    assert embedding.positions.weight.shape == (3 + 36, 32)


def test_our_own_checkpoints_load_into_a_backbone(tiny_arch, tmp_path):
    torch.manual_seed(0)
    source = BEiT3(**tiny_arch, vocab_size=9, max_text_positions=8)
    path = tmp_path / 'ours.pth'
    state = {f'encoder.{k}': v for k, v in source.state_dict().items()}
    torch.save(dict(state_dict=state), path)
    backbone = BEiT3ViT(**tiny_arch, with_cls_token=True).eval()
    load_vision_weights(backbone, str(path))
    source.encoder.norm = None
    image = torch.randn(1, 3, 32, 32)
    tokens = source.eval()(image).vision[:, 1:]
    torch.testing.assert_close(
        backbone(image)[-1].flatten(2).transpose(1, 2), tokens
    )


def test_files_without_an_encoder_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r'found 0; .* fc\.weight'):
        encoder_weights({'fc.weight': torch.zeros(1)})
    twice = {
        f'{name}.vision_embedding.proj.weight': torch.zeros(1)
        for name in ('student', 'teacher')
    }
    with pytest.raises(ValueError, match='found 2'):
        encoder_weights(twice)


def build_adapter(vit, **options):
    vit = dict(vit, num_layers=4)
    return BEiT3Adapter(
        vit=vit, conv_channels=4, deform_num_heads=3, **options
    )


def official_names(model):
    """Yields ours and ViT-Adapter's names of all that is not the ViT's."""
    fields = dict(block=0, number=0, leaf='weight', part='query_norm')
    for ours, theirs in ADAPTER_TABLE.items():
        assert from_official_adapter(theirs.format(**fields)) == ours.format(
            **fields
        )
    for name in model.state_dict():
        if name.startswith('vit.'):
            continue
        their = name.replace('spatial_prior.', 'spm.')
        for i in range(4):
            their = their.replace(f'spm.convs.{i}.', f'spm.conv{i + 2}.')
            their = their.replace(f'spm.projs.{i}.', f'spm.fc{i + 1}.')
            their = their.replace(f'norms.{i}.', f'norm{i + 1}.')
        their = their.replace('extractors.0.', 'extractor.')
        their = their.replace('extractors.1.', 'extra_extractors.0.')
        their = their.replace('extractors.2.', 'extra_extractors.1.')
        their = their.replace('.attention.', '.')
        their = their.replace('ffn.norm.', 'ffn_norm.')
        their = their.replace('ffn.dwconv.', 'ffn.dwconv.dwconv.')
        yield name, their


def test_official_adapters_load(tiny_arch, tmp_path):
    source = build_adapter(tiny_arch)
    state = source.state_dict()
    names = list(official_names(source))
    assert len(names) > 100
    for ours, theirs in names:
        assert from_official_adapter(theirs) == ours
    weights = {f'backbone.{theirs}': state[ours] for ours, theirs in names}
    weights['backbone.blocks.0.attn.qkv.weight'] = torch.zeros(3)
    path = tmp_path / 'adapter.pth'
    torch.save({'state_dict': weights}, path)
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    target = build_adapter(tiny_arch, init_cfg=init_cfg)
    torch.nn.init.zeros_(target.up.weight)
    target.init_weights()
    for ours, _ in names:
        assert torch.equal(target.state_dict()[ours], state[ours]), ours


def test_an_adapters_vit_loads_its_own_file(official_file):
    path, weights = official_file
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    vit = dict(WIDTHS, img_size=32, patch_size=8, num_layers=4)
    vit |= dict(with_cls_token=True, init_cfg=init_cfg)
    adapter = BEiT3Adapter(vit=vit, conv_channels=4, deform_num_heads=4)
    up = adapter.up.weight.clone()
    adapter.init_weights()
    loaded = 0
    for name, value in adapter.vit.state_dict().items():
        if to_official(name) in weights:  # of two layers
            assert torch.equal(value, weights[to_official(name)]), name
            loaded += 1
    assert loaded > 40
    assert torch.equal(adapter.up.weight, up)


def test_other_names_than_vit_adapters():
    assert from_official_adapter('blocks.0.attn.qkv.weight') is None
    assert from_official_adapter('backbone.up.weight') is None
    assert from_official_adapter('spm.conv5.0.weight') is None


def test_files_without_an_adapter_are_refused(tiny_arch, tmp_path):
    path = tmp_path / 'vit.pth'
    torch.save({'state_dict': {'blocks.0.norm1.weight': torch.ones(2)}}, path)
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    with pytest.raises(ValueError, match=r'vit\.pth'):
        build_adapter(tiny_arch, init_cfg=init_cfg).init_weights()
