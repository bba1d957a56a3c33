# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import ast
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmcv.ops import MultiScaleDeformableAttention, multi_scale_deform_attn

from beit3_mm.ops import multi_scale_deformable_attention

SHAPES = torch.tensor([[4, 6], [2, 3], [1, 2]])


def reference(value, shapes, locations, weights):
    """grid_sample of each level, head by head."""
    batch, _, heads, dims = value.shape
    out = torch.zeros(batch, locations.shape[1], heads, dims).to(value)
    for head in range(heads):
        start = 0
        for level, (height, width) in enumerate(shapes.tolist()):
            tokens = value[:, start : start + height * width, head]
            start += height * width
            map_ = tokens.transpose(1, 2).unflatten(2, (height, width))
            grid = 2 * locations[:, :, head, level] - 1  # (B, Q, P, 2)
            samples = F.grid_sample(map_, grid, align_corners=False)
            weight = weights[:, :, head, level][:, None]  # (B, 1, Q, P)
            out[:, :, head] += (samples * weight).sum(-1).transpose(1, 2)
    return out.flatten(2)


def inputs(dtype, spread=1.6):
    """Two images, 7 queries, 3 heads, 4 points, some outside of the maps."""
    torch.manual_seed(0)
    value = torch.randn(2, int(SHAPES.prod(1).sum()), 3, 5, dtype=dtype)
    locations = torch.rand(2, 7, 3, 3, 4, 2, dtype=dtype)
    locations = (locations - 0.5) * spread + 0.5
    weights = torch.randn(2, 7, 3, 3, 4, dtype=dtype)
    return [x.requires_grad_() for x in (value, locations, weights)]


@pytest.mark.parametrize(
    ('dtype', 'tolerance'), [(torch.float32, 2e-6), (torch.float64, 1e-12)]
)
@pytest.mark.parametrize('spread', [0.5, 1.6, 1e6])
def test_agrees_with_grid_sampling(dtype, tolerance, spread):
    value, locations, weights = leaves = inputs(dtype, spread)
    arguments = (value, SHAPES, locations, weights)
    out = multi_scale_deformable_attention(*arguments)
    expected = reference(*arguments)
    torch.testing.assert_close(out, expected, rtol=0, atol=tolerance)
    upstream = torch.randn_like(out)
    ours = torch.autograd.grad((out * upstream).sum(), leaves)
    theirs = torch.autograd.grad((expected * upstream).sum(), leaves)
    for mine, other in zip(ours, theirs):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=10 * tolerance)


@pytest.fixture
def mmcvs():
    """Returns the function that mmcv's source has where ours stands."""
    name = 'multi_scale_deformable_attn_pytorch'
    tree = ast.parse(Path(multi_scale_deform_attn.__file__).read_text())
    tree.body = [n for n in tree.body if getattr(n, 'name', None) == name]
    names = {'torch': torch, 'F': F}
    exec(compile(tree, name, 'exec'), names)
    return names[name]


def test_stands_in_for_mmcvs_function(mmcvs, monkeypatch):
    torch.manual_seed(0)
    module = MultiScaleDeformableAttention(16, 4, 3, 4, batch_first=True)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    tokens = torch.randn(2, int(SHAPES.prod(1).sum()), 16, requires_grad=True)
    places = torch.rand(2, 7, 3, 2)
    upstream = torch.randn(2, 7, 16)
    outs, gradients = [], []
    for function in (multi_scale_deformable_attention, mmcvs):
        monkeypatch.setattr(
            multi_scale_deform_attn,
            'multi_scale_deformable_attn_pytorch',
            function,
        )
        out = module.eval()(
            tokens[:, :7],
            value=tokens,
            reference_points=places,
            spatial_shapes=SHAPES,
        )
        leaves = [tokens, *module.parameters()]
        gradients += [torch.autograd.grad((out * upstream).sum(), leaves)]
        outs.append(out)
    torch.testing.assert_close(*outs)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)


def test_a_cell_centre_gives_the_cell():
    value = torch.randn(1, 24, 1, 2)
    shapes = torch.tensor([[4, 6]])
    # row 2, column 3
    location = torch.tensor([3.5 / 6, 2.5 / 4]).view(1, 1, 1, 1, 1, 2)
    out = multi_scale_deformable_attention(
        value, shapes, location, torch.ones(1, 1, 1, 1, 1)
    )
    torch.testing.assert_close(out[0, 0], value[0, 2 * 6 + 3, 0])


def test_bfloat16_is_computed_in_float32():
    value, locations, weights = (x.detach() for x in inputs(torch.float32))
    reduced = [x.bfloat16() for x in (value, weights)]
    out = multi_scale_deformable_attention(
        reduced[0], SHAPES, locations, reduced[1]
    )
    assert out.dtype == torch.bfloat16
    expected = multi_scale_deformable_attention(
        reduced[0].float(), SHAPES, locations, reduced[1].float()
    )
    assert torch.equal(out, expected.bfloat16())
    with torch.autocast('cpu', torch.bfloat16):
        inside = multi_scale_deformable_attention(
            value, SHAPES, locations, weights
        )
    outside = multi_scale_deformable_attention(
        value, SHAPES, locations, weights
    )
    assert torch.equal(inside, outside)


def test_wrong_levels_are_named():
    value, locations, weights = inputs(torch.float32)
    with pytest.raises(ValueError, match=r'\[\[4, 6\], \[2, 3\]\].*32 tokens'):
        multi_scale_deformable_attention(value, SHAPES[:2], locations, weights)
