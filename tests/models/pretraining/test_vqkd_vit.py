# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from torch import nn

from beit3_mm.models.pretraining.vqkd_vit import PlainViT, SelfAttention


def build(**options):
    torch.manual_seed(0)
    sizes = dict(
        in_channels=3,
        img_size=32,
        patch_size=8,
        embed_dims=24,
        num_layers=2,
        num_heads=3,
        feedforward_channels=48,
    )
    return PlainViT(**sizes | options)


def test_attention_is_torchs_own():
    torch.manual_seed(0)
    ours, theirs = SelfAttention(24, 3), nn.MultiheadAttention(24, 3)
    for bias in (ours.q_bias, ours.v_bias):
        nn.init.normal_(bias)
    zeros = torch.zeros_like(ours.q_bias)
    theirs.load_state_dict(
        {
            'in_proj_weight': ours.qkv_proj.weight,
            'in_proj_bias': torch.cat([ours.q_bias, zeros, ours.v_bias]),
            'out_proj.weight': ours.out_proj.weight,
            'out_proj.bias': ours.out_proj.bias,
        }
    )
    x = torch.randn(2, 5, 24)
    expected, _ = theirs(*[x.transpose(0, 1)] * 3)
    torch.testing.assert_close(ours(x), expected.transpose(0, 1))
    with pytest.raises(ValueError, match='embed_dims=24 must divide'):
        SelfAttention(24, 5)


def test_layers_begin_the_smaller_the_deeper_they_are():
    model = build(num_layers=4, embed_dims=96, num_heads=4)
    for weight in ('attention.out_proj', 'ffn.fc2'):
        stds = torch.stack(
            [x.get_submodule(weight).weight.std() for x in model.layers]
        )
        expected = stds[0] / torch.arange(1.0, 5).sqrt()
        torch.testing.assert_close(stds, expected, rtol=0.05, atol=0)
    first = model.layers[0].ffn.fc1.weight
    assert first.std().item() == pytest.approx(0.02 * 8**0.5, rel=0.05)


def test_the_cls_token_takes_part_and_is_dropped():
    model = build().eval()
    image = torch.rand(1, 3, 32, 32)
    before = model(image)
    assert before.shape == (1, 16, 24)
    nn.init.normal_(model.cls_token, std=5)
    assert not torch.allclose(model(image), before)


def test_positions_keep_their_place_when_resized():
    model = build()
    nn.init.zeros_(model.positions)
    model.positions.data[0, 1:].view(4, 4, 24)[:, 2:] = 1.0  # right half
    wider = build(img_size=64)
    wider.load_state_dict(model.state_dict())
    table = wider.positions[0, 1:].view(8, 8, 24)
    assert (table[:, :2] < 0.1).all()
    assert (table[:, 6:] > 0.9).all()
    torch.testing.assert_close(wider.positions[0, 0], model.positions[0, 0])


def test_sizes_that_do_not_fit():
    with pytest.raises(ValueError, match='img_size=30 must divide'):
        build(img_size=30)
    with pytest.raises(RuntimeError, match='size mismatch for positions'):
        build().load_state_dict(
            build().state_dict() | {'positions': torch.zeros(1, 12, 24)}
        )
