# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import math

import pytest
import torch
import torch.nn.functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from beit3_mm.layers.drop_path import DropPath
from beit3_mm.layers.feed_forward import FeedForward
from beit3_mm.models.backbones import BEiT3Adapter, BEiT3ViT
from beit3_mm.models.backbones.adapter_layers import (
    Extractor,
    Geometry,
    Injector,
)

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
def test_put_together_as_vit_adapter_is(vit_arch):
    """Step by step, what the golden file leaves out included."""
    model = build(dict(vit_arch, with_cls_token=True)).eval()
    for norm in model.modules():
        if isinstance(norm, _BatchNorm):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    grids = [(8, 12), (4, 6), (2, 3)]  # of 64 x 96, strides 8, 16, 32
    inject = Geometry.of(grids[1:2], grids, torch.device('cpu'))
    extract = Geometry.of(grids, grids[1:2], torch.device('cpu'))
    prior, *below = model.spatial_prior(image())
    levels = torch.cat(
        [
            map_.flatten(2).transpose(1, 2) + model.level_embed[i]
            for i, map_ in enumerate(below)
        ],
        1,
    )
    x, vit_maps = model.vit.vision_embedding(image()), []
    for block, (first, last) in zip(model.interactions, BLOCKS, strict=True):
        tokens = block.injector(x[:, 1:], levels, inject)
        x = torch.cat([x[:, :1], tokens], 1)
        for layer in model.vit.encoder.layers[first : last + 1]:
            x, _ = layer(x, x.shape[1])
        for extractor in block.extractors:
            levels = extractor(levels, x[:, 1:], extract, grids)
        vit_maps.append(x[:, 1:].transpose(1, 2).unflatten(2, grids[1]))
    maps = [
        level.transpose(1, 2).unflatten(2, grid)
        for level, grid in zip(levels.split([96, 24, 6], 1), grids)
    ]
    maps = [prior + model.up(maps[0]), *maps]
    for i, scale in enumerate((4, 2, 1, 0.5)):
        resized = F.interpolate(
            vit_maps[i],
            scale_factor=scale,
            mode='bilinear',
            align_corners=False,
        )
        expected = model.norms[i](maps[i] + resized)
        torch.testing.assert_close(model(image())[i], expected)


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


def test_patch_14_windows_and_bfloat16_learn(vit_arch, paper_form):
    arch = dict(vit_arch, **paper_form, patch_size=14, img_size=28)
    model = build(
        dict(arch, window_size=3, global_attn_indexes=(1, 4), with_cp=True),
        with_cp=True,
    ).train()
    with torch.autocast('cpu', torch.bfloat16):
        maps = model(image(70, 50))
    sum(m.float().square().sum() for m in maps).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name
    assert model.vit.vision_embedding.proj.weight.grad.abs().max() > 0


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


def test_recomputing_drops_the_same_paths(vit_arch):
    gradients, calls = [], []
    for with_cp in (False, True):
        vit = dict(vit_arch, drop_path_rate=0.5, with_cp=with_cp)
        model = build(vit, with_cp=with_cp).train()
        for module in model.modules():
            if isinstance(module, Injector | Extractor | FeedForward):
                module.register_forward_pre_hook(lambda *_: calls.append(1))
        torch.manual_seed(3)
        sum(m.square().sum() for m in model(image(batch=4))).backward()
        gradients.append(model.level_embed.grad)
    assert len(calls) == 15 + 30  # 4 injectors, 6 extractors, 5 layers
    torch.testing.assert_close(*gradients)


def test_it_starts_as_vit_adapter_does(vit_arch):
    torch.manual_seed(0)
    model = BEiT3Adapter(vit=vit_arch, deform_num_heads=3)
    for block in model.interactions:
        assert not block.injector.gamma.any()
        for part in (block.injector, *block.extractors):
            attention = part.attention.attn
            assert not attention.sampling_offsets.weight.any()
            assert not attention.attention_weights.weight.any()
            offsets = attention.sampling_offsets.bias.view(3, -1, 4, 2)
            # the first head looks right, 1, 2, 3 and 4 cells far
            steps = torch.tensor([[1.0, 0], [2, 0], [3, 0], [4, 0]])
            assert torch.equal(offsets[0], steps.expand_as(offsets[0]))
            norms = offsets.abs().amax(-1)
            torch.testing.assert_close(norms, steps[:, 0].expand_as(norms))
    assert 0.7 < model.level_embed.std() < 1.3
    linear = model.interactions[0].extractors[0].ffn.fc1.weight
    std = 0.02 * math.sqrt(768 / vit_arch['embed_dims'])
    assert linear.std().item() == pytest.approx(std, rel=0.3)
    conv = model.spatial_prior.convs[0][0].weight  # fan out 128 * 9
    assert conv.std().item() == pytest.approx((2 / 1152) ** 0.5, rel=0.05)


def test_drop_path_is_the_vits(vit_arch):
    model = build(dict(vit_arch, drop_path_rate=0.4))
    rates = [
        m.rate
        for name, m in model.named_modules()
        if isinstance(m, DropPath) and not name.startswith('vit.')
    ]
    assert rates == [0.4] * 6


@torch.no_grad()
def test_extractors_drop_what_follows_their_attention(vit_arch):
    model = build(dict(vit_arch, drop_path_rate=0.5)).train()
    extractor = model.interactions[0].extractors[0]
    seen = []
    extractor.attention.register_forward_hook(lambda *x: seen.append(x[2]))
    extractor.ffn.register_forward_hook(lambda *x: seen.append(x[2]))
    extractor.register_forward_hook(lambda *x: seen.append(x[2]))
    model(image(batch=16))
    attended, added, out = seen
    dropped = [torch.equal(a, b) for a, b in zip(out, attended)]
    assert 0 < sum(dropped) < 16
    kept = ~torch.tensor(dropped)
    expected = attended + 2 * added  # 1 / (1 - 0.5)
    torch.testing.assert_close(out[kept], expected[kept])


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


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            dict(interaction_indexes=BLOCKS[:3]),
            'must divide the layers 0 to 4',
        ),
        (dict(interaction_indexes=[(0, 4)]), 'into 4 blocks'),
        (dict(interaction_indexes=[*BLOCKS[:3], (3, 3)]), 'divide'),
        (dict(interaction_indexes=[*BLOCKS[:3], (2, 4)]), 'divide'),
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
