# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from beit3_mm.models.backbones import BEiT3ViT
from beit3_mm.models.beit3 import BEiT3


def build(arch, **options):
    torch.manual_seed(0)
    backbone = BEiT3ViT(**arch, **options)
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return backbone.eval()


@torch.no_grad()
def test_global_attention_gives_beit3s_own_patch_tokens(tiny_arch):
    backbone = build(tiny_arch, with_cls_token=True)
    model = BEiT3(**tiny_arch, vocab_size=9, final_norm=False).eval()
    missing, unexpected = model.load_state_dict(
        backbone.state_dict(), strict=False
    )
    assert not unexpected
    assert all(
        'language' in name or 'text' in name or 'mask_token' in name
        for name in missing
    )
    for size in ((32, 32), (45, 20)):
        image = torch.randn(2, 3, *size)
        (maps,) = backbone(image)
        tokens = model(image).vision[:, 1:]
        torch.testing.assert_close(maps.flatten(2).transpose(1, 2), tokens)


@pytest.mark.parametrize('size', [(32, 32), (40, 24), (33, 50), (8, 1)])
@torch.no_grad()
def test_maps_of_any_image_size(tiny_arch, size):
    backbone = build(tiny_arch, window_size=3, global_attn_indexes=(-1,))
    (maps,) = backbone(torch.randn(2, 3, *size))
    assert maps.shape == (2, 24, -(-size[0] // 8), -(-size[1] // 8))
    assert maps.isfinite().all()


@torch.no_grad()
def test_windows_are_independent_until_a_global_layer(tiny_arch):
    image = torch.randn(1, 3, 64, 64)
    other = image.clone()
    other[..., 32:, 32:] += 1  # the last of four windows of 4 x 4 patches
    near = torch.zeros(8, 8, dtype=torch.bool)
    near[4:, 4:] = True
    for indexes, spread in (((), near), ((1,), torch.ones_like(near))):
        backbone = build(tiny_arch, window_size=4, global_attn_indexes=indexes)
        difference = (backbone(image)[0] - backbone(other)[0]).abs().amax(1)
        assert torch.equal(difference[0] > 1e-6, spread)


@torch.no_grad()
def test_a_batch_of_two_equals_two_batches_of_one(tiny_arch):
    backbone = build(tiny_arch, window_size=3, global_attn_indexes=(1,))
    images = torch.randn(2, 3, 40, 40)
    together = backbone(images)[0]
    alone = torch.cat([backbone(image[None])[0] for image in images])
    torch.testing.assert_close(together, alone)


@torch.no_grad()
def test_out_indices_return_the_map_of_each_layer(tiny_arch):
    image = torch.randn(1, 3, 32, 32)
    maps = build(tiny_arch, out_indices=(0, 1, -1))(image)
    assert len(maps) == 3
    last = build(tiny_arch)(image)
    assert torch.equal(maps[-1], last[0])
    shallow = build(dict(tiny_arch, num_layers=1))
    shallow.load_state_dict(build(tiny_arch).state_dict(), strict=False)
    assert torch.equal(maps[0], shallow(image)[0])


@torch.no_grad()
def test_relative_positions_start_without_effect_and_then_have_one(
    tiny_arch,
):
    options = dict(window_size=3, global_attn_indexes=(1,))
    plain = build(tiny_arch, **options)
    relative = BEiT3ViT(
        **tiny_arch, **options, with_relative_positions=True
    ).eval()
    report = relative.load_state_dict(plain.state_dict(), strict=False)
    assert not report.unexpected_keys
    assert len(report.missing_keys) == 2 * 3
    image = torch.randn(1, 3, 40, 40)
    torch.testing.assert_close(relative(image), plain(image))
    for parameter in relative.relative_positions.parameters():
        torch.nn.init.normal_(parameter)
    assert (relative(image)[0] - plain(image)[0]).abs().max() > 1e-2


@pytest.mark.parametrize('with_cp', [False, True])
@pytest.mark.parametrize('form', ['released', 'paper'])
def test_gradients_reach_every_parameter(tiny_arch, paper_form, form, with_cp):
    backbone = build(
        tiny_arch,
        **(paper_form if form == 'paper' else {}),
        window_size=3,
        global_attn_indexes=(1,),
        with_relative_positions=True,
        with_cp=with_cp,
    ).train()
    backbone(torch.randn(2, 3, 40, 40))[0].square().sum().backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_only_vision_experts_are_built(tiny_arch, paper_form):
    for form in ({}, paper_form):
        names = build(tiny_arch, **form).state_dict()
        assert not any(
            part in name
            for name in names
            for part in ('language', 'text', 'mask_token', 'cls_token')
        )


def test_layer_depth_of_every_parameter(tiny_arch):
    backbone = build(tiny_arch, window_size=3, with_relative_positions=True)
    for name, _ in backbone.named_parameters():
        depth, num_depths = backbone.get_layer_depth(
            f'model.backbone.{name}', 'model.backbone.'
        )
        assert num_depths == 3 + 2
        # the first number in a name is that of its layer
        numbers = [int(part) for part in name.split('.') if part.isdigit()]
        in_layer = not name.startswith('vision_embedding')
        assert depth == (numbers[0] + 1 if in_layer else 0), name
    assert backbone.get_layer_depth('norm.weight') == (4, 5)


def test_errors(tiny_arch):
    with pytest.raises(ValueError, match='layer 3 '):
        build(tiny_arch, out_indices=(3,))
    with pytest.raises(ValueError, match=r'out_indices=\(0, 1\)'):
        build(tiny_arch, out_indices=(0, 1))
    with pytest.raises(ValueError, match='layer -4 '):
        build(tiny_arch, global_attn_indexes=(-4,))
    with pytest.raises(ValueError, match='window_size=2'):
        build(tiny_arch, with_cls_token=True, window_size=2)
