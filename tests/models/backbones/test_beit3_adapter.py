# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from beit3_mm.checkpoint import ADAPTER_TABLE, from_official_adapter
from beit3_mm.layers.drop_path import DropPath
from beit3_mm.models.backbones import BEiT3Adapter, BEiT3ViT

BLOCKS = [(0, 0), (1, 1), (2, 2), (3, 4)]


@pytest.fixture
def vit_arch(tiny_arch):
    return dict(tiny_arch, num_layers=5, patch_size=16)


def build(vit, **options):
    torch.manual_seed(0)
    model = BEiT3Adapter(
        vit=vit, conv_channels=4, deform_num_heads=3, gamma=0.5, **options
    )
    for name, parameter in model.named_parameters():
        if 'sampling_offsets' in name or 'attention_weights' in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def image(height=64, width=96, batch=2):
    torch.manual_seed(1)
    return torch.randn(batch, 3, height, width)


@pytest.mark.parametrize('cls', [False, True])
@pytest.mark.parametrize('size', [(64, 96), (70, 50), (33, 32)])
@torch.no_grad()
def test_four_levels_of_any_image_size(vit_arch, size, cls):
    model = build(dict(vit_arch, with_cls_token=cls)).eval()
    maps = model(image(*size))
    assert [tuple(m.shape) for m in maps] == [
        (2, 24, -(-size[0] // s), -(-size[1] // s)) for s in (4, 8, 16, 32)
    ]
    assert all(m.isfinite().all() for m in maps)


@torch.no_grad()
def test_padding_is_that_of_a_larger_image(vit_arch):
    model = build(vit_arch).eval()
    small = image(70, 50)
    large = torch.nn.functional.pad(small, (0, 14, 0, 26))
    for cut, whole in zip(model(small), model(large)):
        height, width = cut.shape[-2:]
        assert torch.equal(cut, whole[..., :height, :width])


@torch.no_grad()
def test_gamma_zero_leaves_the_vit_as_it_is(vit_arch):
    torch.manual_seed(0)
    vit = dict(vit_arch, with_cls_token=True)
    model = BEiT3Adapter(vit=vit, conv_channels=4, deform_num_heads=3).eval()
    seen = []
    model.norms[3].register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    levels = []
    block = model.interactions[-1].extractors[-1]
    block.register_forward_hook(lambda _, x, out: levels.append(out))
    model(image())
    alone = BEiT3ViT(**vit).eval()
    alone.load_state_dict(model.vit.state_dict())
    (tokens,) = alone(image())
    half = torch.nn.functional.interpolate(
        tokens, (2, 3), mode='bilinear', align_corners=False
    )
    coarsest = levels[0][:, -6:].transpose(1, 2).unflatten(2, (2, 3))
    torch.testing.assert_close(seen[0], coarsest + half)


@torch.no_grad()
def test_other_patch_sizes_see_a_resized_image(vit_arch):
    model = build(dict(vit_arch, patch_size=14, img_size=28)).eval()
    sizes = []
    model.vit.vision_embedding.register_forward_pre_hook(
        lambda _, x: sizes.append(tuple(x[0].shape[-2:]))
    )
    assert model(image())[2].shape[-2:] == (4, 6)
    assert sizes == [(56, 84)]


@torch.no_grad()
def test_a_batch_of_two_equals_two_batches_of_one(vit_arch):
    model = build(vit_arch).eval()
    together = model(image())
    alone = [model(single[None]) for single in image()]
    for level, *parts in zip(together, *alone):
        torch.testing.assert_close(level, torch.cat(parts))


@pytest.mark.parametrize('paper', [False, True])
def test_gradients_reach_every_parameter_recomputed_or_not(
    vit_arch, paper_form, paper
):
    arch = dict(vit_arch, with_cls_token=True, **(paper_form if paper else {}))
    gradients = []
    for with_cp in (False, True):
        model = build(dict(arch, with_cp=with_cp), with_cp=with_cp)
        maps = model.train()(image())
        torch.manual_seed(2)
        weights = [torch.randn(m.shape) for m in maps]
        sum((m * w).sum() for m, w in zip(maps, weights)).backward()
        gradients.append(dict(model.named_parameters()))
    plain, recomputed = gradients
    for name, parameter in plain.items():
        # a bias of all keys changes no softmax
        if not ('k_proj' in name and name.endswith('bias')):
            assert parameter.grad.abs().max() > 0, name
        other = recomputed[name].grad
        torch.testing.assert_close(parameter.grad, other, msg=name)


def test_drop_path_is_the_vits(vit_arch):
    model = build(dict(vit_arch, drop_path_rate=0.4))
    rates = [
        m.rate
        for name, m in model.named_modules()
        if isinstance(m, DropPath) and not name.startswith('vit.')
    ]
    assert rates == [0.4] * 6


def test_only_the_vit_decays(vit_arch):
    model = build(vit_arch)
    depths = {
        name: model.get_layer_depth(f'backbone.{name}', 'backbone.')
        for name, _ in model.named_parameters()
    }
    assert set(dict(depths.values())) == set(range(7))
    assert {total for _, total in depths.values()} == {7}
    assert depths['vit.vision_embedding.proj.weight'] == (0, 7)
    assert depths['vit.encoder.layers.4.ffn.vision.fc1.weight'] == (5, 7)
    for name, depth in depths.items():
        if not name.startswith('vit.'):
            assert depth == (6, 7), name


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


def test_official_adapters_load(vit_arch, tmp_path):
    source = build(vit_arch)
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
    target = BEiT3Adapter(
        vit=vit_arch, conv_channels=4, deform_num_heads=3, init_cfg=init_cfg
    )
    torch.nn.init.zeros_(target.up.weight)
    target.init_weights()
    for ours, _ in names:
        assert torch.equal(target.state_dict()[ours], state[ours]), ours


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            dict(interaction_indexes=BLOCKS[:3]),
            'must divide the layers 0 to 4',
        ),
        (dict(interaction_indexes=[(0, 4)]), 'into 4 blocks'),
        (dict(interaction_indexes=[(0, 1), (2, 1), (2, 3), (4, 4)]), 'divide'),
        (dict(vit=dict(num_layers=3)), r'layers 0 to 2'),
    ],
)
def test_wrong_blocks(vit_arch, options, message):
    vit = dict(vit_arch, **options.pop('vit', {}))
    with pytest.raises(ValueError, match=message):
        build(vit, **options)
    assert build(vit_arch, interaction_indexes=BLOCKS)


def test_other_init_cfg(vit_arch):
    model = build(vit_arch, init_cfg=dict(type='Xavier'))
    with pytest.raises(ValueError, match=r'Xavier.*BEiT3Adapter must be'):
        model.init_weights()
